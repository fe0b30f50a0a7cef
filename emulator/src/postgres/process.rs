//! The server process: start, readiness, stop. Dropping it stops the server at once.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::install::Installation;
use crate::error::Error;

/// A new cluster answers within a second; a slow disk may need much longer.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// `pg_ctl`'s own patience, seconds.
const STOP_LIMIT: &str = "20";
/// How much of a log an error carries.
const TAIL: usize = 2_000;

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Sessions are ended with 57P01, then a checkpoint.
    Fast,
    /// Sessions are cut off, as in a crash; recovery runs at the next start.
    Immediate,
}

/// A cluster's server, running or not.
#[derive(Debug)]
pub(super) struct Process {
    installation: Installation,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub(super) fn new(installation: Installation, data: PathBuf, log: PathBuf) -> Self {
        Self {
            installation,
            data,
            log,
            child: None,
        }
    }

    pub(super) fn log_file(&self) -> &Path {
        &self.log
    }

    /// Starts the server; it may not answer yet.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Error::io(format!("open {}", self.log.display())))?;
        let child = self
            .installation
            .command("postgres")
            .arg("-D")
            .arg(&self.data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C in a terminal is for us; we stop the server in our own order.
            .process_group(0)
            .spawn()
            .map_err(Error::io("start postgres"))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the superuser can log in.
    pub(super) async fn answers(&mut self, sockets: &Path, port: u16) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            if super::admin(sockets, port, "postgres").await.is_ok() {
                return Ok(());
            }
            let ended = match &mut self.child {
                None => Some("it is not running".to_owned()),
                Some(child) => child
                    .try_wait()
                    .map_err(Error::io("ask after postgres"))?
                    .map(|status| format!("it ended with {status}")),
            };
            if let Some(reason) = ended {
                self.child = None;
                return Err(self.failure(reason));
            }
            if started.elapsed() > START_LIMIT {
                return Err(self.failure(format!("no answer within {START_LIMIT:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops the server and waits for its end.
    pub(super) fn stop(&mut self, mode: StopMode) -> Result<(), Error> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let mode = match mode {
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
        };
        let mut command = self.installation.command("pg_ctl");
        command
            .args(["stop", "--silent", "--mode", mode, "--timeout", STOP_LIMIT])
            .arg("--pgdata")
            .arg(&self.data);
        let stopped = output("pg_ctl", &mut command);
        if stopped.is_err() {
            // Killed, it leaves its backends; they end when they notice. Already gone is fine.
            let _already_gone = child.kill();
        }
        child.wait().map_err(Error::io("wait for postgres"))?;
        stopped.map(|_| ())
    }

    fn failure(&self, reason: String) -> Error {
        let log = fs::read(&self.log).unwrap_or_default();
        Error::Postgres {
            program: "postgres",
            reason,
            output: tail(&log),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure; the process itself is killed in that case.
        let _last_resort = self.stop(StopMode::Immediate);
    }
}

/// Runs a program to its end; its standard output, or an error with all it said.
pub(super) fn output(program: &'static str, command: &mut Command) -> Result<String, Error> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(format!("run {program}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Postgres {
        program,
        reason: output.status.to_string(),
        output: tail(&said),
    })
}

fn tail(text: &[u8]) -> String {
    let start = text.len().saturating_sub(TAIL);
    String::from_utf8_lossy(&text[start..]).into_owned()
}
