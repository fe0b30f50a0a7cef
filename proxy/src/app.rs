//! The running program: what `main` builds from the configuration and runs to its end.

mod drain;
mod health;
mod notify;
mod observe;
mod overview;
mod route;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use entrapool_metrics::Metrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{AdminServer, AdminState};
use crate::config::cli::Exit;
use crate::config::{self, Config, OnStartFailure, Supervisor};
use crate::identity::{Audience, Identities, IdentityOptions};
use crate::server::Listener;
use crate::session::registry::Registry;
use crate::status;
use drain::Signals;
use health::{AppHealth, RouteState};
use notify::Notifier;
use observe::TokenObserver;
use route::RunningRoute;

/// A program that is ready to run.
pub struct App {
    config: Config,
    registry: Arc<Registry>,
    routes: Vec<Arc<RouteState>>,
    health: Arc<AppHealth>,
    admin: Arc<AdminState>,
    sessions: TaskTracker,
    notifier: Notifier,
    /// Ends what lives as long as the process: refresh tasks and the HTTP listener.
    end: CancellationToken,
}

/// Why a program can't run or has ended, other than well.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    exit: Exit,
    message: String,
}

impl Fault {
    fn new(exit: Exit, message: impl ToString) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    /// The exit code of a process that ends with this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl App {
    /// Builds routes and identities; refresh tasks start. Must be called on the runtime.
    ///
    /// # Errors
    /// A route or an identity that can't work: the configuration is at fault.
    pub fn new(config: Config) -> Result<Self, Fault> {
        let configuration = |error: &dyn std::error::Error| Fault::new(Exit::Configuration, error);
        let metrics = Arc::new(Metrics::new());
        let registry = Arc::<Registry>::default();
        let end = CancellationToken::new();
        let observer = Arc::new(TokenObserver(Arc::clone(&metrics)));
        let mut options = IdentityOptions::default();
        if let Some(file) = &config.authority_ca_file {
            options = options
                .trusting(file)
                .map_err(|error| configuration(&error))?;
        }
        let mut identities = Identities::new(observer, end.clone(), options)
            .map_err(|error| configuration(&error))?;
        let mut routes = Vec::new();
        for route in &config.routes {
            let token = identities
                .handle(&route.identity, Audience::of(route.engine()))
                .map_err(|error| configuration(&error))?;
            let route = RunningRoute::new(route, token.clone(), &metrics, &registry)
                .map_err(|error| configuration(&error))?;
            routes.push(Arc::new(RouteState::new(route, token)));
        }
        let health = Arc::new(AppHealth::new(routes.clone(), Arc::clone(&registry)));
        let admin = Arc::new(AdminState::new(metrics, Arc::clone(&health) as _));
        Ok(Self {
            config,
            registry,
            routes,
            health,
            admin,
            sessions: TaskTracker::new(),
            notifier: Notifier::default(),
            end,
        })
    }

    /// Tells a service manager when it is ready, that it is alive, and when it stops. Must be
    /// called on the runtime.
    #[must_use]
    pub fn supervised(mut self, supervisor: Option<&Supervisor>) -> Self {
        self.notifier = Notifier::new(supervisor);
        self
    }

    /// Who can tell how things stand, also while it runs.
    #[must_use]
    pub fn status(&self) -> Arc<dyn status::Source> {
        Arc::clone(&self.health) as _
    }

    /// Runs until a signal has ended it.
    ///
    /// # Errors
    /// A listener that can't be bound, or no token in time.
    pub async fn run(self) -> Result<(), Fault> {
        let mut signals = Signals::new().map_err(|error| Fault::new(Exit::Failure, error))?;
        let http = AdminServer::bind(self.config.http)
            .await
            .map_err(|error| Fault::new(Exit::Bind, error))?;
        if let Ok(address) = http.local_addr() {
            tracing::info!(%address, "metrics and probes over HTTP");
        }
        let serving = tokio::spawn(http.serve(Arc::clone(&self.admin), self.end.clone()));
        self.notifier.watch(self.end.clone());
        let result = self.serve(&mut signals).await;
        // The last to go, so that probes see the drain.
        self.end.cancel();
        let _ = serving.await;
        result
    }

    async fn serve(&self, signals: &mut Signals) -> Result<(), Fault> {
        self.notifier.starting(self.config.start.timeout).await;
        tokio::select! {
            started = self.wait_for_tokens() => started?,
            () = signals.stop() => return Ok(()),
        }
        let stop_accepting = CancellationToken::new();
        let bound = self.bind().await?;
        let names: Vec<_> = bound
            .iter()
            .map(|(route, _)| route.config().name.as_str())
            .collect();
        let listening = format!("listening for {}", names.join(", "));
        for listener in bound {
            let (route, listener) = listener;
            let sessions = self.sessions.clone();
            let stop = stop_accepting.clone();
            tokio::spawn(listener.accept_until(stop, move |client| {
                route.serve(client, &sessions);
            }));
        }
        self.notifier.ready(&listening).await;
        signals.stop().await;
        self.drain(signals, &stop_accepting).await;
        Ok(())
    }

    /// Listeners are bound only when a login could succeed.
    async fn wait_for_tokens(&self) -> Result<(), Fault> {
        let start = self.config.start;
        let all = async {
            for route in &self.routes {
                route.token.ready().await;
            }
        };
        if tokio::time::timeout(start.timeout, all).await.is_ok() {
            return Ok(());
        }
        let reason = self
            .routes
            .iter()
            .find_map(|route| route.token.current().err());
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        match start.on_failure {
            OnStartFailure::Exit => Err(Fault::new(
                Exit::NoToken,
                format!(
                    "no token within start.timeout ({:?}){reason}",
                    start.timeout
                ),
            )),
            OnStartFailure::Serve => {
                tracing::warn!(timeout = ?start.timeout, "serving without a token{reason}");
                Ok(())
            }
        }
    }

    /// Binds all listeners, or none.
    async fn bind(&self) -> Result<Vec<(RunningRoute, Listener)>, Fault> {
        let mut bound = Vec::new();
        for state in &self.routes {
            let config = state.route.config();
            let listener = Listener::bind(&config.listen).await.map_err(|error| {
                Fault::new(Exit::Bind, format!("route {}: {} can't be bound: {error}. Is another server listening there? Choose another address with listen=.", config.name, config.listen))
            })?;
            bound.push((state, listener));
        }
        for (state, listener) in &bound {
            announce(state.route.config(), &listener.address());
            state.bound(listener.address());
            state.route.warm();
        }
        Ok(bound
            .into_iter()
            .map(|(state, listener)| (state.route.clone(), listener))
            .collect())
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
