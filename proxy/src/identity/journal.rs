//! What a refresh task writes to the log, and how seldom.
//!
//! The refresh task calls it after each attempt. A source that is dead for a day is a line a
//! minute, not a line per attempt.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::failure::{Span, Streak};
use super::observe::Subject;
use super::token::Token;

/// The least time between two warnings of one streak.
const PAUSE: Duration = Duration::from_secs(60);

/// The log of one refresh task.
pub(super) struct Journal {
    subject: Arc<Subject>,
    warned: Option<Instant>,
    unwritten: u32,
    expired: bool,
}

impl Journal {
    pub(super) fn new(subject: Arc<Subject>) -> Self {
        Self {
            subject,
            warned: None,
            unwritten: 0,
            expired: false,
        }
    }

    /// A new token, perhaps the first, perhaps after failures.
    pub(super) fn renewed(&mut self, token: &Token, over: Option<&Streak>, now: SystemTime) {
        let Subject {
            identity,
            source,
            audience,
        } = &*self.subject;
        let expires_in = token.expires_at().map_or_else(
            || "never".to_owned(),
            |at| Span(at.duration_since(now).unwrap_or_default()).to_string(),
        );
        let generation = token.generation();
        if generation == 1 {
            info!(identity, source, audience, expires_in, "first token");
        } else if over.is_none() {
            debug!(
                identity,
                source, audience, expires_in, generation, "token refreshed"
            );
        }
        self.recovered(over, now);
    }

    /// The source works again, whatever it gave.
    pub(super) fn recovered(&mut self, over: Option<&Streak>, now: SystemTime) {
        if let Some(streak) = over {
            let Subject {
                identity,
                source,
                audience,
            } = &*self.subject;
            let after = Span(now.duration_since(streak.since).unwrap_or_default()).to_string();
            let attempts = streak.count;
            info!(
                identity,
                source, audience, after, attempts, "the token source works again"
            );
        }
        self.warned = None;
        self.unwritten = 0;
        self.expired = false;
    }

    /// A failure. Written if it is the first of its streak, or the last line is a minute old.
    pub(super) fn failed(&mut self, streak: &Streak, retry_in: Duration) {
        if self.warned.is_some_and(|at| at.elapsed() < PAUSE) {
            self.unwritten += 1;
            return;
        }
        let Subject {
            identity,
            source,
            audience,
        } = &*self.subject;
        let retry_in = Span(retry_in).to_string();
        let (attempts, suppressed) = (streak.count, self.unwritten);
        let suppressed = (suppressed > 0).then_some(suppressed);
        let cause = &streak.last;
        warn!(
            identity, source, audience, attempts, suppressed, retry_in, %cause,
            "no token from the source"
        );
        self.warned = Some(Instant::now());
        self.unwritten = 0;
    }

    /// The token can no longer be used; written once until a new one comes.
    pub(super) fn expired(&mut self) {
        if !self.expired {
            self.expired = true;
            let Subject {
                identity,
                source,
                audience,
            } = &*self.subject;
            error!(
                identity,
                source,
                audience,
                "the token has expired and there is no new one: logins to the server fail, \
                 open sessions go on"
            );
        }
    }
}
