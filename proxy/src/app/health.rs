//! What the probes are told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use super::route::RunningRoute;
use crate::admin::{Health, RouteHealth, TokenHealth};
use crate::identity::TokenHandle;
use crate::session::registry::Registry;

/// A route, its identity's token, and where it listens.
pub(super) struct RouteState {
    pub(super) route: RunningRoute,
    pub(super) token: TokenHandle,
    pub(super) listening_on: OnceLock<String>,
}

impl RouteState {
    pub(super) fn new(route: RunningRoute, token: TokenHandle) -> Self {
        Self {
            route,
            token,
            listening_on: OnceLock::new(),
        }
    }

    pub(super) fn bound(&self, address: String) {
        self.listening_on.get_or_init(|| address);
    }

    fn health(&self) -> RouteHealth {
        let config = self.route.config();
        RouteHealth {
            name: config.name.clone(),
            listening_on: self.listening_on.get().cloned(),
            token: self.token_health(),
            backends: self.route.backends(),
            clients: usize::try_from(self.route.metrics().clients.now()).unwrap_or(0),
            max_clients: config.pool.max_clients,
        }
    }

    fn token_health(&self) -> TokenHealth {
        let now = SystemTime::now();
        match (self.token.current(), self.token.status().expires_at) {
            (Ok(token), _) => TokenHealth::Usable {
                expires_in: token
                    .expires_at()
                    .map(|at| at.duration_since(now).unwrap_or_default()),
            },
            (Err(reason), Some(at)) => TokenHealth::Expired {
                ago: now.duration_since(at).unwrap_or(Duration::ZERO),
                reason: reason.to_string(),
            },
            (Err(reason), None) => TokenHealth::Missing {
                reason: reason.to_string(),
            },
        }
    }
}

/// The state of all routes.
pub(super) struct AppHealth {
    pub(super) routes: Vec<Arc<RouteState>>,
    pub(super) registry: Arc<Registry>,
    pub(super) started: SystemTime,
    draining: AtomicBool,
}

impl AppHealth {
    pub(super) fn new(routes: Vec<Arc<RouteState>>, registry: Arc<Registry>) -> Self {
        Self {
            routes,
            registry,
            started: SystemTime::now(),
            draining: AtomicBool::new(false),
        }
    }

    pub(super) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

impl Health for AppHealth {
    fn routes(&self) -> Vec<RouteHealth> {
        self.routes.iter().map(|state| state.health()).collect()
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
