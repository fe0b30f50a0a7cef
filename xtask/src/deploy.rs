//! `cargo xtask deploy`: what is in `deploy/` is checked, built and run.
//!
//! Charts and manifests against schemas, rules by promtool, the unit by systemd, the static binary
//! as the Dockerfile builds it, the Debian package; then `proxy/tests/deploy` on all of them. No
//! container engine is needed, and none is used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::report::Report;
use crate::tree::{self, cargo};
use crate::{deny, machine, python};

const UNIT: &str = "deploy/systemd/entrapool.service";
const RULES: &str = "deploy/helm/entrapool-monitoring/files/rules.yaml";
/// Of 100; a unit without any hardening has 96.
const MOST_EXPOSED: &str = "15";
/// What the package must bring, each with its place.
const PACKAGED: &[&str] = &[
    "./usr/bin/entrapool",
    "./etc/entrapool/entrapool.toml",
    "./usr/lib/sysusers.d/entrapool.conf",
    "./usr/lib/systemd/system/entrapool.service",
    "./usr/share/entrapool/rules.yaml",
    "./usr/share/entrapool/dashboard.json",
    "./usr/share/doc/entrapool/copyright",
    "./usr/share/man/man1/entrapool.1.gz",
    "./usr/share/man/man1/entrapool-ctl-reload.1.gz",
    "./usr/share/bash-completion/completions/entrapool",
    "./usr/share/zsh/vendor-completions/_entrapool",
    "./usr/share/fish/vendor_completions.d/entrapool.fish",
];

/// Everything.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let components = [machine::FOR_TESTS, machine::FOR_DEPLOYMENT].concat();
    if !report.step("components", || machine::ensure(&components))? || !prepare(report)? {
        return Ok(());
    }
    check(report)?;
    if build(report)? && package(report)? {
        let test = ["test", "-p", "entrapool", "--test", "deploy"];
        let mut command = cargo(test);
        report.tests("life", command.args(["--", "--include-ignored"]))?;
    }
    Ok(())
}

/// Brings what renders and validates into `target/test-env`.
pub(crate) fn prepare(report: &mut Report) -> anyhow::Result<bool> {
    let pins = tree::root().join("deploy/checks/requirements.txt");
    python::environment(report, "deployment", &home(), &pins)
}

/// What takes seconds: schemas, rules, the unit.
pub(crate) fn check(report: &mut Report) -> anyhow::Result<()> {
    let mut manifests = Command::new(home().join("bin/python"));
    manifests.arg(tree::root().join("deploy/checks/manifests.py"));
    report.command("charts and manifests", &mut manifests)?;
    let mut hadolint = Command::new(home().join("bin/hadolint"));
    // DL3008: Debian keeps no old versions that could be pinned.
    hadolint
        .args(["--no-color", "--ignore", "DL3008"])
        .arg(tree::root().join("deploy/Dockerfile"));
    report.command("Dockerfile", &mut hadolint)?;
    let mut promtool = Command::new("promtool");
    promtool
        .args(["check", "rules", "--lint=all", "--lint-fatal"])
        .arg(tree::root().join(RULES));
    report.command("alerts", &mut promtool)?;
    let mut promtool = Command::new("promtool");
    let tests = tree::root().join("deploy/prometheus/rules.test.yaml");
    promtool.args(["test", "rules"]).arg(tests);
    report.command("tests of alerts", &mut promtool)?;
    report.step("systemd unit", || {
        let text = fs::read_to_string(tree::root().join(UNIT)).context("cannot read the unit")?;
        // The binary is not installed here.
        verify(&text.replace("/usr/bin/entrapool", "/bin/sh"))
    })?;
    let mut security = Command::new("systemd-analyze");
    security
        .args(["security", "--offline=true", "--no-pager", "--threshold"])
        .arg(MOST_EXPOSED)
        .arg(tree::root().join(UNIT));
    report.command("exposure of the systemd unit", &mut security)?;
    Ok(())
}

/// The static binary, as the Dockerfile makes it. `proxy/tests/deploy` looks for it.
pub(crate) fn build(report: &mut Report) -> anyhow::Result<bool> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let build = ["build", "--release", "-p", "entrapool", "--target"];
    let mut command = cargo(build);
    command
        .arg(triple)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    report.command("static binary", &mut command)
}

/// The Debian package, and that it holds what it should. `proxy/tests/deploy` installs it.
pub(crate) fn package(report: &mut Report) -> anyhow::Result<bool> {
    if !deny::subcommand(report, "cargo-deb")? {
        return Ok(false);
    }
    let folder = tree::root().join("target/xtask/deb");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let deb = folder.join("entrapool.deb");
    let mut binary = cargo(["build", "--release", "--package", "entrapool"]);
    let mut command = cargo(["deb", "--package", "entrapool", "--no-build", "--strip"]);
    command.arg("--output").arg(&deb);
    Ok(report.command("binary", &mut binary)?
        && report.step("manual pages and completions", || manuals(&folder))?
        && report.command("Debian package", &mut command)?
        && report.step("the package's content", || inspect(&deb, &folder))?)
}

/// What the program writes about itself, for the package.
fn manuals(folder: &Path) -> anyhow::Result<()> {
    let program = tree::target().join("release/entrapool");
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for made in [&man, &completions] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    output(Command::new(&program).arg("man").arg(&man))?;
    for (shell, name) in [
        ("bash", "entrapool"),
        ("zsh", "_entrapool"),
        ("fish", "entrapool.fish"),
    ] {
        let script = output(Command::new(&program).args(["completions", shell]))?;
        let path = completions.join(name);
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Any word of systemd's is a fault: it goes on after most of them.
fn verify(unit: &str) -> anyhow::Result<()> {
    let folder = tree::logs().join("unit");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("entrapool.service");
    fs::write(&path, unit).with_context(|| format!("cannot write {}", path.display()))?;
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&path);
    let said = output(&mut verify)?;
    ensure!(said.is_empty(), "systemd-analyze verify: {said}");
    Ok(())
}

fn inspect(deb: &Path, folder: &Path) -> anyhow::Result<()> {
    let listed = output(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    for path in PACKAGED {
        let there = listed
            .lines()
            .any(|line| line.split_whitespace().nth(5) == Some(path));
        ensure!(there, "the package lacks {path}:\n{listed}");
    }
    let root = folder.join("root");
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", root.display()));
        }
        _ => {}
    }
    output(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(deb)
            .arg(&root),
    )?;
    output(
        Command::new("dpkg-deb")
            .arg("--control")
            .arg(deb)
            .arg(root.join("DEBIAN")),
    )?;
    // Without them nobody makes the user or enables the unit.
    for script in ["postinst", "prerm", "postrm"] {
        output(
            Command::new("sh")
                .arg("-n")
                .arg(root.join("DEBIAN").join(script)),
        )?;
    }
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/entrapool.service"))?;
    let binary = root.join("usr/bin/entrapool");
    verify(&unit.replace("/usr/bin/entrapool", &binary.display().to_string()))?;
    let mut checked = Command::new(&binary);
    checked
        .args(["check", "--config"])
        .arg(root.join("etc/entrapool/entrapool.toml"));
    let said = output(&mut checked)?;
    ensure!(said.contains("[[route]]"), "its configuration: {said}");
    Ok(())
}

/// What a program says, on both of its ways; it must succeed.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    Ok(said)
}

fn home() -> PathBuf {
    tree::test_environment().join("deploy")
}
