//! How each program is started.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Where Debian puts Go's packages.
const GO_PACKAGES: &str = "/usr/share/gocode";

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/drivers/tds")
        .join(name)
}

/// Where `cargo xtask drivers` puts packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-env")
}

pub(crate) fn python(name: &str) -> Command {
    let mut command = Command::new(packages().join("python/bin/python"));
    command
        .arg(program(name))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

pub(crate) fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(program(name))
        .env("NODE_PATH", packages().join("node/node_modules"));
    command
}

/// Its input is the program; the shell cannot check what it prints, so a script does.
pub(crate) fn tsql(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(program("tsql_client.sh")).arg(program(name));
    command
}

/// Built as `cargo xtask drivers` does.
pub(crate) fn go(name: &str) -> Command {
    let mut command = Command::new("go");
    command
        .arg("run")
        .arg(program(name))
        .env("GO111MODULE", "off")
        .env("GOPATH", GO_PACKAGES)
        .env("GOCACHE", packages().join("go/cache"))
        .env("CGO_ENABLED", "0")
        .env_remove("GOFLAGS");
    command
}
