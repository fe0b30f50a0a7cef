//! What the running program can tell of itself: plain data, which the control socket, the console
//! and the page show in ways of their own.
//!
//! It is gathered when somebody asks, by [`Source`], from what the parts know anyway: nothing is
//! kept for it, and no query waits for it. It holds no token, no password, no SQL.

use serde::{Deserialize, Serialize};

/// Whoever can tell how things stand.
pub trait Source: Send + Sync {
    /// Everything but the clients, of which there may be many thousands.
    fn status(&self) -> Status;
    /// All clients that have been let in or are logging in, in the order of arrival.
    fn clients(&self) -> Vec<Client>;
}

/// The program, but for its clients. Ages and spans are in seconds, times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub process: Process,
    /// In the order of the configuration.
    pub routes: Vec<Route>,
    /// By route, then by database.
    pub pools: Vec<Pool>,
    /// The backends that are logged in: by route, then by database, then by age.
    pub servers: Vec<Server>,
    /// Each once, however many routes use it.
    pub tokens: Vec<Token>,
    /// What went wrong lately, the newest last.
    pub errors: Vec<Error>,
}

/// The process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The version of entrapool.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started: f64,
    /// Whether it has been told to stop.
    pub draining: bool,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// `postgres` or `sqlserver`.
    pub protocol: String,
    /// Where it listens; what is configured, as long as the listener is not bound.
    pub listen: String,
    /// The server, as `host:port`.
    pub upstream: String,
    /// Who logs in there, where that has a name besides the token.
    pub user: Option<String>,
    /// The database of clients that name none.
    pub database: Option<String>,
    /// When backends change hands.
    pub pool_mode: String,
    /// Most backends, over all databases.
    pub pool_size: usize,
    /// Idle backends that are always kept.
    pub min_idle: usize,
    /// Most clients.
    pub max_clients: usize,
    /// Backends that are logged in.
    pub backends: usize,
    /// Clients connected now, those that are logging in included.
    pub clients: usize,
    /// Clients that wait for a backend.
    pub waiting: usize,
    /// What it does.
    pub state: RouteState,
    /// How many sessions keep a backend now, by reason; reasons without one are left out.
    pub pins: Vec<Pinned>,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// Its listener is not bound yet: it waits for the first token.
    Starting,
    /// Clients are served.
    Running,
    /// It accepts nobody any more, or is about to; sessions end when their transactions do.
    Draining,
}

/// How many sessions keep a backend for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// As in `entrapool_sessions_pinned`.
    pub reason: String,
    /// One with two reasons counts under both.
    pub sessions: usize,
}

/// The backends that can replace each other: of one route and database (TDS: and the same options
/// of the login).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The route.
    pub route: String,
    /// The database.
    pub database: String,
    /// What tells it from another pool of the same database; empty if there is nothing.
    pub variant: String,
    /// It serves clients of a route that a reload has replaced or removed since.
    pub retired: bool,
    /// Backends in somebody's hands.
    pub active: usize,
    /// Backends that can be lent.
    pub idle: usize,
    /// Backends being rolled back or reset.
    pub cleaning: usize,
    /// Logins under way.
    pub creating: usize,
    /// Clients that wait.
    pub waiting: usize,
    /// For how long the first of them has waited, to a 32nd of a second; `None` if nobody waits.
    /// Clients of other variants of the database count, too.
    pub oldest_wait: Option<f64>,
}

/// A backend that is logged in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Tells it from all others of its route.
    pub number: u64,
    /// The route.
    pub route: String,
    /// The database of its login.
    pub database: String,
    /// As in [`Pool::variant`].
    pub variant: String,
    /// As in [`Pool::retired`].
    pub retired: bool,
    /// `idle`, `active` or `cleaning`.
    pub state: String,
    /// For how long.
    pub state_for: f64,
    /// Since its login.
    pub age: f64,
    /// Until it has reached the end of its life, and is closed when it is not in use.
    pub expires_in: f64,
    /// The number of the session that has it; `None` if none has, or one that is still logging in.
    pub client: Option<u64>,
    /// Where it is connected to.
    pub address: Option<String>,
    /// The server's process, as `pg_stat_activity` has it; unknown for TDS.
    pub server_pid: Option<i32>,
    /// Which token of its identity it logged in with: 1 for the first.
    pub token_generation: u64,
}

/// A client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// 1, 2, 3 and so on; never given twice.
    pub number: u64,
    /// The process id that it was given; `session` in the log.
    pub pid: i32,
    /// The route.
    pub route: String,
    /// The database that it has.
    pub database: String,
    /// What it called itself when it logged in.
    pub application_name: Option<String>,
    /// What it does.
    pub state: ClientState,
    /// For how long, to a tenth of a second.
    pub state_for: f64,
    /// Why it keeps its backend; empty for a client that does not.
    pub pins: Vec<String>,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// It has not been greeted yet.
    Login,
    /// It holds no backend.
    Idle,
    /// It holds no backend, and another connection listens for it.
    Listening,
    /// It waits for a backend.
    Waiting,
    /// It holds a backend: a request is under way, a transaction open, or it is pinned.
    Active,
}

/// A token, which itself is not in here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// The identity in words.
    pub identity: String,
    /// The kind of source.
    pub source: String,
    /// What it is for; `none` for a password.
    pub audience: String,
    /// The routes that use it.
    pub routes: Vec<String>,
    /// How many different ones there were; 0 before the first.
    pub generation: u64,
    /// Whether a login could use it now.
    pub usable: bool,
    /// Negative when it has expired; `None` for a password, or before the first token.
    pub expires_in: Option<f64>,
    /// Its whole life.
    pub lifetime: Option<f64>,
    /// When the source last gave something.
    pub last_refresh: Option<f64>,
    /// Until the source is asked again; negative while it is being asked.
    pub next_refresh_in: Option<f64>,
    /// What failed last, if nothing has succeeded since.
    pub last_error: Option<String>,
    /// Since when nothing has succeeded.
    pub failing_since: Option<f64>,
}

/// Something that ended sessions otherwise than well. Those that differ in nothing but the session
/// are one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// When it happened last.
    pub at: f64,
    /// How often it did, since it is listed.
    pub times: u64,
    /// The route.
    pub route: String,
    /// The process id of the last session that it ended; 0 for one that was not let in.
    pub session: i32,
    /// Whose fault it was: `client`, `upstream`, `identity` or `proxy`.
    pub blame: String,
    /// Why, as in `entrapool_sessions_ended_total`.
    pub cause: String,
    /// What exactly happened.
    pub detail: String,
}
