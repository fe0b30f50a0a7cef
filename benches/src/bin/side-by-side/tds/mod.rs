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
mod table;

use anyhow::Context as _;

use crate::Arguments;
use crate::poolers::Pooler;
use client::Work;
use load::{PATIENCE, Turn};
use poolers::{CONTENDERS, Contender};
use server::Server;
use table::{Cell, Table};

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
    let mut table = Table::new(CONTENDERS);
    // Memory is measured on processes that have done nothing else.
    let name = format!("memory per idle client, {IDLE} clients");
    let mut cells = Vec::new();
    for &contender in CONTENDERS {
        cells.push(match present.contains(&contender) {
            true => Cell::of(memory(contender, &server).await, contender),
            false => Cell::Missing(contender),
        });
    }
    let memory = (name, cells);
    let mut running = Vec::new();
    for &contender in CONTENDERS {
        running.push(match present.contains(&contender) {
            true => Some(contender.start(&server).await?),
            false => None,
        });
    }
    for case in CASES {
        eprintln!("{} ...", case.name);
        let cells = case.run(&running, arguments).await;
        table.push(case.name.to_owned(), cells);
    }
    table.push(memory.0, memory.1);
    println!("{table}");
    Ok(())
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

async fn memory(contender: Contender, server: &Server) -> anyhow::Result<Vec<Turn>> {
    eprintln!("memory, {} ...", contender.name());
    let pooler = contender.start(server).await?;
    let bytes = tokio::time::timeout(PATIENCE, idle::run(&pooler, IDLE)).await;
    let bytes = bytes.context("a client without an answer")??;
    Ok(vec![Turn::Memory { bytes }])
}

impl Case {
    /// Turn by turn.
    async fn run(&self, running: &[Option<Pooler>], arguments: &Arguments) -> Vec<Cell> {
        let mut turns: Vec<anyhow::Result<Vec<Turn>>> = Vec::new();
        for pooler in running {
            // Caches and backends warm up.
            turns.push(match pooler {
                Some(pooler) => self.turn(pooler, 1).await.map(|_| Vec::new()),
                None => Ok(Vec::new()),
            });
        }
        for _ in 0..arguments.turns {
            for (pooler, so_far) in running.iter().zip(&mut turns) {
                let (Some(pooler), Ok(done)) = (pooler, &mut *so_far) else {
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
            Some(_) => Cell::of(turns, contender),
            None => Cell::Missing(contender),
        })
        .collect()
    }

    async fn turn(&self, pooler: &Pooler, seconds: u32) -> anyhow::Result<Turn> {
        load::run(pooler, (self.work, self.clients), seconds).await
    }
}
