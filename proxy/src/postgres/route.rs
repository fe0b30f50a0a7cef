//! A route as it runs: its configuration, and everything that its sessions share.

use std::sync::Arc;

use entrapool_metrics::{Direction, RouteMetrics};

use super::connect::{ALPN, Connector, Key};
use crate::config::{self, PoolMode, PostgresOptions};
use crate::identity::TokenHandle;
use crate::pool::{Named, Pools, View};
use crate::session::ending::Ending;
use crate::session::registry::Registry;
use crate::upstream::{Tls, TlsError};

/// A route as it runs.
pub struct Route {
    pub(super) config: config::Route,
    /// The database of clients that name none.
    pub(super) database: Option<String>,
    pub(super) metrics: Arc<RouteMetrics>,
    pub(super) registry: Arc<Registry>,
    pub(super) pools: Pools<Connector>,
}

/// Why a route can't run.
#[derive(Debug, thiserror::Error)]
#[error("route {name}: {cause}")]
pub struct RouteError {
    name: String,
    cause: TlsError,
}

impl Route {
    /// Prepares `config`, whose dialect is `options`, to run. Must be called on the runtime.
    ///
    /// # Errors
    /// [`RouteError`]: roots that can't be read, a name that can't be verified.
    pub fn new(
        config: config::Route,
        options: PostgresOptions,
        token: TokenHandle,
        metrics: Arc<RouteMetrics>,
        registry: Arc<Registry>,
    ) -> Result<Arc<Self>, RouteError> {
        let tls = tls_of(&config)?;
        let connector = Connector::new(&config, options.user, tls, token, Arc::clone(&metrics));
        let pools = Pools::new(connector, &config.pool, Arc::clone(&metrics));
        Ok(Arc::new(Self {
            config,
            database: options.database,
            metrics,
            registry,
            pools,
        }))
    }

    /// Opens the backends that are always kept, where the route knows their database.
    pub fn warm(&self) {
        if let Some(database) = self
            .database
            .as_ref()
            .filter(|_| self.config.pool.min_idle > 0)
        {
            self.pools.warm(&Key {
                database: database.as_str().into(),
            });
        }
    }

    /// Counts bytes on their way.
    #[inline]
    pub(super) fn count(&self, direction: Direction, bytes: usize) {
        self.metrics.bytes.add(direction, bytes as u64);
    }

    /// A session has ended; its process id is 0 if it was not let in.
    pub(super) fn ended(&self, ending: &Ending, session: i32) {
        ending.record(
            (&self.config.name, session),
            &self.metrics,
            &self.registry.recent,
        );
    }

    /// When backends change hands.
    pub(super) fn mode(&self) -> PoolMode {
        self.config.pool.mode
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &config::Route {
        &self.config
    }

    /// What is counted for this route.
    #[must_use]
    pub fn metrics(&self) -> &Arc<RouteMetrics> {
        &self.metrics
    }

    /// How many backends are logged in.
    #[must_use]
    pub fn backends(&self) -> usize {
        self.pools.backends()
    }

    /// Every pool, as it is now.
    #[must_use]
    pub fn pools(&self) -> Vec<View> {
        self.pools.view(|key| Named {
            database: key.database.to_string(),
            variant: String::new(),
        })
    }

    /// Closes idle backends now and the others as they come back.
    pub fn close(&self) {
        self.pools.close();
    }
}

/// The TLS of a route to its server, if it has any.
///
/// # Errors
/// [`RouteError`].
pub(super) fn tls_of(config: &config::Route) -> Result<Option<Tls>, RouteError> {
    Tls::of_route(&config.upstream, ALPN, rustls::ALL_VERSIONS).map_err(|cause| RouteError {
        name: config.name.clone(),
        cause,
    })
}
