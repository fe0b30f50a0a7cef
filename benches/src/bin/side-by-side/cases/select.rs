//! `pgbench -S`: CPU time of the pooler per transaction.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::Arguments;
use crate::poolers::Pooler;
use crate::process::cpu_seconds;
use crate::scene::{CLIENT, Scene};

/// One way to run pgbench.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    mode: &'static str,
    clients: &'static str,
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "select, simple, 8 clients",
        mode: "simple",
        clients: "8",
    },
    Case {
        name: "select, simple, 64 clients",
        mode: "simple",
        clients: "64",
    },
];

/// What one turn came to.
#[derive(Clone, Copy, Default)]
struct Turn {
    transactions: f64,
    cpu_seconds: f64,
    seconds: f64,
}

impl Turn {
    fn microseconds_each(self) -> f64 {
        self.cpu_seconds * 1e6 / self.transactions
    }

    fn add(&mut self, other: Self) {
        self.transactions += other.transactions;
        self.cpu_seconds += other.cpu_seconds;
        self.seconds += other.seconds;
    }
}

impl Case {
    /// Turn by turn, then the sums; the last pooler is 1.
    pub(crate) async fn run(
        &self,
        poolers: &[Pooler],
        scene: &Scene,
        arguments: &Arguments,
    ) -> anyhow::Result<()> {
        println!("\n{} (CPU of the pooler per transaction)", self.name);
        let mut sums = vec![Turn::default(); poolers.len()];
        for pooler in poolers {
            // Caches and backends warm up.
            self.turn(pooler, scene, 1).await?;
        }
        for _ in 0..arguments.turns {
            for (pooler, sum) in poolers.iter().zip(&mut sums) {
                sum.add(self.turn(pooler, scene, arguments.seconds).await?);
            }
        }
        let base = sums.last().map_or(1.0, |sum| sum.microseconds_each());
        for (pooler, sum) in poolers.iter().zip(&sums) {
            println!(
                "  {:<20} {:>6.1} µs = {:.2}; {:.0} per second",
                pooler.name,
                sum.microseconds_each(),
                sum.microseconds_each() / base,
                sum.transactions / sum.seconds
            );
        }
        Ok(())
    }

    async fn turn(&self, pooler: &Pooler, scene: &Scene, seconds: u32) -> anyhow::Result<Turn> {
        let before = cpu_seconds(pooler.pid)?;
        let output = Command::new(scene.program("pgbench")?)
            .args(["--no-vacuum", "--select-only", "--jobs", "1"])
            .args(["--protocol", self.mode, "--client", self.clients])
            .args(["--time", &seconds.to_string()])
            .args(["--host", &pooler.address.ip().to_string()])
            .args(["--port", &pooler.address.port().to_string()])
            .args(["--username", CLIENT, scene.database()])
            .env("PGSSLMODE", "disable")
            .env("PGGSSENCMODE", "disable")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run pgbench")?;
        let after = cpu_seconds(pooler.pid)?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "pgbench through {}: {}\n{said}{}",
            pooler.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let transactions = transactions(&said).with_context(|| format!("pgbench said {said}"))?;
        Ok(Turn {
            transactions,
            cpu_seconds: after - before,
            seconds: f64::from(seconds),
        })
    }
}

/// How many there were; none may have failed.
fn transactions(said: &str) -> Option<f64> {
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    let failed = field("number of failed transactions: ")?;
    let count = field("number of transactions actually processed: ")?;
    (failed.starts_with("0 ") && count != "0").then_some(())?;
    count.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::transactions;

    #[test]
    fn only_a_run_without_failures_counts() {
        let said = |failed: &str| {
            format!(
                "transaction type: <builtin: select only>\n\
                 number of transactions actually processed: 1234\n\
                 number of failed transactions: {failed}\n"
            )
        };
        assert_eq!(transactions(&said("0 (0.000%)")), Some(1234.0));
        assert_eq!(transactions(&said("3 (0.243%)")), None);
        assert_eq!(transactions("pgbench: error"), None);
    }
}
