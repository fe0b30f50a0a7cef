//! HAProxy as a blind relay: a connection to the server for each client. One thread, as the others
//! have. No more clients than it may have files open for, in pairs.

use std::fs;

use anyhow::Context as _;
use tokio::process::Command;

use super::Server;
use crate::pooler::{Pooler, directory, free_address};

pub(super) fn spawn(server: &Server) -> anyhow::Result<Pooler> {
    let address = free_address()?;
    let directory = directory()?;
    let file = directory.path().join("haproxy.cfg");
    let text = format!(
        "global\n    maxconn 4000\n    nbthread 1\n\
         defaults\n    mode tcp\n    maxconn 4000\n\
         \x20   timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n\
         listen tds\n    bind {address}\n    server tds {}\n",
        server.address()
    );
    fs::write(&file, text).context("cannot write haproxy.cfg")?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-q", "-f"]).arg(&file);
    Pooler::spawn("HAProxy".to_owned(), address, command, directory)
}
