use super::*;

/// What is said of a file with this text.
fn said(file: &str, text: &str) -> Vec<String> {
    let breaches = check_file(file, text);
    breaches.iter().map(ToString::to_string).collect()
}

fn breaks(file: &str, text: &str, law: &str) {
    let said = said(file, text);
    assert!(
        said.iter().any(|line| line.contains(law)),
        "{file}: {text:?} should break {law}, but: {said:?}"
    );
}

fn keeps(file: &str, text: &str) {
    assert_eq!(said(file, text), Vec::<String>::new(), "{file}: {text:?}");
}

#[test]
fn this_tree_keeps_the_laws() {
    let breaches = breaches(crate::tree::root()).unwrap();
    let lines: Vec<_> = breaches.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn every_way_to_write_an_import_is_seen() {
    for import in [
        "use crate::postgres::Session;",
        "use crate::{config::Config, postgres::{self, Session}};",
        "use crate::{\n    admin,\n    postgres as wire,\n};",
        "pub(crate) use crate :: postgres :: *;",
        "use super::super::postgres::Session;",
        "use super::{super::{postgres}};",
        "use ::entrapool_protocol::postgres::Status;",
        "use entrapool_protocol::Sink as _;",
        "fn f(_: &crate::postgres::Session) {}",
        "fn f() { let _ = entrapool_protocol::postgres::tracker::Tracker::new(); }",
        "use a::{b as c, *}; use crate::postgres;",
        "#[cfg(test)]\nmod tests { use crate::postgres::Session; }",
    ] {
        breaks("proxy/src/pool/lease.rs", import, "law 3");
    }
    let at = said("proxy/src/pool/lease.rs", "\n\nuse crate::{a,\n postgres};");
    assert_eq!(
        at,
        ["proxy/src/pool/lease.rs:4: law 3: crate::postgres may not be used here"]
    );
}

#[test]
fn what_only_looks_like_one_is_not() {
    for text in [
        "// use crate::postgres::Session;",
        "/* use crate::postgres; /* nested */ use crate::tds; */",
        "//! [`crate::postgres`] calls this.",
        "const S: &str = \"use crate::postgres;\";",
        "const S: &str = r#\"\" use crate::postgres;\"#;",
        "const C: char = '\"'; // use crate::postgres; \"",
        "use crate::postgresql_names::X;",
        "use other::{crate_postgres, postgres};",
        "fn f<'a>(x: &'a str) -> &'a str { x }",
    ] {
        keeps("proxy/src/pool/lease.rs", text);
    }
    // The same import where it is allowed.
    keeps("proxy/src/session/wire.rs", "use crate::postgres::Session;");
    keeps("proxy/src/postgres/accept.rs", "use crate::pool::Pool;");
}

#[test]
fn each_law_is_kept() {
    for (file, text, law) in [
        (
            "protocol/src/postgres/frame.rs",
            "use tokio::net::TcpStream;",
            "law 1",
        ),
        (
            "protocol/src/postgres/frame.rs",
            "use std::{fmt, time::Instant};",
            "law 1",
        ),
        ("protocol/src/lib.rs", "pub async fn read() {}", "law 1"),
        (
            "protocol/src/lib.rs",
            "use entrapool_metrics::Route;",
            "law 1",
        ),
        ("metrics/src/lib.rs", "use entrapool::pool::Pool;", "law 2"),
        ("proxy/src/identity/mod.rs", "use crate::tds::X;", "law 3"),
        (
            "proxy/src/upstream/dial.rs",
            "use entrapool_protocol::Sink;",
            "law 3",
        ),
        ("proxy/src/postgres/mod.rs", "use crate::tds::X;", "law 4"),
        (
            "proxy/src/tds/mod.rs",
            "use entrapool_protocol::postgres;",
            "law 4",
        ),
        (
            "protocol/src/tds/packet.rs",
            "use super::super::postgres::Status;",
            "law 4",
        ),
        ("protocol/src/postgres/mod.rs", "use super::tds;", "law 4"),
        (
            "proxy/src/identity/refresh.rs",
            "use crate::pool::Key;",
            "law 5",
        ),
        (
            "proxy/src/pool/mod.rs",
            "fn f() { std::env::args(); }",
            "law 6",
        ),
        (
            "proxy/src/identity/mod.rs",
            "fn f() { env::var_os(\"A\"); }",
            "law 6",
        ),
        ("proxy/src/main.rs", "fn f() { std::env::vars(); }", "law 6"),
        (
            "proxy/src/session/registry.rs",
            "fn f() { socket.peer_cred(); }",
            "law 6",
        ),
        (
            "proxy/src/app.rs",
            "static POOLS: Mutex<Vec<u8>> = x();",
            "law 6",
        ),
        ("proxy/src/app.rs", "static mut COUNT: u8 = 0;", "law 6"),
        (
            "proxy/src/session/pin.rs",
            "use tokio::sync::Mutex;",
            "law 7",
        ),
        ("proxy/src/session/pin.rs", "use other::Instant;", "law 7"),
        (
            "proxy/src/app.rs",
            "use entrapool_emulator::LocalAzure;",
            "law 8",
        ),
        ("proxy/src/app.rs", "use crate::doctor::run;", "law 9"),
        ("proxy/src/doctor/tcp.rs", "use crate::pool::Pool;", "law 9"),
    ] {
        breaks(file, text, law);
    }
}

#[test]
fn laws_leave_room() {
    for (file, text) in [
        ("proxy/src/main.rs", "fn f() { std::env::args_os(); }"),
        (
            "proxy/src/config/environment.rs",
            "fn f() { std::env::vars_os(); }",
        ),
        (
            "proxy/src/app.rs",
            "static KEYS: &[&str] = &[\"static mut\"];",
        ),
        ("proxy/src/app.rs", "fn f(x: &'static Mutex<u8>) {}"),
        (
            "proxy/src/session/pin.rs",
            "#[cfg(test)]\nmod tests { use std::time::Instant; }",
        ),
        (
            "proxy/src/pool/tests.rs",
            "use entrapool_emulator::LocalAzure;",
        ),
        (
            "proxy/tests/drivers.rs",
            "use entrapool_emulator::LocalAzure;",
        ),
        (
            "proxy/src/main.rs",
            "const V: &str = env!(\"CARGO_PKG_VERSION\");",
        ),
        (
            "emulator/src/imds.rs",
            "fn f() { std::env::var_os(\"A\"); }",
        ),
    ] {
        keeps(file, text);
    }
}

#[test]
fn a_file_has_an_end() {
    let long = "fn f() {}\n".repeat(701);
    breaks("emulator/src/imds.rs", &long, "701 lines above the tests");
    let tests = format!(
        "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
        "fn f() {}\n".repeat(700),
        "fn f() {}\n".repeat(900)
    );
    keeps("emulator/src/imds.rs", &tests);
    // Something else for tests only does not end the count.
    let single = format!("#[cfg(test)]\nuse a::b;\n{long}");
    breaks("emulator/src/imds.rs", &single, "703 lines");
}

#[test]
fn manifests_are_read() {
    let broken = |file: &str, text: &str| {
        let breaches = manifests::check(file, text);
        breaches.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (file, text) in [
        (
            "protocol/Cargo.toml",
            "[dependencies]\nbytes = \"1\"\ntokio.workspace = true",
        ),
        (
            "protocol/Cargo.toml",
            "[dependencies.tokio]\nversion = \"1\"",
        ),
        (
            "protocol/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"",
        ),
        (
            "protocol/Cargo.toml",
            "[dev-dependencies]\nentrapool-emulator.workspace = true",
        ),
        (
            "metrics/Cargo.toml",
            "[dependencies]\nentrapool-protocol = { path = \"x\" }",
        ),
        (
            "proxy/Cargo.toml",
            "[dependencies]\nentrapool-emulator.workspace = true",
        ),
        (
            "emulator/Cargo.toml",
            "[dev-dependencies]\nentrapool.workspace = true",
        ),
        ("xtask/Cargo.toml", "[dependencies]\n\"entrapool\" = \"1\""),
    ] {
        assert_eq!(broken(file, text).len(), 1, "{file}: {text}");
    }
    for (file, text) in [
        (
            "protocol/Cargo.toml",
            "[dependencies]\nbytes = \"1\"\n[dev-dependencies]\ntokio = \"1\"",
        ),
        (
            "proxy/Cargo.toml",
            "[dev-dependencies]\nentrapool-emulator.workspace = true",
        ),
        ("proxy/Cargo.toml", "[features]\nentrapool-emulator = []"),
        (
            "benches/Cargo.toml",
            "[dependencies]\nentrapool-emulator.workspace = true",
        ),
        (
            "xtask/Cargo.toml",
            "[dependencies]\n# entrapool = \"1\"\nclap = \"4\"",
        ),
    ] {
        assert_eq!(broken(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}
