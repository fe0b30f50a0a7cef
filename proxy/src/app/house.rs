//! The program in the hands of an operator on the console.

use std::sync::Arc;

use entrapool_metrics::RouteMetrics;
use tokio_util::sync::CancellationToken;

use super::health::RouteState;
use crate::config;
use crate::console::{House, Lever, Victims};
use crate::pool::{Standing, Turn};
use crate::session::registry::{Registry, Signal};

/// What the console moves.
pub(super) struct Household {
    pub(super) routes: Vec<Arc<RouteState>>,
    pub(super) registry: Arc<Registry>,
    /// Ends the program, as a signal does.
    pub(super) stop: CancellationToken,
}

impl House for Household {
    fn levers(&self) -> Vec<Arc<dyn Lever>> {
        let levers = self.routes.iter();
        levers.map(|route| Arc::clone(route) as _).collect()
    }

    fn kill(&self, which: Victims<'_>) -> usize {
        self.registry
            .raise_some(Signal::Kill, |number, origin| match which {
                Victims::Client(wanted) => number == wanted,
                Victims::Route(route) => *origin.route == *route,
            })
    }

    fn shut_down(&self) {
        self.stop.cancel();
    }
}

impl Lever for RouteState {
    fn config(&self) -> &config::Route {
        self.route.config()
    }

    fn metrics(&self) -> &RouteMetrics {
        self.route.metrics()
    }

    fn turn(&self, turn: Turn) -> bool {
        self.route.turn(turn)
    }

    fn standing(&self) -> Standing {
        self.route.standing()
    }
}
