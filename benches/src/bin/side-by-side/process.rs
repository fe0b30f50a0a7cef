//! What a process has used, from `/proc`.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

/// CPU time of user and kernel so far, in seconds, all threads.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = ticks(&text).with_context(|| format!("{path} is not as in proc(5)"))?;
    // Far below 2^52.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a bench")]
    let ticks = ticks as f64;
    Ok(ticks / ticks_per_second()?)
}

/// `utime` and `stime`, fields 14 and 15 of proc(5); the name before them may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn ticks_per_second() -> anyhow::Result<f64> {
    let output = Command::new("getconf")
        .arg("CLK_TCK")
        .output()
        .context("cannot run getconf")?;
    ensure!(
        output.status.success(),
        "getconf CLK_TCK: {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().context("getconf CLK_TCK is no number")
}

/// Context switches so far, of all threads, whoever wanted them.
pub(crate) fn switches(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/task");
    let mut sum = 0.0;
    for task in fs::read_dir(&path).with_context(|| format!("cannot list {path}"))? {
        let status = task.context("a thread")?.path().join("status");
        // It may have ended meanwhile.
        let text = fs::read_to_string(status).unwrap_or_default();
        let counts = text.lines().filter_map(|line| {
            let (name, count) = line.split_once(':')?;
            let counts = name.ends_with("voluntary_ctxt_switches");
            counts.then(|| count.trim().parse::<f64>().ok())?
        });
        sum += counts.sum::<f64>();
    }
    Ok(sum)
}

/// Counts system calls from now on, with strace: `None` if it is not installed.
pub(crate) fn count_calls(pid: u32) -> Option<CallCounter> {
    let child = Command::new("strace")
        .args(["-f", "-c", "-p"])
        .arg(pid.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    child.ok().map(CallCounter)
}

/// A strace that counts. It slows its process down, so that nothing else is measured meanwhile.
pub(crate) struct CallCounter(Child);

impl CallCounter {
    /// How many there were.
    pub(crate) fn finish(mut self) -> anyhow::Result<f64> {
        // It sums up when it is interrupted, and lets its process go.
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status();
        ensure!(
            told.context("cannot run kill")?.success(),
            "kill -INT {pid}"
        );
        let mut said = String::new();
        let mut errors = self.0.stderr.take().context("strace's output")?;
        errors
            .read_to_string(&mut said)
            .context("strace's output")?;
        self.0.wait().context("strace")?;
        total_calls(&said).with_context(|| format!("strace said {said}"))
    }
}

/// The fourth figure of the line that ends in `total`, or the third where no call failed.
fn total_calls(said: &str) -> Option<f64> {
    let total = said
        .lines()
        .find(|line| line.trim_end().ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

/// Resident memory, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kilobytes: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("{path} has no VmRSS"))?;
    Ok(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_behind_the_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 700 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(730));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn the_sum_of_calls_is_in_the_last_line() {
        let said = "% time     seconds  usecs/call     calls    errors syscall\n\
                    100.00    0.000047           1        25         1 total\n";
        assert_eq!(total_calls(said), Some(25.0));
        assert_eq!(total_calls("strace: attach: no such process"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100_000);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
    }
}
