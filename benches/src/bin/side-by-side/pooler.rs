//! The competitors: each a process that listens on a port of 127.0.0.1.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Backends of every pooler.
pub(crate) const BACKENDS: u32 = 8;

const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A running pooler; it ends when this is dropped.
pub(crate) struct Pooler {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    child: Child,
    log: PathBuf,
    _directory: TempDir,
}

impl Pooler {
    /// Starts it; it may need a while before it answers.
    pub(crate) fn spawn(
        name: String,
        address: SocketAddr,
        mut command: Command,
        directory: TempDir,
    ) -> anyhow::Result<Self> {
        let log = directory.path().join("log");
        let file = File::create(&log).context("cannot create a log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("cannot open a log twice")?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            pid: child.id().with_context(|| format!("{name} has ended"))?,
            name,
            address,
            child,
            log,
            _directory: directory,
        })
    }

    /// The same, with a configuration in a file: the command's last argument. `text` is given where
    /// to listen, and a directory.
    pub(crate) fn configured(
        name: &str,
        mut command: Command,
        file: &str,
        text: impl FnOnce(SocketAddr, &Path) -> String,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let directory = directory()?;
        let path = directory.path().join(file);
        let text = text(address, directory.path());
        fs::write(&path, text).with_context(|| format!("cannot write {file}"))?;
        command.arg(&path);
        Self::spawn(name.to_owned(), address, command, directory)
    }

    /// Waits until a query gets its answer.
    pub(crate) async fn answers(
        &mut self,
        query: impl AsyncFn(SocketAddr) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let ended = self.child.try_wait().context("cannot ask after a child")?;
            if let Some(status) = ended {
                bail!("{} ended with {status}\n{}", self.name, self.said());
            }
            match query(self.address).await {
                Ok(()) => return Ok(()),
                Err(error) if began.elapsed() > START_LIMIT => {
                    return Err(error.context(format!("{}\n{}", self.name, self.said())));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    listener.local_addr().context("no address")
}

pub(crate) fn directory() -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("entrapool-bench-")
        .tempdir()
        .context("cannot make a directory")
}
