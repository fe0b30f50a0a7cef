//! `cargo xtask test`: everything that must hold, from a bare machine.

use crate::report::Report;
use crate::tree::cargo;
use crate::{check, deny, deploy, docs, drivers, fuzz, instructions, machine, servers};

/// How long each fuzz target runs in a full test.
const FUZZ_SECONDS: u32 = 60;

pub(crate) fn run(report: &mut Report, full: bool) -> anyhow::Result<()> {
    let mut components = [machine::FOR_TESTS, machine::FOR_DEPLOYMENT].concat();
    if full {
        components.extend(machine::FOR_FUZZING);
        components.extend(machine::FOR_FIREWALLS);
        components.extend(machine::FOR_ALL_DRIVERS);
    }
    if !report.step("components", || machine::ensure(&components))? {
        return Ok(());
    }
    if drivers::prepare(report)? {
        servers::prepare(report)?;
    }
    if deploy::prepare(report)? {
        deploy::check(report)?;
    }
    check::run(report)?;
    report.step("links in documents", docs::links)?;
    report.step("alerts in documents", docs::alerts)?;
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--keep-going"]);
    report.command("rustdoc", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    let tests = ["test", "--workspace", "--no-fail-fast"];
    report.tests("tests", &mut cargo(tests))?;
    if full {
        slow(report)?;
    }
    Ok(())
}

fn slow(report: &mut Report) -> anyhow::Result<()> {
    deploy::build(report)?;
    deploy::package(report)?;
    let ignored = ["test", "--workspace", "--no-fail-fast", "--", "--ignored"];
    report.tests("slow tests", &mut cargo(ignored))?;
    for server in ["real", "embedded"] {
        let demo = ["demo", "--", "--once", "--postgres", server];
        report.command(&format!("demo on {server}"), &mut cargo(demo))?;
    }
    instructions::run(report, instructions::Keep::Nothing)?;
    fuzz::run(report, FUZZ_SECONDS, None)?;
    deny::run(report)
}
