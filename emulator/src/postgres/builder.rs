//! What is in a new cluster, and the making of it.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::process::{Process, output};
use super::{ADMIN, Installation, Postgres, RoleLogin, find_installation, hba};
use crate::error::Error;
use crate::pki::{Pki, ServerCertificate};

/// A free port can be taken by somebody else before the server binds it.
const PORT_TRIES: usize = 5;

/// What is in a new cluster.
#[derive(Debug, Default)]
pub struct PostgresBuilder {
    token_roles: Vec<String>,
    other_roles: Vec<(String, RoleLogin)>,
    databases: Vec<String>,
    settings: Vec<(String, String)>,
    certificate: Option<ServerCertificate>,
    programs: Option<PathBuf>,
}

impl PostgresBuilder {
    /// A role that logs in with an Entra token of the principal of this name.
    #[must_use]
    pub fn token_role(mut self, name: &str) -> Self {
        self.token_roles.push(name.to_owned());
        self
    }

    /// A role that logs in some other way.
    #[must_use]
    pub fn role(mut self, name: &str, login: RoleLogin) -> Self {
        self.other_roles.push((name.to_owned(), login));
        self
    }

    /// A database besides `postgres`. The first token role owns it, or the first role if no role
    /// is one; all roles may create in it.
    #[must_use]
    pub fn database(mut self, name: &str) -> Self {
        self.databases.push(name.to_owned());
        self
    }

    /// At most this many connections (100 otherwise).
    #[must_use]
    pub fn max_connections(self, connections: u16) -> Self {
        self.setting("max_connections", &connections.to_string())
    }

    /// Any other setting of `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another certificate than a good one for `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn certificate(mut self, certificate: ServerCertificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The programs in this directory, `bin` of an installation that may be moved, instead of
    /// the machine's own.
    #[must_use]
    pub fn programs(mut self, bin: &Path) -> Self {
        self.programs = Some(bin.to_owned());
        self
    }

    /// Makes and starts the cluster; token logins are checked by the responder at `ldap`.
    ///
    /// # Errors
    /// When PostgreSQL is missing or does not start.
    pub async fn start(self, pki: &Pki, ldap: Option<SocketAddr>) -> Result<Postgres, Error> {
        let installation = match &self.programs {
            Some(bin) => Installation::at(bin)?,
            None => find_installation()?,
        };
        let certificate = match &self.certificate {
            Some(certificate) => certificate.clone(),
            None => pki.issue(&["localhost", "127.0.0.1"])?,
        };
        let making = tokio::task::spawn_blocking(move || initdb(installation, &certificate));
        let (installation, directory) = making.await.map_err(|lost| Error::Io {
            action: "run initdb".to_owned(),
            source: std::io::Error::other(lost),
        })??;
        let data = directory.path().join("data");
        let access = hba::file(&self.token_roles, &self.other_roles, ldap);
        fs::write(data.join("pg_hba.conf"), access).map_err(Error::io("write pg_hba.conf"))?;
        let log = directory.path().join("server.log");
        let mut postgres = Postgres {
            process: Process::new(installation.clone(), data, log),
            installation,
            port: 0,
            ca_file: pki.ca_file(),
            directory,
        };
        self.start_on_free_port(&mut postgres).await?;
        self.fill(&postgres).await?;
        Ok(postgres)
    }

    async fn start_on_free_port(&self, postgres: &mut Postgres) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            postgres.port = free_port()?;
            let conf = postgres.directory.path().join("data/postgresql.conf");
            let text = self.configuration(postgres.directory.path(), postgres.port);
            fs::write(&conf, text).map_err(Error::io(format!("write {}", conf.display())))?;
            match postgres.start().await {
                Err(Error::Postgres { output, .. })
                    if tries < PORT_TRIES && output.contains("Address already in use") =>
                {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// The whole `postgresql.conf`; later lines win, so the caller's settings come last.
    fn configuration(&self, sockets: &Path, port: u16) -> String {
        let mut text = format!(
            "listen_addresses = '127.0.0.1'\n\
             port = {port}\n\
             unix_socket_directories = '{}'\n\
             ssl = on\n\
             ssl_min_protocol_version = 'TLSv1.2'\n\
             ssl_cert_file = 'server.crt'\n\
             ssl_key_file = 'server.key'\n\
             fsync = off\n\
             full_page_writes = off\n\
             synchronous_commit = off\n\
             logging_collector = off\n\
             log_line_prefix = '%m [%p] %u@%d '\n\
             timezone = 'UTC'\n\
             max_connections = 100\n",
            sockets.display()
        );
        for (name, value) in &self.settings {
            let value = value.replace('\'', "''");
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{name} = '{value}'");
        }
        text
    }

    async fn fill(&self, postgres: &Postgres) -> Result<(), Error> {
        let mut roles = String::new();
        for role in &self.token_roles {
            roles += &format!("create role {} login;\n", identifier(role));
        }
        for (role, login) in &self.other_roles {
            roles += &create_role(role, login);
        }
        postgres.execute("postgres", &roles).await?;
        let others = self.other_roles.iter().map(|(role, _)| role);
        let owner = self.token_roles.iter().chain(others).next();
        let owner = owner.map_or(ADMIN, String::as_str);
        for database in &self.databases {
            let create = format!(
                "create database {} owner {}",
                identifier(database),
                identifier(owner)
            );
            postgres.execute("postgres", &create).await?;
            let grant = "grant all on schema public to public";
            postgres.execute(database, grant).await?;
        }
        Ok(())
    }
}

fn create_role(role: &str, login: &RoleLogin) -> String {
    let (encryption, password) = match login {
        RoleLogin::Md5(password) => ("md5", Some(password)),
        RoleLogin::Scram(password) | RoleLogin::Cleartext(password) => {
            ("scram-sha-256", Some(password))
        }
        RoleLogin::Trust => ("scram-sha-256", None),
    };
    let password = password.map_or_else(
        || "null".to_owned(),
        |password| format!("'{}'", password.replace('\'', "''")),
    );
    format!(
        "set password_encryption = '{encryption}';\n\
         create role {} login password {password};\n",
        identifier(role)
    )
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(Error::io("look for a free port on 127.0.0.1"))?;
    let address = listener
        .local_addr()
        .map_err(Error::io("read the address of a listener"))?;
    Ok(address.port())
}

/// A directory that belongs to the server's account, with an empty cluster in `data`; and the
/// programs, where that account can run them.
fn initdb(
    installation: Installation,
    certificate: &ServerCertificate,
) -> Result<(Installation, TempDir), Error> {
    let directory = tempfile::Builder::new()
        .prefix("entrapool-pg-")
        .tempdir()
        .map_err(Error::io("make a directory for PostgreSQL"))?;
    // Clients of other users reach the socket through it; the data below stays private.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
        .map_err(Error::io("open PostgreSQL's directory for clients"))?;
    installation.give(directory.path())?;
    let installation = installation.within_reach(directory.path())?;
    let data = directory.path().join("data");
    let mut command = installation.command("initdb");
    command
        .args(["--no-sync", "--auth", "trust", "--username", ADMIN])
        .args(["--encoding", "UTF8", "--no-locale", "--pgdata"])
        .arg(&data);
    output("initdb", &mut command)?;
    for (from, name) in [
        (&certificate.certificate_file, "server.crt"),
        (&certificate.key_file, "server.key"),
    ] {
        let to = data.join(name);
        fs::copy(from, &to).map_err(Error::io(format!("write {}", to.display())))?;
        // The server refuses a key that others may read.
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600))
            .map_err(Error::io(format!("set the mode of {}", to.display())))?;
        installation.give(&to)?;
    }
    Ok((installation, directory))
}
