use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Mutex;

use clap::Parser as _;
use entrapool_metrics::{Metrics, Protocol, RouteMetrics};
use entrapool_protocol::postgres::console::{HELP, Kind, Show, Value};

use super::*;
use crate::config::cli::{Cli, Command};
use crate::config::{self, MapEnvironment, load};
use crate::console::{House, Victims};
use crate::control::{Refusal, Reloaded};
use crate::pool::{Standing, Turn};
use crate::status::{Pinned, Process, RouteState, Source};

struct Fixed(Status, Vec<Client>);

impl Source for Fixed {
    fn status(&self) -> Status {
        self.0.clone()
    }

    fn clients(&self) -> Vec<Client> {
        self.1.clone()
    }
}

struct Line {
    config: config::Route,
    metrics: Arc<RouteMetrics>,
    paused: Mutex<bool>,
}

impl Lever for Line {
    fn config(&self) -> &config::Route {
        &self.config
    }

    fn metrics(&self) -> &RouteMetrics {
        &self.metrics
    }

    fn turn(&self, turn: Turn) -> bool {
        let mut paused = self.paused.lock().unwrap();
        std::mem::replace(&mut *paused, turn == Turn::Pause) != *paused
    }

    fn standing(&self) -> Standing {
        Standing {
            paused: *self.paused.lock().unwrap(),
            outdated: 1,
            unsettled: 0,
        }
    }
}

struct Lines(Vec<Arc<dyn Lever>>);

impl House for Lines {
    fn levers(&self) -> Vec<Arc<dyn Lever>> {
        self.0.clone()
    }

    fn kill(&self, _: Victims<'_>) -> usize {
        0
    }

    fn shut_down(&self) {}

    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, Refusal>> + Send + '_>> {
        Box::pin(async { Err(Refusal::Busy("a test")) })
    }
}

const ROUTES: [&str; 2] = [
    "postgres://vm@db.postgres.database.azure.com/app?identity=imds&name=one",
    "sqlserver://db.database.windows.net/app?identity=imds&name=two",
];

fn route(config: &config::Route) -> Route {
    Route {
        name: config.name.clone(),
        protocol: config.engine().as_str().to_owned(),
        listen: config.listen.to_string(),
        upstream: "db.postgres.database.azure.com:5432".to_owned(),
        user: config.user().map(str::to_owned),
        database: config.database().map(str::to_owned),
        pool_mode: "auto".to_owned(),
        pool_size: 10,
        min_idle: 0,
        max_clients: 100,
        backends: 2,
        clients: 3,
        waiting: 1,
        state: RouteState::Running,
        pins: vec![Pinned {
            reason: "temp_table".to_owned(),
            sessions: 1,
        }],
    }
}

fn pool(route: &str, database: &str, variant: &str) -> Pool {
    Pool {
        route: route.to_owned(),
        database: database.to_owned(),
        variant: variant.to_owned(),
        retired: false,
        active: 1,
        idle: 2,
        cleaning: 3,
        creating: 4,
        waiting: 5,
        oldest_wait: Some(1.25),
    }
}

fn server(number: u64, client: Option<u64>) -> Server {
    Server {
        number,
        route: "one".to_owned(),
        database: "app".to_owned(),
        variant: String::new(),
        retired: false,
        state: "cleaning".to_owned(),
        state_for: 1.0,
        age: 2.0,
        expires_in: 3.0,
        client,
        address: Some("[::1]:5432".to_owned()),
        server_pid: Some(4711),
        token_generation: 1,
    }
}

fn client(number: u64, route: &str, database: &str) -> Client {
    Client {
        number,
        pid: 1,
        route: route.to_owned(),
        database: database.to_owned(),
        application_name: None,
        state: ClientState::Active,
        state_for: 0.5,
        pins: Vec::new(),
    }
}

fn console() -> Console {
    let arguments = std::iter::once("entrapool").chain(ROUTES);
    let parsed = Cli::try_parse_from(arguments).unwrap().into_command();
    let Command::Run(options) = parsed else {
        panic!("it runs");
    };
    let config = load(&options, &MapEnvironment::default()).unwrap().config;
    let metrics = Metrics::new();
    let line = |config: &config::Route| {
        let metrics = metrics.route(Protocol::Postgres, &config.name);
        metrics.query_duration.observe(0.25);
        Arc::new(Line {
            config: config.clone(),
            metrics,
            paused: Mutex::new(false),
        }) as Arc<dyn Lever>
    };
    let status = Status {
        process: Process {
            version: "1.2.3".to_owned(),
            pid: 1,
            started: 0.0,
            draining: false,
        },
        routes: config.routes.iter().map(route).collect(),
        pools: vec![
            pool("one", "app", ""),
            pool("one", "other", ""),
            pool("two", "app", "language=German"),
            pool("two", "app", "language=French"),
        ],
        servers: vec![server(1, Some(7)), server(2, None)],
        tokens: vec![Token {
            identity: "the machine's".to_owned(),
            source: "imds".to_owned(),
            audience: "https://example.com".to_owned(),
            routes: vec!["one".to_owned(), "two".to_owned()],
            generation: 3,
            usable: true,
            expires_in: Some(-1.5),
            lifetime: None,
            last_refresh: None,
            next_refresh_in: Some(60.0),
            last_error: Some("no route to host".to_owned()),
            failing_since: Some(1.0),
        }],
        errors: Vec::new(),
    };
    let clients = vec![client(7, "one", "app"), client(8, "", "pgbouncer")];
    let lines = config.routes.iter().map(line).collect();
    Console::new(
        Arc::new(Fixed(status, clients)),
        Arc::new(Lines(lines)),
        None,
    )
}

fn text(row: &[Value], show: Show, column: &str) -> String {
    let at = show.columns().iter().position(|known| known.name == column);
    match &row[at.expect(column)] {
        Value::Null => "NULL".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
    }
}

const ALL: [Show; 19] = [
    Show::Version,
    Show::Stats,
    Show::StatsTotals,
    Show::StatsAverages,
    Show::Totals,
    Show::Pools,
    Show::Databases,
    Show::Clients,
    Show::Servers,
    Show::Users,
    Show::Lists,
    Show::Config,
    Show::State,
    Show::Tokens,
    Show::Pins,
    Show::Peers,
    Show::PeerPools,
    Show::DnsHosts,
    Show::DnsZones,
];

#[test]
fn every_row_fits_its_columns() {
    let console = console();
    for show in ALL {
        let columns = show.columns();
        let table = console.show(show);
        let empty = matches!(
            show,
            Show::Peers | Show::PeerPools | Show::DnsHosts | Show::DnsZones
        );
        assert_eq!(table.rows.is_empty(), empty, "{show:?}");
        for row in table.rows {
            assert_eq!(row.len(), columns.len(), "{show:?}: {row:?}");
            for (value, column) in row.iter().zip(columns) {
                let fits = match value {
                    Value::Null => true,
                    Value::Number(_) => column.kind != Kind::Text,
                    Value::Text(_) => column.kind == Kind::Text,
                };
                assert!(fits, "{show:?} {}: {value:?}", column.name);
            }
        }
    }
}

/// Exporters make them labels, and a metric of the same labels twice ends a scrape.
#[test]
fn names_are_there_once() {
    let console = console();
    for show in [Show::Pools, Show::Databases, Show::Stats, Show::StatsTotals] {
        let rows = console.show(show).rows;
        let names: HashSet<String> = rows.iter().map(|row| format!("{:?}", row[0])).collect();
        assert_eq!(names.len(), rows.len(), "{show:?}");
    }
    let names = console.show(Show::Databases).rows;
    let names: Vec<String> = names
        .iter()
        .map(|row| text(row, Show::Databases, "name"))
        .collect();
    assert_eq!(names, ["one", "one/other", "two"]);
}

#[test]
fn what_the_rows_say() {
    let console = console();
    let row = |show: Show, at: usize| console.show(show).rows.swap_remove(at);
    let pools = |at, column| text(&row(Show::Pools, at), Show::Pools, column);
    assert_eq!(
        (pools(0, "cl_active"), pools(0, "sv_idle")),
        ("1".into(), "2".into())
    );
    assert_eq!(
        (pools(0, "maxwait"), pools(0, "maxwait_us")),
        ("1".into(), "250000".into())
    );
    // Variants of a database are one row.
    assert_eq!(
        (pools(2, "sv_login"), pools(2, "user")),
        ("8".into(), String::new())
    );
    let servers = |at, column| text(&row(Show::Servers, at), Show::Servers, column);
    assert_eq!(
        (servers(0, "close_needed"), servers(1, "close_needed")),
        ("1".into(), "0".into())
    );
    assert_eq!(
        (servers(0, "link"), servers(0, "ptr")),
        ("c7".into(), "s1@one".into())
    );
    assert_eq!(
        (servers(0, "addr"), servers(0, "port")),
        ("::1".into(), "5432".into())
    );
    assert_eq!(
        (servers(0, "state"), servers(0, "remote_pid")),
        ("tested".into(), "4711".into())
    );
    let clients = |at, column| text(&row(Show::Clients, at), Show::Clients, column);
    assert_eq!(
        (clients(0, "link"), clients(0, "database")),
        ("s1@one".into(), "one".into())
    );
    assert_eq!(
        (clients(1, "link"), clients(1, "database")),
        (String::new(), "pgbouncer".into())
    );
    let token = |column| text(&row(Show::Tokens, 0), Show::Tokens, column);
    assert_eq!(
        (token("expires_in"), token("lifetime")),
        ("-1".into(), "NULL".into())
    );
    assert_eq!(token("last_failure"), "no route to host");
    let version = text(&row(Show::Version, 0), Show::Version, "version");
    assert_eq!(version, "entrapool 1.2.3, console of PgBouncer 1.25.2");
    let stats = |column| text(&row(Show::Stats, 0), Show::Stats, column);
    assert_eq!(
        (stats("total_query_count"), stats("total_query_time")),
        ("1".into(), "250000".into())
    );
    let totals = console.show(Show::Totals).rows;
    assert_eq!(totals.len(), 22);
    assert!(totals.contains(&vec!["total_query_count".into(), Value::Number(2)]));
    let settings = console.show(Show::Config).rows;
    let config = |key: &str| {
        let row = settings
            .iter()
            .find(|row| row[0] == Value::from(key.to_owned()));
        text(row.expect(key), Show::Config, "value")
    };
    assert_eq!(config("max_client_conn"), "20000");
    assert_eq!(config("route.two.engine"), "sqlserver");
}

#[test]
fn the_document_has_every_command() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/console.md");
    let document = std::fs::read_to_string(path).unwrap();
    for (command, _) in HELP {
        let words = command.split([' ', ',', '[', ']', '|']);
        for word in words.filter(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
            assert!(document.contains(word), "docs/console.md lacks {word}");
        }
    }
}
