//! PostgreSQL's own load generator: CPU time of the pooler per transaction.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::poolers::Running;
use super::scene::Scene;
use crate::pooler::directory;
use crate::process::{cpu_seconds, switches};
use crate::table::{Reading, Unit};

/// One way to run it.
pub(super) struct Script {
    pub(super) mode: &'static str,
    text: &'static str,
    clients: u32,
    reconnects: bool,
}

impl Script {
    /// `mode` is pgbench's `--protocol`, `text` a transaction in its language.
    pub(super) const fn new(mode: &'static str, text: &'static str, clients: u32) -> Self {
        Self {
            mode,
            text,
            clients,
            reconnects: false,
        }
    }

    /// The same with a connection for each transaction.
    pub(super) const fn reconnecting(self) -> Self {
        Self {
            reconnects: true,
            ..self
        }
    }
}

/// One turn.
pub(super) async fn run(
    script: &Script,
    running: &Running,
    scene: &Scene,
    seconds: u32,
) -> anyhow::Result<Reading> {
    let pid = running.pooler.pid;
    let (cpu, switched) = (cpu_seconds(pid)?, switches(pid)?);
    let done = bench(script, running, scene, seconds).await?;
    let microseconds = (cpu_seconds(pid)? - cpu) * 1e6 / done.transactions;
    let rate = done.transactions / f64::from(seconds);
    Ok(Reading {
        switches: Some((switches(pid)? - switched) / done.transactions),
        latency: done.latency,
        ..Reading::new(Unit::Request, microseconds, rate)
    })
}

/// How many transactions there were in a turn.
pub(super) async fn transactions(
    script: &Script,
    running: &Running,
    scene: &Scene,
    seconds: u32,
) -> anyhow::Result<f64> {
    let done = bench(script, running, scene, seconds).await?;
    Ok(done.transactions)
}

struct Done {
    transactions: f64,
    latency: Option<(f64, f64)>,
}

async fn bench(
    script: &Script,
    running: &Running,
    scene: &Scene,
    seconds: u32,
) -> anyhow::Result<Done> {
    let directory = directory()?;
    let file = directory.path().join("script");
    fs::write(&file, script.text).context("cannot write a script")?;
    let address = running.pooler.address;
    let mut command = Command::new(scene.program("pgbench")?);
    command
        .args(["--no-vacuum", "--jobs", "1", "--file"])
        .arg(&file)
        .args(["--protocol", script.mode])
        .args(["--client", &script.clients.to_string()])
        .args(["--time", &seconds.to_string()])
        .args(["--log", "--sampling-rate", "0.1", "--log-prefix"])
        .arg(directory.path().join("times"))
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .args(["--username", running.user, scene.database()])
        .env("PGSSLMODE", "disable")
        .env("PGGSSENCMODE", "disable")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if script.reconnects {
        command.arg("--connect");
    }
    let output = command.output().await.context("cannot run pgbench")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "pgbench through {}: {}\n{said}{}",
        running.pooler.name,
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Done {
        transactions: processed(&said).with_context(|| format!("pgbench said {said}"))?,
        latency: percentiles(directory.path())?,
    })
}

/// How many there were; none may have failed.
fn processed(said: &str) -> Option<f64> {
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    let failed = field("number of failed transactions: ")?;
    let count = field("number of transactions actually processed: ")?;
    (failed.starts_with("0 ") && count != "0").then_some(())?;
    count.parse().ok()
}

/// The median and the 99th percentile of what pgbench logged, in milliseconds.
fn percentiles(directory: &Path) -> anyhow::Result<Option<(f64, f64)>> {
    let mut times = Vec::new();
    for file in fs::read_dir(directory).context("pgbench's logs")? {
        let path = file.context("pgbench's logs")?.path();
        let is_log = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("times"));
        if is_log {
            let text = fs::read_to_string(&path).context("pgbench's log")?;
            let third = |line: &str| line.split(' ').nth(2)?.parse::<f64>().ok();
            times.extend(text.lines().filter_map(third));
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).map(|time| time / 1e3);
    Ok(at(50).zip(at(99)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_without_failures_counts() {
        let said = |failed: &str| {
            format!(
                "transaction type: <builtin: select only>\n\
                 number of transactions actually processed: 1234\n\
                 number of failed transactions: {failed}\n"
            )
        };
        assert_eq!(processed(&said("0 (0.000%)")), Some(1234.0));
        assert_eq!(processed(&said("3 (0.243%)")), None);
        assert_eq!(processed("pgbench: error"), None);
    }

    #[test]
    fn percentiles_are_of_all_logs() {
        let directory = directory().unwrap();
        for (name, times) in [("times.1", 0..50), ("times.1.1", 50..100)] {
            let lines = times.map(|time| format!("0 1 {time}000 0 1 2\n"));
            fs::write(directory.path().join(name), lines.collect::<String>()).unwrap();
        }
        let found = percentiles(directory.path()).unwrap();
        assert_eq!(found, Some((50.0, 99.0)));
    }
}
