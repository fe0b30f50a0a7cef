//! How many instructions an exchange takes in the trackers, and a transaction in the whole
//! process, counted by callgrind: numbers that do not depend on what else the machine does.
//! `benches/instructions.tsv` has their history; a rise fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::machine;
use crate::report::Report;
use crate::tree::{self, cargo};

/// Exchanges of the shorter run; the longer one has twice as many, and the difference is theirs.
const TIMES: u64 = 2_000;
/// What may come on top of the last numbers, in parts of a hundred.
const SLACK: u64 = 3;

/// Counts, and compares with the last numbers that were kept.
pub(crate) fn run(report: &mut Report, keep: Keep) -> anyhow::Result<()> {
    if !report.step("components", || machine::ensure(machine::FOR_COUNTING))? {
        return Ok(());
    }
    let build = [
        "build",
        "--release",
        "-p",
        "entrapool",
        "-p",
        "entrapool-benches",
    ];
    if report.command("release build", &mut cargo(build))? {
        report.step("instructions per exchange", || compare(keep))?;
    }
    Ok(())
}

/// What becomes of the numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// They are only compared.
    Nothing,
    /// They join the history, whatever they are.
    All,
}

fn compare(keep: Keep) -> anyhow::Result<()> {
    let history = history();
    let text = fs::read_to_string(&history).unwrap_or_default();
    let kept = last(&text);
    let now = count()?;
    for (kind, count) in &now {
        let before = kept.get(kind).map_or(String::new(), u64::to_string);
        println!("{kind:<20} {count:>8} {before:>8}");
    }
    if keep == Keep::All {
        return fs::write(&history, text + &lines(&now)?)
            .with_context(|| format!("cannot write {}", history.display()));
    }
    let risen = risen(&kept, &now);
    ensure!(
        risen.is_empty(),
        "more than {SLACK} % above {}: {}. If that is worth it: cargo xtask instructions --keep",
        history.display(),
        risen.join(", ")
    );
    Ok(())
}

fn history() -> PathBuf {
    tree::root().join("benches/instructions.tsv")
}

/// The last number of each kind.
fn last(text: &str) -> BTreeMap<String, u64> {
    let fields = text.lines().filter_map(|line| {
        let mut fields = line.split('\t').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
    });
    fields.collect()
}

/// Kinds that cost more than they did, and kinds of which nothing is known, then or now.
fn risen(kept: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Vec<String> {
    let risen = now.iter().filter_map(|(kind, count)| {
        let before = kept.get(kind);
        let good = before.is_some_and(|before| count * 100 <= before * (100 + SLACK));
        (!good).then(|| match before {
            Some(before) => format!("{kind} {before} -> {count}"),
            None => format!("{kind} has no number yet"),
        })
    });
    let gone = kept.keys().filter(|kind| !now.contains_key(*kind));
    risen
        .chain(gone.map(|kind| format!("{kind} was not counted")))
        .collect()
}

fn lines(now: &BTreeMap<String, u64>) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(["log", "-1", "--format=%cs %h"])
        .current_dir(tree::root())
        .output()
        .context("cannot run git")?;
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let line = |(kind, count): (&String, &u64)| format!("{commit}\t{kind}\t{count}\n");
    Ok(now.iter().map(line).collect())
}

fn count() -> anyhow::Result<BTreeMap<String, u64>> {
    let program = tree::target().join("release/exchanges");
    let output = Command::new(&program).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let kinds = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut counts = BTreeMap::new();
    for kind in kinds.lines() {
        let of = |times: u64| instructions(&program, kind, times);
        let (short, long) = (of(TIMES)?, of(2 * TIMES)?);
        counts.insert(kind.to_owned(), long.saturating_sub(short) / TIMES);
    }
    ensure!(!counts.is_empty(), "{} lists no kinds", program.display());
    counts.extend(count_process()?);
    Ok(counts)
}

/// Of the whole process, which the bench starts and asks.
fn count_process() -> anyhow::Result<BTreeMap<String, u64>> {
    let program = tree::target().join("release/side-by-side");
    let output = Command::new(&program)
        .args(["--instructions", &TIMES.to_string()])
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{}: {}\n{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let counts = said.lines().filter_map(|line| {
        let (kind, count) = line.split_once('\t')?;
        Some((kind.to_owned(), count.parse().ok()?))
    });
    let counts: BTreeMap<String, u64> = counts.collect();
    ensure!(!counts.is_empty(), "{} said {said}", program.display());
    Ok(counts)
}

fn instructions(program: &Path, kind: &str, times: u64) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([kind, &times.to_string()])
        .output()
        .context("cannot run valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("valgrind {kind}: {}\n{said}", output.status);
    }
    collected(&said).with_context(|| format!("valgrind said {said}"))
}

/// `==42== Collected : 123456`.
fn collected(said: &str) -> Option<u64> {
    let mut lines = said.lines();
    let line = lines.find_map(|line| line.split_once("Collected : "))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        let pairs = pairs
            .iter()
            .map(|(kind, count)| ((*kind).to_owned(), *count));
        pairs.collect()
    }

    #[test]
    fn a_rise_is_one_beyond_the_slack() {
        let text = "2026-01-01 abc\ta\t90\n2026-01-02 abd\ta\t100\n2026-01-02 abd\tb\t100\n";
        let kept = last(text);
        assert_eq!(kept, numbers(&[("a", 100), ("b", 100)]));
        assert!(risen(&kept, &numbers(&[("a", 103), ("b", 90)])).is_empty());
        assert_eq!(
            risen(&kept, &numbers(&[("a", 104), ("b", 1)])),
            ["a 100 -> 104"]
        );
        assert_eq!(
            risen(&kept, &numbers(&[("a", 1), ("c", 1)])),
            ["c has no number yet", "b was not counted"]
        );
    }

    #[test]
    fn the_count_is_read_from_what_is_said() {
        assert_eq!(
            collected("==1== Events    : Ir\n==1== Collected : 4711\n"),
            Some(4711)
        );
        assert_eq!(collected("==1== no"), None);
    }
}
