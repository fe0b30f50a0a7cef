//! PgBouncer: Debian's, or the binary that `PGBOUNCER` names. It refuses to run as root, so
//! root lends it PostgreSQL's account.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use entrapool_emulator::postgres::{Account, find_installation};
use tokio::process::Command;

use super::{Scene, named_by};
use crate::pooler::{BACKENDS, Pooler, directory, free_address};
use crate::postgres::scene::{PASSWORD, PASSWORD_ROLE};

pub(super) fn spawn(scene: &Scene) -> anyhow::Result<Pooler> {
    let account = find_installation()?.account;
    let address = free_address()?;
    let directory = directory()?;
    let ca_file = directory.path().join("ca.pem");
    let file = directory.path().join("pgbouncer.ini");
    fs::copy(scene.azure().ca_file(), &ca_file).context("cannot copy the root certificate")?;
    let text = configuration(scene, address.port(), &ca_file);
    fs::write(&file, text).context("cannot write pgbouncer.ini")?;
    for (path, mode) in [(directory.path(), 0o755), (&ca_file, 0o644), (&file, 0o600)] {
        lend(path, mode, account)?;
    }
    let mut command = Command::new(program());
    command.arg("--quiet").arg(&file);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    Pooler::spawn("PgBouncer".to_owned(), address, command, directory)
}

pub(super) fn program() -> OsString {
    named_by("PGBOUNCER", "pgbouncer")
}

fn configuration(scene: &Scene, port: u16, ca_file: &Path) -> String {
    let database = scene.database();
    let server = scene.azure().postgres_addr();
    format!(
        "[databases]\n\
         {database} = host={} port={} dbname={database} user={PASSWORD_ROLE} password={PASSWORD}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         default_pool_size = {BACKENDS}\n\
         max_client_conn = 20000\n\
         server_tls_sslmode = verify-full\n\
         server_tls_ca_file = {}\n",
        server.ip(),
        server.port(),
        ca_file.display()
    )
}

/// Hands a file or directory to the account that will read it.
fn lend(path: &Path, mode: u32, account: Option<Account>) -> anyhow::Result<()> {
    let why = || format!("cannot hand over {}", path.display());
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(why)?;
    if let Some(account) = account {
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid)).with_context(why)?;
    }
    Ok(())
}
