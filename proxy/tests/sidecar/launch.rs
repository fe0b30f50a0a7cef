//! Starting the binary: route, settings, environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use entrapool_emulator::LocalAzure;
use entrapool_emulator::postgres::Postgres;
use entrapool_emulator::tds::TdsServer;
use tokio::process::Command;
use url::form_urlencoded::Serializer;

use super::eighteen::{Eighteen, ROLE};
use super::{Log, Sidecar};

/// A binary that is to be started.
#[derive(Clone)]
pub struct Launch {
    scheme: &'static str,
    user: String,
    server: String,
    database: String,
    keys: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    more: Vec<String>,
    log_level: String,
    config: Option<PathBuf>,
    http: String,
    programs: PathBuf,
}

impl Sidecar {
    /// On the database server and metadata service of `azure`.
    pub fn on(azure: &LocalAzure) -> Launch {
        let key = |name: &str, value: String| (name.to_owned(), value);
        let programs = azure.real_postgres().map(Postgres::bin_directory);
        Launch {
            scheme: "postgres",
            user: azure.role().to_owned(),
            server: azure.postgres_addr().to_string(),
            database: azure.database().to_owned(),
            keys: vec![
                key("identity", "imds".to_owned()),
                key("imds_endpoint", azure.imds_endpoint()),
                key("server_name", "localhost".to_owned()),
                key("ca_file", azure.ca_file().display().to_string()),
                key("listen", "127.0.0.1:0".to_owned()),
            ],
            settings: Vec::new(),
            more: Vec::new(),
            log_level: "entrapool=debug,info".to_owned(),
            config: None,
            http: "127.0.0.1:0".to_owned(),
            programs: programs.map(Path::to_path_buf).unwrap_or_default(),
        }
    }
}

impl Sidecar {
    /// On a server that checks a password instead of a token.
    pub fn with_password(server: &Eighteen) -> Launch {
        let key = |name: &str, value: String| (name.to_owned(), value);
        let postgres = &server.postgres;
        Launch {
            scheme: "postgres",
            user: ROLE.to_owned(),
            server: postgres.address().to_string(),
            database: "appdb".to_owned(),
            keys: vec![
                key("identity", "password-file".to_owned()),
                key("password_file", server.password_file.display().to_string()),
                key("server_name", "localhost".to_owned()),
                key("ca_file", postgres.ca_file().display().to_string()),
                key("listen", "127.0.0.1:0".to_owned()),
            ],
            settings: Vec::new(),
            more: Vec::new(),
            log_level: "entrapool=debug,info".to_owned(),
            config: None,
            http: "127.0.0.1:0".to_owned(),
            programs: postgres.bin_directory().to_path_buf(),
        }
    }
}

impl Sidecar {
    /// On a TDS server of `azure`, with the machine's token.
    pub fn on_sql_server(azure: &LocalAzure, server: &TdsServer) -> Launch {
        let launch = Self::on_plain_sql_server(server);
        let launch = launch.key("identity", "imds").without("tls");
        launch
            .key("imds_endpoint", &azure.imds_endpoint())
            .key("server_name", "localhost")
            .key("ca_file", &azure.ca_file().display().to_string())
    }

    /// On a TDS server that has neither TLS nor Entra; [`Launch::key`] names the password's file.
    pub fn on_plain_sql_server(server: &TdsServer) -> Launch {
        let key = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Launch {
            scheme: "sqlserver",
            user: String::new(),
            server: server.addr().to_string(),
            database: "appdb".to_owned(),
            keys: vec![
                key("identity", "password-file"),
                key("tls", "off"),
                key("listen", "127.0.0.1:0"),
            ],
            settings: Vec::new(),
            more: Vec::new(),
            log_level: "entrapool=debug,info".to_owned(),
            config: None,
            http: "127.0.0.1:0".to_owned(),
            programs: PathBuf::new(),
        }
    }
}

impl Launch {
    /// A key of the route; a later value wins.
    #[must_use]
    pub fn key(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.keys.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves out a key of the route.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.keys.retain(|(key, _)| key != name);
        self
    }

    /// A key of the program, such as `drain.max_wait`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        let variable = name.to_ascii_uppercase().replace('.', "_");
        let variable = format!("ENTRAPOOL_{variable}");
        self.settings.push((variable, value.to_owned()));
        self
    }

    /// A variable of another program's, such as `NOTIFY_SOCKET`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another database.
    #[must_use]
    pub fn database(mut self, name: &str) -> Self {
        name.clone_into(&mut self.database);
        self
    }

    /// Another role upstream.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        name.clone_into(&mut self.user);
        self
    }

    /// Another server, `host:port`.
    #[must_use]
    pub fn server(mut self, server: &str) -> Self {
        server.clone_into(&mut self.server);
        self
    }

    /// Another HTTP address.
    #[must_use]
    pub fn http(mut self, address: &str) -> Self {
        address.clone_into(&mut self.http);
        self
    }

    /// How much is logged.
    #[must_use]
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// Session mode.
    #[must_use]
    pub fn session(self) -> Self {
        self.key("pool_mode", "session")
    }

    /// Transaction mode.
    #[must_use]
    pub fn transaction(self) -> Self {
        self.key("pool_mode", "transaction")
    }

    /// This many backends.
    #[must_use]
    pub fn pool(self, size: usize) -> Self {
        self.key("pool_size", &size.to_string())
    }

    /// The ROUTE argument.
    pub fn route(&self) -> String {
        let keys = Serializer::new(String::new())
            .extend_pairs(&self.keys)
            .finish()
            // A comma as such divides a list; no value in the tests has one in it.
            .replace("%2C", ",");
        let Self {
            scheme,
            user,
            server,
            database,
            ..
        } = self;
        let user = match user.as_str() {
            "" => String::new(),
            user => format!("{user}@"),
        };
        format!("{scheme}://{user}{server}/{database}?{keys}")
    }

    /// The same as a configuration file.
    pub fn toml(&self) -> String {
        let Self {
            user,
            server,
            database,
            ..
        } = self;
        let (host, port) = server.rsplit_once(':').expect("host and port");
        let mut toml = format!(
            "[[route]]\nhost = {host:?}\nport = {port}\nuser = {user:?}\ndatabase = {database:?}\n"
        );
        for (key, value) in &self.keys {
            toml += &match value.parse::<u64>() {
                Ok(number) => format!("{key} = {number}\n"),
                Err(_) => format!("{key} = {value:?}\n"),
            };
        }
        toml
    }

    /// Serves the route of another launch as well.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.more.push(other.route());
        self
    }

    /// Reads the route from this file instead of the command line.
    #[must_use]
    pub fn config(mut self, file: &Path) -> Self {
        std::fs::write(file, self.toml()).expect("a file");
        self.config = Some(file.to_owned());
        self
    }

    /// Starts it and waits until it serves clients.
    pub async fn start(self) -> Sidecar {
        let mut sidecar = self.begin().await;
        let listening = sidecar.log.event("listening").await;
        listening
            .field("listen")
            .expect("a listener")
            .clone_into(&mut sidecar.listen);
        sidecar
    }

    /// Starts it and waits for its HTTP listener; the routes may not be bound yet.
    pub async fn begin(self) -> Sidecar {
        let mut sidecar = self.run();
        let http = sidecar.log.event("metrics and probes over HTTP").await;
        let http = http.field("address").expect("an address").parse();
        sidecar.http = Some(http.expect("an address"));
        sidecar
    }

    /// Starts it and waits for nothing.
    pub fn run(self) -> Sidecar {
        let mut child = binary()
            .args(["--http", &self.http])
            .args(["--log-format", "json", "--log-level", &self.log_level])
            .args(match &self.config {
                Some(file) => vec!["--config".into(), file.into()],
                None => vec![OsString::from(self.route())],
            })
            .args(&self.more)
            .envs(self.settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("it is piped");
        Sidecar {
            child,
            log: Log::read(stderr),
            listen: String::new(),
            http: None,
            database: self.database,
            programs: self.programs,
        }
    }
}

/// The program, before its arguments.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrapool"));
    // Settings and identities of whoever runs the tests have no part in them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["ENTRAPOOL_", "AZURE_", "IDENTITY_", "MSI_", "NO_COLOR"];
        if ours.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}
