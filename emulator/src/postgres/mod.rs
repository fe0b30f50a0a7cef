//! A real, throw-away PostgreSQL cluster with TLS, whose token roles log in through LDAP.
//!
//! [`PostgresBuilder`] says what is in it; [`Postgres`] is the running cluster, stopped and
//! deleted when dropped. It listens on 127.0.0.1 and on a Unix socket in its own directory; over
//! the socket everybody is trusted (for the emulator's own statements and for comparisons).

mod builder;
mod hba;
mod install;
mod process;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

pub use builder::PostgresBuilder;
pub use install::find as find_installation;
pub use install::{Account, Installation};
pub use process::StopMode;

use crate::error::Error;
use process::Process;

/// The superuser, over the Unix socket.
const ADMIN: &str = "postgres";

/// How a role that is not a token role logs in over TCP.
#[derive(Clone, PartialEq, Eq)]
pub enum RoleLogin {
    /// SCRAM-SHA-256, over TLS only.
    Scram(String),
    /// md5, over TLS only.
    Md5(String),
    /// A cleartext password, over TLS only.
    Cleartext(String),
    /// No password, with or without TLS: for comparing directly.
    Trust,
}

impl std::fmt::Debug for RoleLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scram(_) => "Scram",
            Self::Md5(_) => "Md5",
            Self::Cleartext(_) => "Cleartext",
            Self::Trust => "Trust",
        })
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Postgres {
    // Before the directory: the server stops first.
    process: Process,
    installation: Installation,
    port: u16,
    ca_file: PathBuf,
    directory: TempDir,
}

impl Postgres {
    /// What is to be in a new cluster.
    #[must_use]
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// The TCP port; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The TCP address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The directory of the Unix socket.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// A libpq connection string for the superuser over the Unix socket.
    #[must_use]
    pub fn admin_conninfo(&self, database: &str) -> String {
        format!(
            "host={} port={} user={ADMIN} dbname={database}",
            self.socket_directory().display(),
            self.port
        )
    }

    /// The root certificate that clients must trust.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The programs that this cluster runs on (`psql` and `pgbench` live there too).
    #[must_use]
    pub fn bin_directory(&self) -> &Path {
        &self.installation.bin
    }

    /// The superuser's session in a database; it ends when the client is dropped.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn admin(&self, database: &str) -> Result<Client, Error> {
        admin(self.socket_directory(), self.port, database).await
    }

    /// Runs statements as the superuser.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn execute(&self, database: &str, sql: &str) -> Result<(), Error> {
        let client = self.admin(database).await?;
        let what = format!("run the superuser's statements in {database}");
        client.batch_execute(sql).await.map_err(Error::sql(what))
    }

    /// Runs statements with `psql` as the superuser; the answer is unaligned text without headers.
    ///
    /// # Errors
    /// When there is no `psql`, or with its error output.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, Error> {
        let mut command = Command::new(self.bin_directory().join("psql"));
        command
            .args(["--no-psqlrc", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql])
            .arg(self.admin_conninfo(database));
        process::output("psql", &mut command)
    }

    /// Ends one backend as an administrator would (57P01). Says whether it existed.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn terminate_backend(&self, pid: i32) -> Result<bool, Error> {
        let client = self.admin("postgres").await?;
        let row = client
            .query_one("select pg_terminate_backend($1)", &[&pid])
            .await
            .map_err(Error::sql(format!("end backend {pid}")))?;
        Ok(row.get(0))
    }

    /// Stops the server; [`Postgres::start`] brings it back on the same port.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&mut self, mode: StopMode) -> Result<(), Error> {
        self.process.stop(mode)
    }

    /// Starts a stopped server and waits until it answers.
    ///
    /// # Errors
    /// When it does not start; the error ends with its log.
    pub async fn start(&mut self) -> Result<(), Error> {
        self.process.start()?;
        self.process.answers(self.directory.path(), self.port).await
    }

    /// Stops and starts the server.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart(&mut self, mode: StopMode) -> Result<(), Error> {
        self.stop(mode)?;
        self.start().await
    }

    /// Everything that the server has logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn server_log(&self) -> Result<String, Error> {
        let path = self.process.log_file();
        let bytes = fs::read(path).map_err(Error::io(format!("read {}", path.display())))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

async fn admin(socket_directory: &Path, port: u16, database: &str) -> Result<Client, Error> {
    let (client, connection) = Config::new()
        .host_path(socket_directory)
        .port(port)
        .user(ADMIN)
        .dbname(database)
        .application_name("entrapool-emulator")
        .connect(NoTls)
        .await
        .map_err(Error::sql(format!("log in to {database} as the superuser")))?;
    tokio::spawn(connection);
    Ok(client)
}
