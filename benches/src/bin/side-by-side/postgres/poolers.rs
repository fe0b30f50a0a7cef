//! Who is compared.

pub(super) mod entrapool;
mod odyssey;
mod pgbouncer;
mod pgcat;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::client::Client;
use super::scene::{CLIENT, OPEN_ROLE, Scene};
use crate::haproxy;
use crate::pooler::Pooler;

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contender {
    /// The product, `pool_mode=auto`.
    Entrapool,
    /// PgBouncer, `pool_mode=transaction`.
    Pgbouncer,
    /// HAProxy, which relays bytes.
    Haproxy,
    /// pgcat, `pool_mode=transaction`.
    Pgcat,
    /// Odyssey, `pool transaction`.
    Odyssey,
}

/// All of them, in the table's order.
pub(super) const CONTENDERS: [Contender; 5] = [
    Contender::Entrapool,
    Contender::Pgbouncer,
    Contender::Haproxy,
    Contender::Pgcat,
    Contender::Odyssey,
];

/// A pooler, and whom its clients say they are.
pub(super) struct Running {
    pub(super) pooler: Pooler,
    pub(super) user: &'static str,
}

impl Contender {
    /// The head of its column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Entrapool => "entrapool, TLS upstream",
            Self::Pgbouncer => "PgBouncer, TLS upstream",
            Self::Haproxy => "HAProxy, plain",
            Self::Pgcat => "pgcat, TLS upstream",
            Self::Odyssey => "Odyssey, TLS upstream",
        }
    }

    /// What to do if it is not there.
    pub(super) fn missing(self) -> String {
        match self {
            Self::Entrapool => "entrapool: cargo build --release".to_owned(),
            Self::Pgbouncer => "apt-get install pgbouncer, or PGBOUNCER=path".to_owned(),
            Self::Haproxy => "apt-get install haproxy".to_owned(),
            Self::Pgcat => "PGCAT=path".to_owned(),
            Self::Odyssey => "ODYSSEY=path".to_owned(),
        }
    }

    /// What it calls itself; `None` if it is not installed.
    pub(super) async fn version(self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Entrapool => said(Command::new(entrapool::program()?).arg("--version")).await,
            Self::Pgbouncer => said(Command::new(pgbouncer::program()).arg("--version")).await,
            Self::Haproxy => said(Command::new("haproxy").arg("-v")).await,
            Self::Pgcat => said(Command::new(pgcat::program()).arg("--version")).await,
            Self::Odyssey => said(Command::new(odyssey::program()).arg("--version")).await,
        }
    }

    /// Starts it; it has answered a query.
    pub(super) async fn start(self, scene: &Scene) -> anyhow::Result<Running> {
        let mut running = self.begin(scene)?;
        let (user, database) = (running.user, scene.database());
        let query = async |address| {
            let mut client = Client::connect(address, user, database).await?;
            client.query("select 1").await.map(|_| ())
        };
        let answers = running.pooler.answers(query).await;
        answers.with_context(|| format!("{} does not answer", self.name()))?;
        Ok(running)
    }

    /// Starts it; it listens, and has no backend yet.
    pub(super) async fn spawn(self, scene: &Scene) -> anyhow::Result<Running> {
        let mut running = self.begin(scene)?;
        let connect = async |address: SocketAddr| {
            TcpStream::connect(address).await.context("no listener")?;
            anyhow::Ok(())
        };
        let answers = running.pooler.answers(connect).await;
        answers.with_context(|| format!("{} does not listen", self.name()))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(running)
    }

    fn begin(self, scene: &Scene) -> anyhow::Result<Running> {
        let (pooler, user) = match self {
            Self::Entrapool => (entrapool::spawn(scene)?, CLIENT),
            Self::Pgbouncer => (pgbouncer::spawn(scene)?, CLIENT),
            Self::Haproxy => (
                haproxy::spawn(scene.azure().postgres_addr(), 1_000)?,
                OPEN_ROLE,
            ),
            Self::Pgcat => (pgcat::spawn(scene)?, CLIENT),
            Self::Odyssey => (odyssey::spawn(scene)?, CLIENT),
        };
        Ok(Running { pooler, user })
    }
}

/// The program that a variable names, or one on the path.
fn named_by(variable: &str, otherwise: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| otherwise.into())
}

/// The first line of what a program says; `None` if there is no such program.
async fn said(command: &mut Command) -> anyhow::Result<Option<String>> {
    match command.output().await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot ask a pooler for its version"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.lines().next().map(str::to_owned))
        }
    }
}
