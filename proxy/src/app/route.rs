//! The routes of all engines in one closed enum: what the program asks of a route, whatever it
//! speaks. A new engine is a new variant, and the compiler names the rest.

use std::sync::Arc;

use entrapool_metrics::{Metrics, Protocol, RouteMetrics};
use tokio_util::task::TaskTracker;

use crate::config::{self, Dialect};
use crate::identity::TokenHandle;
use crate::pool;
use crate::postgres;
use crate::session::registry::Registry;
use crate::session::wire::Socket;
use crate::tds;

/// A route as it runs.
#[derive(Clone)]
pub(super) enum RunningRoute {
    Postgres(Arc<postgres::Route>),
    Tds(Arc<tds::Route>),
}

/// Why a route can't run.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error(transparent)]
    Postgres(#[from] postgres::RouteError),
    #[error(transparent)]
    Tds(#[from] tds::RouteError),
}

impl RunningRoute {
    /// Prepares `config` to run. Must be called on the runtime.
    ///
    /// # Errors
    /// [`RouteError`]: the configuration is at fault.
    pub(super) fn new(
        config: &config::Route,
        token: TokenHandle,
        metrics: &Metrics,
        registry: &Arc<Registry>,
    ) -> Result<Self, RouteError> {
        let series = |protocol| metrics.route(protocol, &config.name);
        match &config.dialect {
            Dialect::Postgres(options) => {
                let (config, options) = (config.clone(), options.clone());
                let series = series(Protocol::Postgres);
                let registry = Arc::clone(registry);
                let route = postgres::Route::new(config, options, token, series, registry)?;
                Ok(Self::Postgres(route))
            }
            Dialect::Tds(options) => {
                let (config, options) = (config.clone(), options.clone());
                let series = series(Protocol::Tds);
                let registry = Arc::clone(registry);
                let route = tds::Route::new(config, options, token, series, registry)?;
                Ok(Self::Tds(route))
            }
        }
    }

    /// The configuration.
    pub(super) fn config(&self) -> &config::Route {
        match self {
            Self::Postgres(route) => route.config(),
            Self::Tds(route) => route.config(),
        }
    }

    /// What is counted for this route.
    pub(super) fn metrics(&self) -> &Arc<RouteMetrics> {
        match self {
            Self::Postgres(route) => route.metrics(),
            Self::Tds(route) => route.metrics(),
        }
    }

    /// How many backends are logged in.
    pub(super) fn backends(&self) -> usize {
        match self {
            Self::Postgres(route) => route.backends(),
            Self::Tds(route) => route.backends(),
        }
    }

    /// Every pool, as it is now.
    pub(super) fn pools(&self) -> Vec<pool::View> {
        match self {
            Self::Postgres(route) => route.pools(),
            Self::Tds(route) => route.pools(),
        }
    }

    /// Opens the backends that are always kept.
    pub(super) fn warm(&self) {
        match self {
            Self::Postgres(route) => route.warm(),
            Self::Tds(route) => route.warm(),
        }
    }

    /// Closes idle backends now and the others as they come back.
    pub(super) fn close(&self) {
        match self {
            Self::Postgres(route) => route.close(),
            Self::Tds(route) => route.close(),
        }
    }

    /// Serves a client in a task of `sessions`. It is not a future of all engines, since each
    /// session would be as large as the largest of them.
    pub(super) fn serve(&self, client: Socket, sessions: &TaskTracker) {
        match self {
            Self::Postgres(route) => {
                sessions.spawn(postgres::serve(Arc::clone(route), client));
            }
            Self::Tds(route) => {
                sessions.spawn(tds::serve(Arc::clone(route), client));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;
    use crate::identity::Audience;

    #[test]
    fn each_engine_asks_for_tokens_of_its_own() {
        let cloud = config::Cloud::Public;
        assert_eq!(
            Audience::of(Engine::Postgres).resource(cloud),
            "https://ossrdbms-aad.database.windows.net"
        );
        assert_eq!(
            Audience::of(Engine::Tds).resource(cloud),
            "https://database.windows.net/"
        );
    }
}
