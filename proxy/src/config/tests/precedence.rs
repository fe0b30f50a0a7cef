//! Flag over environment over file, and the rules of the variables.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::{PLAIN, errors, try_load};
use crate::config::{Engine, LogFormat, MapEnvironment, OnStartFailure};

fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("entrapool.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

const FILE: &str = "
workers = 2
http = '127.0.0.1:2000'
[log]
format = 'json'
level = 'warn'
[drain]
accept_for = '2s'
max_wait = '2min'
[start]
timeout = '2s'
on_failure = 'serve'
[[route]]
url = 'postgres://vm@file.postgres.database.azure.com'
";

#[test]
fn the_file_alone() {
    let (_directory, path) = file(FILE);
    let arguments = ["--config", path.to_str().unwrap()];
    let config = try_load(&arguments, &MapEnvironment::default())
        .unwrap()
        .config;
    assert_eq!(config.workers, 2);
    assert_eq!(config.http.port(), 2000);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.drain.accept_for, Duration::from_secs(2));
    assert_eq!(config.drain.max_wait, Duration::from_secs(120));
    assert_eq!(config.start.timeout, Duration::from_secs(2));
    assert_eq!(config.start.on_failure, OnStartFailure::Serve);
    assert_eq!(
        config.routes[0].upstream.host,
        "file.postgres.database.azure.com"
    );
}

#[test]
fn variables_win_over_the_file_and_flags_over_both() {
    let (_directory, path) = file(FILE);
    let env = MapEnvironment::default()
        .with("ENTRAPOOL_CONFIG", path.to_str().unwrap())
        .with("ENTRAPOOL_WORKERS", "3")
        .with("ENTRAPOOL_HTTP", "127.0.0.1:3000")
        .with("ENTRAPOOL_LOG_LEVEL", "debug")
        .with("ENTRAPOOL_DRAIN_ACCEPT_FOR", "3s")
        .with("ENTRAPOOL_START_ON_FAILURE", "exit");
    let config = try_load(&[], &env).unwrap().config;
    assert_eq!(config.workers, 3);
    assert_eq!(config.http.port(), 3000);
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.drain.accept_for, Duration::from_secs(3));
    assert_eq!(config.drain.max_wait, Duration::from_secs(120));
    assert_eq!(config.start.on_failure, OnStartFailure::Exit);

    let flags = [
        "--workers",
        "4",
        "--http",
        "127.0.0.1:4000",
        "--log-format",
        "text",
        "--log-level",
        "error",
    ];
    let config = try_load(&flags, &env).unwrap().config;
    assert_eq!(config.workers, 4);
    assert_eq!(config.http.port(), 4000);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.level, "error");
}

#[test]
fn routes_replace_each_other() {
    let (_directory, path) = file(FILE);
    let path = path.to_str().unwrap();
    let env = MapEnvironment::default()
        .with("ENTRAPOOL_CONFIG", path)
        .with(
            "ENTRAPOOL_ROUTE",
            "postgres://vm@env.postgres.database.azure.com",
        );
    let loaded = try_load(&[], &env).unwrap();
    assert_eq!(loaded.config.routes.len(), 1);
    assert_eq!(
        loaded.config.routes[0].upstream.host,
        "env.postgres.database.azure.com"
    );
    assert_eq!(
        loaded.notes[0],
        "the routes of the environment replace those of the file"
    );

    let loaded = try_load(&[PLAIN], &env).unwrap();
    assert_eq!(loaded.config.routes.len(), 1);
    assert_eq!(
        loaded.config.routes[0].upstream.host,
        "db.postgres.database.azure.com"
    );
    assert_eq!(
        loaded.notes[..2],
        [
            "the routes of the command line replace those of the environment",
            "the routes of the command line replace those of the file",
        ]
    );
}

#[test]
fn routes_replace_each_other_whatever_they_speak() {
    let (_directory, path) = file(FILE);
    let env = MapEnvironment::default()
        .with("ENTRAPOOL_CONFIG", path.to_str().unwrap())
        .with(
            "ENTRAPOOL_ROUTE",
            "sqlserver://env.database.windows.net/app",
        );
    let engine = |arguments: &[&str]| {
        let config = try_load(arguments, &env).unwrap().config;
        assert_eq!(config.routes.len(), 1);
        config.routes[0].engine()
    };
    assert_eq!(engine(&[]), Engine::Tds);
    assert_eq!(engine(&[PLAIN]), Engine::Postgres);
}

#[test]
fn the_flag_names_the_file() {
    let (_directory, path) = file(FILE);
    let env = MapEnvironment::default().with("ENTRAPOOL_CONFIG", "/nonexistent/x.toml");
    let arguments = ["--config", path.to_str().unwrap()];
    assert!(try_load(&arguments, &env).is_ok());
    let found = errors(&[PLAIN], &env);
    assert_eq!(found.len(), 1);
    let wanted = "/nonexistent/x.toml: the configuration file cannot be read: ";
    assert!(found[0].starts_with(wanted), "{found:?}");
}

#[test]
fn a_wrong_value_is_told_even_if_it_is_overridden() {
    let env = MapEnvironment::default().with("ENTRAPOOL_WORKERS", "0");
    let found = errors(&["--workers", "2", PLAIN], &env);
    assert_eq!(
        found,
        ["ENTRAPOOL_WORKERS: 0 is out of range; allowed: 1 to 256"]
    );
}

#[test]
fn numbered_routes_are_in_order() {
    let env = MapEnvironment::default()
        .with(
            "ENTRAPOOL_ROUTE_10",
            "postgres://vm@127.0.0.10?listen=127.0.0.1:10",
        )
        .with(
            "ENTRAPOOL_ROUTE_2",
            "postgres://vm@127.0.0.2?listen=127.0.0.1:2",
        )
        .with(
            "ENTRAPOOL_ROUTE_0",
            "postgres://vm@127.0.0.1?listen=127.0.0.1:1",
        )
        .with(
            "ENTRAPOOL_ROUTE",
            "postgres://vm@127.0.0.5?listen=127.0.0.1:5",
        );
    let routes = try_load(&[], &env).unwrap().config.routes;
    let hosts: Vec<&str> = routes
        .iter()
        .map(|route| route.upstream.host.as_str())
        .collect();
    assert_eq!(hosts, ["127.0.0.5", "127.0.0.1", "127.0.0.2", "127.0.0.10"]);
}

#[test]
fn a_route_of_a_variable_is_named_by_it() {
    let env = MapEnvironment::default().with(
        "ENTRAPOOL_ROUTE_1",
        "postgres://vm@localhost/db?pool_size=0",
    );
    assert_eq!(
        errors(&[], &env),
        [
            "ENTRAPOOL_ROUTE_1 (postgres://vm@localhost/db): pool_size: 0 is out of range; \
             allowed: 1 to 10000"
        ]
    );
    let empty = MapEnvironment::default().with("ENTRAPOOL_ROUTE", "");
    assert!(errors(&[], &empty)[0].contains("this is not a ROUTE"));
}

#[test]
fn unknown_variables_are_refused() {
    let table = [
        ("ENTRAPOOL_WORKER", "did you mean ENTRAPOOL_WORKERS?"),
        ("ENTRAPOOL_ROUTES", "did you mean ENTRAPOOL_ROUTE?"),
        ("ENTRAPOOL_ROUTE_A", "did you mean ENTRAPOOL_ROUTE_0?"),
        ("ENTRAPOOL_LOGLEVEL", "did you mean ENTRAPOOL_LOG_LEVEL?"),
        ("ENTRAPOOL_POOL_SIZE", "is a key of a route"),
        ("ENTRAPOOL_USER", "is a key of a route"),
    ];
    for (name, wanted) in table {
        let found = errors(&[PLAIN], &MapEnvironment::default().with(name, "hunter2"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(&format!("{name}: ")), "{found:?}");
        assert!(found[0].contains(wanted), "{found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn variables_of_kubernetes_services_are_not_ours() {
    let links = [
        ("ENTRAPOOL_SERVICE_HOST", "10.0.0.1"),
        ("ENTRAPOOL_SERVICE_PORT", "9464"),
        ("ENTRAPOOL_SERVICE_PORT_METRICS", "9464"),
        ("ENTRAPOOL_PORT", "tcp://10.0.0.1:9464"),
        ("ENTRAPOOL_PORT_9464_TCP", "tcp://10.0.0.1:9464"),
        ("ENTRAPOOL_PORT_9464_TCP_PROTO", "tcp"),
        ("ENTRAPOOL_PORT_9464_TCP_PORT", "9464"),
        ("ENTRAPOOL_PORT_9464_TCP_ADDR", "10.0.0.1"),
        ("ENTRAPOOL_METRICS_SERVICE_HOST", "10.0.0.1"),
        ("ENTRAPOOL_METRICS_PORT_9464_UDP_ADDR", "10.0.0.1"),
    ];
    let env = links
        .iter()
        .fold(MapEnvironment::default(), |env, (name, value)| {
            env.with(name, value)
        });
    assert!(try_load(&[PLAIN], &env).is_ok());
    for name in ["ENTRAPOOL_PORT", "ENTRAPOOL_PORT_X_TCP", "ENTRAPOOL_TCP"] {
        let found = errors(&[PLAIN], &MapEnvironment::default().with(name, "5432"));
        assert_eq!(found.len(), 1, "{name}");
    }
}

#[test]
fn nothing_at_all() {
    let found = errors(&[], &MapEnvironment::default());
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("configuration: there is no route; "),
        "{found:?}"
    );
}
