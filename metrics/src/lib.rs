//! The metric families of entrapool.
//!
//! `main` builds one [`Metrics`], the server takes one [`RouteMetrics`] per route and the refresh
//! tasks one [`TokenMetrics`] each; the HTTP listener calls [`Metrics::render`]. Label values are
//! closed enums, apart from names that come from the configuration; user names and SQL never
//! become labels. This crate knows no type of the proxy, opens no socket and holds no global.
//!
//! Hot path: everything that a `RouteMetrics` or a guard records is a few atomic operations on a
//! series that was looked up beforehand. No lock, no allocation, no label look-up.

mod catalogue;
mod family;
mod guard;
mod label;
mod late;
mod process;
mod reference;
mod render;
mod route;
mod series;
mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use prometheus::Registry;

pub use guard::{
    ClientGuard, Clients, Connections, PinGuard, Pins, StateGuard, Waiting, WaitingGuard,
};
pub use label::{
    Blame, CancelResult, Cause, Closed, Direction, HttpStatus, Label, LoginFailure, Phase,
    PinReason, ProbeResult, Protocol, RefreshResult, State,
};
pub use prometheus::{Histogram, IntCounter};
pub use render::CONTENT_TYPE;
pub use route::RouteMetrics;
pub use series::{Bytes, ConnectPhases, Counters, SessionsEnded};
pub use token::TokenMetrics;

use route::RouteFamilies;
use token::TokenFamilies;

/// All families of one process, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    routes: RouteFamilies,
    tokens: TokenFamilies,
}

impl Metrics {
    /// Registers every family; the start time of the process is now.
    pub fn new() -> Self {
        let registry = Registry::new();
        catalogue::BUILD_INFO
            .gauges(&registry)
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        catalogue::START_TIME
            .gauges(&registry)
            .with_label_values::<&str>(&[])
            .set(late::unix_seconds(SystemTime::now()));
        process::register(&registry);
        Self {
            routes: RouteFamilies::new(&registry),
            tokens: TokenFamilies::new(&registry),
            registry,
        }
    }

    /// The series of one route, all of them at 0. The same name gives the same series again.
    pub fn route(&self, protocol: Protocol, route: &str) -> Arc<RouteMetrics> {
        Arc::new(RouteMetrics::new(&self.routes, protocol, route))
    }

    /// The series of one refresh task. `source` is the kind of source (`imds`), `audience` the
    /// resource that the token is for; none of them is ever a secret.
    pub fn token(
        &self,
        identity: &str,
        source: &'static str,
        audience: &'static str,
    ) -> Arc<TokenMetrics> {
        Arc::new(TokenMetrics::new(
            &self.tokens,
            [identity, source, audience],
        ))
    }

    /// Everything in Prometheus' text format 0.0.4, as [`CONTENT_TYPE`] says. It reads `/proc`
    /// and waits for observations in flight, so call it off the event loop.
    pub fn render(&self) -> String {
        render::text(&self.registry)
    }

    /// `docs/metrics.md`: every family with its type, labels and what to look for.
    pub fn reference_markdown(&self) -> String {
        reference::markdown()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
