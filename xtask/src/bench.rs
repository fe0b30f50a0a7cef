//! The side-by-side bench: builds in release, then hands over to `benches/`, which measures.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::machine;
use crate::report::Report;
use crate::tree::cargo;

pub(crate) fn run(report: &mut Report, seconds: u32) -> anyhow::Result<ExitCode> {
    let build = [
        "build",
        "--release",
        "-p",
        "entrapool",
        "-p",
        "entrapool-benches",
    ];
    let ready = report.step("components", || machine::ensure(machine::FOR_BENCHES))?
        && report.command("release build", &mut cargo(build))?;
    if !ready {
        return Ok(ExitCode::FAILURE);
    }
    let bench = ["run", "--release", "--quiet", "-p", "entrapool-benches"];
    let mut command = cargo(bench);
    command.args(["--bin", "side-by-side", "--", "--seconds"]);
    let status = command.arg(seconds.to_string()).status();
    let status = status.context("cannot run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
