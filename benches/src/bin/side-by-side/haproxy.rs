//! HAProxy as a blind relay in plain: a connection to the server for each client, which logs in
//! itself. One thread, as the others have. No more clients than it may have files open for, in pairs.

use std::net::SocketAddr;

use tokio::process::Command;

use crate::pooler::Pooler;

pub(crate) fn spawn(server: SocketAddr, most_clients: u32) -> anyhow::Result<Pooler> {
    let mut command = Command::new("haproxy");
    command.args(["-db", "-q", "-f"]);
    Pooler::configured("HAProxy", command, "haproxy.cfg", |address, _| {
        format!(
            "global\n    maxconn {most_clients}\n    nbthread 1\n\
             defaults\n    mode tcp\n    maxconn {most_clients}\n\
             \x20   timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n\
             listen relay\n    bind {address}\n    server relayed {server}\n"
        )
    })
}
