//! What a process has used, from `/proc`.

use std::fs;
use std::process::Command;

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
    fn this_process_has_used_something() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100_000);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
    }
}
