//! The validated types: what a configuration means, once it is known to be right.
//!
//! Everybody reads these; only [`super::load`] makes them. They hold no raw text to be parsed
//! later and never touch a file, a socket or the environment.

mod dialect;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::azure_host;
use super::endpoint::is_loopback_host;

pub use dialect::{CertificateFiles, ClientTls, Dialect, PinOnExec, PostgresOptions, TdsOptions};

/// Everything that a run needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where metrics and probes are served; read-only, so any address is allowed.
    pub http: SocketAddr,
    /// Worker threads, 1 to 256. A sidecar rarely has more than one core.
    pub workers: usize,
    /// Whether what is sent leaves together.
    pub io_uring: IoUring,
    /// PEM roots that are trusted for requests to Entra, besides the built-in ones.
    pub authority_ca_file: Option<PathBuf>,
    /// How the log looks and how much it says.
    pub log: Log,
    /// How the process ends after SIGTERM.
    pub drain: Drain,
    /// What happens until the first tokens are there.
    pub start: Start,
    /// Who may operate the running program, and where.
    pub control: Control,
    /// Who may use the console.
    pub console: ConsoleAccess,
    /// One listener each; never empty, listeners and names are distinct.
    pub routes: Vec<Route>,
}

/// Who may use the console, besides root and the user that we run as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsoleAccess {
    /// Members of the group of this name or number.
    pub group: Option<String>,
}

/// Whether what is sent to sockets leaves together by io_uring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoUring {
    /// Where the system allows it, and there is one worker.
    Auto,
    /// Never.
    Off,
}

impl IoUring {
    /// As it is written in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

/// How the log looks and how much it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// One line of text, or one JSON object, per event.
    pub format: LogFormat,
    /// A level (`info`) or a filter (`entrapool=debug,warn`).
    pub level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

impl LogFormat {
    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// How the process ends after SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long new clients are still accepted, 0 s to 1 h; default 0 s.
    pub accept_for: Duration,
    /// How long transactions in flight may go on after that, 0 s to 24 h; default 20 s.
    pub max_wait: Duration,
}

/// What happens until the first tokens are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// How long listeners wait for the first token, 1 s to 1 h; default 30 s.
    pub timeout: Duration,
    /// What happens when the time is over.
    pub on_failure: OnStartFailure,
}

/// Who may operate the running program, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    /// The file of a Unix socket, or a loopback address; `None` for nowhere.
    pub listen: Option<Listen>,
    /// Whose members may use the socket, besides its owner and root: a name or a number.
    pub group: Option<String>,
}

/// What happens when no token came within `start.timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStartFailure {
    /// Exit with the code of a failed identity.
    Exit,
    /// Bind the listeners all the same and report not ready; clients get the reason as an error.
    Serve,
}

impl OnStartFailure {
    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Serve => "serve",
        }
    }
}

/// One listener and the server behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The value of the `route` label in metrics and logs.
    pub name: String,
    /// Which protocol is spoken on both sides, and what only that one has.
    pub dialect: Dialect,
    /// Where clients connect.
    pub listen: Listen,
    /// The server.
    pub upstream: Upstream,
    /// Whose clients are let in, and how many of them.
    pub admission: Admission,
    /// The databases that clients may name; `None` allows any.
    pub databases: Option<Vec<String>>,
    /// Who we are.
    pub identity: IdentitySpec,
    /// Backends and clients.
    pub pool: PoolLimits,
}

impl Route {
    /// Whether our token or password may go to a server that proves to be `host`: to the one that
    /// was configured, or to where that one sends us.
    #[must_use]
    pub fn trusts(&self, host: &str) -> bool {
        self.identity.source == Source::PasswordFile
            || self.upstream.allow_any_host
            || is_loopback_host(host)
            || azure_host::is_in(host, self.identity.cloud)
    }

    /// Which protocol is spoken on both sides.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match &self.dialect {
            Dialect::Postgres(_) => Engine::Postgres,
            Dialect::Tds(_) => Engine::Tds,
        }
    }

    /// Who logs in upstream, where that has a name besides the token.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match &self.dialect {
            Dialect::Postgres(options) => Some(&options.user),
            Dialect::Tds(options) => options.user.as_deref(),
        }
    }

    /// The database of clients that name none.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        match &self.dialect {
            Dialect::Postgres(options) => options.database.as_deref(),
            Dialect::Tds(options) => Some(&options.database),
        }
    }
}

/// Which clients of a route are let in. The default is everybody who can connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// The users that clients may belong to, sorted; `None` allows any.
    pub uids: Option<Vec<u32>>,
    /// Most clients of one user, 1 to 1,000,000; `None` for no such limit.
    pub per_peer: Option<usize>,
}

/// Which protocol is spoken on both sides of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// PostgreSQL's frontend/backend protocol 3.
    Postgres,
    /// SQL Server's tabular data stream.
    Tds,
}

impl Engine {
    /// All of them, in the order of telling.
    pub(super) const ALL: &'static [Self] = &[Self::Postgres, Self::Tds];

    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Tds => "sqlserver",
        }
    }
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A TCP address; loopback, as long as there is no client authentication.
    Tcp(SocketAddr),
    /// The socket file itself, e.g. `/run/entrapool/.s.PGSQL.5432`; it is made with mode 0660.
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The server of a route, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The name (or address) from the URL.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// Dialled instead of `host:port` (private endpoints).
    pub connect_to: Option<HostPort>,
    /// Verified in the certificate instead of `host`.
    pub server_name: Option<String>,
    /// Whether a token may go to a server whose name is not one of Azure's.
    pub allow_any_host: bool,
    /// How TLS begins.
    pub tls: TlsMode,
    /// PEM roots trusted besides the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// Limit of name look-up, TCP, TLS and login together, 1 s to 5 min; default 15 s.
    pub connect_timeout: Duration,
}

impl Upstream {
    /// Where the server is dialled.
    #[must_use]
    pub fn target(&self) -> HostPort {
        self.connect_to.clone().unwrap_or_else(|| HostPort {
            host: self.host.clone(),
            port: self.port,
        })
    }
}

/// A host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How TLS begins. The certificate is always verified, with its host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Asked for in the protocol's own way (PostgreSQL: SSLRequest; TDS 7.x: PRELOGIN).
    Negotiate,
    /// From the first byte (PostgreSQL 17 and later: ALPN `postgresql`; TDS 8.0: `tds/8.0`).
    Direct,
    /// None. Only for a server on a loopback address with `identity = "password-file"`.
    Off,
}

impl TlsMode {
    /// As it is written in the configuration: each engine's users know it by another word.
    #[must_use]
    pub fn as_str(self, engine: Engine) -> &'static str {
        match (self, engine) {
            (Self::Negotiate, _) => "negotiate",
            (Self::Direct, Engine::Postgres) => "direct",
            (Self::Direct, Engine::Tds) => "strict",
            (Self::Off, _) => "off",
        }
    }
}

/// Where the token (or password) comes from. Equal values share one refresh task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdentitySpec {
    /// The kind of source.
    pub source: Source,
    /// Which identity, where the source has several (`Imds`, `AppService`); `None` otherwise.
    pub selector: Option<Selector>,
    /// Instead of `http://169.254.169.254`; a loopback or link-local address only.
    pub imds_endpoint: Option<String>,
    /// Which Azure.
    pub cloud: Cloud,
    /// The file of `password-file`.
    pub password_file: Option<PathBuf>,
}

/// The kinds of source. `auto` is resolved while the configuration is read, so that the choice
/// can be shown by `entrapool check`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The VM's managed identity.
    Imds,
    /// App Service, Functions, Container Apps (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`).
    AppService,
    /// Kubernetes workload identity (`AZURE_FEDERATED_TOKEN_FILE` and friends).
    Workload(Workload),
    /// A client secret from `AZURE_CLIENT_SECRET`; never on the command line or in the file.
    Secret(ClientSecret),
    /// `az account get-access-token`, for developers.
    AzCli,
    /// A static password, re-read when the file changes, for servers without Entra.
    PasswordFile,
}

impl Source {
    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "app-service",
            Self::Workload(_) => "workload",
            Self::Secret(_) => "secret",
            Self::AzCli => "az-cli",
            Self::PasswordFile => "password-file",
        }
    }
}

/// Workload identity's parameters, from the environment that the webhook sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Workload {
    /// `AZURE_TENANT_ID`.
    pub tenant_id: String,
    /// `AZURE_CLIENT_ID`, or the route's `client_id`.
    pub client_id: String,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub token_file: PathBuf,
    /// `AZURE_AUTHORITY_HOST`, if it differs from the cloud's own.
    pub authority: Option<String>,
}

/// A service principal with a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientSecret {
    /// `AZURE_TENANT_ID`.
    pub tenant_id: String,
    /// `AZURE_CLIENT_ID`, or the route's `client_id`.
    pub client_id: String,
    /// `AZURE_CLIENT_SECRET`; never shown.
    pub secret: String,
    /// `AZURE_AUTHORITY_HOST`, if it differs from the cloud's own.
    pub authority: Option<String>,
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSecret")
            .field("tenant_id", &self.tenant_id)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Names one of several identities.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The application's id.
    ClientId(String),
    /// The principal's id.
    ObjectId(String),
    /// The identity's ARM resource id.
    ResourceId(String),
}

/// Which Azure: decides audiences and the authority host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// Azure.
    Public,
    /// Azure US Government.
    UsGov,
    /// Azure operated by 21Vianet.
    China,
}

impl Cloud {
    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::UsGov => "usgov",
            Self::China => "china",
        }
    }

    /// Where this cloud's Entra answers.
    #[must_use]
    pub fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGov => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }
}

/// Limits of one route's backends and clients. `size` counts over all databases of the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// When a backend may change hands.
    pub mode: PoolMode,
    /// Most backends, 1 to 10,000; default 10.
    pub size: usize,
    /// Backends kept open though nobody needs them, 0 to `size`; default 0.
    pub min_idle: usize,
    /// Most clients, 1 to 1,000,000; default 10,000.
    pub max_clients: usize,
    /// How long a client waits for a backend, 100 ms to 1 h; default 30 s.
    pub wait_timeout: Duration,
    /// How long an unused backend is kept, 1 s to 24 h; default 10 min (SQL Server: 15 min).
    pub idle_timeout: Duration,
    /// How old a backend may get, 1 s to 7 d; default 1 h, shortened at random by up to 10 %.
    pub max_lifetime: Duration,
}

/// When a backend may change hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolMode {
    /// After each transaction, if the session has left nothing that can't be carried.
    Auto,
    /// As `Auto`, but what would keep a backend is refused.
    Strict,
    /// When the client has gone; the session is reset in between.
    Session,
    /// After each transaction.
    Transaction,
}

impl PoolMode {
    /// Whether backends change hands while their clients are there.
    #[must_use]
    pub fn shares(self) -> bool {
        self != Self::Session
    }

    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
            Self::Session => "session",
            Self::Transaction => "transaction",
        }
    }
}
