//! What a refresh task tells the metrics: two small traits, joined to the registry by `main`.
//!
//! Nothing here is on a connection's path, and no secret passes through.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Which refresh task: the labels of its series and the fields of its log lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The identity in words, e.g. `imds client_id=...`; holds no secret.
    pub identity: String,
    /// The kind of source, e.g. `imds`.
    pub source: &'static str,
    /// The resource that tokens are asked for; `none` for a password.
    pub audience: &'static str,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity `{}`", self.identity)?;
        if self.audience != NO_AUDIENCE {
            write!(f, " (audience {})", self.audience)?;
        }
        Ok(())
    }
}

/// The audience of a static password.
pub(super) const NO_AUDIENCE: &str = "none";

/// How a refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefreshResult {
    /// A new token.
    Renewed,
    /// The token that we had: sources cache.
    Same,
    /// None; the last one is kept until it expires.
    Failed,
}

/// The series of one refresh task.
pub trait TokenMetrics: Send + Sync {
    /// A refresh ended at `now`, after `took`.
    fn refreshed(&self, result: RefreshResult, took: Duration, now: SystemTime);
    /// The token in use from now on. Not called for passwords.
    fn token(&self, expires_at: SystemTime, lifetime: Duration);
    /// A request to the source ended after `took`, with a status or without any answer.
    fn http_response(&self, status: Option<u16>, took: Duration);
}

/// Gives each refresh task its series.
pub trait TokenMetricsFactory: Send + Sync {
    /// Called once per refresh task.
    fn token_metrics(&self, subject: &Subject) -> Arc<dyn TokenMetrics>;
}
