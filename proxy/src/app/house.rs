//! The program in the hands of an operator on the console.

use std::pin::Pin;
use std::sync::Arc;

use entrapool_metrics::RouteMetrics;
use tokio::sync::{mpsc, oneshot};

use super::health::{AppHealth, RouteState};
use super::route::RunningRoute;
use crate::config;
use crate::console::{House, Lever, Victims};
use crate::control::{Order, Refusal, Reloaded};
use crate::pool::{Standing, Turn};
use crate::session::registry::{Registry, Signal};

/// What the console moves.
pub(super) struct Household {
    pub(super) health: Arc<AppHealth>,
    pub(super) registry: Arc<Registry>,
    pub(super) orders: mpsc::Sender<Order>,
}

/// A route that new clients find, and those that it has replaced, as long as they have sessions.
struct Line {
    serving: Arc<RouteState>,
    before: Vec<RunningRoute>,
}

impl House for Household {
    fn levers(&self) -> Vec<Arc<dyn Lever>> {
        let retired = self.health.retired();
        let line = |serving: Arc<RouteState>| {
            let before = retired.iter();
            let before = before.filter(|old| old.config().name == serving.name());
            Arc::new(Line {
                before: before.cloned().collect(),
                serving,
            }) as Arc<dyn Lever>
        };
        self.health.serving().into_iter().map(line).collect()
    }

    fn kill(&self, which: Victims<'_>) -> usize {
        self.registry
            .raise_some(Signal::Kill, |number, origin| match which {
                Victims::Client(wanted) => number == wanted,
                Victims::Route(route) => *origin.route == *route,
            })
    }

    fn shut_down(&self) {
        // If there is no room, others have asked for as much already.
        let _ = self.orders.try_send(Order::Drain);
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, Refusal>> + Send + '_>> {
        Box::pin(async {
            let (asker, answer) = oneshot::channel();
            let stopped = Refusal::Busy("stopping");
            let sent = self.orders.send(Order::Reload(asker)).await;
            sent.map_err(|_| stopped.clone())?;
            answer.await.unwrap_or(Err(stopped))
        })
    }
}

impl Lever for Line {
    fn config(&self) -> &config::Route {
        self.serving.route.config()
    }

    fn metrics(&self) -> &RouteMetrics {
        self.serving.route.metrics()
    }

    fn turn(&self, turn: Turn) -> bool {
        for old in &self.before {
            old.turn(turn);
        }
        self.serving.route.turn(turn)
    }

    fn standing(&self) -> Standing {
        let now = self.serving.route.standing();
        let before = self.before.iter().map(RunningRoute::backends);
        Standing {
            unsettled: now.unsettled + before.sum::<usize>(),
            ..now
        }
    }
}
