//! HAProxy as a blind relay in plain: a backend for each client, which logs in itself.

use std::fs;

use anyhow::Context as _;
use tokio::process::Command;

use super::Scene;
use crate::pooler::{Pooler, directory, free_address};

pub(super) fn spawn(scene: &Scene) -> anyhow::Result<Pooler> {
    let address = free_address()?;
    let directory = directory()?;
    let file = directory.path().join("haproxy.cfg");
    let text = format!(
        "global\n    maxconn 1000\n    nbthread 1\n\
         defaults\n    mode tcp\n    maxconn 1000\n\
         \x20   timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n\
         listen postgres\n    bind {address}\n    server postgres {}\n",
        scene.azure().postgres_addr()
    );
    fs::write(&file, text).context("cannot write haproxy.cfg")?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-q", "-f"]).arg(&file);
    Pooler::spawn("HAProxy".to_owned(), address, command, directory)
}
