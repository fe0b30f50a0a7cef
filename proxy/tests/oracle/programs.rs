//! Programs that are made at random, of everything that leaves something in a session.

use proptest::prelude::*;

use crate::dice::{cases, try_programs};
use crate::intruder::{MOODS, Mood};
use crate::script::{Step, copy_in, messages, query};
use crate::sidecar::raw::{bind, close, describe, execute, parse, sync};
use crate::stage::{Ground, Stage, WHOLE};

/// Clients of a program.
const CLIENTS: usize = 2;

/// Statements of one line. `{}` is a small number.
const LINES: &[&str] = &[
    "begin",
    "commit",
    "rollback",
    "savepoint a",
    "rollback to a",
    "select 1/0",
    "select {}",
    "set work_mem = '{}MB'",
    "set local work_mem = '{}MB'",
    "reset work_mem",
    "show work_mem",
    "set search_path = app, public",
    "set search_path to default",
    "show search_path",
    "select n from shared order by n",
    "insert into shared values ({})",
    "set timezone = 'Etc/GMT+{}'",
    "select '2024-07-01 00:00+00'::timestamptz",
    "set app.x = 'x{}'",
    "select set_config('app.y', 'y{}', false)",
    "select set_config('app.y', 'local', true)",
    "select loud('l{}')",
    "select coalesce(current_setting('app.x', true), '')",
    "reset all",
    "discard all",
    "set lock_timeout = '{}s'",
    "show lock_timeout",
    "create temp table t{} (n int)",
    "create temp table t{} on commit drop as select 1 as n",
    "insert into t{} values (1)",
    "select count(*) from t{}",
    "drop table t{}",
    "discard temp",
    "select temporary()",
    "select count(*) from made",
    "declare c{} cursor with hold for select generate_series(1, 3)",
    "declare d{} cursor for select generate_series(1, 3)",
    "fetch 1 from c{}",
    "fetch 1 from d{}",
    "close c{}",
    "close all",
    "select pg_try_advisory_lock({})",
    "select pg_advisory_unlock({})",
    "select pg_advisory_unlock_all()",
    "select pg_try_advisory_xact_lock({})",
    "prepare p{} as select {} + 1",
    "execute p{}",
    "deallocate p{}",
    "deallocate all",
    "listen ch{}",
    "unlisten ch{}",
    "notify ch{}, 'hello'",
    "select pg_listening_channels()",
    "select nextval('counter')",
    "insert into counted default values",
    "insert into counted default values returning n",
    "select currval('counter')",
    "select lastval()",
    "select setseed(0.{})",
    "select quiet({})",
    "do $$ begin create temp table if not exists t{} (n int); end $$",
    "copy shared to stdout",
    "",
];

/// What one client does next.
#[derive(Debug, Clone)]
enum Act {
    Line(usize, u8),
    Several(usize, usize, u8),
    Prepare(u8, usize),
    Run(u8),
    Describe(u8),
    Close(u8),
    Deallocate(u8),
    Unnamed(usize, u8),
    RunUnnamed,
    Pipeline(usize, usize, u8),
    Copy(bool),
}

fn line(index: usize, number: u8) -> String {
    LINES[index % LINES.len()].replace("{}", &(number % 3 + 1).to_string())
}

impl Act {
    fn step(&self, who: usize) -> Step {
        let name = |number: u8| format!("s{}", number % 3);
        match *self {
            Self::Line(index, number) => query(who, &line(index, number)),
            Self::Several(one, other, number) => query(
                who,
                &format!("{}; {}", line(one, number), line(other, number)),
            ),
            Self::Prepare(number, index) => {
                let (name, sql) = (name(number), line(index, number));
                messages(
                    who,
                    &format!("parse {name}: {sql}"),
                    &[parse(&name, &sql), sync()],
                )
            }
            Self::Run(number) => {
                let name = name(number);
                let run = [bind(&name, &[]), execute(), sync()];
                messages(who, &format!("run {name}"), &run)
            }
            Self::Describe(number) => {
                let name = name(number);
                messages(
                    who,
                    &format!("describe {name}"),
                    &[describe(b'S', &name), sync()],
                )
            }
            Self::Close(number) => {
                let name = name(number);
                messages(who, &format!("close {name}"), &[close(b'S', &name), sync()])
            }
            Self::Deallocate(number) => query(who, &format!("deallocate {}", name(number))),
            Self::Unnamed(index, number) => {
                let sql = line(index, number);
                messages(who, &format!("parse: {sql}"), &[parse("", &sql), sync()])
            }
            Self::RunUnnamed => messages(who, "run", &[bind("", &[]), execute(), sync()]),
            Self::Pipeline(one, other, number) => {
                let (one, other) = (line(one, number), line(other, number));
                messages(
                    who,
                    &format!("pipeline: {one} | {other} | s{}", number % 3),
                    &[
                        parse("", &one),
                        bind("", &[]),
                        execute(),
                        parse("", &other),
                        bind("", &[]),
                        execute(),
                        sync(),
                        bind(&name(number), &[]),
                        execute(),
                        sync(),
                    ],
                )
            }
            Self::Copy(good) => {
                let data = if good { "1\n" } else { "x\n" };
                copy_in(who, "copy shared from stdin", data)
            }
        }
    }

    /// COPY out and a COPY in whose client does not know of it, and LISTEN by the extended
    /// protocol, are for scripts by hand.
    fn any() -> impl Strategy<Value = Self> {
        let index = 0..LINES.len();
        prop_oneof![
            12 => (index.clone(), 0_u8..3).prop_map(|(index, number)| Self::Line(index, number)),
            2 => (index.clone(), index.clone(), 0_u8..3)
                .prop_map(|(one, other, number)| Self::Several(one, other, number)),
            2 => (0_u8..3, index.clone()).prop_map(|(number, index)| Self::Prepare(number, index)),
            3 => (0_u8..3).prop_map(Self::Run),
            1 => (0_u8..3).prop_map(Self::Describe),
            1 => (0_u8..3).prop_map(Self::Close),
            1 => (0_u8..3).prop_map(Self::Deallocate),
            1 => (index.clone(), 0_u8..3).prop_map(|(index, number)| Self::Unnamed(index, number)),
            1 => Just(Self::RunUnnamed),
            2 => (index.clone(), index, 0_u8..3)
                .prop_map(|(one, other, number)| Self::Pipeline(one, other, number)),
            1 => any::<bool>().prop_map(Self::Copy),
        ]
    }
}

/// Who does what, what the intruder does meanwhile; and how the bytes are cut.
type Program = (Vec<(usize, Act, Mood)>, usize);

fn program() -> impl Strategy<Value = Program> {
    let mood = proptest::sample::select(&MOODS[..]);
    let steps = proptest::collection::vec((0..CLIENTS, Act::any(), mood), 1..40);
    let piece = prop_oneof![Just(WHOLE), 1_usize..60];
    (steps, piece)
}

/// Runs so many programs; one that differs is made as short as can be.
fn run(cases: u32, ground: impl Future<Output = Ground>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // No options: RESET of one shows the server's default up to the transaction's end.
    let stage = runtime.block_on(async { Stage::on(ground.await, "auto", CLIENTS, "").await });
    let test = |(program, piece): Program| {
        let script: Vec<Step> = program.iter().map(|(who, act, _)| act.step(*who)).collect();
        let moods: Vec<Mood> = program.iter().map(|(_, _, mood)| *mood).collect();
        runtime.block_on(stage.compare(&script, &moods, piece))
    };
    let log = || stage.proxy.log().tail();
    try_programs(cases, &program(), test, log);
    let metrics = runtime.block_on(stage.proxy.metrics());
    assert!(metrics.value("entrapool_handovers_total", &[]) > f64::from(cases) * 5.0);
}

#[test]
fn programs_are_as_without_us() {
    run(60, Ground::azure());
}

#[test]
fn programs_on_postgresql_18_are_as_without_us() {
    run(20, Ground::eighteen());
}

#[test]
#[ignore = "long: cargo xtask test --full"]
fn many_programs_are_as_without_us() {
    run(cases().unwrap_or(1_500), Ground::azure());
}

#[test]
#[ignore = "long: cargo xtask test --full"]
fn many_programs_on_postgresql_18_are_as_without_us() {
    run(cases().unwrap_or(500), Ground::eighteen());
}
