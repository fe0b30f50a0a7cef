//! Scripts that are written by hand, one per situation.
#![expect(clippy::too_many_lines, reason = "scripts are long lists")]

use crate::batches::batches;
use crate::script::{Step, copy_in, messages, query};
use crate::sidecar::raw::{bind, close, describe, execute, message, parse, sync};
use crate::stage::{Ground, Stage, WHOLE, every_mood};

/// A script of Queries of one client.
fn alone(statements: &[&str]) -> Vec<Step> {
    statements.iter().map(|sql| query(0, sql)).collect()
}

/// A script of Queries of two clients.
fn two(statements: &[(usize, &str)]) -> Vec<Step> {
    statements
        .iter()
        .map(|&(who, sql)| query(who, sql))
        .collect()
}

fn scripts() -> Vec<(&'static str, Vec<Step>)> {
    let mut all = settings();
    all.extend(objects());
    all.extend(prepared());
    all.extend(streams());
    all.extend(batches());
    all
}

fn settings() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        (
            "settings",
            alone(&[
                "set work_mem = '1MB'",
                "show work_mem",
                "begin",
                "set work_mem = '2MB'",
                "show work_mem",
                "rollback",
                "show work_mem",
                "begin; set local work_mem = '3MB'",
                "show work_mem",
                "commit",
                "show work_mem",
                "reset work_mem",
                "show work_mem",
                "set timezone to 'Europe/Paris'",
                "select '2024-07-01 00:00+00'::timestamptz",
                "set datestyle = german, dmy",
                "select '1.2.2024'::date",
                "reset all",
                "select '2024-07-01 00:00+00'::timestamptz",
                "show lock_timeout",
            ]),
        ),
        (
            "startup settings come back",
            alone(&[
                "show lock_timeout",
                "set lock_timeout = '7s'",
                "show lock_timeout",
                "reset lock_timeout",
                "show lock_timeout",
                "set lock_timeout = '8s'",
                "discard all",
                "show lock_timeout",
            ]),
        ),
        (
            "custom settings",
            alone(&[
                "set app.x = 'one'",
                "show app.x",
                "select set_config('app.y', 'it''s \\', false)",
                "select current_setting('app.x'), current_setting('app.y')",
                "begin; set app.x = 'two'; rollback",
                "show app.x",
                "do $$ begin perform set_config('app.x', 'three', false); end $$",
                "show app.x",
                "set app.x to default",
                "show app.x",
            ]),
        ),
        (
            "two clients, two paths",
            two(&[
                (0, "set search_path = app"),
                (1, "insert into shared values (1)"),
                (0, "select n from shared"),
                (1, "select n from shared"),
                (0, "show search_path"),
                (1, "show search_path"),
                (0, "begin; set search_path = pg_catalog"),
                (1, "select n from shared"),
                (0, "rollback"),
                (0, "select n from shared"),
            ]),
        ),
        (
            "session characteristics",
            alone(&[
                "set session characteristics as transaction read only",
                "create table refused ()",
                "set default_transaction_read_only = off",
                "insert into shared values (1)",
                "set session characteristics as transaction isolation level serializable",
                "begin",
                "show transaction_isolation",
                "commit",
            ]),
        ),
        (
            "settings that fail",
            alone(&[
                "set work_mem = 'much'",
                "set no_such_setting = 1",
                "show work_mem",
                "begin",
                "set work_mem = '1MB'",
                "select 1/0",
                "set work_mem = '2MB'",
                "commit",
                "show work_mem",
            ]),
        ),
        (
            "escapes",
            alone(&[
                "set standard_conforming_strings = off",
                "select 'a\\'b', E'\\\\'",
                "set app.x = 'a\\'b'",
                "show app.x",
                "reset standard_conforming_strings",
                "show app.x",
            ]),
        ),
        (
            "discard",
            alone(&[
                "set work_mem = '1MB'; create temp table t (n int); prepare p as select 1; listen x",
                "discard all",
                "show work_mem",
                "select * from t",
                "execute p",
                "select count(*) from pg_listening_channels()",
                "begin; discard all",
                "rollback",
            ]),
        ),
    ]
}

fn objects() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        (
            "temporary tables",
            two(&[
                (0, "create temp table t (n int)"),
                (1, "select * from t"),
                (0, "insert into t values (1)"),
                (1, "create temp table t (s text)"),
                (1, "insert into t values ('x')"),
                (0, "select * from t"),
                (1, "select * from t"),
                (0, "drop table t"),
                (0, "select * from t"),
                (1, "discard temp"),
                (1, "select * from t"),
                (
                    0,
                    "begin; create temp table t on commit drop as select 7 as n; select * from t",
                ),
                (0, "commit"),
                (0, "select * from t"),
                (0, "select 8 as n into temp t"),
                (0, "select * from t"),
            ]),
        ),
        (
            "temporary functions and views",
            alone(&[
                "create function pg_temp.f() returns int language sql as 'select 5'",
                "select pg_temp.f()",
                "create temp view v as select 6 as n",
                "select * from v",
                "drop view v",
                "select temporary()",
                "select count(*) from made",
                "select temporary()",
                "select count(*) from made",
            ]),
        ),
        (
            "temporary by path",
            alone(&[
                "set search_path = pg_temp, public",
                "create table t (n int)",
                "insert into t values (1)",
                "select n from t",
                "reset search_path",
                "select n from t",
            ]),
        ),
        (
            "locks",
            two(&[
                (0, "select pg_advisory_lock(1)"),
                (1, "select pg_try_advisory_lock(1)"),
                (0, "select pg_try_advisory_lock(1)"),
                (0, "select pg_advisory_unlock(1)"),
                (1, "select pg_try_advisory_lock(1)"),
                (0, "select pg_advisory_unlock(1)"),
                (1, "select pg_try_advisory_lock(1)"),
                (1, "select pg_advisory_unlock_all()"),
                (0, "select pg_try_advisory_lock(1)"),
                (0, "select pg_advisory_unlock(1)"),
                (0, "select pg_advisory_unlock(1)"),
                (0, "begin; select pg_advisory_xact_lock(2)"),
                (1, "select pg_try_advisory_lock(2)"),
                (0, "commit"),
                (1, "select pg_try_advisory_lock(2)"),
            ]),
        ),
        (
            "cursors",
            alone(&[
                "begin; declare c cursor for select generate_series(1, 5); fetch 2 from c",
                "commit",
                "fetch 1 from c",
                "declare h cursor with hold for select generate_series(1, 5)",
                "fetch 2 from h",
                "fetch 2 from h",
                "move backward all in h",
                "close h",
                "fetch 1 from h",
                "begin",
                "declare h cursor with hold for select 1",
                "rollback",
                "fetch 1 from h",
            ]),
        ),
        (
            "sequences",
            two(&[
                (0, "select nextval('counter')"),
                (1, "select nextval('counter')"),
                (0, "select currval('counter')"),
                (1, "select nextval('counter')"),
                (0, "select lastval()"),
                (0, "select setval('counter', 10)"),
                (1, "select currval('counter')"),
                (0, "select currval('counter')"),
                (0, "discard sequences"),
                (0, "select currval('counter')"),
            ]),
        ),
        (
            "seeds",
            two(&[
                (0, "select setseed(0.25)"),
                (1, "select setseed(0.75)"),
                (0, "select random()"),
                (1, "select random()"),
                (0, "select random()"),
                (0, "set seed = 0.5"),
                (0, "select random()"),
            ]),
        ),
        (
            "notifications",
            two(&[
                (0, "listen a"),
                (1, "notify a, 'one'"),
                (0, "select 1"),
                (1, "begin; notify a, 'two'; notify b"),
                (1, "commit"),
                (0, "listen b"),
                (1, "select pg_notify('b', 'three')"),
                (0, "unlisten a"),
                (1, "notify a, 'four'; notify b, 'five'"),
                (0, "notify b, 'own'"),
                (0, "unlisten *"),
                (1, "notify b, 'six'"),
                (0, "begin; listen c; rollback"),
                (1, "notify c"),
            ]),
        ),
        (
            "transactions",
            two(&[
                (0, "begin"),
                (1, "begin"),
                (0, "insert into shared values (1)"),
                (1, "select * from shared"),
                (0, "savepoint a; insert into shared values (2)"),
                (0, "rollback to a"),
                (0, "select 1/0"),
                (0, "select 1"),
                (0, "rollback to a"),
                (0, "select * from shared"),
                (0, "commit"),
                (1, "select * from shared"),
                (1, "rollback and chain"),
                (1, "commit"),
                (1, "commit"),
                (0, "select 1; begin; select 2"),
                (0, "select 3; commit; select 4"),
                (0, "insert into shared values (3); select 1/0; select 5"),
                (0, "select * from shared"),
            ]),
        ),
        (
            "roles",
            alone(&[
                "select current_user = session_user",
                "set role none",
                "set role postgres",
                "set session authorization default",
                "select current_user = session_user",
            ]),
        ),
        (
            "functions that hide",
            alone(&[
                "select quiet(1)",
                "select loud('x')",
                "begin; select loud('y'); rollback",
                "select quiet(2)",
            ]),
        ),
    ]
}

fn prepared() -> Vec<(&'static str, Vec<Step>)> {
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

fn streams() -> Vec<(&'static str, Vec<Step>)> {
    // int4pl(40, 2), in binary (55.2.5).
    let mut call = 177_u32.to_be_bytes().to_vec();
    call.extend([
        0, 1, 0, 1, 0, 2, 0, 0, 0, 4, 0, 0, 0, 40, 0, 0, 0, 4, 0, 0, 0, 2, 0, 1,
    ]);
    vec![
        (
            "copy",
            vec![
                copy_in(0, "copy shared from stdin", "1\n2\n"),
                copy_in(1, "copy shared from stdin", "3\nx\n"),
                query(0, "copy (select n from shared order by n) to stdout"),
                query(0, "begin; create temp table t (n int)"),
                copy_in(0, "copy t from stdin", "5\n"),
                query(0, "commit"),
                query(0, "copy t to stdout"),
                messages(
                    0,
                    "copy fails",
                    &[
                        crate::sidecar::raw::query("copy shared from stdin"),
                        message(b'd', b"9\n"),
                        message(b'f', b"no\0"),
                    ],
                ),
                query(0, "select count(*) from shared"),
            ],
        ),
        (
            "odd messages",
            vec![
                query(0, ""),
                query(0, " ; ;; "),
                query(0, "-- nothing"),
                messages(0, "call", &[message(b'F', &call)]),
                messages(
                    0,
                    "empty",
                    &[parse("", ""), bind("", &[]), execute(), sync()],
                ),
                query(0, "select 'ä', E'\\xff'"),
                query(0, "select 'open"),
                query(0, "do $$ begin raise notice 'x'; end $$"),
            ],
        ),
    ]
}

async fn play_all(mode: &str, options: &'static str) -> Stage {
    let stage = Stage::set(mode, 2, options).await;
    play_on(&stage, 4).await;
    stage
}

/// Every script, so many times, with other hand-overs and other pieces each time.
async fn play_on(stage: &Stage, times: usize) {
    let mut wrong = Vec::new();
    for (name, script) in scripts() {
        for shift in 0..times {
            if let Err(difference) = stage
                .compare(&script, &every_mood(shift), [WHOLE, 1, 7, 61][shift])
                .await
            {
                wrong.push(format!("{name}, {shift}: {difference}"));
                break;
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{}",
        wrong.join("\n\n"),
        stage.proxy.log().tail()
    );
}

#[tokio::test]
async fn session_mode_is_as_without_us() {
    // No options: RESET of one goes to the server's default in this mode.
    play_all("session", "").await;
}

#[tokio::test]
async fn postgresql_18_is_as_without_us() {
    for mode in ["auto", "session"] {
        let stage = Stage::on(Ground::eighteen().await, mode, 2, "").await;
        play_on(&stage, 2).await;
    }
}

#[tokio::test]
async fn every_situation_is_as_without_us() {
    let stage = play_all("auto", "-c lock_timeout=5s").await;
    let metrics = stage.proxy.metrics().await;
    let handovers = metrics.value("entrapool_handovers_total", &[]);
    assert!(handovers > 500.0, "{handovers} hand-overs");
    for result in ["clean", "carried", "pinned"] {
        assert!(
            metrics.value("entrapool_probes_total", &[("result", result)]) > 10.0,
            "{result}"
        );
    }
}
