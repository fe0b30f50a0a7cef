//! Licences, sources and banned crates, by cargo-deny and `deny.toml`.
//!
//! Its advisories need a database from the internet, which a test run does not have: they are
//! left to `cargo deny check advisories` by hand.

use crate::report::Report;
use crate::tree::cargo;

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    if !subcommand(report, "cargo-deny")? {
        return Ok(());
    }
    let checks = ["deny", "check", "bans", "licenses", "sources"];
    report.command(
        "deny (bans, licences, sources; no advisories)",
        &mut cargo(checks),
    )?;
    Ok(())
}

/// Makes sure that `cargo install` has brought a subcommand.
pub(crate) fn subcommand(report: &mut Report, name: &str) -> anyhow::Result<bool> {
    let command = name.trim_start_matches("cargo-");
    let there = cargo([command, "--version"]).output();
    if there.is_ok_and(|output| output.status.success()) {
        return Ok(true);
    }
    let install = ["install", name, "--locked"];
    report.command(&format!("install {name}"), &mut cargo(install))
}
