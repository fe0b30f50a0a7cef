//! What a chore tells: one line per step with its time, details only of what failed.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::tally::Tally;
use crate::tree;

/// Lines of a log that are shown when its step has failed.
const SHOWN: usize = 80;

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
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(SHOWN)..] {
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

fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = duration.as_secs();
    format!("{}m{:02}s", whole / 60, whole % 60)
}
