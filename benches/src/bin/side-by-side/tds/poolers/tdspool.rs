//! FreeTDS's pooler, Debian's.

use std::fs;

use anyhow::Context as _;
use tokio::process::Command;

use super::{ACCOUNT, Server};
use crate::pooler::BACKENDS;
use crate::pooler::{Pooler, directory, free_address};
use crate::tds::greeting::DATABASE;

pub(super) fn spawn(server: &Server) -> anyhow::Result<Pooler> {
    let address = free_address()?;
    let directory = directory()?;
    let freetds = directory.path().join("freetds.conf");
    let text = format!(
        "[upstream]\n    host = {}\n    port = {}\n    tds version = 7.4\n    encryption = off\n",
        server.address().ip(),
        server.address().port()
    );
    fs::write(&freetds, text).context("cannot write freetds.conf")?;
    let file = directory.path().join("pool.conf");
    let text = format!(
        "[bench]\n    user = {user}\n    password = {password}\n\
         \x20   server user = {user}\n    server password = {password}\n\
         \x20   server = upstream\n    database = {DATABASE}\n    port = {}\n\
         \x20   min pool conn = 1\n    max pool conn = {BACKENDS}\n    max member age = 3600\n",
        address.port(),
        user = ACCOUNT.user,
        password = ACCOUNT.password,
    );
    fs::write(&file, text).context("cannot write pool.conf")?;
    let mut command = Command::new("tdspool");
    command
        .arg("-c")
        .arg(&file)
        .arg("bench")
        .env("FREETDSCONF", &freetds);
    Pooler::spawn("tdspool".to_owned(), address, command, directory)
}
