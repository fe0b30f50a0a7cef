//! The real `entrapool` binary on a local Azure, for the end-to-end tests.
//!
//! [`shared`] is one Azure for all tests that do not break it; each takes a database of its own
//! from it, so that its backends can be told from those of others. [`Sidecar`] is a running
//! binary. Everything ends when its value is dropped, after a panic too.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "every test binary that includes this uses its own part of it"
)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod azure;
pub mod eighteen;
mod launch;
mod log;
mod metrics;
pub mod raw;

pub use azure::{
    CLEARTEXT_ROLE, MD5_ROLE, PASSWORD, PASSWORD_ROLE, SOMEONE_ELSE, Shared, backends, count,
    shared,
};
pub use eighteen::{Eighteen, eighteen};
pub use launch::{Launch, binary};
pub use log::{Line, Log};
pub use metrics::Metrics;
pub use raw::{Fields, Message, Raw};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use entrapool_emulator::probe::{Probe, Reply};
use tokio::process::{Child, Command};
use tokio_postgres::{Client, Config, NoTls};

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long one of PostgreSQL's programs may run.
const PROGRAM_LIMIT: Duration = Duration::from_secs(100);
/// How often it is looked for, where nothing tells.
const POLL: Duration = Duration::from_millis(20);

/// A running `entrapool`.
pub struct Sidecar {
    child: Child,
    log: Log,
    /// What the first route listens on: an address, or the path of a socket.
    listen: String,
    http: Option<SocketAddr>,
    database: String,
    programs: std::path::PathBuf,
}

impl Sidecar {
    /// Where the first route listens.
    pub fn address(&self) -> SocketAddr {
        self.listen.parse().expect("the route listens on TCP")
    }

    /// The port of the first route.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Everything that it has logged so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("entrapool runs")
    }

    /// How many of its clients rest: what is watched by an epoll that another one watches.
    pub fn resting(&self) -> usize {
        let folder = format!("/proc/{}/fdinfo", self.pid());
        let files = std::fs::read_dir(folder).expect("the process is ours");
        let watched: BTreeMap<String, Vec<String>> = files
            .flatten()
            .filter_map(|file| Some((file.file_name(), std::fs::read_to_string(file.path()).ok()?)))
            .map(|(name, info)| {
                let targets = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
                let targets = targets.filter_map(|line| line.split_whitespace().next());
                let targets = targets.map(str::to_owned).collect();
                (name.to_string_lossy().into_owned(), targets)
            })
            .collect();
        let is_inner = |name: &String| watched.values().flatten().any(|target| target == name);
        watched
            .iter()
            .filter(|(name, _)| is_inner(name))
            .map(|(_, targets)| targets.len())
            .sum()
    }

    /// Waits until so many of its clients rest.
    pub async fn until_resting(&self, count: usize) {
        eventually(async || (self.resting() == count).then_some(())).await;
    }

    /// Where the HTTP listener is.
    pub fn http(&self) -> SocketAddr {
        self.http.expect("the HTTP listener is bound")
    }

    /// Answers of the HTTP listener.
    pub async fn get(&self, path: &str) -> Reply {
        let probe = Probe::get(self.http(), path).limit(PATIENCE);
        probe.send().await.expect("the HTTP listener answers")
    }

    /// The metrics now.
    pub async fn metrics(&self) -> Metrics {
        let reply = self.get("/metrics").await;
        assert_eq!(reply.status, 200);
        Metrics::read(&reply.body)
    }

    /// Waits until the metrics satisfy `what`.
    pub async fn until(&self, what: impl Fn(&Metrics) -> bool) {
        let began = Instant::now();
        loop {
            let metrics = self.metrics().await;
            if what(&metrics) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the metrics never said so:\n{}\n{}",
                metrics.text(),
                self.log.tail()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Backends that were logged in so far.
    pub async fn logins(&self) -> f64 {
        self.metrics().await.logins()
    }

    /// What a client connects with: any user, no password, no TLS.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        let address = self.address();
        config
            .host(address.ip().to_string())
            .port(address.port())
            .user("legacy-app")
            .dbname(&self.database)
            .connect_timeout(PATIENCE);
        config
    }

    /// A client.
    pub async fn client(&self) -> Client {
        self.client_with(&self.config()).await
    }

    /// A client with another configuration.
    pub async fn client_with(&self, config: &Config) -> Client {
        match connect(config).await {
            Ok(client) => client,
            Err(error) => panic!("no connection: {error:?}\n{}", self.log.tail()),
        }
    }

    /// Why a client is not let in.
    pub async fn refusal(&self) -> tokio_postgres::error::DbError {
        refusal(&self.config()).await
    }

    /// A connection in bytes, before its first one.
    pub async fn dial(&self) -> Raw {
        Raw::dial(self.address()).await
    }

    /// A connection in bytes, greeted.
    pub async fn raw(&self) -> Raw {
        let mut raw = self.dial().await;
        raw.log_in(&self.database).await;
        raw
    }

    /// Runs one of PostgreSQL's programs as a client of the proxy; it must succeed.
    pub async fn program(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_program(program, arguments).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\n{said}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.log.tail()
        );
        said
    }

    /// Runs one of PostgreSQL's programs as a client of the proxy.
    pub async fn try_program(&self, program: &str, arguments: &[&str]) -> Output {
        let (host, port) = match self.listen.parse::<SocketAddr>() {
            Ok(address) => (address.ip().to_string(), address.port()),
            Err(_) => {
                let (directory, _) = self.listen.rsplit_once('/').expect("a path");
                (directory.to_owned(), 5432)
            }
        };
        let output = Command::new(self.programs.join(program))
            .args(arguments)
            .env_clear()
            .env("PGHOST", host)
            .env("PGPORT", port.to_string())
            .env("PGUSER", "legacy-app")
            .env("PGDATABASE", &self.database)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PROGRAM_LIMIT, output).await;
        let output = output.unwrap_or_else(|_| {
            panic!("{program} {arguments:?} does not end\n{}", self.log.tail())
        });
        output.expect("PostgreSQL's programs are installed")
    }

    /// Asks it to stop.
    pub async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Sends it a signal, by name.
    pub async fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &command]).status().await;
        assert!(status.expect("there is a shell").success());
    }

    /// Waits for its end; the exit code.
    pub async fn exit(mut self) -> i32 {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end:\n{}", self.log.tail()));
        status
            .expect("it can be waited for")
            .code()
            .expect("no signal ended it")
    }

    /// Asks it to stop, and waits for its end; the exit code.
    pub async fn stop(self) -> i32 {
        self.terminate().await;
        self.exit().await
    }
}

/// A connection without TLS; its task ends with the client.
pub async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Why a client is not let in; it must be told in PostgreSQL's way, and soon.
pub async fn refusal(config: &Config) -> tokio_postgres::error::DbError {
    let began = Instant::now();
    let Err(error) = connect(config).await else {
        panic!("the client was let in");
    };
    assert!(began.elapsed() < PATIENCE);
    match error.as_db_error() {
        Some(refusal) => refusal.clone(),
        None => panic!("not an ErrorResponse: {error:?}"),
    }
}

/// The server's words for an error, which it must have.
pub fn said<T>(result: Result<T, tokio_postgres::Error>) -> tokio_postgres::error::DbError {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => match error.as_db_error() {
            Some(said) => said.clone(),
            None => panic!("not an ErrorResponse: {error:?}"),
        },
    }
}

/// Waits until `what` gives a value.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = what().await {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "it did not come to pass");
        tokio::time::sleep(POLL).await;
    }
}
