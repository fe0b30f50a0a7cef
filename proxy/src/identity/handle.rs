//! What the rest of the program holds of an identity: the newest token, and the right to say that
//! it was refused.
//!
//! Connection set-up, readiness and the console call it. [`TokenHandle::current`] is on the path
//! of a connection: it reads a value and never waits, asks or touches a file.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use super::clock::Clock;
use super::failure::{Lack, Streak, Unavailable};
use super::observe::Subject;
use super::token::Token;

/// A shared view of one refresh task.
#[derive(Clone)]
pub struct TokenHandle {
    subject: Arc<Subject>,
    state: watch::Receiver<State>,
    orders: mpsc::Sender<Order>,
    clock: Clock,
}

/// All that the refresh task publishes.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// The last good token, kept until another comes.
    pub(super) token: Option<Arc<Token>>,
    /// Failures since the last success.
    pub(super) streak: Option<Streak>,
    pub(super) last_success: Option<SystemTime>,
    pub(super) next_refresh: Option<SystemTime>,
}

impl State {
    /// The token that a login may use `now`, or what is missing.
    fn usable(&self, now: SystemTime) -> Result<&Arc<Token>, Lack> {
        match &self.token {
            None => Err(Lack::NotYet),
            Some(token) if token.usable_at(now) => Ok(token),
            Some(token) => Err(Lack::Expired(token.expires_at().unwrap_or(now))),
        }
    }
}

/// "The server refused that generation": asks the refresh task for a newer one.
pub(super) struct Order {
    pub(super) refused: u64,
    pub(super) reply: oneshot::Sender<Result<Arc<Token>, Unavailable>>,
}

/// A snapshot for `/readiness`, logs and the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStatus {
    /// The identity in words; holds no secret.
    pub identity: String,
    /// The kind of source.
    pub source: &'static str,
    /// The resource that the token is for; `none` for a password.
    pub audience: &'static str,
    /// How many different secrets were seen; 0 before the first.
    pub generation: u64,
    /// When the newest token expires; `None` for a password, or before the first token.
    pub expires_at: Option<SystemTime>,
    /// How long it was valid when it came.
    pub lifetime: Option<Duration>,
    /// When the source last gave something.
    pub last_success: Option<SystemTime>,
    /// When the source is asked next; in the past while it is being asked.
    pub next_refresh: Option<SystemTime>,
    /// The last failure, if nothing succeeded since.
    pub last_error: Option<String>,
    /// When the first of the failures since then was.
    pub failing_since: Option<SystemTime>,
    /// Whether a login could use the token now.
    pub usable: bool,
    /// Refreshing fails, or there is no usable token.
    pub degraded: bool,
}

impl TokenHandle {
    pub(super) fn new(
        subject: Arc<Subject>,
        state: watch::Receiver<State>,
        orders: mpsc::Sender<Order>,
        clock: Clock,
    ) -> Self {
        Self {
            subject,
            state,
            orders,
            clock,
        }
    }

    /// The newest token, if a login that begins now can use it.
    pub fn current(&self) -> Result<Arc<Token>, Unavailable> {
        let now = self.clock.now();
        let state = self.state.borrow();
        state
            .usable(now)
            .cloned()
            .map_err(|lack| Unavailable::new(&self.subject, lack, state.streak.clone(), now))
    }

    /// The server refused the token of `generation`. Returns a newer one: at once if there is one,
    /// else after a refresh that all callers share. Refreshes are limited in rate; an error says
    /// that no newer token can be had now.
    pub async fn refused(&self, generation: u64) -> Result<Arc<Token>, Unavailable> {
        if let Ok(token) = self.current()
            && token.generation() > generation
        {
            return Ok(token);
        }
        let (reply, verdict) = oneshot::channel();
        let order = Order {
            refused: generation,
            reply,
        };
        if self.orders.send(order).await.is_err() {
            return Err(self.stopped());
        }
        verdict.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Completes when the first token is there, and not before.
    pub async fn ready(&self) {
        let mut state = self.state.clone();
        if state.wait_for(|state| state.token.is_some()).await.is_err() {
            // The task has ended without one; none will come.
            std::future::pending::<()>().await;
        }
    }

    /// Completes when the source has answered once, one way or the other.
    pub async fn asked(&self) {
        let mut state = self.state.clone();
        // The task can only end before with the whole process.
        let _ = state
            .wait_for(|state| state.token.is_some() || state.streak.is_some())
            .await;
    }

    /// How things stand.
    pub fn status(&self) -> TokenStatus {
        let now = self.clock.now();
        let state = self.state.borrow();
        let token = state.token.as_ref();
        let usable = state.usable(now).is_ok();
        TokenStatus {
            identity: self.subject.identity.clone(),
            source: self.subject.source,
            audience: self.subject.audience,
            generation: token.map_or(0, |token| token.generation()),
            expires_at: token.and_then(|token| token.expires_at()),
            lifetime: token.and_then(|token| token.lifetime()),
            last_success: state.last_success,
            next_refresh: state.next_refresh,
            last_error: state.streak.as_ref().map(|streak| streak.last.to_string()),
            failing_since: state.streak.as_ref().map(|streak| streak.since),
            usable,
            degraded: !usable || state.streak.is_some(),
        }
    }

    fn stopped(&self) -> Unavailable {
        let streak = self.state.borrow().streak.clone();
        Unavailable::new(&self.subject, Lack::Stopped, streak, self.clock.now())
    }
}

impl fmt::Debug for TokenHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenHandle")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
