//! The product's binary, from the same build as this program: `pool_mode=auto`, one worker. It logs
//! in with a password, which it does once per connection: what a token costs is not seen here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use url::form_urlencoded::Serializer;

use super::{ACCOUNT, Leg, Server};
use crate::pooler::BACKENDS;
use crate::pooler::{Pooler, directory, free_address};
use crate::tds::greeting::DATABASE;

pub(super) fn spawn(server: &Server, leg: Leg) -> anyhow::Result<Pooler> {
    let address = free_address()?;
    let directory = directory()?;
    let password = directory.path().join("password");
    fs::write(&password, ACCOUNT.password).context("cannot write the password")?;
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&password, private).context("cannot keep the password private")?;
    let mut keys = Serializer::new(String::new());
    keys.append_pair("identity", "password-file")
        .append_pair("password_file", &password.to_string_lossy())
        .append_pair("listen", &address.to_string())
        .append_pair("pool_mode", "auto")
        .append_pair("pool_size", &BACKENDS.to_string())
        .append_pair("max_clients", "20000");
    match leg {
        Leg::Plain => keys.append_pair("tls", "off"),
        Leg::Tls => keys
            .append_pair("server_name", "localhost")
            .append_pair("ca_file", &server.ca_file().to_string_lossy()),
    };
    let route = format!(
        "sqlserver://{}@{}/{DATABASE}?{}",
        ACCOUNT.user,
        server.address(),
        keys.finish()
    );
    let mut command = Command::new(program()?);
    command
        .args(["--http", "127.0.0.1:0", "--workers", "1"])
        .arg(route);
    Pooler::spawn("entrapool".to_owned(), address, command, directory)
}

pub(super) async fn version() -> anyhow::Result<Option<String>> {
    let output = Command::new(program()?).arg("--version").output().await;
    let output = output.context("cannot run entrapool; has it been built?")?;
    ensure!(
        output.status.success(),
        "entrapool --version: {}",
        output.status
    );
    Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn program() -> anyhow::Result<PathBuf> {
    let us = std::env::current_exe().context("cannot find this program")?;
    Ok(us.with_file_name("entrapool"))
}
