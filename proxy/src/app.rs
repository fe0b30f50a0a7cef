//! The running program: what `main` builds from the configuration and runs to its end.

mod doors;
mod drain;
mod files;
mod health;
mod house;
mod making;
mod notify;
mod observe;
mod overview;
mod reload;
mod route;
mod wishes;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use entrapool_metrics::Metrics;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{AdminServer, AdminState};
use crate::config::cli::Exit;
use crate::config::{Config, ConfigErrors, Loaded, OnStartFailure, Supervisor};
use crate::console::Console;
use crate::control::{ControlServer, Operated, Order};
use crate::identity::{Identities, IdentityOptions};
use crate::log::LogLevel;
use crate::session::registry::Registry;
use crate::session::rest::Resting;
use crate::status;
use doors::Doors;
use health::AppHealth;
use house::Household;
use making::Making;
use notify::Notifier;
use observe::TokenObserver;
use wishes::{Manner, Wish, Wishes};

/// A program that is ready to run.
pub struct App {
    config: Config,
    making: Making,
    registry: Arc<Registry>,
    health: Arc<AppHealth>,
    admin: Arc<AdminState>,
    sessions: TaskTracker,
    notifier: Notifier,
    /// Ends what lives as long as the process: refresh tasks and the HTTP listener.
    end: CancellationToken,
}

/// What whoever started the program lends it, so that it can be changed while it runs.
pub struct Operation {
    /// Reads the configuration again, from where it came.
    pub load: Loader,
    /// How much is logged.
    pub log: Arc<LogLevel>,
}

/// Reads the configuration.
pub type Loader = Arc<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

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
        let metrics = Arc::new(Metrics::new());
        let registry = Arc::<Registry>::default();
        let end = CancellationToken::new();
        let observer = Arc::new(TokenObserver(Arc::clone(&metrics)));
        let configuration = |error: &dyn std::error::Error| Fault::new(Exit::Configuration, error);
        let mut options = IdentityOptions::default();
        if let Some(file) = &config.authority_ca_file {
            options = options
                .trusting(file)
                .map_err(|error| configuration(&error))?;
        }
        let identities = Identities::new(observer, end.clone(), options)
            .map_err(|error| configuration(&error))?;
        let mut making = Making {
            identities,
            metrics: Arc::clone(&metrics),
            registry: Arc::clone(&registry),
        };
        let routes = config.routes.iter().map(|route| making.route(route));
        let routes = routes.collect::<Result<Vec<_>, Fault>>()?;
        let health = Arc::new(AppHealth::new(routes, Arc::clone(&registry)));
        let admin = Arc::new(AdminState::new(
            metrics,
            Arc::clone(&health) as _,
            Arc::clone(&health) as _,
        ));
        Ok(Self {
            config,
            making,
            registry,
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

    /// Runs until a signal or an order has ended it.
    ///
    /// # Errors
    /// A listener that can't be bound, or no token in time.
    pub async fn run(mut self, operation: Operation) -> Result<(), Fault> {
        let (mut wishes, orders) =
            Wishes::new().map_err(|error| Fault::new(Exit::Failure, error))?;
        let http = AdminServer::bind(self.config.http)
            .await
            .map_err(|error| Fault::new(Exit::Bind, error))?;
        if let Ok(address) = http.local_addr() {
            tracing::info!(%address, "metrics and probes over HTTP");
        }
        let control = self.bind_control().await?;
        let serving = tokio::spawn(http.serve(Arc::clone(&self.admin), self.end.clone()));
        let operated = Arc::new(Operated {
            status: self.status(),
            health: Arc::clone(&self.health) as _,
            log: Arc::clone(&operation.log),
            orders: orders.clone(),
        });
        let console = self.console(orders);
        let (registry, sessions) = (Arc::clone(&self.registry), self.sessions.clone());
        let resting = tokio::spawn(async move {
            if let Err(error) = Resting::watch(registry, sessions).await {
                tracing::warn!(%error, "idle clients need more memory than they should: nobody can watch them");
            }
        });
        let control = control
            .map(|control| tokio::spawn(Box::pin(control.serve(operated, self.end.clone()))));
        self.notifier.watch(self.end.clone());
        let result = self.serve(&mut wishes, &operation, console).await;
        // The last to go, so that probes see the drain.
        self.end.cancel();
        resting.abort();
        let _ = serving.await;
        if let Some(control) = control {
            let _ = control.await;
        }
        result
    }

    fn console(&self, orders: mpsc::Sender<Order>) -> Arc<Console> {
        let house = Household {
            health: Arc::clone(&self.health),
            registry: Arc::clone(&self.registry),
            orders,
        };
        let group = self.config.console.group.clone();
        Arc::new(Console::new(self.status(), Arc::new(house), group))
    }

    async fn bind_control(&self) -> Result<Option<ControlServer>, Fault> {
        let control = &self.config.control;
        let Some(listen) = &control.listen else {
            return Ok(None);
        };
        let bound = ControlServer::bind(listen, control).await;
        let bound = bound.map_err(|error| Fault::new(Exit::Bind, error))?;
        tracing::info!(address = bound.address(), "control socket");
        Ok(Some(bound))
    }

    async fn serve(
        &mut self,
        wishes: &mut Wishes,
        operation: &Operation,
        console: Arc<Console>,
    ) -> Result<(), Fault> {
        self.notifier.starting(self.config.start.timeout).await;
        tokio::select! {
            started = self.wait_for_tokens() => started?,
            _ = wishes.stop("starting") => return Ok(()),
        }
        let mut doors = Doors::new(self.sessions.clone(), console);
        let routes = self.health.serving();
        let bound = doors.bind(&routes).await?;
        doors.open(&routes, bound);
        let names: Vec<_> = routes
            .iter()
            .map(|state| state.route.config().name.as_str())
            .collect();
        let listening = format!("listening for {}", names.join(", "));
        drop(routes);
        self.notifier.ready(&listening).await;
        let manner = loop {
            match wishes.next().await {
                Wish::Stop(manner) => break manner,
                Wish::Reload(asker) => {
                    let stop = self.reload(asker, &mut doors, wishes, operation);
                    if let Some(manner) = Box::pin(stop).await {
                        break manner;
                    }
                }
            }
        };
        match manner {
            Manner::Signal | Manner::Drain => self.drain(wishes, &mut doors).await,
            Manner::AtOnce => {
                tracing::warn!(clients = self.registry.len(), "stopping at once");
                doors.close();
                self.close();
            }
        }
        Ok(())
    }

    /// Listeners are bound only when a login could succeed.
    async fn wait_for_tokens(&self) -> Result<(), Fault> {
        let start = self.config.start;
        let all = async {
            for route in self.health.serving() {
                route.token.ready().await;
            }
        };
        if tokio::time::timeout(start.timeout, all).await.is_ok() {
            return Ok(());
        }
        let routes = self.health.serving();
        let reason = routes.iter().find_map(|route| route.token.current().err());
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
}
