//! Making routes: at the start, and when a reload brings new ones.

use std::sync::Arc;

use entrapool_metrics::Metrics;

use super::Fault;
use super::files::Files;
use super::health::RouteState;
use super::route::RunningRoute;
use crate::config;
use crate::config::cli::Exit;
use crate::identity::{Audience, Identities};
use crate::session::registry::Registry;

/// What routes are made of, besides their configuration.
pub(super) struct Making {
    pub(super) identities: Identities,
    pub(super) metrics: Arc<Metrics>,
    pub(super) registry: Arc<Registry>,
}

impl Making {
    /// A route that is ready to serve, once it has a token. Must be called on the runtime.
    ///
    /// # Errors
    /// A route or an identity that can't work: the configuration is at fault.
    pub(super) fn route(&mut self, config: &config::Route) -> Result<Arc<RouteState>, Fault> {
        // Before they are read: a change in between is found at the next reload.
        let files = Files::of(config);
        let token = self
            .identities
            .handle(&config.identity, Audience::of(config.engine()))
            .map_err(|error| Fault::new(Exit::Configuration, error))?;
        let route = RunningRoute::new(config, token.clone(), &self.metrics, &self.registry)
            .map_err(|error| Fault::new(Exit::Configuration, error))?;
        Ok(Arc::new(RouteState::new(route, token, files)))
    }

    /// Lets go of the identities that none of `routes` has.
    pub(super) fn forget_all_but(&mut self, routes: &[Arc<RouteState>]) {
        let configs = routes.iter().map(|state| state.route.config());
        let wanted = configs.map(|it| (&it.identity, Audience::of(it.engine())));
        self.identities.retain(&wanted.collect::<Vec<_>>());
    }
}
