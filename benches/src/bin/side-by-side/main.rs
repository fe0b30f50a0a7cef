//! Poolers side by side on the same server, in turns: A B A B. `cargo xtask bench` starts it.
//!
//! PostgreSQL: a real server with TLS from the emulator; entrapool logs in with tokens, PgBouncer
//! with a password (SCRAM). TDS: a server of the bench's own. Every pooler has eight backends, one
//! worker or thread, and clients in plain on loopback.

mod haproxy;
mod plot;
mod pooler;
mod postgres;
mod process;
mod table;
mod tds;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use table::Table;

/// CPU per transaction and memory per idle client, entrapool and others.
#[derive(Parser)]
struct Arguments {
    /// Which protocol; both, if none is named.
    #[arg(long)]
    engine: Option<Engine>,
    /// How long each turn of a case runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Turns per pooler and case.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only cases whose names contain this; of PostgreSQL.
    #[arg(long, default_value = "")]
    case: String,
    /// Only counts entrapool's instructions for one transaction, over so many of them.
    #[arg(long, value_name = "TRANSACTIONS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    instructions: Option<u32>,
    /// Where the tables and plots go.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// A protocol.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// PostgreSQL's, on a real server, with PgBouncer.
    Postgres,
    /// SQL Server's, on a server of the bench's own, with tdspool and HAProxy.
    Sqlserver,
}

impl Arguments {
    /// Prints a table and writes it and its plot to files. Column `base` is 1 in the plot.
    fn publish(&self, name: &str, table: &Table, base: usize) -> anyhow::Result<()> {
        println!("{table}");
        let title = format!("{name}: cost, {} = 1", table.columns()[base]);
        let files = [
            ("md", table.to_string()),
            ("svg", plot::svg(table, base, &title)),
        ];
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make {}", self.out.display()))?;
        for (extension, text) in files {
            let path = self.out.join(name).with_extension(extension);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(times) = arguments.instructions {
        return postgres::instructions::run(times).await;
    }
    if arguments.engine != Some(Engine::Sqlserver) {
        postgres::run(&arguments).await?;
    }
    if arguments.engine != Some(Engine::Postgres) {
        tds::run(&arguments).await?;
    }
    Ok(())
}
