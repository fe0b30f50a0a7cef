//! Odyssey: the binary that `ODYSSEY` names, or one on the path.

use std::ffi::OsString;

use tokio::process::Command;

use super::{Scene, named_by};
use crate::pooler::{BACKENDS, Pooler};
use crate::postgres::scene::{PASSWORD, PASSWORD_ROLE};

pub(super) fn spawn(scene: &Scene) -> anyhow::Result<Pooler> {
    let command = Command::new(program());
    Pooler::configured("Odyssey", command, "odyssey.conf", |address, directory| {
        configuration(scene, address.port(), &directory.to_string_lossy())
    })
}

pub(super) fn program() -> OsString {
    named_by("ODYSSEY", "odyssey")
}

fn configuration(scene: &Scene, port: u16, directory: &str) -> String {
    let database = scene.database();
    let server = scene.azure().postgres_addr();
    format!(
        "daemonize no\n\
         log_format \"%p %t %l %c %m\\n\"\n\
         log_to_stdout yes\n\
         log_session no\n\
         log_query no\n\
         log_stats no\n\
         locks_dir \"{directory}\"\n\
         workers 1\n\
         resolvers 1\n\
         listen {{ host \"127.0.0.1\" port {port} backlog 1024 tls \"disable\" }}\n\
         storage \"server\" {{\n\
           type \"remote\" host \"{}\" port {} tls \"verify_full\" tls_ca_file \"{}\"\n\
         }}\n\
         database \"{database}\" {{ user default {{\n\
           authentication \"none\"\n\
           storage \"server\" storage_db \"{database}\"\n\
           storage_user \"{PASSWORD_ROLE}\" storage_password \"{PASSWORD}\"\n\
           pool \"transaction\" pool_size {BACKENDS} pool_timeout 0\n\
           pool_discard no pool_cancel yes pool_rollback yes\n\
           pool_reserve_prepared_statement yes\n\
           client_max 20000\n\
         }} }}\n",
        server.ip(),
        server.port(),
        scene.azure().ca_file().display(),
    )
}
