//! Python environments of chores, in the versions that this tree pins.

use std::path::Path;
use std::process::Command;

use crate::report::Report;
use crate::tree;

/// Makes the environment `home` of what `pins` says, if it is not there in these versions.
pub(crate) fn environment(
    report: &mut Report,
    name: &str,
    home: &Path,
    pins: &Path,
) -> anyhow::Result<bool> {
    if tree::is_fresh(home, pins)? {
        return Ok(true);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(home);
    let mut install = Command::new(home.join("bin/python"));
    install
        .args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"])
        .arg("--requirement")
        .arg(pins);
    let good = report.command(&format!("{name} environment"), &mut make)?
        && report.command(&format!("{name} packages"), &mut install)?;
    good.then(|| tree::mark_fresh(home, pins)).transpose()?;
    Ok(good)
}
