//! What is refused before anything runs, and what can be told of a program that does not run yet.

use std::time::Instant;

use clap::Parser as _;
use entrapool_metrics::{Cause, PinReason};

use super::App;
use crate::config::cli::{Cli, Command, Exit};
use crate::config::{Config, MapEnvironment, load};
use crate::session::ending::Ending;
use crate::session::registry::{KeyLength, Origin, Phase};
use crate::status::{self, ClientState, RouteState};

fn config(routes: &[&str]) -> Config {
    let arguments = std::iter::once(&"entrapool").chain(routes);
    let Command::Run(options) = Cli::try_parse_from(arguments).unwrap().into_command() else {
        panic!("routes alone mean run");
    };
    load(&options, &MapEnvironment::default()).unwrap().config
}

// An endpoint where nobody listens: no token, and no wait for one.
const POSTGRES: &str =
    "postgres://vm@db.example.com/app?identity=imds&imds_endpoint=http://127.0.0.1:1";
const SQLSERVER: &str =
    "sqlserver://db.example.com/app?identity=imds&imds_endpoint=http://127.0.0.1:1&name=second";

#[tokio::test]
async fn a_route_that_can_t_run_is_refused_by_name() {
    let missing = format!("{SQLSERVER}&client_cert_file=/none.pem&client_key_file=/none.key");
    let Err(fault) = App::new(config(&[POSTGRES, &missing])) else {
        panic!("there is no such file: {missing}");
    };
    assert_eq!(fault.exit(), Exit::Configuration);
    let message = fault.to_string();
    assert!(
        message.starts_with("route second: /none.pem: "),
        "{message}"
    );
    assert!(App::new(config(&[POSTGRES, SQLSERVER])).is_ok());
}

#[tokio::test]
async fn it_tells_of_routes_clients_tokens_and_errors() {
    let third = format!("{POSTGRES}&name=third&listen=127.0.0.1:5499");
    let app = App::new(config(&[POSTGRES, SQLSERVER, &third])).unwrap();
    let origin = || Origin::new("db", "app", Some("psql"));
    let client = app.registry.register(KeyLength::Short, origin()).unwrap();
    client.enter(Phase::Active, Instant::now());
    let pins = [PinReason::TempTable, PinReason::Cursor];
    client.entry.pinned_for(pins.into_iter());
    let ending = Ending::because(Cause::WaitTimeout, "30 s");
    let first = app.routes[0].route.metrics();
    ending.record(("db", 7), first, &app.registry.recent);

    let source = app.status();
    let status = source.status();
    let routes: Vec<_> = status
        .routes
        .iter()
        .map(|it| (&*it.name, &*it.protocol, &*it.listen, it.state))
        .collect();
    let starting = RouteState::Starting;
    let expected = [
        ("postgres-5432", "postgres", "127.0.0.1:5432", starting),
        ("second", "sqlserver", "127.0.0.1:1433", starting),
        ("third", "postgres", "127.0.0.1:5499", starting),
    ];
    assert_eq!(routes, expected);
    let tokens: Vec<_> = status.tokens.iter().map(|it| &it.routes[..]).collect();
    assert_eq!(tokens, [&["postgres-5432", "third"][..], &["second"][..]]);
    let [error] = &status.errors[..] else {
        panic!("one error");
    };
    assert_eq!((&*error.blame, &*error.cause), ("proxy", "wait_timeout"));
    assert_eq!((&*error.detail, error.session), ("30 s", 7));
    let [seen] = &source.clients()[..] else {
        panic!("one client");
    };
    assert_eq!((seen.number, seen.pid), (1, client.pid()));
    assert_eq!(seen.state, ClientState::Active);
    assert_eq!(seen.pins, ["temp_table", "cursor"]);
    assert_eq!(seen.application_name.as_deref(), Some("psql"));

    let json = serde_json::to_string(&status).unwrap();
    let back: status::Status = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
}
