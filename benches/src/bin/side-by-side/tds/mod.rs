//! TDS: entrapool, tdspool and HAProxy on a server that costs next to nothing, in turns.
//!
//! Clients are in plain on loopback, as applications beside entrapool are. The server and the
//! clients are this process; what is counted is the CPU time of the pooler's.

mod answers;
mod client;
mod envelope;
mod greeting;
mod idle;
mod load;
mod poolers;
mod server;

use anyhow::Context as _;

use crate::Arguments;
use crate::pooler::Pooler;
use crate::table::{Cell, Reading, Row, Table, Unit};
use client::Work;
use load::PATIENCE;
use poolers::{CONTENDERS, Contender, PAIRS};
use server::Server;

/// How many idle clients there are; more than that, tdspool does not take.
const IDLE: u32 = 1_000;
/// Most clients of a case.
const MOST: u32 = 64;

/// A row of the table.
struct Case {
    name: &'static str,
    work: Work,
    clients: u32,
}

const CASES: &[Case] = &[
    Case {
        name: "batch, 8 clients",
        work: Work::Batch,
        clients: 8,
    },
    Case {
        name: "batch, 64 clients",
        work: Work::Batch,
        clients: MOST,
    },
    Case {
        name: "sp_executesql, 8 clients",
        work: Work::Call,
        clients: 8,
    },
    Case {
        name: "sp_execute, 8 clients",
        work: Work::Prepared,
        clients: 8,
    },
    Case {
        name: "sp_execute, 64 clients",
        work: Work::Prepared,
        clients: MOST,
    },
    Case {
        name: "10 MB result, 1 client",
        work: Work::Large,
        clients: 1,
    },
];

/// Measures everything, and prints it as Markdown.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let server = Server::start().await?;
    let present = present().await?;
    let columns = CONTENDERS.iter().map(|one| one.name().to_owned());
    let mut table = Table::new(columns.collect(), PAIRS.to_vec());
    // Memory is measured on processes that have done nothing else.
    let mut cells = Vec::new();
    for &contender in CONTENDERS {
        cells.push(match present.contains(&contender) {
            true => Cell::of(memory(contender, &server).await, contender.name()),
            false => contender.missing(),
        });
    }
    let memory = Row {
        name: format!("memory per idle client, {IDLE} clients"),
        cells,
        bar: None,
    };
    let mut running = Vec::new();
    for &contender in CONTENDERS {
        running.push(match present.contains(&contender) {
            true => contender.start(&server).await.map(Some),
            false => Ok(None),
        });
    }
    for case in CASES {
        eprintln!("{} ...", case.name);
        let cells = case.run(&running, arguments).await;
        table.push(Row {
            name: case.name.to_owned(),
            cells,
            bar: None,
        });
    }
    table.push(memory);
    arguments.publish("sqlserver", &table, 2)
}

/// Who is installed; says so, with versions.
async fn present() -> anyhow::Result<Vec<Contender>> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("TDS: {cores} cores, clients in plain on loopback\n");
    let mut present = Vec::new();
    for &contender in CONTENDERS {
        let version = contender.version().await;
        let name = contender.name();
        match (
            version.with_context(|| name.to_owned())?,
            contender.package(),
        ) {
            (Some(version), _) => {
                println!("- {name}: {}", version.lines().next().unwrap_or_default());
                present.push(contender);
            }
            (None, package) => println!(
                "- {name}: not measured; apt-get install {}",
                package.unwrap_or_default()
            ),
        }
    }
    println!();
    Ok(present)
}

async fn memory(contender: Contender, server: &Server) -> anyhow::Result<Vec<Reading>> {
    eprintln!("memory, {} ...", contender.name());
    let pooler = contender.start(server).await?;
    let bytes = tokio::time::timeout(PATIENCE, idle::run(&pooler, IDLE)).await;
    let bytes = bytes.context("a client without an answer")??;
    Ok(vec![Reading::new(Unit::Client, bytes, f64::NAN)])
}

impl Case {
    /// Turn by turn.
    async fn run(
        &self,
        running: &[anyhow::Result<Option<Pooler>>],
        arguments: &Arguments,
    ) -> Vec<Cell> {
        let mut turns: Vec<anyhow::Result<Vec<Reading>>> = Vec::new();
        for pooler in running {
            // Caches and backends warm up.
            turns.push(match pooler {
                Ok(Some(pooler)) => self.turn(pooler, 1).await.map(|_| Vec::new()),
                Ok(None) => Ok(Vec::new()),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            });
        }
        for _ in 0..arguments.rounds {
            for (pooler, so_far) in running.iter().zip(&mut turns) {
                let (Ok(Some(pooler)), Ok(done)) = (pooler, &mut *so_far) else {
                    continue;
                };
                match self.turn(pooler, arguments.seconds).await {
                    Ok(turn) => done.push(turn),
                    Err(error) => *so_far = Err(error),
                }
            }
        }
        let each = CONTENDERS.iter().zip(running).zip(turns);
        each.map(|((&contender, pooler), turns)| match pooler {
            Ok(None) => contender.missing(),
            _ => Cell::of(turns, contender.name()),
        })
        .collect()
    }

    async fn turn(&self, pooler: &Pooler, seconds: u32) -> anyhow::Result<Reading> {
        load::run(pooler, (self.work, self.clients), seconds).await
    }
}
