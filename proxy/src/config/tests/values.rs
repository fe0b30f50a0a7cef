//! Every limit of every key, at its bounds and just outside.

use std::time::Duration;

use super::{PLAIN, config, errors, plain, plain_error};
use crate::config::key::{Absent, Described, find, nearest};
use crate::config::keys;
use crate::config::settings::{Raw, Reader, Settings};
use crate::config::{
    Engine, IoUring, LogFormat, MapEnvironment, OnStartFailure, Place, PoolMode, TlsMode,
};

#[test]
fn defaults() {
    let config = config(&[PLAIN]);
    assert_eq!(config.http, "127.0.0.1:9464".parse().unwrap());
    assert_eq!(config.workers, 1);
    assert_eq!(config.io_uring, IoUring::Auto);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.level, "info");
    assert_eq!(config.drain.accept_for, Duration::ZERO);
    assert_eq!(config.drain.max_wait, Duration::from_secs(20));
    assert_eq!(config.start.timeout, Duration::from_secs(30));
    assert_eq!(config.start.on_failure, OnStartFailure::Exit);
    let route = &config.routes[0];
    assert_eq!(route.name, "postgres-5432");
    assert_eq!(route.listen.to_string(), "127.0.0.1:5432");
    assert_eq!(route.databases, None);
    assert_eq!(route.upstream.tls, TlsMode::Negotiate);
    assert_eq!(route.upstream.connect_timeout, Duration::from_secs(15));
    assert_eq!(route.pool.mode, PoolMode::Auto);
    assert_eq!(route.pool.size, 10);
    assert_eq!(route.pool.min_idle, 0);
    assert_eq!(route.pool.max_clients, 10_000);
    assert_eq!(route.pool.wait_timeout, Duration::from_secs(30));
    assert_eq!(route.pool.idle_timeout, Duration::from_secs(600));
    assert_eq!(route.pool.max_lifetime, Duration::from_secs(3600));
}

#[test]
fn every_documented_default_is_accepted_by_its_own_key() {
    let mut checked = Vec::new();
    macro_rules! check {
        ($($key:ident)*) => {$(
            for engine in Engine::ALL {
                let settings = Settings::new(Place::Whole);
                let mut found = crate::config::ConfigErrors::default();
                let mut reader = Reader::new(vec![&settings], &mut found);
                reader.set_engine(*engine);
                let value = reader.value(&keys::$key);
                match keys::$key.absent.of(Some(*engine)).unwrap() {
                    Absent::Default(text) => {
                        assert!(value.is_some(), "{}: {text}: {found}", keys::$key.name);
                    }
                    Absent::Means(_) => assert!(value.is_none() && found.is_empty()),
                    Absent::Required(_) => assert_eq!(found.len(), 1),
                    Absent::ByEngine { .. } => panic!("{} in {engine:?}", keys::$key.name),
                }
            }
            checked.push(keys::$key.name);
        )*};
    }
    check!(CONFIG HTTP WORKERS IO_URING AUTHORITY_CA_FILE LOG_FORMAT LOG_LEVEL DRAIN_ACCEPT_FOR DRAIN_MAX_WAIT);
    check!(START_TIMEOUT START_ON_FAILURE CONTROL_LISTEN CONTROL_GROUP);
    check!(CONSOLE_GROUP);
    check!(URL ENGINE HOST PORT USER DATABASE NAME LISTEN);
    check!(ALLOW_REMOTE ALLOW_UIDS DATABASES IDENTITY CLIENT_ID OBJECT_ID RESOURCE_ID CLOUD);
    check!(IMDS_ENDPOINT PASSWORD_FILE ALLOW_ANY_HOST TLS CA_FILE SERVER_NAME CONNECT_TO CONNECT_TIMEOUT);
    check!(CLIENT_TLS CLIENT_CERT_FILE CLIENT_KEY_FILE PACKET_SIZE);
    check!(POOL_MODE POOL_SIZE MIN_IDLE MAX_CLIENTS MAX_CLIENTS_PER_PEER WAIT_TIMEOUT IDLE_TIMEOUT MAX_LIFETIME);
    check!(MIN_TOKEN_REMAINDER TRUST_SESSION_STATE PIN_ON_EXEC);
    let table: Vec<&str> = keys::PROGRAM
        .iter()
        .chain(keys::ROUTE)
        .map(|key| key.name())
        .collect();
    assert_eq!(checked, table);
}

#[test]
fn bounds_of_a_route() {
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            "pool_size",
            &["1", "10000"],
            &["0", "10001", "-1", "ten", "1.5", "", "99999999999999999999"],
        ),
        ("max_clients", &["1", "1000000"], &["0", "1000001"]),
        ("max_clients_per_peer", &["1", "1000000"], &["0", "1000001"]),
        (
            "allow_uids",
            &["0", "4294967294", "1000,0", "root,1000"],
            &["", "-1", "4294967295", "no-such-user", "0,,1"],
        ),
        ("allow_any_host", &["true", "false"], &["yes", "1"]),
        (
            "wait_timeout",
            &["100ms", "1h", "60min"],
            &["99ms", "3601s", "30", "1.5s", "soon"],
        ),
        ("idle_timeout", &["1s", "24h", "1d"], &["999ms", "25h"]),
        ("max_lifetime", &["1s", "7d"], &["0s", "8d"]),
        ("connect_timeout", &["1s", "5min", "5m"], &["500ms", "6min"]),
        (
            "pool_mode",
            &["auto", "strict", "transaction", "session"],
            &["statement", "Session"],
        ),
        ("tls", &["negotiate", "direct"], &["on", "require"]),
        ("cloud", &["public"], &["germany"]),
        ("allow_remote", &["true", "false"], &["yes", "1"]),
        ("name", &["a", "primary db"], &["a%0Ab"]),
        (
            "server_name",
            &["a.postgres.database.azure.com"],
            &["a b", "a..b", "-%2F", "db.example.com", "10.0.0.1", "::1"],
        ),
        (
            "connect_to",
            &["h", "h:1", "10.0.0.4:65535", "::1", "[::1]", "[::1]:5"],
            &["h:0", "h:x", "[::1]5x", "h:65536", ":5"],
        ),
        (
            "listen",
            &["127.0.0.1:0", "127.9.9.9:1", "[::1]:5432", "/run/x"],
            &["5432", "localhost:5432", ":5432", "127.0.0.1"],
        ),
    ];
    for (key, good, bad) in table {
        for value in *good {
            plain(&format!("{key}={value}"));
        }
        for value in *bad {
            let message = plain_error(&format!("{key}={value}"));
            assert!(
                message.starts_with(&format!("{key}: ")),
                "{value}: {message}"
            );
        }
    }
}

#[test]
fn bounds_of_the_program() {
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            "ENTRAPOOL_WORKERS",
            &["1", "256"],
            &["0", "257", "many", ""],
        ),
        (
            "ENTRAPOOL_HTTP",
            &["0.0.0.0:9464", "[::]:1"],
            &["9464", "localhost:9464"],
        ),
        (
            "ENTRAPOOL_LOG_FORMAT",
            &["text", "json"],
            &["JSON", "logfmt"],
        ),
        (
            "ENTRAPOOL_LOG_LEVEL",
            &["off", "debug", "WARN", "info,entrapool=trace"],
            &["inof", "info,entrapol", "entrapool=loud", ""],
        ),
        ("ENTRAPOOL_DRAIN_ACCEPT_FOR", &["0s", "1h"], &["61min", "0"]),
        ("ENTRAPOOL_DRAIN_MAX_WAIT", &["0s", "24h"], &["25h"]),
        ("ENTRAPOOL_START_TIMEOUT", &["1s", "1h"], &["0s", "2h"]),
        ("ENTRAPOOL_START_ON_FAILURE", &["exit", "serve"], &["die"]),
    ];
    for (name, good, bad) in table {
        for value in *good {
            let env = MapEnvironment::default().with(name, value);
            let loaded = super::try_load(&[PLAIN], &env);
            assert!(loaded.is_ok(), "{name}={value}: {loaded:?}");
        }
        for value in *bad {
            let found = errors(&[PLAIN], &MapEnvironment::default().with(name, value));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(&format!("{name}: ")), "{found:?}");
        }
    }
}

#[test]
fn messages_say_what_is_allowed() {
    let table = [
        (
            "pool_size=0",
            "pool_size: 0 is out of range; allowed: 1 to 10000",
        ),
        (
            "pool_size=x",
            "pool_size: \"x\" is not a whole number; allowed: 1 to 10000",
        ),
        (
            "wait_timeout=30",
            "wait_timeout: \"30\" has no unit; write \"30s\", \"30min\" or \"30ms\"",
        ),
        (
            "idle_timeout=2d",
            "idle_timeout: \"2d\" is out of range; allowed: 1s to 1d",
        ),
        (
            "pool_mode=statement",
            "pool_mode: \"statement\" is not known; allowed: auto, strict, transaction, session",
        ),
    ];
    for (query, message) in table {
        assert_eq!(plain_error(query), message);
    }
}

#[test]
fn names_and_tables_of_keys_are_distinct() {
    for table in [keys::PROGRAM, keys::ROUTE] {
        for key in table {
            let same = table.iter().filter(|other| other.name() == key.name());
            assert_eq!(same.count(), 1, "{}", key.name());
            assert!(key.help().ends_with('.'), "{}", key.name());
        }
    }
    assert!(find(keys::ROUTE, "listen").is_some());
    assert!(find(keys::ROUTE, "Listen").is_none());
    assert_eq!(
        keys::DRAIN_ACCEPT_FOR.variable(),
        "ENTRAPOOL_DRAIN_ACCEPT_FOR"
    );
}

#[test]
fn a_default_that_depends_on_the_engine_tells_both() {
    assert_eq!(
        keys::PORT.absence(),
        "default 5432 (postgres); default 1433 (sqlserver)"
    );
    assert_eq!(
        keys::USER.absence(),
        "required (postgres); default: the token names it (sqlserver)"
    );
    assert_eq!(keys::HOST.absence(), "required");
    let settings = Settings::new(Place::Whole);
    let mut found = crate::config::ConfigErrors::default();
    let unknown = Reader::new(vec![&settings], &mut found).value(&keys::PORT);
    assert!(unknown.is_none() && found.is_empty(), "{found}");
    for key in keys::ROUTE {
        let known = keys::SQLSERVER.iter().any(|own| own.name() == key.name());
        assert_eq!(
            keys::only_for(*key),
            known.then_some(Engine::Tds),
            "{}",
            key.name()
        );
    }
    assert!(
        keys::SQLSERVER
            .iter()
            .all(|key| find(keys::ROUTE, key.name()).is_some())
    );
}

#[test]
fn the_nearest_name() {
    let known = ["pool_size", "pool_mode", "listen"];
    let table = [
        ("pool_sise", Some("pool_size")),
        ("size", Some("pool_size")),
        ("mood", None),
        ("poolsize", Some("pool_size")),
        ("lisetn", Some("listen")),
        ("LISTEN", None),
        ("", None),
    ];
    for (name, wanted) in table {
        assert_eq!(nearest(name, known.into_iter()), wanted, "{name}");
    }
}

#[test]
fn raw_values_are_compared_by_what_they_say() {
    let mut found = crate::config::ConfigErrors::default();
    let mut fields = Settings::new(Place::Whole);
    assert!(fields.insert("port", Raw::Integer(6432), Place::Whole));
    let mut url = Settings::new(Place::Whole);
    assert!(url.insert("port", Raw::Text("6432".to_owned()), Place::Whole));
    assert!(!url.insert("port", Raw::Text("1".to_owned()), Place::Whole));
    fields.merge(url, &mut found);
    assert!(found.is_empty(), "{found}");
}
