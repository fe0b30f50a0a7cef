//! Where things are in the source tree.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where chores keep their logs.
pub(crate) fn logs() -> PathBuf {
    root().join("target/xtask")
}

/// Where clients in other languages have their packages. `proxy/tests/drivers.rs` looks there.
pub(crate) fn test_environment() -> PathBuf {
    root().join("target/test-env")
}

/// The cargo that runs us, in the workspace's root.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    command
}
