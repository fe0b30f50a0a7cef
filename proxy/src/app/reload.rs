//! A reload: the configuration is read again, and what is new is served from now on.
//!
//! Either all of it holds, or, where anything is wrong, nothing has changed. Sessions keep the
//! route that they began with. Listeners whose address stays are not closed for a moment.

use std::sync::Arc;

use super::doors::Doors;
use super::health::RouteState;
use super::wishes::{Asker, Manner, Wishes};
use super::{App, Operation};
use crate::config::{Applies, Change, Config, Kind, Log, OnStartFailure, diff};
use crate::control::{Refusal, Reloaded};
use crate::server::Listener;

/// Everything that can fail has succeeded.
struct Prepared {
    config: Config,
    notes: Vec<String>,
    routes: Vec<Arc<RouteState>>,
    bound: Vec<Option<Listener>>,
    reread: Vec<Change>,
}

impl App {
    /// Reads the configuration again and tells `asker` and the log what came of it. Returns how
    /// to stop, if that is asked meanwhile.
    pub(super) async fn reload(
        &mut self,
        asker: Option<Asker>,
        doors: &mut Doors,
        wishes: &mut Wishes,
        operation: &Operation,
    ) -> Option<Manner> {
        let (prepared, stop) = tokio::select! {
            prepared = self.prepare(doors, operation) => (prepared, None),
            manner = wishes.stop("reading its configuration again") => {
                (Err(Refusal::Busy("stopping")), Some(manner))
            }
        };
        let result = prepared.map(|prepared| self.commit(prepared, doors, operation));
        let serving = self.health.serving();
        self.making.forget_all_but(&serving);
        // Also where a route was made and then not taken.
        for state in serving {
            let pool = &state.route.config().pool;
            state.route.metrics().limits(pool.size, pool.max_clients);
        }
        match &result {
            Ok(reloaded) => tell(reloaded),
            Err(refusal) => {
                tracing::error!(error = %refusal, "the configuration was not reloaded; nothing was changed");
            }
        }
        if let Some(asker) = asker {
            // It may have gone.
            let _ = asker.send(result);
        }
        stop
    }

    async fn prepare(&mut self, doors: &Doors, operation: &Operation) -> Result<Prepared, Refusal> {
        let load = Arc::clone(&operation.load);
        let loaded = tokio::task::spawn_blocking(move || load()).await;
        let loaded = loaded.map_err(refused)?.map_err(refused)?;
        let serving = self.health.serving();
        let (mut routes, mut fresh, mut reread) = (Vec::new(), Vec::new(), Vec::new());
        for config in &loaded.config.routes {
            let known = serving.iter().find(|it| it.route.config() == config);
            let state = match known {
                Some(known) => {
                    let changed = known.changed_files();
                    if changed.is_empty() {
                        routes.push(Arc::clone(known));
                        continue;
                    }
                    reread.extend(changed);
                    self.making.route(config).map_err(refused)?
                }
                None => self.making.route(config).map_err(refused)?,
            };
            fresh.push(Arc::clone(&state));
            routes.push(state);
        }
        self.wait_for_tokens_of(&fresh).await?;
        let bound = doors.bind(&routes).await.map_err(refused)?;
        Ok(Prepared {
            config: loaded.config,
            notes: loaded.notes,
            routes,
            bound,
            reread,
        })
    }

    /// As at the start: who can't log in shall not be served from now on.
    async fn wait_for_tokens_of(&self, fresh: &[Arc<RouteState>]) -> Result<(), Refusal> {
        let start = self.config.start;
        let all = async {
            for state in fresh {
                state.token.ready().await;
            }
        };
        if tokio::time::timeout(start.timeout, all).await.is_ok()
            || start.on_failure == OnStartFailure::Serve
        {
            return Ok(());
        }
        let missing = fresh.iter().find_map(|state| {
            let reason = state.token.current().err()?;
            Some(format!("route {}: {reason}", state.route.config().name))
        });
        Err(Refusal::Configuration(format!(
            "no token within start.timeout ({:?}): {}",
            start.timeout,
            missing.unwrap_or_default()
        )))
    }

    /// Nothing can fail any more.
    fn commit(&mut self, prepared: Prepared, doors: &mut Doors, operation: &Operation) -> Reloaded {
        let Prepared {
            config,
            notes,
            routes,
            bound,
            reread,
        } = prepared;
        let mut changes = diff(&self.config, &config);
        changes.extend(reread);
        let before = self.health.serving();
        for state in &routes {
            let old = before.iter().find(|old| old.name() == state.name());
            if let Some(old) = old.filter(|old| !Arc::ptr_eq(old, state)) {
                state.route.succeed(&old.route);
            }
        }
        for old in before {
            if !routes.iter().any(|state| state.name() == old.name()) {
                old.route.metrics().forget_limits();
            }
        }
        doors.open(&routes, bound);
        self.health.replace(routes);
        changes.extend(self.apply(config, operation));
        Reloaded { changes, notes }
    }

    /// What belongs to the program. What it takes a start for is kept as it was, so that it is
    /// told again the next time. Returns what `diff` can't know.
    fn apply(&mut self, new: Config, operation: &Operation) -> Option<Change> {
        let current = operation.log.get();
        let mut changed = None;
        if current != new.log.level {
            if let Err(error) = operation.log.set(&new.log.level) {
                tracing::error!(%error, "the log level could not be changed");
            }
            // Somebody has changed it since it was read.
            changed = (self.config.log.level == new.log.level).then(|| Change {
                route: None,
                kind: Kind::Changed,
                key: Some("log.level".to_owned()),
                from: Some(current),
                to: Some(new.log.level.clone()),
                applies: Applies::Now,
            });
        }
        self.config.log = Log {
            format: self.config.log.format,
            level: new.log.level,
        };
        self.config.drain = new.drain;
        self.config.routes = new.routes;
        changed
    }
}

fn refused(error: impl ToString) -> Refusal {
    Refusal::Configuration(error.to_string())
}

fn tell(reloaded: &Reloaded) {
    for note in &reloaded.notes {
        tracing::info!("{note}");
    }
    for change in &reloaded.changes {
        tracing::info!(%change, "configuration");
    }
    tracing::info!(changes = reloaded.changes.len(), "configuration reloaded");
}
