//! A route as it runs: its configuration, and everything that its sessions share.

use std::sync::{Arc, Mutex, PoisonError};

use entrapool_metrics::{Direction, RouteMetrics};
use entrapool_protocol::tds::login7::Options;

use super::connect::{Connector, Key};
use super::door::{ALPN, Door, DoorError, WRAPPED_VERSIONS};
use crate::config::{self, PoolMode, TdsOptions, TlsMode};
use crate::identity::TokenHandle;
use crate::pool::{Named, Pools, View};
use crate::session::ending::Ending;
use crate::session::registry::Registry;
use crate::upstream::{Tls, TlsError};

/// What clients are told of the server's version until it has told its own: that of Azure SQL.
const AZURE_VERSION: [u8; 6] = [12, 0, 7, 208, 0, 0];

/// A route as it runs.
pub struct Route {
    pub(super) config: config::Route,
    pub(super) options: TdsOptions,
    pub(super) metrics: Arc<RouteMetrics>,
    pub(super) registry: Arc<Registry>,
    pub(super) pools: Pools<Connector>,
    pub(super) door: Door,
    /// The version in the server's PRELOGIN.
    version: Arc<Mutex<[u8; 6]>>,
}

/// Why a route can't run.
#[derive(Debug, thiserror::Error)]
#[error("route {name}: {cause}")]
pub struct RouteError {
    name: String,
    cause: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Door(#[from] DoorError),
}

impl Route {
    /// Prepares `config` to run. Must be called on the runtime.
    ///
    /// # Errors
    /// [`RouteError`]: files that can't be read, a name that can't be verified.
    pub fn new(
        config: config::Route,
        options: TdsOptions,
        token: TokenHandle,
        metrics: Arc<RouteMetrics>,
        registry: Arc<Registry>,
    ) -> Result<Arc<Self>, RouteError> {
        let tls = tls_of(&config)?;
        let door = door_of(&config, &options)?;
        let version = Arc::new(Mutex::new(AZURE_VERSION));
        let connector = Connector::new(
            &config,
            &options,
            tls,
            token,
            (Arc::clone(&metrics), Arc::clone(&version)),
        );
        let pools = Pools::new(connector, &config.pool, Arc::clone(&metrics));
        Ok(Arc::new(Self {
            config,
            options,
            metrics,
            registry,
            pools,
            door,
            version,
        }))
    }

    /// Opens the backends that are always kept: for clients that ask for nothing in particular.
    pub fn warm(&self) {
        if self.config.pool.min_idle > 0 {
            self.pools.warm(&Key {
                database: self.options.database.as_str().into(),
                options: Options::default(),
            });
        }
    }

    /// What clients are told of the server's version.
    pub(super) fn version(&self) -> [u8; 6] {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
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
            variant: in_words(&key.options),
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
    let tls = Tls::of_route(&config.upstream, ALPN, WRAPPED_VERSIONS);
    let tls = tls.map_err(|cause| RouteError {
        name: config.name.clone(),
        cause: cause.into(),
    })?;
    Ok(match config.upstream.tls {
        TlsMode::Negotiate => tls.map(Tls::without_resumption),
        TlsMode::Direct | TlsMode::Off => tls,
    })
}

/// What clients of a route are shown.
///
/// # Errors
/// [`RouteError`].
pub(super) fn door_of(config: &config::Route, options: &TdsOptions) -> Result<Door, RouteError> {
    let door = Door::new(options.client_certificate.as_ref(), &config.listen);
    door.map_err(|cause| RouteError {
        name: config.name.clone(),
        cause: cause.into(),
    })
}

/// What tells the pools of a database from each other; nothing where nothing was asked for.
fn in_words(options: &Options) -> String {
    if *options == Options::default() {
        return String::new();
    }
    let Options {
        flags1,
        flags2,
        type_flags,
        flags3,
        language,
        features,
    } = options;
    let mut words = format!("flags={flags1:02x}{flags2:02x}{type_flags:02x}{flags3:02x}");
    if !language.is_empty() {
        words.push_str(" language=");
        words.push_str(language);
    }
    for feature in features {
        words.push_str(&format!(" feature={}", feature.id));
    }
    words
}
