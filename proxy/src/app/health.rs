//! What the probes are told.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use super::files::Files;
use super::route::{RunningRoute, WeakRoute};
use crate::admin::{Health, RouteHealth, TokenHealth};
use crate::config::{Applies, Change, Kind};
use crate::identity::TokenHandle;
use crate::session::registry::Registry;

/// A route, its identity's token, and where it listens.
pub(super) struct RouteState {
    pub(super) route: RunningRoute,
    pub(super) token: TokenHandle,
    pub(super) listening_on: OnceLock<String>,
    files: Files,
}

impl RouteState {
    pub(super) fn new(route: RunningRoute, token: TokenHandle, files: Files) -> Self {
        Self {
            route,
            token,
            files,
            listening_on: OnceLock::new(),
        }
    }

    pub(super) fn bound(&self, address: String) {
        self.listening_on.get_or_init(|| address);
    }

    pub(super) fn name(&self) -> &str {
        &self.route.config().name
    }

    /// The files of which the content has changed since it was made.
    pub(super) fn changed_files(&self) -> Vec<Change> {
        let config = self.route.config();
        let changed = self.files.changed(&Files::of(config));
        let change = |(key, path): (&str, PathBuf)| Change {
            route: Some(config.name.clone()),
            kind: Kind::Reread,
            key: Some(key.to_owned()),
            from: None,
            to: Some(path.display().to_string()),
            applies: Applies::NewClients,
        };
        changed.into_iter().map(change).collect()
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

/// Routes that run.
struct Routes {
    serving: Vec<Arc<RouteState>>,
    retired: Vec<WeakRoute>,
}

/// The state of all routes.
pub(super) struct AppHealth {
    routes: Mutex<Routes>,
    pub(super) registry: Arc<Registry>,
    pub(super) started: SystemTime,
    draining: AtomicBool,
}

impl AppHealth {
    pub(super) fn new(routes: Vec<Arc<RouteState>>, registry: Arc<Registry>) -> Self {
        let routes = Mutex::new(Routes {
            serving: routes,
            retired: Vec::new(),
        });
        Self {
            routes,
            registry,
            started: SystemTime::now(),
            draining: AtomicBool::new(false),
        }
    }

    /// The routes that new clients find, in the order of the configuration.
    pub(super) fn serving(&self) -> Vec<Arc<RouteState>> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.serving.clone()
    }

    /// Those that a reload has replaced or removed, and whose sessions go on.
    pub(super) fn retired(&self) -> Vec<RunningRoute> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        routes.retired.retain(|route| {
            found.extend(route.upgrade());
            route.upgrade().is_some()
        });
        found
    }

    /// From now on new clients find `serving`; those that it lacks are retired.
    pub(super) fn replace(&self, serving: Vec<Arc<RouteState>>) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut routes.serving, serving);
        for old in before {
            let goes_on = routes.serving.iter().any(|new| Arc::ptr_eq(new, &old));
            if !goes_on {
                routes.retired.push(old.route.clone().retire());
            }
        }
    }

    pub(super) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

impl Health for AppHealth {
    fn routes(&self) -> Vec<RouteHealth> {
        self.serving().iter().map(|state| state.health()).collect()
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
