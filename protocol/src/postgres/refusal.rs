//! Every request that trackers refuse or answer themselves with an error, in words.
//!
//! Trackers call it; a test of the proxy prints all of it into `docs/errors.md`.

use super::message::Report;

/// With `pool_mode=strict`: a statement that would pin its session.
#[must_use]
pub fn leaves_state() -> Report {
    Report::error(
        "0A000",
        "entrapool: with pool_mode=strict no statement may leave state in its session that \
         another backend would not have",
    )
    .hint(
        "Use a form that ends with its transaction (ON COMMIT DROP, pg_advisory_xact_lock, \
         RETURNING ...), or pool_mode=auto, where such state keeps a backend with its client.",
    )
}

/// Nobody has prepared it: PostgreSQL's own words.
#[must_use]
pub fn unknown_statement(name: &[u8]) -> Report {
    let name = String::from_utf8_lossy(name);
    Report::error(
        "26000",
        format!("prepared statement \"{name}\" does not exist"),
    )
}

/// It is prepared already: PostgreSQL's own words.
#[must_use]
pub fn duplicate_statement(name: &[u8]) -> Report {
    let name = String::from_utf8_lossy(name);
    Report::error(
        "42P05",
        format!("prepared statement \"{name}\" already exists"),
    )
}
