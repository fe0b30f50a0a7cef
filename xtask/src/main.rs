//! The one door for chores: `cargo xtask test | check | fuzz | drivers | deploy | package | bench | laws`.
//!
//! Nothing has to be installed first except Rust. Called by people and by CI alike; it runs
//! cargo and other programs and knows no product crate.

mod bench;
mod check;
mod deny;
mod dependencies;
mod deploy;
mod docs;
mod drivers;
mod fuzz;
mod instructions;
mod laws;
mod machine;
mod python;
mod report;
mod servers;
mod tally;
mod test;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Report;

/// Chores of the entrapool workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what is missing (as root, through apt), then run every check and test.
    Test {
        /// Also the slow tests, fuzzing, drivers in every pool mode, the demo, cargo-deny.
        #[arg(long)]
        full: bool,
    },
    /// Formatting, lints, laws: what a commit must pass.
    Check,
    /// Every fuzz target from its kept corpus.
    Fuzz {
        /// How long each target runs.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// One target instead of all.
        #[arg(long)]
        target: Option<String>,
    },
    /// The drivers of other languages, through the sidecar in every pool mode.
    Drivers,
    /// Charts, manifests, alerts, dashboard, image, unit and package of `deploy/`, checked and run.
    Deploy,
    /// The Debian package, into `target/xtask/deb`.
    Package,
    /// CPU per transaction and memory per idle client, side by side with PgBouncer, tdspool and
    /// HAProxy.
    Bench {
        /// How long each turn of a case runs.
        #[arg(long, default_value_t = 5)]
        seconds: u32,
        /// One protocol instead of both.
        #[arg(long, value_parser = ["postgres", "sqlserver"])]
        engine: Option<String>,
    },
    /// Instructions per exchange in the trackers, compared with what they were.
    Instructions {
        /// Add the numbers to the history, whatever they are.
        #[arg(long)]
        keep: bool,
    },
    /// Which module may import which, sizes of files, dependencies.
    Laws,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().chore) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> anyhow::Result<ExitCode> {
    let mut report = Report::new()?;
    match chore {
        Chore::Test { full } => test::run(&mut report, *full)?,
        Chore::Check => check::run(&mut report)?,
        Chore::Fuzz { seconds, target } => fuzz::run(&mut report, *seconds, target.as_deref())?,
        Chore::Drivers => drivers::run(&mut report)?,
        Chore::Deploy => deploy::run(&mut report)?,
        Chore::Package => {
            deploy::package(&mut report)?;
        }
        Chore::Bench { seconds, engine } => {
            return bench::run(&mut report, *seconds, engine.as_deref());
        }
        Chore::Instructions { keep } => {
            let keep = match keep {
                true => instructions::Keep::All,
                false => instructions::Keep::Nothing,
            };
            instructions::run(&mut report, keep)?;
        }
        Chore::Laws => check::laws(&mut report)?,
    }
    Ok(report.finish())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_help_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
