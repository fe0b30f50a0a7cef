//! The product's binary, from the same build as this program.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;
use url::form_urlencoded::Serializer;

use super::Scene;
use crate::pooler::{BACKENDS, Pooler, directory, free_address};

pub(super) fn spawn(scene: &Scene) -> anyhow::Result<Pooler> {
    run(scene, Command::new(program()?))
}

/// Under callgrind, which writes what it has counted to `dump` with a number behind it when it is
/// told to.
pub(in crate::postgres) fn spawn_counted(scene: &Scene, dump: &Path) -> anyhow::Result<Pooler> {
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", dump.display()))
        .arg(program()?);
    run(scene, command)
}

fn run(scene: &Scene, mut command: Command) -> anyhow::Result<Pooler> {
    let address = free_address()?;
    let azure = scene.azure();
    let keys = Serializer::new(String::new())
        .append_pair("identity", "imds")
        .append_pair("imds_endpoint", &azure.imds_endpoint())
        .append_pair("server_name", "localhost")
        .append_pair("ca_file", &azure.ca_file().to_string_lossy())
        .append_pair("listen", &address.to_string())
        .append_pair("pool_mode", "auto")
        .append_pair("pool_size", &BACKENDS.to_string())
        .append_pair("max_clients", "20000")
        .finish();
    let route = format!(
        "postgres://{}@{}/{}?{keys}",
        azure.role(),
        azure.postgres_addr(),
        azure.database()
    );
    command
        .args(["--http", "127.0.0.1:0", "--workers", "1"])
        .arg(route);
    Pooler::spawn("entrapool".to_owned(), address, command, directory()?)
}

pub(super) fn program() -> anyhow::Result<PathBuf> {
    let us = std::env::current_exe().context("cannot find this program")?;
    Ok(us.with_file_name("entrapool"))
}
