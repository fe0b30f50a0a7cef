//! Scripted misbehaviour of the managed-identity endpoints, and the count of what they saw.
//!
//! A test queues faults for the next requests, or sets one that stays. The endpoints ask
//! `Faults::next` once per request. Refused connections are not here: they need the listener
//! closed (see `Imds::refuse_connections`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;

/// One way to misbehave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answer with this status and the body that Azure sends with it. 429 has `Retry-After: 1`.
    Status(u16),
    /// Answer as usual, but this much later.
    Slow(Duration),
    /// Read the request and never answer.
    BlackHole,
    /// Answer 200 with a body that is not JSON.
    Garbage,
    /// Answer 200 with a token that has something odd about it.
    Token(Twist),
}

/// What is odd about a token, or about the answer that it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// `expires_on` and `expires_in` are numbers, as some look-alikes write them.
    NumericExpiry,
    /// It is for this resource, whatever was asked for.
    Resource(&'static str),
    /// Its own claim says that it has expired, though the answer says otherwise.
    Overdue,
    /// It is valid from an hour hence on: the tenant's clock is ahead of ours.
    Early,
    /// It is no JWT.
    Opaque,
}

/// The script, shared by an endpoint and whoever tests against it.
#[derive(Debug, Default)]
pub struct Faults {
    script: Mutex<Script>,
    answers: Mutex<BTreeMap<u16, u64>>,
    requests: std::sync::atomic::AtomicU64,
}

#[derive(Debug, Default)]
struct Script {
    queued: VecDeque<Fault>,
    standing: Option<Fault>,
}

impl Faults {
    /// The next request without a queued fault gets this one, once.
    pub fn queue(&self, fault: Fault) {
        self.script().queued.push_back(fault);
    }

    /// Every request gets this fault once the queue is empty, until [`Faults::clear`].
    pub fn set(&self, fault: Fault) {
        self.script().standing = Some(fault);
    }

    /// Back to good behaviour. Requests already swallowed stay unanswered.
    pub fn clear(&self) {
        *self.script() = Script::default();
    }

    /// Requests that arrived, answered or not.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Requests that were answered with this status.
    #[must_use]
    pub fn answered(&self, status: u16) -> u64 {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(&status).copied().unwrap_or(0)
    }

    /// Counts a request and says how it goes wrong, if it does.
    pub(crate) fn next(&self) -> Option<Fault> {
        self.requests
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut script = self.script();
        let queued = script.queued.pop_front();
        queued.or_else(|| script.standing.clone())
    }

    /// Counts an answer.
    pub(crate) fn note_answer(&self, status: StatusCode) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(status.as_u16()).or_default() += 1;
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
