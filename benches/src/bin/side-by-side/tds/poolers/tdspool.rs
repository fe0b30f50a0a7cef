//! FreeTDS's pooler, with Debian's FreeTDS.

use std::fs;

use anyhow::Context as _;
use tokio::process::Command;

use super::{ACCOUNT, Leg, Server};
use crate::poolers::{Pooler, directory, free_address};
use crate::tds::greeting::DATABASE;

/// Connections to the server: `most`, for a client keeps the one that it has got.
pub(super) fn spawn(server: &Server, leg: Leg, most: u32) -> anyhow::Result<Pooler> {
    let address = free_address()?;
    let directory = directory()?;
    let freetds = directory.path().join("freetds.conf");
    let encryption = match leg {
        Leg::Tls => format!(
            "encryption = require\n    ca file = {}\n    check certificate hostname = no",
            server.ca_file().display()
        ),
        Leg::Plain => "encryption = off".to_owned(),
    };
    let text = format!(
        "[upstream]\n    host = {}\n    port = {}\n    tds version = 7.4\n    {encryption}\n",
        server.address().ip(),
        server.address().port()
    );
    fs::write(&freetds, text).context("cannot write freetds.conf")?;
    let file = directory.path().join("pool.conf");
    let text = format!(
        "[bench]\n    user = {user}\n    password = {password}\n\
         \x20   server user = {user}\n    server password = {password}\n\
         \x20   server = upstream\n    database = {DATABASE}\n    port = {}\n\
         \x20   min pool conn = 1\n    max pool conn = {most}\n    max member age = 3600\n",
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
