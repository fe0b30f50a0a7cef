//! Scripts of messages whose answers do not come one for one.

use crate::script::{Step, messages, query};
use crate::sidecar::raw::{self, bind, close, describe, execute, message, parse, sync};

/// Bind of a named portal, without parameters.
fn portal(name: &str, statement: &str) -> Vec<u8> {
    let body = [raw::cstr(name), raw::cstr(statement), vec![0; 6]].concat();
    message(b'B', &body)
}

/// A name and its steps.
type Script = (&'static str, Vec<Step>);

pub(crate) fn batches() -> Vec<Script> {
    vec![descriptions(), portals(), flushes(), copies()]
}

fn flush() -> Vec<u8> {
    message(b'H', b"")
}

fn descriptions() -> Script {
    (
        "descriptions",
        vec![
            messages(
                0,
                "of what has no rows",
                &[
                    parse("i", "insert into shared values ($1)"),
                    describe(b'S', "i"),
                    bind("i", &[b"1"]),
                    describe(b'P', ""),
                    execute(),
                    sync(),
                ],
            ),
            messages(
                0,
                "of the beginning, and of what is in it",
                &[
                    parse("", "begin"),
                    describe(b'S', ""),
                    bind("", &[]),
                    describe(b'P', ""),
                    execute(),
                    parse("r", "select n, $1::text from shared"),
                    describe(b'S', "r"),
                    sync(),
                ],
            ),
            messages(
                0,
                "run both",
                &[
                    bind("r", &[b"x"]),
                    describe(b'P', ""),
                    execute(),
                    bind("i", &[b"2"]),
                    execute(),
                    sync(),
                ],
            ),
            query(0, "commit"),
            messages(
                1,
                "of what is not there",
                &[describe(b'S', "r"), sync(), describe(b'P', "p"), sync()],
            ),
        ],
    )
}

fn portals() -> Script {
    (
        "portals and statements",
        vec![
            query(0, "begin"),
            messages(
                0,
                "of one name",
                &[
                    parse("s", "select generate_series(1, 3)"),
                    portal("s", "s"),
                    close(b'P', "s"),
                    bind("s", &[]),
                    execute(),
                    sync(),
                ],
            ),
            messages(
                0,
                "a portal outlives its statement",
                &[
                    portal("p", "s"),
                    close(b'S', "s"),
                    message(b'E', b"p\0\0\0\0\x02"),
                    sync(),
                ],
            ),
            messages(0, "more", &[message(b'E', b"p\0\0\0\0\0"), sync()]),
            query(0, "commit"),
            messages(0, "gone", &[bind("s", &[]), sync()]),
            messages(
                0,
                "what never was",
                &[close(b'S', "x"), close(b'P', "x"), sync()],
            ),
        ],
    )
}

fn flushes() -> Script {
    (
        "flushes",
        vec![
            messages(
                0,
                "after each",
                &[
                    parse("f", "select 1"),
                    flush(),
                    bind("f", &[]),
                    flush(),
                    execute(),
                    flush(),
                    sync(),
                ],
            ),
            messages(
                0,
                "behind an error",
                &[
                    bind("nobody", &[]),
                    flush(),
                    execute(),
                    flush(),
                    parse("never", "select 1"),
                    flush(),
                    sync(),
                    flush(),
                    bind("f", &[]),
                    execute(),
                    sync(),
                ],
            ),
            messages(1, "nothing", &[flush(), sync(), sync()]),
        ],
    )
}

fn copies() -> Script {
    (
        "copies among others",
        vec![
            messages(
                0,
                "in the middle of a Query",
                &[
                    raw::query(
                        "insert into shared values (0); copy shared from stdin; \
                             select count(*) from shared; copy shared from stdin; select 'end'",
                    ),
                    message(b'd', b"1\n2\n"),
                    message(b'c', b""),
                    message(b'd', b"3\n"),
                    message(b'c', b""),
                ],
            ),
            messages(
                0,
                "a second one that fails takes all along",
                &[
                    raw::query("copy shared from stdin; copy shared from stdin; select 'never'"),
                    message(b'd', b"4\n"),
                    message(b'c', b""),
                    message(b'd', b"no number\n"),
                    message(b'c', b""),
                ],
            ),
            query(
                0,
                "copy (select 1) to stdout; copy (select 2) to stdout; select 3",
            ),
            messages(
                0,
                "with a Sync behind an error",
                &[
                    parse("", "copy shared from stdin"),
                    bind("", &[]),
                    execute(),
                    message(b'd', b"no number\n"),
                    message(b'c', b""),
                    sync(),
                    raw::query("select count(*) from shared"),
                ],
            ),
            query(1, "select count(*) from shared"),
        ],
    )
}
