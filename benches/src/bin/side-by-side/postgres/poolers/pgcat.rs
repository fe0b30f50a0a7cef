//! pgcat: the binary that `PGCAT` names, or one on the path. It verifies a server's certificate with
//! public roots only, so that here it does not.

use std::ffi::OsString;

use tokio::process::Command;

use super::{Scene, named_by};
use crate::pooler::{BACKENDS, Pooler};
use crate::postgres::scene::{CLIENT, PASSWORD, PASSWORD_ROLE};

pub(super) fn spawn(scene: &Scene) -> anyhow::Result<Pooler> {
    let mut command = Command::new(program());
    command.args(["--log-level", "warn"]);
    Pooler::configured("pgcat", command, "pgcat.toml", |address, _| {
        configuration(scene, address.port())
    })
}

pub(super) fn program() -> OsString {
    named_by("PGCAT", "pgcat")
}

fn configuration(scene: &Scene, port: u16) -> String {
    let database = scene.database();
    let server = scene.azure().postgres_addr();
    format!(
        "[general]\n\
         host = \"127.0.0.1\"\n\
         port = {port}\n\
         admin_username = \"admin\"\n\
         admin_password = \"{PASSWORD}\"\n\
         worker_threads = 1\n\
         server_tls = true\n\
         verify_server_certificate = false\n\
         [pools.{database}]\n\
         pool_mode = \"transaction\"\n\
         prepared_statements_cache_size = 500\n\
         [pools.{database}.users.0]\n\
         username = \"{CLIENT}\"\n\
         password = \"{PASSWORD}\"\n\
         auth_type = \"trust\"\n\
         server_username = \"{PASSWORD_ROLE}\"\n\
         server_password = \"{PASSWORD}\"\n\
         pool_size = {BACKENDS}\n\
         [pools.{database}.shards.0]\n\
         servers = [[\"{}\", {}, \"primary\"]]\n\
         database = \"{database}\"\n",
        server.ip(),
        server.port(),
    )
}
