//! `cargo demo`: a local Azure, the real proxy on it, and a query over each protocol.
//!
//! Starts everything, shows what to try, and tells of every token refresh until Ctrl-C. With
//! `--once` it checks itself instead and ends. Nothing of it stays on the machine.

mod check;
mod clients;
mod metrics;
mod proxy;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use entrapool_emulator::tds::TdsServer;
use entrapool_emulator::{LocalAzure, ServerChoice};
use tokio::signal::unix::{SignalKind, signal};

use proxy::Proxy;

/// Long enough to look at, short enough to see a refresh.
const TOKEN_LIFE: u64 = 60;
/// Shorter for the self-check, which waits for a refresh.
const TOKEN_LIFE_ONCE: u64 = 12;

/// A local Azure with two database servers, and entrapool in front of them.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", version)]
struct Arguments {
    /// Check that everything works, then end: exit code 0 or 1
    #[arg(long)]
    once: bool,
    /// Which PostgreSQL; without it, a real one if this machine has it
    #[arg(long, value_enum)]
    postgres: Option<Server>,
    /// How long tokens live [default: 60, with --once 12]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(8..=86_400))]
    token_life: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Server {
    /// A stand-in that checks tokens in front of SQLite; needs nothing installed
    Embedded,
    /// A throw-away cluster of the PostgreSQL on this machine
    Real,
}

/// What runs.
struct Demo {
    azure: LocalAzure,
    sql_server: TdsServer,
    proxy: Proxy,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Handlers first: from here on no signal can end us with something left behind.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let signalled = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    };
    let mut demo = None;
    let outcome = tokio::select! {
        outcome = perform(arguments, &mut demo) => outcome,
        () = signalled => {
            println!("\nstopping");
            if arguments.once {
                Err(anyhow::anyhow!("stopped before the checks were done"))
            } else {
                Ok(())
            }
        }
    };
    // In this order: the proxy first, so that it does not complain of a lost Azure.
    if let Some(demo) = demo {
        demo.proxy.stop().await;
        drop((demo.sql_server, demo.azure));
    }
    outcome
}

/// Starts everything into `demo`, where a signal finds it, and goes on as asked.
async fn perform(arguments: &Arguments, demo: &mut Option<Demo>) -> anyhow::Result<()> {
    println!("building entrapool (release)");
    let binary = proxy::build().await?;
    let azure = start_azure(arguments).await?;
    let sql_server = azure
        .sql_server()?
        .start()
        .await
        .context("cannot start the TDS server")?;
    let proxy = Proxy::start(&binary, &azure, &sql_server)?;
    let Demo {
        azure,
        sql_server,
        proxy,
    } = demo.insert(Demo {
        azure,
        sql_server,
        proxy,
    });
    proxy.ready().await?;
    if arguments.once {
        return check::everything(azure, sql_server, proxy).await;
    }
    show::introduce(azure, sql_server, proxy).await?;
    show::refreshes(azure, proxy).await
}

async fn start_azure(arguments: &Arguments) -> anyhow::Result<LocalAzure> {
    let usual = if arguments.once {
        TOKEN_LIFE_ONCE
    } else {
        TOKEN_LIFE
    };
    let life = Duration::from_secs(arguments.token_life.unwrap_or(usual));
    let server = match arguments.postgres {
        None => ServerChoice::Auto,
        Some(Server::Embedded) => ServerChoice::Embedded,
        Some(Server::Real) => ServerChoice::Real,
    };
    LocalAzure::builder()
        .server(server)
        .token_life(life)
        .start()
        .await
        .context("cannot start the local Azure")
}
