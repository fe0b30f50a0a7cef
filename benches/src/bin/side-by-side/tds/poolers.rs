//! Who is compared: entrapool with and without TLS to the server, FreeTDS's pooler, and a relay that
//! knows nothing of what it carries. FreeTDS's pooler has no TLS to the server: with `encryption =
//! require` it logs in, and then sends in clear.

mod entrapool;
mod tdspool;

use std::io;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::client::{Client, Work};
use super::greeting::Account;
use super::server::Server;
use crate::haproxy;
use crate::pooler::Pooler;
use crate::table::Cell;

/// What is between a pooler and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    /// TLS inside PRELOGIN packets.
    Tls,
    /// Nothing.
    Plain,
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The product.
    Entrapool(Leg),
    /// `tdspool`.
    Tdspool,
    /// HAProxy, which relays bytes.
    Haproxy,
}

/// All of them, in the table's order.
pub(crate) const CONTENDERS: &[Contender] = &[
    Contender::Entrapool(Leg::Tls),
    Contender::Entrapool(Leg::Plain),
    Contender::Tdspool,
    Contender::Haproxy,
];

/// Who is measured against whom, by column.
pub(crate) const PAIRS: &[(usize, usize)] = &[(0, 2), (1, 2), (1, 3)];

/// For whom every pooler lets in.
pub(crate) const ACCOUNT: Account = Account {
    user: "bench",
    password: "bench-password",
};

impl Contender {
    /// The head of its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Entrapool(Leg::Tls) => "entrapool, TLS upstream",
            Self::Entrapool(Leg::Plain) => "entrapool, plain",
            Self::Tdspool => "tdspool, plain",
            Self::Haproxy => "HAProxy, plain",
        }
    }

    /// The Debian package that brings it, if one does.
    pub(crate) fn package(self) -> Option<&'static str> {
        match self {
            Self::Entrapool(_) => None,
            Self::Tdspool => Some("freetds-bin"),
            Self::Haproxy => Some("haproxy"),
        }
    }

    /// What its cells say if it is not installed.
    pub(crate) fn missing(self) -> Cell {
        Cell::Not(format!(
            "apt-get install {}",
            self.package().unwrap_or_default()
        ))
    }

    /// Its version, `None` if it is not installed.
    pub(crate) async fn version(self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Entrapool(_) => entrapool::version().await,
            // The pooler does not tell its own; its sibling of the same package does.
            Self::Tdspool => match said("tdspool", &[]).await? {
                None => Ok(None),
                Some(_) => said("tsql", &["-C"]).await.map(|said| {
                    let said = said.unwrap_or_default();
                    let line = said.lines().find_map(|line| line.split_once("Version: "));
                    Some(line.map_or_else(String::new, |(_, version)| version.trim().to_owned()))
                }),
            },
            Self::Haproxy => said("haproxy", &["-v"]).await,
        }
    }

    /// Starts it in front of the server. It has answered a batch.
    pub(crate) async fn start(self, server: &Server) -> anyhow::Result<Pooler> {
        let mut pooler = match self {
            Self::Entrapool(leg) => entrapool::spawn(server, leg)?,
            Self::Tdspool => tdspool::spawn(server)?,
            Self::Haproxy => haproxy::spawn(server.address(), 4_000)?,
        };
        let answer = async |address| {
            let mut client = Client::connect(address, ACCOUNT).await?;
            let exchange = client.begin(Work::Batch).await?;
            client.run(&exchange).await.map(|_| ())
        };
        let answers = pooler.answers(answer).await;
        answers.with_context(|| format!("{} does not answer", self.name()))?;
        Ok(pooler)
    }
}

/// What a program says; `None` if there is no such program.
async fn said(program: &str, arguments: &[&str]) -> anyhow::Result<Option<String>> {
    let output = Command::new(program).args(arguments).output().await;
    match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot run {program}")),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(
                arguments.is_empty() || output.status.success(),
                "{program}: {}",
                output.status
            );
            Ok(Some(text))
        }
    }
}
