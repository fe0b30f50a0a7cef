//! Scripts about prepared statements, one per situation.
#![expect(clippy::too_many_lines, reason = "scripts are long lists")]

use crate::script::{Step, messages, query};
use crate::sidecar::raw::{bind, close, describe, execute, message, parse, sync};
use crate::situations::two;

pub(crate) fn prepared() -> Vec<(&'static str, Vec<Step>)> {
    let run = |name: &str, value: &str| {
        vec![
            bind(name, &[value.as_bytes()]),
            describe(b'P', ""),
            execute(),
            sync(),
        ]
    };
    vec![
        (
            "prepared in SQL",
            two(&[
                (0, "prepare p(int) as select $1 + 1"),
                (1, "execute p(1)"),
                (1, "prepare p as select 'other'"),
                (0, "execute p(1)"),
                (1, "execute p"),
                (0, "prepare p as select 2"),
                (0, "deallocate p"),
                (0, "execute p(1)"),
                (1, "execute p"),
                (1, "deallocate all"),
                (1, "execute p"),
                (0, "begin; prepare p as select 3"),
                (0, "rollback"),
                (0, "execute p"),
            ]),
        ),
        (
            "prepared by protocol",
            vec![
                messages(
                    0,
                    "prepare s",
                    &[
                        parse("s", "select $1::int + 1"),
                        describe(b'S', "s"),
                        sync(),
                    ],
                ),
                messages(
                    1,
                    "prepare s, too",
                    &[parse("s", "select $1::text"), sync()],
                ),
                messages(0, "run s", &run("s", "41")),
                messages(1, "run s", &run("s", "x")),
                messages(0, "again", &[parse("s", "select 2"), sync()]),
                messages(0, "unknown", &[bind("t", &[]), execute(), sync()]),
                messages(0, "close", &[close(b'S', "s"), sync()]),
                messages(0, "gone", &run("s", "1")),
                messages(1, "run s", &run("s", "y")),
                query(1, "discard all"),
                messages(1, "gone", &run("s", "y")),
                query(0, "deallocate all"),
            ],
        ),
        (
            "executed in SQL",
            vec![
                query(0, "create table executed as select 1 as n"),
                messages(
                    0,
                    "prepare s",
                    &[parse("s", "select n + $1::int from executed"), sync()],
                ),
                messages(0, "prepare \"S\"", &[parse("S", "select 'S'"), sync()]),
                query(1, "execute s(1)"),
                query(0, "execute s(1)"),
                query(1, "select 1"),
                query(0, "EXECUTE s (2) ;"),
                query(0, "execute \"S\""),
                query(1, "select 1"),
                query(0, "explain (costs off) execute s(1)"),
                query(0, "create temp table made as execute s(3)"),
                query(0, "select * from made; drop table made"),
                query(0, "execute s"),
                query(0, "begin; select 1/0"),
                query(0, "execute s(1)"),
                query(0, "rollback"),
                query(1, "select 1"),
                messages(
                    0,
                    "in a pipeline",
                    &[parse("", "execute s(4)"), bind("", &[]), execute(), sync()],
                ),
                query(1, "drop table executed"),
                query(0, "execute s(1)"),
                query(0, "deallocate s"),
                query(0, "execute s(1)"),
            ],
        ),
        (
            "deallocated in SQL",
            vec![
                messages(0, "prepare s", &[parse("s", "select $1::int + 1"), sync()]),
                query(1, "deallocate s"),
                query(0, "begin; select 1/0"),
                query(0, "deallocate s"),
                query(0, "rollback"),
                messages(0, "still there", &run("s", "1")),
                query(0, "DEALLOCATE PREPARE S ;"),
                messages(0, "gone", &run("s", "1")),
                messages(0, "anew", &[parse("s", "select 'anew' || $1"), sync()]),
                messages(
                    0,
                    "in a pipeline",
                    &[
                        parse("", "deallocate \"s\""),
                        bind("", &[]),
                        execute(),
                        parse("s", "select 'newer' || $1"),
                        sync(),
                    ],
                ),
                messages(0, "run s", &run("s", "!")),
            ],
        ),
        (
            "the unnamed statement",
            vec![
                messages(
                    0,
                    "parse",
                    &[parse("", "select $1::int + 1"), describe(b'S', ""), sync()],
                ),
                messages(0, "run", &run("", "1")),
                messages(0, "and again", &run("", "2")),
                messages(1, "none", &run("", "3")),
                query(0, "select 1"),
                messages(0, "gone", &run("", "4")),
                messages(0, "fails", &[parse("", "select broken from"), sync()]),
                messages(0, "none", &run("", "5")),
            ],
        ),
        (
            "pipelines",
            vec![
                messages(
                    0,
                    "several",
                    &[
                        parse("a", "select $1::int"),
                        bind("a", &[b"1"]),
                        execute(),
                        bind("a", &[b"2"]),
                        execute(),
                        sync(),
                        bind("a", &[b"x"]),
                        execute(),
                        bind("a", &[b"3"]),
                        execute(),
                        sync(),
                        bind("a", &[b"4"]),
                        execute(),
                        sync(),
                    ],
                ),
                messages(
                    0,
                    "a parse that is skipped",
                    &[
                        bind("nobody", &[]),
                        parse("b", "select 1"),
                        sync(),
                        parse("b", "select 2"),
                        sync(),
                        bind("b", &[]),
                        execute(),
                        sync(),
                    ],
                ),
                messages(
                    0,
                    "a query in between",
                    &[
                        parse("", "begin"),
                        bind("", &[]),
                        execute(),
                        crate::sidecar::raw::query("select 1"),
                        parse("", "commit"),
                        bind("", &[]),
                        execute(),
                        sync(),
                    ],
                ),
            ],
        ),
        (
            "pipelines with state",
            vec![
                messages(
                    0,
                    "settings",
                    &[
                        parse("", "set work_mem = '1MB'"),
                        bind("", &[]),
                        execute(),
                        sync(),
                        parse("", "show work_mem"),
                        bind("", &[]),
                        execute(),
                        sync(),
                    ],
                ),
                messages(
                    0,
                    "a table",
                    &[
                        parse("", "create temp table t (n int)"),
                        bind("", &[]),
                        execute(),
                        sync(),
                        parse("t", "insert into t values ($1)"),
                        bind("t", &[b"1"]),
                        execute(),
                        sync(),
                    ],
                ),
                query(0, "select * from t"),
                messages(0, "run t", &run("t", "2")),
                query(0, "drop table t"),
                messages(0, "run t", &run("t", "2")),
            ],
        ),
        (
            "cursors by protocol",
            vec![
                query(0, "begin"),
                messages(
                    0,
                    "a portal",
                    &[
                        parse("p", "select generate_series(1, 5)"),
                        message(b'B', b"c\0p\0\0\0\0\0\0\0"),
                        message(b'E', b"c\0\0\0\0\x02"),
                        sync(),
                    ],
                ),
                messages(0, "more", &[message(b'E', b"c\0\0\0\0\x02"), sync()]),
                messages(0, "close", &[close(b'P', "c"), sync()]),
                query(0, "commit"),
                messages(0, "gone", &[message(b'E', b"c\0\0\0\0\x02"), sync()]),
            ],
        ),
    ]
}
