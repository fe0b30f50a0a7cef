//! What the probes ask of the rest of the program.

use std::time::Duration;

/// The state of the routes, answered from memory: never a lock held over I/O, never upstream.
pub trait Health: Send + Sync {
    /// One entry per configured route, also before its listener is bound.
    fn routes(&self) -> Vec<RouteHealth>;
    /// Whether the process has been told to stop.
    fn draining(&self) -> bool;
}

/// One route, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteHealth {
    /// The route's name.
    pub name: String,
    /// Where it listens; `None` as long as the listener is not bound.
    pub listening_on: Option<String>,
    /// The token of its identity.
    pub token: TokenHealth,
    /// Upstream connections that are logged in, idle or lent.
    pub backends: usize,
    /// Clients connected now.
    pub clients: usize,
    /// Most clients allowed.
    pub max_clients: usize,
}

/// Whether a login could be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenHealth {
    /// None came yet.
    Missing {
        /// What the source said; never a secret.
        reason: String,
    },
    /// A login would be tried with it.
    Usable {
        /// Until it expires; `None` for a static password.
        expires_in: Option<Duration>,
    },
    /// There was one, and no newer one came in time.
    Expired {
        /// Since when.
        ago: Duration,
        /// What the source said last; never a secret.
        reason: String,
    },
}
