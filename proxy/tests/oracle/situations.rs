//! Scripts that are written by hand, one per situation.
#![expect(clippy::too_many_lines, reason = "scripts are long lists")]

use crate::batches::batches;
use crate::intruder::Mood;
use crate::script::{Step, copy_in, messages, query};
use crate::sidecar::raw::{bind, execute, message, parse, sync};
use crate::stage::{Ground, Stage, WHOLE, every_mood};
use crate::statements::prepared;

/// A script of Queries of one client.
fn alone(statements: &[&str]) -> Vec<Step> {
    statements.iter().map(|sql| query(0, sql)).collect()
}

/// A script of Queries of two clients.
pub(crate) fn two(statements: &[(usize, &str)]) -> Vec<Step> {
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
                query(0, "begin; create temp table t (n int) on commit drop"),
                copy_in(0, "copy t from stdin", "5\n"),
                query(0, "copy t to stdout"),
                query(0, "commit"),
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
            "copy into what stays",
            vec![
                query(0, "begin; create temp table t (n int)"),
                copy_in(0, "copy t from stdin", "5\n"),
                query(0, "commit"),
                query(0, "copy t to stdout"),
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

/// What transaction mode promises: whatever leaves no state in its session but statements
/// prepared by the protocol, named in its messages, and startup parameters.
const STATELESS: [&str; 6] = [
    "transactions",
    "prepared by protocol",
    "the unnamed statement",
    "pipelines",
    "copy",
    "odd messages",
];

async fn play_all(mode: &str, options: &'static str) -> Stage {
    let stage = Stage::set(mode, 2, options).await;
    play_on(&stage, 4, scripts(), every_mood).await;
    stage
}

/// Every script, so many times, with other hand-overs and other pieces each time.
async fn play_on(
    stage: &Stage,
    times: usize,
    scripts: Vec<(&'static str, Vec<Step>)>,
    moods: fn(usize) -> Vec<Mood>,
) {
    let mut wrong = Vec::new();
    for (name, script) in scripts {
        for shift in 0..times {
            if let Err(difference) = stage
                .compare(&script, &moods(shift), [WHOLE, 1, 7, 61][shift])
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
async fn transaction_mode_keeps_what_it_promises() {
    let stage = Stage::set("transaction", 2, "-c lock_timeout=5s").await;
    let stateless = scripts()
        .into_iter()
        .filter(|(name, _)| STATELESS.contains(name));
    play_on(&stage, 4, stateless.collect(), |_| {
        vec![Mood::Passing, Mood::Away]
    })
    .await;
    let metrics = stage.proxy.metrics().await;
    let handovers = metrics.value("entrapool_handovers_total", &[]);
    assert!(handovers > 100.0, "{handovers} hand-overs");
}

#[tokio::test]
async fn postgresql_18_is_as_without_us() {
    for mode in ["auto", "session"] {
        let stage = Stage::on(Ground::eighteen().await, mode, 2, "").await;
        play_on(&stage, 2, scripts(), every_mood).await;
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
