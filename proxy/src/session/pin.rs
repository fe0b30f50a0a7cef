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
    /// Perhaps something: nobody has asked the server yet.
    Suspected,
    /// Something that can't be carried to another backend.
    Kept,
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
    /// The client keeps it until the server has said what is left.
    Probe,
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
        (Boundary::Idle, _, _, Residue::None) => Verdict::Release,
        (Boundary::Idle, Client::Here, PoolMode::Auto | PoolMode::Strict, Residue::Suspected) => {
            Verdict::Probe
        }
        (Boundary::Idle, Client::Here, PoolMode::Auto | PoolMode::Strict, Residue::Kept) => {
            Verdict::Keep
        }
        (Boundary::Idle, ..) => Verdict::Clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        use Boundary::{Idle, Inside};
        use Client::{Gone, Here};
        use PoolMode::{Auto, Session, Strict, Transaction};
        use Residue::{Kept, None, Suspected};
        use Verdict::{Clean, Keep, Probe, Recover, Release};
        // By residue: none, suspected, kept.
        for (boundary, client, mode, verdicts) in [
            (Idle, Here, Auto, [Release, Probe, Keep]),
            (Idle, Gone, Auto, [Release, Clean, Clean]),
            (Inside, Here, Auto, [Keep, Keep, Keep]),
            (Inside, Gone, Auto, [Recover, Recover, Recover]),
            (Idle, Here, Strict, [Release, Probe, Keep]),
            (Idle, Gone, Strict, [Release, Clean, Clean]),
            (Inside, Here, Strict, [Keep, Keep, Keep]),
            (Inside, Gone, Strict, [Recover, Recover, Recover]),
            (Idle, Here, Transaction, [Release, Clean, Clean]),
            (Idle, Gone, Transaction, [Release, Clean, Clean]),
            (Inside, Here, Transaction, [Keep, Keep, Keep]),
            (Inside, Gone, Transaction, [Recover, Recover, Recover]),
            (Idle, Here, Session, [Keep, Keep, Keep]),
            (Idle, Gone, Session, [Clean, Clean, Clean]),
            (Inside, Here, Session, [Keep, Keep, Keep]),
            (Inside, Gone, Session, [Recover, Recover, Recover]),
        ] {
            for (residue, verdict) in [None, Suspected, Kept].into_iter().zip(verdicts) {
                let judged = judge(boundary, residue, client, mode);
                assert_eq!(
                    judged, verdict,
                    "{boundary:?} {residue:?} {client:?} {mode:?}"
                );
            }
        }
    }
}
