//! What is measured on running poolers, and what the first ratio is to be at most.

use anyhow::anyhow;

use super::pgbench::{self, Script};
use super::poolers::{CONTENDERS, Contender, Running};
use super::scene::Scene;
use super::stream::{self, Direction};
use crate::Arguments;
use crate::process::count_calls;
use crate::table::{Cell, Reading, Row};

/// A row of the table.
pub(super) struct Case {
    pub(super) name: &'static str,
    load: Load,
    bar: Option<f64>,
}

/// Who asks for what.
enum Load {
    Pgbench(Script),
    Stream(Direction),
}

const fn pgbench(name: &'static str, script: Script, bar: f64) -> Case {
    Case {
        name,
        load: Load::Pgbench(script),
        bar: Some(bar),
    }
}

/// A select by its key, without `\set`'s cost.
const SELECT: &str = "\\set aid random(1, 1000000)\n\
                      SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n";
const THINKING: &str = "\\set aid random(1, 1000000)\n\
                        SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\
                        \\sleep 1 ms\n";
const PIPELINE: &str = "\\set aid random(1, 1000000)\n\\startpipeline\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 1;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 2;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 3;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 4;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 5;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 6;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 7;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 8;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 9;\n\
    \\endpipeline\n";
/// What an object mapper does around a statement.
const MAPPER: &str = "\\set aid random(1, 1000000)\n\
    SET TimeZone TO 'UTC';\n\
    BEGIN;\n\
    SET LOCAL statement_timeout TO 5000;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\
    COMMIT;\n";

pub(super) const CASES: &[Case] = &[
    pgbench("simple, 8 clients", Script::new("simple", SELECT, 8), 0.82),
    pgbench(
        "prepared, 8 clients",
        Script::new("prepared", SELECT, 8),
        0.66,
    ),
    pgbench(
        "prepared, 64 clients",
        Script::new("prepared", SELECT, 64),
        0.56,
    ),
    pgbench(
        "reconnect per query, 8 clients",
        Script::new("simple", SELECT, 8).reconnecting(),
        1.0,
    ),
    pgbench("simple, 64 clients", Script::new("simple", SELECT, 64), 1.0),
    pgbench("simple, 1 client", Script::new("simple", SELECT, 1), 1.0),
    pgbench(
        "prepared, 1 client",
        Script::new("prepared", SELECT, 1),
        1.0,
    ),
    pgbench(
        "pipelines of 10, 8 clients",
        Script::new("prepared", PIPELINE, 8),
        1.0,
    ),
    pgbench(
        "1 ms think time, 500 clients",
        Script::new("simple", THINKING, 500),
        1.0,
    ),
    pgbench(
        "SET-heavy, 8 clients",
        Script::new("simple", MAPPER, 8),
        1.0,
    ),
    Case {
        name: "10 MB result, 1 client",
        load: Load::Stream(Direction::Result),
        bar: Some(1.0),
    },
    Case {
        name: "COPY out, 10 MB, 1 client",
        load: Load::Stream(Direction::CopyOut),
        bar: Some(1.0),
    },
    Case {
        name: "COPY in, 10 MB, 1 client",
        load: Load::Stream(Direction::CopyIn),
        bar: Some(1.0),
    },
];

impl Case {
    /// Turn by turn: A B A B.
    pub(super) async fn run(
        &self,
        running: &[anyhow::Result<Option<Running>>],
        versions: &[Option<String>],
        scene: &Scene,
        arguments: &Arguments,
    ) -> Row {
        let mut cells = Vec::new();
        for ((contender, pooler), version) in CONTENDERS.iter().zip(running).zip(versions) {
            cells.push(match (pooler, self.unfit(*contender, version.as_deref())) {
                (Ok(None), _) => Err(Cell::Not(contender.missing())),
                (_, Some(why)) => Err(Cell::Not(why)),
                (Err(error), _) => Err(Cell::of(Err(anyhow!("{error:#}")), contender.name())),
                (Ok(Some(pooler)), None) => match self.turn(pooler, scene, 1).await {
                    // Caches and backends have warmed up.
                    Ok(_) => Ok((pooler, Vec::new())),
                    Err(error) => Err(Cell::of(Err(error), contender.name())),
                },
            });
        }
        for _ in 0..arguments.rounds {
            for cell in &mut cells {
                let Ok((pooler, readings)) = cell else {
                    continue;
                };
                match self.turn(pooler, scene, arguments.seconds).await {
                    Ok(reading) => readings.push(reading),
                    Err(error) => *cell = Err(Cell::of(Err(error), &pooler.pooler.name)),
                }
            }
        }
        let mut done = Vec::new();
        for cell in cells {
            done.push(match cell {
                Ok((pooler, readings)) => {
                    let calls = self.calls(pooler, scene).await;
                    Cell::Measured(readings, calls)
                }
                Err(cell) => cell,
            });
        }
        Row {
            name: self.name.to_owned(),
            cells: done,
            bar: self.bar,
        }
    }

    /// Why a pooler can't do it.
    fn unfit(&self, contender: Contender, version: Option<&str>) -> Option<String> {
        let prepares = matches!(&self.load, Load::Pgbench(script) if script.mode == "prepared");
        let minor = version?.strip_prefix("PgBouncer 1.")?.split('.').next()?;
        let minor: u32 = minor.parse().ok()?;
        let is_old = contender == Contender::Pgbouncer && minor < 21;
        (is_old && prepares).then(|| "prepared statements came with 1.21".to_owned())
    }

    async fn turn(
        &self,
        running: &Running,
        scene: &Scene,
        seconds: u32,
    ) -> anyhow::Result<Reading> {
        match &self.load {
            Load::Pgbench(script) => pgbench::run(script, running, scene, seconds).await,
            Load::Stream(direction) => stream::run(*direction, running, scene, seconds).await,
        }
    }

    /// System calls for each transaction, in a turn of their own.
    async fn calls(&self, running: &Running, scene: &Scene) -> Option<f64> {
        let Load::Pgbench(script) = &self.load else {
            return None;
        };
        let counter = count_calls(running.pooler.pid)?;
        let count = pgbench::transactions(script, running, scene, 1).await;
        match (counter.finish(), count) {
            (Ok(calls), Ok(count)) => Some(calls / count),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("system calls of {}: {error:#}", running.pooler.name);
                None
            }
        }
    }
}
