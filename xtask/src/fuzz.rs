//! Fuzzing, by cargo-fuzz without a sanitizer: that works on a stable compiler.

use std::fs;

use anyhow::{Context as _, ensure};

use crate::deny::subcommand;
use crate::machine;
use crate::report::Report;
use crate::tree::{self, cargo};

/// A target's name is its file's in `protocol/fuzz/fuzz_targets` and its corpus's directory.
const HOME: &str = "protocol/fuzz";
/// A single allocation beyond this, in MiB, is a finding: lengths on the wire are lies.
const LARGEST_ALLOCATION: &str = "-malloc_limit_mb=64";
const LARGEST_MEMORY: &str = "-rss_limit_mb=1024";

/// Runs `only`, or every target, from the kept corpus.
pub(crate) fn run(report: &mut Report, seconds: u32, only: Option<&str>) -> anyhow::Result<()> {
    let targets = targets()?;
    if let Some(only) = only {
        let known = targets.iter().any(|target| target == only);
        ensure!(
            known,
            "no fuzz target {only}; there are {}",
            targets.join(", ")
        );
    }
    let ready = report.step("components", || machine::ensure(machine::FOR_FUZZING))?
        && subcommand(report, "cargo-fuzz")?;
    if !ready {
        return Ok(());
    }
    for target in targets {
        if only.is_none_or(|only| only == target) {
            fuzz(report, &target, seconds)?;
        }
    }
    Ok(())
}

/// New inputs go to a directory of their own; what is worth keeping is moved by hand.
fn fuzz(report: &mut Report, target: &str, seconds: u32) -> anyhow::Result<()> {
    let found = tree::root().join("target/fuzz-corpus").join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let home = tree::root().join(HOME);
    let kept = home.join("corpus").join(target);
    let mut command = cargo(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir"]);
    command
        .arg(&home)
        .arg(target)
        .arg(&found)
        .arg(&kept)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args([LARGEST_ALLOCATION, LARGEST_MEMORY, "-timeout=10"]);
    report.command(&format!("fuzz {target} {seconds} s"), &mut command)?;
    Ok(())
}

fn targets() -> anyhow::Result<Vec<String>> {
    let directory = tree::root().join(HOME).join("fuzz_targets");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            targets.push(name.to_owned());
        }
    }
    targets.sort();
    Ok(targets)
}
