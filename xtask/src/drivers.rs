//! Drivers of other languages: their packages, in the versions that this tree pins.

use std::fs;
use std::process::Command;

use anyhow::Context as _;

use crate::machine;
use crate::python;
use crate::report::Report;
use crate::tree::{self, cargo};

/// Where the pinned versions are.
const PINS: &str = "proxy/tests/drivers";

/// Every driver in every pool mode.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let components = [machine::FOR_TESTS, machine::FOR_ALL_DRIVERS].concat();
    if report.step("components", || machine::ensure(&components))? && prepare(report)? {
        let test = [
            "test",
            "-p",
            "entrapool",
            "--test",
            "console",
            "--test",
            "drivers",
            "--test",
            "tds_drivers",
            "--no-fail-fast",
        ];
        let mut command = cargo(test);
        report.tests("drivers", command.args(["--", "--include-ignored"]))?;
    }
    Ok(())
}

/// Brings the packages into `target/test-env`, if they are not there in these versions.
pub(crate) fn prepare(report: &mut Report) -> anyhow::Result<bool> {
    Ok(prepare_python(report)? && prepare_node(report)? && prepare_go(report)?)
}

fn prepare_python(report: &mut Report) -> anyhow::Result<bool> {
    let home = tree::test_environment().join("python");
    let pins = tree::root().join(PINS).join("requirements.txt");
    python::environment(report, "python", &home, &pins)
}

fn prepare_node(report: &mut Report) -> anyhow::Result<bool> {
    let home = tree::test_environment().join("node");
    let lock = tree::root().join(PINS).join("package-lock.json");
    if tree::is_fresh(&home, &lock)? {
        return Ok(true);
    }
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    for name in ["package.json", "package-lock.json"] {
        let from = lock.with_file_name(name);
        fs::copy(&from, home.join(name))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let mut install = Command::new("npm");
    install
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&home);
    let good = report.command("node packages", &mut install)?;
    good.then(|| tree::mark_fresh(&home, &lock)).transpose()?;
    Ok(good)
}

/// Compiles the drivers into the cache that the tests use: it takes seconds once, and then none.
fn prepare_go(report: &mut Report) -> anyhow::Result<bool> {
    let home = tree::test_environment().join("go");
    for program in ["pgx_client", "pq_console", "tds/go_mssqldb_client"] {
        let source = tree::root().join(PINS).join(program).with_extension("go");
        let mut build = Command::new("go");
        build
            .arg("build")
            .arg("-o")
            .arg(home.join(program))
            .arg(source)
            .env("GO111MODULE", "off")
            .env("GOPATH", machine::GO_PACKAGES)
            .env("GOCACHE", home.join("cache"))
            .env("CGO_ENABLED", "0")
            .env_remove("GOFLAGS");
        if !report.command("go packages", &mut build)? {
            return Ok(false);
        }
    }
    Ok(true)
}
