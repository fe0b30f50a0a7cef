//! What a chore tells: one line per step with its time, details only of what failed.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::tally::Tally;
use crate::tree;

/// Lines from the end of a log that are shown when its step has failed.
const SHOWN: usize = 60;
/// Most lines that are shown of failed tests.
const MOST_SHOWN: usize = 200;

/// The steps so far.
pub(crate) struct Report {
    began: Instant,
    logs: PathBuf,
    total: Tally,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let logs = tree::logs();
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self {
            began: Instant::now(),
            logs,
            total: Tally::default(),
            failed: Vec::new(),
        })
    }

    /// Runs a program that succeeds or fails as a whole.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> anyhow::Result<bool> {
        self.program(name, command, |_| Tally::default())
    }

    /// Runs `cargo test`, and counts what it ran.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) -> anyhow::Result<bool> {
        self.program(name, command, Tally::of_cargo_test)
    }

    /// Does something that is not a program; an error is a failure, with its text as details.
    pub(crate) fn step(
        &mut self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let began = Instant::now();
        let outcome = work();
        let log = match &outcome {
            Ok(()) => String::new(),
            Err(error) => format!("{error:#}\n"),
        };
        fs::write(self.log(name), &log).context("cannot write a log")?;
        let tally = Tally::default().or_whole(outcome.is_ok());
        Ok(self.ended(name, began.elapsed(), &tally, &log))
    }

    /// The last line, and whether all went well.
    pub(crate) fn finish(self) -> ExitCode {
        for name in &self.failed {
            println!("failed: {name}, see {}", self.log(name).display());
        }
        if self.total.ignored > 0 {
            println!("{} more with --full", self.total.ignored);
        }
        println!("{} in all", time(self.began.elapsed()));
        println!("{} passed, {} failed", self.total.passed, self.total.failed);
        if self.failed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn program(
        &mut self,
        name: &str,
        command: &mut Command,
        count: impl FnOnce(&str) -> Tally,
    ) -> anyhow::Result<bool> {
        let began = Instant::now();
        let path = self.log(name);
        let log = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let errors = log.try_clone().context("cannot open a log twice")?;
        let status = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .status()
            .with_context(|| format!("{name}: cannot run {:?}", command.get_program()))?;
        let log = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let log = String::from_utf8_lossy(&log);
        let tally = count(&log).or_whole(status.success());
        Ok(self.ended(name, began.elapsed(), &tally, &log))
    }

    fn ended(&mut self, name: &str, took: Duration, tally: &Tally, log: &str) -> bool {
        let good = tally.failed == 0;
        let word = if good { "ok  " } else { "FAIL" };
        println!("{word} {:>7}  {name}", time(took));
        for group in &tally.groups {
            println!("             {group}");
        }
        if !good {
            for line in telling(log) {
                println!("     | {line}");
            }
            self.failed.push(name.to_owned());
        }
        self.total.add(tally);
        good
    }

    fn log(&self, name: &str) -> PathBuf {
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        self.logs.join(name).with_extension("log")
    }
}

/// The lines of a log that tell why a step has failed: what libtest says of each failed test,
/// without the way through the stack; else the end.
fn telling(log: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        inside = (inside || line.starts_with("---- ")) && !line.starts_with("test result: ");
        if inside && !is_of_backtrace(line) {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        lines = log.lines().collect();
        return lines.split_off(lines.len().saturating_sub(SHOWN));
    }
    lines.truncate(MOST_SHOWN);
    lines
}

/// `  12: core::panicking::panic` and `             at /rustc/...`.
fn is_of_backtrace(line: &str) -> bool {
    let line = line.trim_start();
    let (number, rest) = line.split_once(": ").unwrap_or_default();
    let is_frame = !rest.is_empty() && number.parse::<u16>().is_ok();
    is_frame || line.starts_with("at /") || line.starts_with("at ./") || line == "stack backtrace:"
}

fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = duration.as_secs();
    format!("{}m{:02}s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::telling;

    #[test]
    fn failed_tests_are_told_without_the_rest() {
        let log = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\n\
                   thread 'b' panicked at b.rs:1:1:\nleft: 3\nstack backtrace:\n   \
                   0: core::panic\n             at /rustc/1/core.rs:2:3\n\
                   test result: FAILED. 1 passed\n     Running others\ntest c ... ok\n";
        assert_eq!(
            telling(log),
            [
                "---- b stdout ----",
                "thread 'b' panicked at b.rs:1:1:",
                "left: 3"
            ]
        );
    }

    #[test]
    fn other_logs_are_told_from_their_end() {
        let log = (0..100).map(|n| format!("line {n}\n")).collect::<String>();
        let told = telling(&log);
        assert_eq!((told.len(), told.last()), (60, Some(&"line 99")));
    }
}
