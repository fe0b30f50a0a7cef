//! Where things are in the source tree.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where chores keep their logs.
pub(crate) fn logs() -> PathBuf {
    root().join("target/xtask")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where clients in other languages have their packages, and servers that Debian does not bring.
/// `proxy/tests/drivers.rs` and `proxy/tests/sidecar/eighteen.rs` look there.
pub(crate) fn test_environment() -> PathBuf {
    root().join("target/test-env")
}

/// Whether `home` was made from what `pins` says now.
pub(crate) fn is_fresh(home: &Path, pins: &Path) -> anyhow::Result<bool> {
    let wanted = read(pins)?;
    Ok(fs::read(home.join("made-from")).is_ok_and(|made| made == wanted))
}

/// Says that `home` was made from what `pins` says now.
pub(crate) fn mark_fresh(home: &Path, pins: &Path) -> anyhow::Result<()> {
    let mark = home.join("made-from");
    fs::write(&mark, read(pins)?).with_context(|| format!("cannot write {}", mark.display()))
}

fn read(pins: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(pins).with_context(|| format!("cannot read {}", pins.display()))
}

/// The cargo that runs us, in the workspace's root.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    command
}
