//! The verdict: whether a backend stays with its client, and what has to happen before it is
//! lent to another. Pure: no I/O, no clock. Protocols report facts, this decides.

use crate::config::PoolMode;

/// Where the conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Nothing owed, nothing open, no transaction.
    Idle,
    /// Inside a transaction, or in the middle of something.
    Inside,
}

/// What the session has left on the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residue {
    /// Nothing that the next borrower could see.
    None,
    /// Perhaps something, which a cleaning removes.
    Some,
}

/// Whether the client is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// It may send more.
    Here,
    /// It has ended its session, or died.
    Gone,
}

/// What becomes of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The client keeps it.
    Keep,
    /// It can be lent at once.
    Release,
    /// It can be lent after a cleaning.
    Clean,
    /// What its client left open is ended first: COPY, batch, transaction; then it is cleaned.
    Recover,
}

/// Decides.
#[must_use]
pub fn judge(boundary: Boundary, residue: Residue, client: Client, mode: PoolMode) -> Verdict {
    match (boundary, client, mode, residue) {
        (Boundary::Inside, Client::Here, ..) | (_, Client::Here, PoolMode::Session, _) => {
            Verdict::Keep
        }
        (Boundary::Inside, Client::Gone, ..) => Verdict::Recover,
        (Boundary::Idle, Client::Gone, PoolMode::Session, _) => Verdict::Clean,
        (Boundary::Idle, _, PoolMode::Transaction, Residue::None) => Verdict::Release,
        (Boundary::Idle, _, PoolMode::Transaction, Residue::Some) => Verdict::Clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        use Boundary::{Idle, Inside};
        use Client::{Gone, Here};
        use PoolMode::{Session, Transaction};
        use Verdict::{Clean, Keep, Recover, Release};
        for (boundary, residue, client, mode, verdict) in [
            (Idle, Residue::None, Here, Transaction, Release),
            (Idle, Residue::Some, Here, Transaction, Clean),
            (Inside, Residue::None, Here, Transaction, Keep),
            (Inside, Residue::Some, Here, Transaction, Keep),
            (Idle, Residue::None, Gone, Transaction, Release),
            (Idle, Residue::Some, Gone, Transaction, Clean),
            (Inside, Residue::None, Gone, Transaction, Recover),
            (Inside, Residue::Some, Gone, Transaction, Recover),
            (Idle, Residue::None, Here, Session, Keep),
            (Idle, Residue::Some, Here, Session, Keep),
            (Inside, Residue::None, Here, Session, Keep),
            (Inside, Residue::Some, Here, Session, Keep),
            (Idle, Residue::None, Gone, Session, Clean),
            (Idle, Residue::Some, Gone, Session, Clean),
            (Inside, Residue::None, Gone, Session, Recover),
            (Inside, Residue::Some, Gone, Session, Recover),
        ] {
            let judged = judge(boundary, residue, client, mode);
            assert_eq!(
                judged, verdict,
                "{boundary:?} {residue:?} {client:?} {mode:?}"
            );
        }
    }
}
