//! The listeners of the routes. A reload leaves a listener open whose address stays: which route
//! its next client gets is looked up when that client comes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Fault;
use super::health::RouteState;
use super::route::RunningRoute;
use crate::config::cli::Exit;
use crate::config::{self, Listen};
use crate::console::Console;
use crate::server::Listener;

/// All that are open.
pub(super) struct Doors {
    open: Vec<Door>,
    sessions: TaskTracker,
    console: Arc<Console>,
}

/// A listener, and whose clients come through it.
struct Door {
    route: String,
    listen: Listen,
    address: String,
    leads_to: Arc<Mutex<RunningRoute>>,
    stop: CancellationToken,
}

impl Doors {
    /// None yet; clients will be served in `sessions`, or by the console.
    pub(super) fn new(sessions: TaskTracker, console: Arc<Console>) -> Self {
        Self {
            open: Vec::new(),
            sessions,
            console,
        }
    }

    /// Binds what `routes` need and is not open: all of it, or nothing. One for each route,
    /// `None` where a door is open.
    pub(super) async fn bind(
        &self,
        routes: &[Arc<RouteState>],
    ) -> Result<Vec<Option<Listener>>, Fault> {
        let mut bound = Vec::new();
        for state in routes {
            let config = state.route.config();
            if self.open.iter().any(|door| door.fits(config)) {
                bound.push(None);
                continue;
            }
            let listener = Listener::bind(&config.listen).await.map_err(|error| {
                Fault::new(Exit::Bind, format!("route {}: {} can't be bound: {error}. Is another server listening there? Choose another address with listen=.", config.name, config.listen))
            })?;
            bound.push(Some(listener));
        }
        Ok(bound)
    }

    /// Lets clients in to `routes`, through what [`Doors::bind`] returned for them; doors that
    /// lead to none of them are closed.
    pub(super) fn open(&mut self, routes: &[Arc<RouteState>], bound: Vec<Option<Listener>>) {
        let mut before = std::mem::take(&mut self.open);
        for (state, listener) in routes.iter().zip(bound) {
            let config = state.route.config();
            let known = before.iter().position(|door| door.fits(config));
            let door = match (known, listener) {
                (Some(known), _) => {
                    let door = before.swap_remove(known);
                    door.lead_to(state);
                    door
                }
                (None, Some(listener)) => self.add(state, listener),
                // Bound for each that has no door.
                (None, None) => continue,
            };
            self.open.push(Door {
                route: config.name.clone(),
                ..door
            });
        }
        for door in before {
            door.stop.cancel();
        }
    }

    /// Closes all.
    pub(super) fn close(&mut self) {
        for door in self.open.drain(..) {
            door.stop.cancel();
        }
    }

    fn add(&self, state: &Arc<RouteState>, listener: Listener) -> Door {
        let config = state.route.config();
        let door = Door {
            route: config.name.clone(),
            listen: config.listen.clone(),
            address: listener.address(),
            leads_to: Arc::new(Mutex::new(state.route.clone())),
            stop: CancellationToken::new(),
        };
        announce(config, &door.address);
        state.bound(door.address.clone());
        state.route.warm();
        let (leads_to, sessions) = (Arc::clone(&door.leads_to), self.sessions.clone());
        let console = Arc::clone(&self.console);
        tokio::spawn(listener.accept_until(door.stop.clone(), move |client| {
            let route = leads_to.lock().unwrap_or_else(PoisonError::into_inner);
            route.serve(client, &sessions, &console);
        }));
        door
    }
}

impl Door {
    /// Whether the clients of a route come through this one. Port 0 is another one for each route.
    fn fits(&self, config: &config::Route) -> bool {
        let any_port = matches!(&config.listen, Listen::Tcp(address) if address.port() == 0);
        self.listen == config.listen && (!any_port || self.route == config.name)
    }

    fn lead_to(&self, state: &Arc<RouteState>) {
        state.bound(self.address.clone());
        let mut leads_to = self.leads_to.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *leads_to, state.route.clone());
        drop(leads_to);
        if !before.is(&state.route) {
            announce(state.route.config(), &self.address);
            state.route.warm();
        }
    }
}

fn announce(config: &config::Route, address: &str) {
    tracing::info!(
        route = config.name,
        listen = address,
        upstream = format!("{}:{}", config.upstream.host, config.upstream.port),
        user = config.user(),
        identity = config.identity.source.as_str(),
        pool_mode = config.pool.mode.as_str(),
        pool_size = config.pool.size,
        "listening"
    );
}
