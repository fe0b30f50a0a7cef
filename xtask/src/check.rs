//! What a commit must pass, without running anything of the product.

use anyhow::bail;

use crate::dependencies;
use crate::laws;
use crate::report::Report;
use crate::tree::{self, cargo};

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    report.command("fmt", &mut cargo(["fmt", "--all", "--", "--check"]))?;
    laws(report)?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    report.command("clippy", &mut cargo(clippy))?;
    let safe = [
        "clippy",
        "--package=entrapool",
        "--no-default-features",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    report.command("clippy without unsafe code", &mut cargo(safe))?;
    Ok(())
}

pub(crate) fn laws(report: &mut Report) -> anyhow::Result<()> {
    report.step("laws", || {
        let breaches = laws::breaches(tree::root())?;
        if breaches.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = breaches.iter().map(ToString::to_string).collect();
        bail!("{}", lines.join("\n"))
    })?;
    report.step("dependencies", dependencies::check)?;
    Ok(())
}
