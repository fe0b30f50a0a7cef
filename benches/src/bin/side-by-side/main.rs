//! Poolers side by side on the same server, in turns: A B A B. `cargo xtask bench` starts it.
//!
//! A real PostgreSQL with TLS from the emulator; entrapool logs in with tokens, PgBouncer with a
//! password (SCRAM). Both verify the server's certificate and name, both pool transactions over
//! eight backends. Every case is a file in `cases/`, every pooler one in `poolers/`. TDS has its
//! own of both, and a server of its own, in `tds/`.

mod cases;
mod poolers;
mod process;
mod scene;
mod tds;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use poolers::Pooler;
use scene::Scene;

/// CPU per transaction and memory per idle client, entrapool and others.
#[derive(Parser)]
struct Arguments {
    /// Which protocol; both, if none is named.
    #[arg(long)]
    engine: Option<Engine>,
    /// How long each turn of a case runs.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Turns per pooler and case.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// How many idle clients; of PostgreSQL.
    #[arg(long, default_value_t = 1_500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clients: u32,
}

/// A protocol.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// PostgreSQL's, on a real server, with PgBouncer.
    Postgres,
    /// SQL Server's, on a server of the bench's own, with tdspool and HAProxy.
    Sqlserver,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.engine != Some(Engine::Sqlserver) {
        postgres(&arguments).await?;
    }
    if arguments.engine != Some(Engine::Postgres) {
        tds::run(&arguments).await?;
    }
    Ok(())
}

async fn postgres(arguments: &Arguments) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    scene.describe()?;
    println!(
        "\nmemory, {} idle clients after a query each",
        arguments.clients
    );
    for pooler in start(&scene).await? {
        cases::idle::run(&pooler, &scene, arguments.clients).await?;
    }
    // Memory is measured on processes that have done nothing else, and those are gone now.
    let poolers = start(&scene).await?;
    for case in cases::select::CASES {
        case.run(&poolers, &scene, arguments)
            .await
            .with_context(|| format!("case {}", case.name))?;
    }
    Ok(())
}

async fn start(scene: &Scene) -> anyhow::Result<Vec<Pooler>> {
    Ok(vec![
        poolers::entrapool::start(scene).await?,
        poolers::pgbouncer::start(scene).await?,
    ])
}
