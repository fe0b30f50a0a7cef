//! `entrapool doctor` against the local Azure, with each fault injected for real: fault → diagnosis.
//! `cargo test -p entrapool --test doctor -- --nocapture` prints the table.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../sidecar/mod.rs"]
mod sidecar;

mod examination;
mod healthy;
mod identity;
mod login;
mod namespace;
mod network;
mod tls;

/// Every cause of docs/troubleshooting.md is the diagnosis of a fault that a test injects.
#[test]
fn every_cause_has_its_fault() {
    let tests = [
        include_str!("healthy.rs"),
        include_str!("identity.rs"),
        include_str!("login.rs"),
        include_str!("namespace.rs"),
        include_str!("network.rs"),
        include_str!("tls.rs"),
    ]
    .concat();
    // A test's Entra has to be trusted, which the program does not: a test of proxy/src/doctor.
    let elsewhere = ["entra-rejected"];
    let page = include_str!("../../../docs/troubleshooting.md");
    let codes = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(code, _)| code)
        .filter(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    let mut count = 0;
    for code in codes {
        let injected = tests.contains(&format!("\"{code}\""));
        assert_ne!(injected, elsewhere.contains(&code), "{code}");
        count += 1;
    }
    assert!(count > 50, "{count} causes");
}
