//! The one table of keys: name, shape, default, where it may be written, and what it means.
//!
//! Parsing, the detection of unknown keys, `--help`, `entrapool check` and
//! `docs/configuration.md` all follow from it. No value is read in here.

mod sqlserver;

use std::time::Duration;

use super::dialect::TlsWord;
use super::endpoint::{ControlListener, DialTarget, HostName, ImdsEndpoint, Listener};
use super::identity::IdentityKind;
use super::key::{Absent, Described, Key, Scope};
use super::model::{Cloud, Engine, IoUring, LogFormat, OnStartFailure, PoolMode};
use super::shape::{Address, Choice, Count, FilePath, Flag, LogFilter, Span, Text, TextList};
use super::users::UserList;

pub(super) use sqlserver::{
    CLIENT_CERT_FILE, CLIENT_KEY_FILE, CLIENT_TLS, MIN_TOKEN_REMAINDER, PACKET_SIZE, PIN_ON_EXEC,
    SQLSERVER, TRUST_SESSION_STATE, on_off,
};

/// Most bytes of a name in a database: 128 characters of any script.
const NAME_BYTES: usize = 384;

/// The keys of the program, in the order of telling.
pub(super) static PROGRAM: &[&dyn Described] = &[
    &CONFIG,
    &HTTP,
    &WORKERS,
    &IO_URING,
    &AUTHORITY_CA_FILE,
    &LOG_FORMAT,
    &LOG_LEVEL,
    &DRAIN_ACCEPT_FOR,
    &DRAIN_MAX_WAIT,
    &START_TIMEOUT,
    &START_ON_FAILURE,
    &CONTROL_LISTEN,
    &CONTROL_GROUP,
    &CONSOLE_GROUP,
];

/// The keys of a route, in the order of telling.
pub(super) static ROUTE: &[&dyn Described] = &[
    &URL,
    &ENGINE,
    &HOST,
    &PORT,
    &USER,
    &DATABASE,
    &NAME,
    &LISTEN,
    &ALLOW_REMOTE,
    &ALLOW_UIDS,
    &DATABASES,
    &IDENTITY,
    &CLIENT_ID,
    &OBJECT_ID,
    &RESOURCE_ID,
    &CLOUD,
    &IMDS_ENDPOINT,
    &PASSWORD_FILE,
    &ALLOW_ANY_HOST,
    &TLS,
    &CA_FILE,
    &SERVER_NAME,
    &CONNECT_TO,
    &CONNECT_TIMEOUT,
    &CLIENT_TLS,
    &CLIENT_CERT_FILE,
    &CLIENT_KEY_FILE,
    &PACKET_SIZE,
    &POOL_MODE,
    &POOL_SIZE,
    &MIN_IDLE,
    &MAX_CLIENTS,
    &MAX_CLIENTS_PER_PEER,
    &WAIT_TIMEOUT,
    &IDLE_TIMEOUT,
    &MAX_LIFETIME,
    &MIN_TOKEN_REMAINDER,
    &TRUST_SESSION_STATE,
    &PIN_ON_EXEC,
];

/// The engine whose routes alone have this key; `None` if all have it.
pub(super) fn only_for(key: &dyn Described) -> Option<Engine> {
    SQLSERVER
        .iter()
        .any(|other| other.name() == key.name())
        .then_some(Engine::Tds)
}

pub(super) static CONFIG: Key<FilePath> = Key {
    name: "config",
    shape: FilePath,
    absent: Absent::Means("no file is read"),
    scope: Scope::FlagVariable("--config"),
    help: "The TOML file with the rest of the configuration.",
};

pub(super) static HTTP: Key<Address> = Key {
    name: "http",
    shape: Address,
    absent: Absent::Default("127.0.0.1:9464"),
    scope: Scope::FlagVariableFile("--http"),
    help: "Where /metrics, /startup, /liveness and /readiness are served. It only reads, so any \
           address is allowed; in a pod use 0.0.0.0:9464, since probes come to the pod's address.",
};

pub(super) static WORKERS: Key<Count> = Key {
    name: "workers",
    shape: Count { min: 1, max: 256 },
    absent: Absent::Default("1"),
    scope: Scope::FlagVariableFile("--workers"),
    help: "Worker threads. All limits hold for the process, whatever this is.",
};

pub(super) static IO_URING: Key<Choice<IoUring>> = Key {
    name: "io_uring",
    shape: Choice {
        all: &[IoUring::Auto, IoUring::Off],
        word: IoUring::as_str,
    },
    absent: Absent::Default("auto"),
    scope: Scope::VariableFile,
    help: "Whether what is sent to clients and servers leaves together, in one system call for \
           many, which takes less CPU. auto: with one worker, where the system allows io_uring \
           (Linux 6.0 or newer, and no seccomp filter against it); off: never.",
};

pub(super) static AUTHORITY_CA_FILE: Key<FilePath> = Key {
    name: "authority_ca_file",
    shape: FilePath,
    absent: Absent::Means("the built-in roots only"),
    scope: Scope::VariableFile,
    help: "PEM file of roots that are trusted for requests to Entra besides the built-in ones: \
           for networks that open TLS, and for private authorities.",
};

pub(super) static LOG_FORMAT: Key<Choice<LogFormat>> = Key {
    name: "log.format",
    shape: Choice {
        all: &[LogFormat::Text, LogFormat::Json],
        word: LogFormat::as_str,
    },
    absent: Absent::Default("text"),
    scope: Scope::FlagVariableFile("--log-format"),
    help: "One line of text for people, or one JSON object for collectors, per event.",
};

pub(super) static LOG_LEVEL: Key<LogFilter> = Key {
    name: "log.level",
    shape: LogFilter,
    absent: Absent::Default("info"),
    scope: Scope::FlagVariableFile("--log-level"),
    help: "How much is logged.",
};

pub(super) static DRAIN_ACCEPT_FOR: Key<Span> = Key {
    name: "drain.accept_for",
    shape: Span {
        min: Duration::ZERO,
        max: Duration::from_hours(1),
    },
    absent: Absent::Default("0s"),
    scope: Scope::VariableFile,
    help: "How long new clients are still accepted after SIGTERM.",
};

pub(super) static DRAIN_MAX_WAIT: Key<Span> = Key {
    name: "drain.max_wait",
    shape: Span {
        min: Duration::ZERO,
        max: Duration::from_hours(24),
    },
    absent: Absent::Default("20s"),
    scope: Scope::VariableFile,
    help: "How long transactions in flight may go on after drain.accept_for. The sum of both \
           should stay under the grace period (Kubernetes: 30s).",
};

pub(super) static START_TIMEOUT: Key<Span> = Key {
    name: "start.timeout",
    shape: Span {
        min: Duration::from_secs(1),
        max: Duration::from_hours(1),
    },
    absent: Absent::Default("30s"),
    scope: Scope::VariableFile,
    help: "How long to wait for the first token before listeners are bound.",
};

pub(super) static START_ON_FAILURE: Key<Choice<OnStartFailure>> = Key {
    name: "start.on_failure",
    shape: Choice {
        all: &[OnStartFailure::Exit, OnStartFailure::Serve],
        word: OnStartFailure::as_str,
    },
    absent: Absent::Default("exit"),
    scope: Scope::VariableFile,
    help: "What happens when start.timeout has passed without a token: exit with code 3, or \
           serve, report not ready, and tell clients the reason.",
};

pub(super) static CONTROL_LISTEN: Key<ControlListener> = Key {
    name: "control.listen",
    shape: ControlListener,
    absent: Absent::Means("nobody can"),
    scope: Scope::VariableFile,
    help: "Where `entrapool ctl` operates the running program: the path of a Unix socket (mode \
           0600), such as /run/entrapool/control.sock, which is where ctl looks; or a loopback \
           address. Only the user that entrapool runs as may, and root.",
};

pub(super) static CONTROL_GROUP: Key<Text> = Key {
    name: "control.group",
    shape: Text { max: 64 },
    absent: Absent::Means("none"),
    scope: Scope::VariableFile,
    help: "A group, by name or number, whose members may use the control socket as well; it has \
           mode 0660 then.",
};

pub(super) static CONSOLE_GROUP: Key<Text> = Key {
    name: "console.group",
    shape: Text { max: 64 },
    absent: Absent::Means("none"),
    scope: Scope::VariableFile,
    help: "A group, by name or number, whose members may use the console besides root and the user \
           that entrapool runs as. See console.md.",
};

pub(super) static URL: Key<Text> = Key {
    name: "url",
    shape: Text { max: 8192 },
    absent: Absent::Means("the fields say it"),
    scope: Scope::Table,
    help: "The route as a ROUTE URL, instead of or besides the fields.",
};

pub(super) static ENGINE: Key<Choice<Engine>> = Key {
    name: "engine",
    shape: Choice {
        all: Engine::ALL,
        word: Engine::as_str,
    },
    absent: Absent::Default("postgres"),
    scope: Scope::Table,
    help: "The protocol that is spoken on both sides; the URL's scheme.",
};

pub(super) static HOST: Key<HostName> = Key {
    name: "host",
    shape: HostName,
    absent: Absent::ByEngine {
        postgres: &Absent::Required(
            "name the server, such as host = \"myserver.postgres.database.azure.com\", or give a \
             url",
        ),
        tds: &Absent::Required(
            "name the server, such as host = \"myserver.database.windows.net\", or give a url",
        ),
    },
    scope: Scope::Table,
    help: "The server; its certificate must carry this name unless server_name is given.",
};

pub(super) static PORT: Key<Count> = Key {
    name: "port",
    shape: Count { min: 1, max: 65535 },
    absent: Absent::ByEngine {
        postgres: &Absent::Default("5432"),
        tds: &Absent::Default("1433"),
    },
    scope: Scope::Table,
    help: "The server's port.",
};

pub(super) static USER: Key<Text> = Key {
    name: "user",
    shape: Text { max: NAME_BYTES },
    absent: Absent::ByEngine {
        postgres: &Absent::Required(USER_ADVICE),
        tds: &Absent::Means("the token names it"),
    },
    scope: Scope::Table,
    help: "Who logs in upstream. postgres: the role, which is the identity's display name in exact \
           case (for a VM's own identity, the VM's name). sqlserver: needed with \
           identity=password-file only, since a token names who it is for. What name clients use \
           does not matter.",
};

/// Said where the role is missing.
const USER_ADVICE: &str = "it is the role in the database, which for Entra is the \
     identity's display name in exact case (for a VM's own identity, the VM's name), as in \
     postgres://my-vm@myserver.postgres.database.azure.com/mydb";

pub(super) static DATABASE: Key<Text> = Key {
    name: "database",
    shape: Text { max: NAME_BYTES },
    absent: Absent::ByEngine {
        postgres: &Absent::Means("clients must name one"),
        tds: &Absent::Required(
            "a login without one goes to master, which a user of another database can't log in \
             to; name it, as in sqlserver://myserver.database.windows.net/mydb",
        ),
    },
    scope: Scope::Table,
    help: "The database of clients that name none.",
};

pub(super) static NAME: Key<Text> = Key {
    name: "name",
    shape: Text { max: 128 },
    absent: Absent::Means("engine and port, such as postgres-5432, or the socket's path"),
    scope: Scope::UrlTable,
    help: "The value of the route label in metrics and logs; distinct.",
};

pub(super) static LISTEN: Key<Listener> = Key {
    name: "listen",
    shape: Listener,
    absent: Absent::ByEngine {
        postgres: &Absent::Default("127.0.0.1:5432"),
        tds: &Absent::Default("127.0.0.1:1433"),
    },
    scope: Scope::UrlTable,
    help: "Where clients connect; distinct. A directory gets the socket .s.PGSQL.5432, mode 0660 \
           (postgres only). Port 0 takes a free one.",
};

pub(super) static ALLOW_REMOTE: Key<Flag> = Key {
    name: "allow_remote",
    shape: Flag,
    absent: Absent::Default("false"),
    scope: Scope::UrlTable,
    help: "Agree to a listener that is not loopback. It will also need client TLS and a client \
           credential, which are not available yet, so such a listener is still refused.",
};

pub(super) static ALLOW_UIDS: Key<UserList> = Key {
    name: "allow_uids",
    shape: UserList,
    absent: Absent::Means("every user who can connect"),
    scope: Scope::UrlTable,
    help: "The users of this machine whose processes may be clients, by number, or by name in \
           /etc/passwd. The kernel says whose a connection is; one of which it does not is \
           refused. See SECURITY.md for containers.",
};

pub(super) static DATABASES: Key<TextList> = Key {
    name: "databases",
    shape: TextList { max: NAME_BYTES },
    absent: Absent::Means("any"),
    scope: Scope::UrlTable,
    help: "The databases that clients may name. In a URL cut at commas; %2C is a comma in a name.",
};

pub(super) static IDENTITY: Key<Choice<IdentityKind>> = Key {
    name: "identity",
    shape: Choice {
        all: IdentityKind::ALL,
        word: IdentityKind::as_str,
    },
    absent: Absent::Default("auto"),
    scope: Scope::UrlTable,
    help: "Where the token comes from. auto takes workload identity if \
           AZURE_FEDERATED_TOKEN_FILE is set, else App Service if IDENTITY_ENDPOINT and \
           IDENTITY_HEADER are, else the VM's metadata service (imds). secret reads \
           AZURE_CLIENT_SECRET; az-cli is for developers; password-file is for servers without \
           Entra.",
};

pub(super) static CLIENT_ID: Key<Text> = Key {
    name: "client_id",
    shape: Text { max: 255 },
    absent: Absent::Means("AZURE_CLIENT_ID if set, else the only identity"),
    scope: Scope::UrlTable,
    help: "Which identity, by client (application) id. At most one of client_id, object_id and \
           resource_id.",
};

pub(super) static OBJECT_ID: Key<Text> = Key {
    name: "object_id",
    shape: Text { max: 255 },
    absent: Absent::Means("not used"),
    scope: Scope::UrlTable,
    help: "Which identity, by object (principal) id; imds and app-service only.",
};

pub(super) static RESOURCE_ID: Key<Text> = Key {
    name: "resource_id",
    shape: Text { max: 1024 },
    absent: Absent::Means("not used"),
    scope: Scope::UrlTable,
    help: "Which identity, by ARM resource id (/subscriptions/...); imds only.",
};

pub(super) static CLOUD: Key<Choice<Cloud>> = Key {
    name: "cloud",
    shape: Choice {
        all: &[Cloud::Public, Cloud::UsGov, Cloud::China],
        word: Cloud::as_str,
    },
    absent: Absent::Default("public"),
    scope: Scope::UrlTable,
    help: "Which Azure; decides the token's audience and the authority.",
};

pub(super) static IMDS_ENDPOINT: Key<ImdsEndpoint> = Key {
    name: "imds_endpoint",
    shape: ImdsEndpoint,
    absent: Absent::Means("http://169.254.169.254"),
    scope: Scope::UrlTable,
    help: "Another metadata service, for tests and emulators; makes auto choose imds.",
};

pub(super) static PASSWORD_FILE: Key<FilePath> = Key {
    name: "password_file",
    shape: FilePath,
    absent: Absent::Means("not used"),
    scope: Scope::UrlTable,
    help: "The file with the password, read again when it changes; needed by and only for \
           identity=password-file.",
};

pub(super) static ALLOW_ANY_HOST: Key<Flag> = Key {
    name: "allow_any_host",
    shape: Flag,
    absent: Absent::Default("false"),
    scope: Scope::UrlTable,
    help: "Agree to send a token to a server that proves another name than one of Azure's \
           databases in this cloud. Without it such a route is refused, unless the server is on \
           this machine: a token opens every server that the identity may use.",
};

pub(super) static TLS: Key<Choice<TlsWord>> = Key {
    name: "tls",
    shape: Choice {
        all: TlsWord::ALL,
        word: TlsWord::as_str,
    },
    absent: Absent::Default("negotiate"),
    scope: Scope::UrlTable,
    help: "How TLS to the server begins: asked for in the protocol's own way, or from the first \
           byte (postgres: direct, PostgreSQL 17 and later; sqlserver: strict, TDS 8.0). The \
           certificate and its name are always verified. off only for a loopback server with \
           identity=password-file.",
};

pub(super) static CA_FILE: Key<FilePath> = Key {
    name: "ca_file",
    shape: FilePath,
    absent: Absent::Means("the built-in roots only"),
    scope: Scope::UrlTable,
    help: "PEM file of roots that are trusted besides the built-in ones.",
};

pub(super) static SERVER_NAME: Key<HostName> = Key {
    name: "server_name",
    shape: HostName,
    absent: Absent::Means("the host"),
    scope: Scope::UrlTable,
    help: "The name that is verified in the certificate, instead of the host.",
};

pub(super) static CONNECT_TO: Key<DialTarget> = Key {
    name: "connect_to",
    shape: DialTarget,
    absent: Absent::Means("the host and port"),
    scope: Scope::UrlTable,
    help: "What is dialled, instead of host and port (private endpoints); the port is the \
           route's if left out.",
};

pub(super) static CONNECT_TIMEOUT: Key<Span> = Key {
    name: "connect_timeout",
    shape: Span {
        min: Duration::from_secs(1),
        max: Duration::from_mins(5),
    },
    absent: Absent::Default("15s"),
    scope: Scope::UrlTable,
    help: "Limit of name look-up, TCP, TLS and login together.",
};

pub(super) static POOL_MODE: Key<Choice<PoolMode>> = Key {
    name: "pool_mode",
    shape: Choice {
        all: &[
            PoolMode::Auto,
            PoolMode::Strict,
            PoolMode::Transaction,
            PoolMode::Session,
        ],
        word: PoolMode::as_str,
    },
    absent: Absent::Default("auto"),
    scope: Scope::UrlTable,
    help: "When a backend may change hands: after each transaction, but for sessions with state that can't be carried (auto); the same, and statements that would leave such state are refused (strict); after each transaction (PgBouncer's rules); when its client has gone.",
};

pub(super) static POOL_SIZE: Key<Count> = Key {
    name: "pool_size",
    shape: Count {
        min: 1,
        max: 10_000,
    },
    absent: Absent::Default("10"),
    scope: Scope::UrlTable,
    help: "Most backends, over all databases of the route. Sidecars times pool_size is the \
           server's load.",
};

pub(super) static MIN_IDLE: Key<Count> = Key {
    name: "min_idle",
    shape: Count {
        min: 0,
        max: 10_000,
    },
    absent: Absent::Default("0"),
    scope: Scope::UrlTable,
    help: "Backends that are kept open though nobody needs them; at most pool_size.",
};

pub(super) static MAX_CLIENTS: Key<Count> = Key {
    name: "max_clients",
    shape: Count {
        min: 1,
        max: 1_000_000,
    },
    absent: Absent::Default("10000"),
    scope: Scope::UrlTable,
    help: "Most clients at a time.",
};

pub(super) static MAX_CLIENTS_PER_PEER: Key<Count> = Key {
    name: "max_clients_per_peer",
    shape: Count {
        min: 1,
        max: 1_000_000,
    },
    absent: Absent::Means("max_clients is the only limit"),
    scope: Scope::UrlTable,
    help: "Most clients at a time that belong to one user of this machine. Those whose user is \
           not known count as one user together.",
};

pub(super) static WAIT_TIMEOUT: Key<Span> = Key {
    name: "wait_timeout",
    shape: Span {
        min: Duration::from_millis(100),
        max: Duration::from_hours(1),
    },
    absent: Absent::Default("30s"),
    scope: Scope::UrlTable,
    help: "How long a client waits for a backend.",
};

pub(super) static IDLE_TIMEOUT: Key<Span> = Key {
    name: "idle_timeout",
    shape: Span {
        min: Duration::from_secs(1),
        max: Duration::from_hours(24),
    },
    absent: Absent::ByEngine {
        postgres: &Absent::Default("10min"),
        tds: &Absent::Default("15min"),
    },
    scope: Scope::UrlTable,
    help: "How long an unused backend is kept. Azure SQL's gateway closes sessions that idle for \
           30min.",
};

pub(super) static MAX_LIFETIME: Key<Span> = Key {
    name: "max_lifetime",
    shape: Span {
        min: Duration::from_secs(1),
        max: Duration::from_hours(7 * 24),
    },
    absent: Absent::Default("1h"),
    scope: Scope::UrlTable,
    help: "How old a backend may get; shortened at random by up to a tenth, so that they do not \
           all go at once.",
};
