//! Who is let in: the rules of a route about the users of its clients, and how many of each are
//! inside. A route without such rules asks nobody and costs nothing.
//!
//! Protocols call [`Gate::admit`] with each new connection, before they read from it, and tell
//! those who are turned away in their own words.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use entrapool_metrics::{Cause, ClientGuard, Label};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::peer::{self, Unknown};
use super::wire::Socket;
use crate::config::Admission;

/// So many are told at a time why they are turned away; one more is closed without a word, so
/// that a crowd of them costs nothing that clients need.
const HEARINGS: usize = 16;
/// How long one who is turned away may take to say something that can be answered.
pub const HEARING: Duration = Duration::from_secs(5);
/// The log hears of each cause once in this time, with how often it was silent.
const SILENCE: Duration = Duration::from_secs(10);

/// What a client that speaks HTTP is sent, whatever it asked for: nothing else is read of it, and
/// nothing that it said comes back.
pub const NOT_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Content-Length: 85\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks a database protocol, not HTTP. entrapool's metrics are on another.\r\n";

/// The door of a route.
#[derive(Debug)]
pub struct Gate {
    rules: Admission,
    /// Clients by user, where they are counted; those of no known user together.
    inside: Mutex<HashMap<Option<u32>, usize>>,
    hearings: Semaphore,
    logged: Mutex<HashMap<Cause, Logged>>,
}

/// When the log heard of a cause, and how often it was spared since.
#[derive(Debug)]
struct Logged {
    at: Instant,
    spared: u64,
}

/// A client that was let in; it counts until this is dropped.
#[derive(Debug)]
pub struct Inside(Option<(Arc<Gate>, Option<u32>)>);

/// What a client counts as while it is there: one of its user's, and one of the route's.
pub type Place = (Inside, ClientGuard);

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Turned {
    /// Its user is not listed.
    #[error("user {0} of this machine is not in allow_uids of this route")]
    Stranger(u32),
    /// Its user is not known, and only some are listed.
    #[error(
        "allow_uids of this route lets in some users only, and whose client this is is not known: {0}"
    )]
    Unknown(Unknown),
    /// Its user has enough clients.
    #[error("{} max_clients_per_peer ({limit}) clients already", have(*uid))]
    TooMany {
        /// `None` for all whose user is not known.
        uid: Option<u32>,
        /// The limit.
        limit: usize,
    },
}

fn have(uid: Option<u32>) -> String {
    match uid {
        Some(uid) => format!("user {uid} of this machine has"),
        None => "the clients whose user is not known are".to_owned(),
    }
}

impl Turned {
    /// As what it is counted.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Stranger(_) | Self::Unknown(_) => Cause::NotAllowed,
            Self::TooMany { .. } => Cause::PeerLimit,
        }
    }

    /// What to try.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Stranger(_) => {
                "Add the user to allow_uids, or run the client as one who is listed there."
            }
            Self::Unknown(_) => {
                "Run client and entrapool in one network namespace, or connect through a Unix socket, which tells its client's user everywhere."
            }
            Self::TooMany { .. } => {
                "Close connections that are not needed, or raise max_clients_per_peer."
            }
        }
    }
}

impl Gate {
    /// A door with these rules.
    #[must_use]
    pub fn new(rules: Admission) -> Arc<Self> {
        Arc::new(Self {
            rules,
            inside: Mutex::default(),
            hearings: Semaphore::new(HEARINGS),
            logged: Mutex::default(),
        })
    }

    /// Lets a client in, or not.
    ///
    /// # Errors
    /// [`Turned`].
    pub async fn admit(self: &Arc<Self>, client: &Socket) -> Result<Inside, Turned> {
        if self.rules == Admission::default() {
            return Ok(Inside(None));
        }
        // Boxed: only routes with rules have room for it in each session.
        self.judge(Box::pin(peer::uid(client)).await)
    }

    fn judge(self: &Arc<Self>, owner: Result<u32, Unknown>) -> Result<Inside, Turned> {
        let owner = match (&self.rules.uids, owner) {
            (Some(listed), Ok(uid)) if !listed.contains(&uid) => {
                return Err(Turned::Stranger(uid));
            }
            (Some(_), Err(unknown)) => return Err(Turned::Unknown(unknown)),
            (_, owner) => owner.ok(),
        };
        let Some(limit) = self.rules.per_peer else {
            return Ok(Inside(None));
        };
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inside.entry(owner).or_default();
        if *count >= limit {
            return Err(Turned::TooMany { uid: owner, limit });
        }
        *count += 1;
        Ok(Inside(Some((Arc::clone(self), owner))))
    }

    /// Leave to tell a client why it is turned away; `None` if too many are being told.
    #[must_use]
    pub fn hearing(&self) -> Option<SemaphorePermit<'_>> {
        self.hearings.try_acquire().ok()
    }

    /// Tells the log of a client that has no business here; of each cause once in a while, since
    /// whoever knocks could otherwise fill a disk with it.
    pub fn log(&self, route: &str, cause: Cause, why: impl Display) {
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let spared = match logged.get_mut(&cause) {
            Some(last) if now.saturating_duration_since(last.at) < SILENCE => {
                last.spared += 1;
                return;
            }
            Some(last) => last.spared,
            None => 0,
        };
        logged.insert(cause, Logged { at: now, spared: 0 });
        drop(logged);
        let cause = cause.value();
        tracing::warn!(
            route,
            cause,
            not_logged_before = spared,
            "a client was turned away: {why}"
        );
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let Some((gate, owner)) = self.0.take() else {
            return;
        };
        let mut inside = gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(&owner) {
            *count -= 1;
            // Nobody is remembered.
            if *count == 0 {
                inside.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(uids: Option<&[u32]>, per_peer: Option<usize>) -> Arc<Gate> {
        Gate::new(Admission {
            uids: uids.map(<[u32]>::to_vec),
            per_peer,
        })
    }

    #[test]
    fn only_listed_users_are_let_in() {
        let gate = gate(Some(&[0, 1000]), None);
        assert!(gate.judge(Ok(0)).is_ok() && gate.judge(Ok(1000)).is_ok());
        let turned = gate.judge(Ok(33)).unwrap_err();
        assert_eq!(turned.cause(), Cause::NotAllowed);
        assert!(turned.to_string().contains("user 33"), "{turned}");
        // Not knowing is no leave.
        let turned = gate.judge(Err(Unknown::NoOwner)).unwrap_err();
        assert_eq!(turned.cause(), Cause::NotAllowed);
        assert!(gate.inside.lock().unwrap().is_empty());
    }

    #[test]
    fn each_user_has_a_limit_of_its_own_and_nobody_is_remembered() {
        let gate = gate(None, Some(2));
        let first = gate.judge(Ok(7)).unwrap();
        let _second = gate.judge(Ok(7)).unwrap();
        let turned = gate.judge(Ok(7)).unwrap_err();
        assert_eq!(turned.cause(), Cause::PeerLimit);
        assert!(
            turned
                .to_string()
                .contains("user 7 of this machine has max_clients_per_peer (2)")
        );
        let other = gate.judge(Ok(8)).unwrap();
        drop(first);
        let again = gate.judge(Ok(7)).unwrap();
        assert!(gate.judge(Ok(7)).is_err());
        drop((other, again));
        assert_eq!(gate.inside.lock().unwrap().len(), 1);
        // Those of no known user share one place.
        let unknown = gate.judge(Err(Unknown::NoOwner)).unwrap();
        let _another = gate.judge(Err(Unknown::NoOwner)).unwrap();
        assert!(gate.judge(Err(Unknown::NoOwner)).is_err());
        drop(unknown);
        assert!(gate.judge(Err(Unknown::NoOwner)).is_ok());
    }

    #[test]
    fn a_crowd_is_not_heard() {
        let gate = gate(Some(&[0]), None);
        let heard: Vec<_> = (0..HEARINGS).map(|_| gate.hearing().unwrap()).collect();
        assert!(gate.hearing().is_none());
        drop(heard);
        assert!(gate.hearing().is_some());
    }

    #[test]
    fn the_log_hears_of_a_cause_once_in_a_while() {
        let gate = gate(None, None);
        for _ in 0..3 {
            gate.log("r", Cause::Http, "x");
        }
        gate.log("r", Cause::NotAllowed, "x");
        let logged = gate.logged.lock().unwrap();
        assert_eq!(logged[&Cause::Http].spared, 2);
        assert_eq!(logged[&Cause::NotAllowed].spared, 0);
    }

    #[test]
    fn the_answer_to_http_is_well_formed() {
        let text = std::str::from_utf8(NOT_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "));
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
    }
}
