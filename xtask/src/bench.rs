//! The side-by-side bench: builds in release, then hands over to `benches/`, which measures.

use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::machine;
use crate::report::Report;
use crate::tree::{self, cargo};

pub(crate) fn run(
    report: &mut Report,
    seconds: u32,
    engine: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let build = [
        "build",
        "--release",
        "-p",
        "entrapool",
        "-p",
        "entrapool-benches",
    ];
    // Who is compared on TDS need not be there: the bench says whom it did not measure.
    let components = match engine {
        Some("sqlserver") => &[],
        _ => machine::FOR_BENCHES,
    };
    let ready = report.step("components", || machine::ensure(components))?
        && report.command("release build", &mut cargo(build))?;
    if !ready {
        return Ok(ExitCode::FAILURE);
    }
    // Thousands of clients: as many open files as the system gives.
    let raise = "ulimit -Sn \"$(ulimit -Hn)\" && exec \"$0\" \"$@\"";
    let bench = [
        "run",
        "--release",
        "--quiet",
        "-p",
        "entrapool-benches",
        "--bin",
    ];
    let run = cargo(bench);
    let status = Command::new("sh")
        .args(["-c", raise])
        .arg(run.get_program())
        .args(run.get_args())
        .args(["side-by-side", "--", "--seconds"])
        .arg(seconds.to_string())
        .args(engine.map(|engine| format!("--engine={engine}")))
        .current_dir(tree::root())
        .status()
        .context("cannot run sh")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
