//! Why a session ended, and whose fault it was. The log level and the counter of an ended
//! session come from here and from nowhere else.

use std::fmt;

use entrapool_metrics::{Blame, Cause, Label, RouteMetrics};

use super::recent::Recent;

/// The end of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The cause; it decides the blame.
    pub cause: Cause,
    /// What exactly happened, for the log; never a secret, never SQL.
    pub detail: Option<String>,
}

impl Ending {
    /// An end whose cause says it all.
    #[must_use]
    pub fn of(cause: Cause) -> Self {
        Self {
            cause,
            detail: None,
        }
    }

    /// An end with more to say.
    pub fn because(cause: Cause, detail: impl fmt::Display) -> Self {
        Self {
            cause,
            detail: Some(detail.to_string()),
        }
    }

    /// Counts and logs the end of a session, of which the process id is 0 if it was not let in.
    pub fn record(&self, (route, session): (&str, i32), metrics: &RouteMetrics, recent: &Recent) {
        metrics.sessions_ended.inc(self.cause);
        let (cause, detail) = (
            self.cause.value(),
            self.detail.as_deref().unwrap_or_default(),
        );
        recent.note(self.cause, detail, (route, session));
        match (self.cause.blame(), self.cause) {
            // A login that failed has been logged where it failed, once for all who waited.
            (Blame::Client | Blame::Identity, _)
            | (_, Cause::Unreachable | Cause::LoginRefused | Cause::Drain | Cause::Killed) => {
                tracing::debug!(route, session, cause, detail, "session ended");
            }
            (_, Cause::Internal) => tracing::error!(route, session, cause, detail, "session ended"),
            _ => tracing::warn!(route, session, cause, detail, "session ended"),
        }
    }
}
