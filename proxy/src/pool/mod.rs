//! Backends: made, kept, lent, thrown away. Knows no protocol: what a connection is and how it
//! is made comes in through [`Connect`] and [`Connection`].
//!
//! deadpool's unmanaged pool holds the idle ones (the most recently used one is lent first), and
//! `queue` those who wait (first come, first served). Making one is a task of its
//! own, so that a login is not lost with the client that asked for it.

mod create;
mod lease;
mod limits;
mod queue;
mod reap;
mod roll;
mod succession;
mod valve;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use entrapool_metrics::{Closed, RouteMetrics, State, StateGuard};
use tokio::sync::OwnedSemaphorePermit;

use crate::config::PoolLimits;
use create::Backoff;
pub use lease::{Lease, LeaseError};
pub use limits::Limits;
use queue::Queue;
pub use roll::{BackendView, Named, Particulars, View};
use roll::{Listed, Roll};
use succession::Slots;
use valve::Valve;
pub use valve::{Standing, Turn};

/// Makes connections.
pub trait Connect: Send + Sync + Sized + 'static {
    /// What connections must have in common to replace each other.
    type Key: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static;
    /// A connection that is logged in.
    type Connection: Connection;
    /// Why there is none. Every client that waits for it gets a copy.
    type Error: Clone + fmt::Display + Send + Sync + 'static;
    /// What all connections of a key share, beyond the connections themselves.
    type Shared: Send + Sync + 'static;

    /// What the connections of a new key share.
    fn share(&self) -> Self::Shared;

    /// Makes one. It limits its own time.
    fn connect(
        &self,
        key: &Self::Key,
        shared: &Arc<Self::Shared>,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;
}

/// A connection as the pool sees it.
pub trait Connection: Send + 'static {
    /// Why it can't be lent, if it can't: closed by its server, something in it that nobody asked
    /// for, a token near its end. Never waits.
    fn unfit(&mut self) -> Option<Closed>;
    /// Says goodbye to the server, as far as that can be done without waiting.
    fn part(&mut self);
    /// What there is to say of it, for those who ask what there is.
    fn particulars(&self) -> Particulars;
}

/// All pools of one route: one per key, with one set of limits.
pub struct Pools<C: Connect> {
    route: Arc<Route<C>>,
}

/// What the pools of a route have in common.
struct Route<C: Connect> {
    connector: C,
    limits: Limits,
    metrics: Arc<RouteMetrics>,
    /// See [`Route::slots`].
    slots: OnceLock<Arc<Slots<C>>>,
    /// Others have taken its place: it serves the sessions that it has.
    retired: AtomicBool,
    pools: Mutex<HashMap<C::Key, Arc<Pool<C>>>>,
    /// How many backends there have been, attempts included.
    born: AtomicU64,
    /// No more backends are made or kept.
    closed: AtomicBool,
    valve: Valve,
}

/// The backends of one key.
pub struct Pool<C: Connect> {
    route: Arc<Route<C>>,
    key: C::Key,
    shared: Arc<C::Shared>,
    idle: deadpool::unmanaged::Pool<Box<Entry<C>>>,
    queue: Queue<C>,
    creating: AtomicUsize,
    /// The backends that are logged in.
    live: Arc<Roll>,
    starving: AtomicBool,

    backoff: Mutex<Backoff<C::Error>>,
    /// How many are kept though nobody needs them.
    keep: AtomicUsize,
}

/// A connection with what the pool knows of it.
struct Entry<C: Connect> {
    connection: C::Connection,
    gauge: StateGuard,
    card: Listed,
    _slot: OwnedSemaphorePermit,
}

impl<C: Connect> Entry<C> {
    /// The backend is in `state` from `now` on.
    #[inline]
    fn enter(&mut self, state: State, now: Instant) {
        self.gauge.move_to(state);
        self.card.enter(state, now);
    }
}

impl<C: Connect> Pools<C> {
    /// No backends yet; the task that reaps them ends when the pools are dropped.
    pub fn new(connector: C, limits: &PoolLimits, metrics: Arc<RouteMetrics>) -> Self {
        metrics.limits(limits.size, limits.max_clients);
        let route = Arc::new(Route {
            connector,
            limits: Limits::from(limits),
            metrics,
            slots: OnceLock::new(),
            retired: AtomicBool::new(false),
            pools: Mutex::default(),
            born: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            valve: Valve::default(),
        });
        reap::spawn(&route);
        Self { route }
    }

    /// The pool of `key`.
    pub fn pool(&self, key: &C::Key) -> Arc<Pool<C>> {
        let mut pools = self
            .route
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(key) {
            return Arc::clone(pool);
        }
        let pool = Arc::new(Pool::new(&self.route, key.clone()));
        pools.insert(key.clone(), Arc::clone(&pool));
        pool
    }

    /// Keeps `min_idle` backends of `key` open from now on.
    pub fn warm(&self, key: &C::Key) {
        let pool = self.pool(key);
        pool.keep
            .store(self.route.limits.min_idle, Ordering::Relaxed);
        pool.grow();
    }

    /// What makes the connections.
    pub fn connector(&self) -> &C {
        &self.route.connector
    }

    /// How many backends are logged in.
    pub fn backends(&self) -> usize {
        self.route.all().iter().map(|pool| pool.live.len()).sum()
    }

    /// Every pool as it is now, in the order of the names that `name` gives them.
    pub fn view(&self, name: impl Fn(&C::Key) -> Named) -> Vec<View> {
        let pools = self.route.all();
        let view = |pool: &Arc<Pool<C>>| pool.view(name(&pool.key));
        let mut views: Vec<View> = pools.iter().map(view).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Makes no more backends, closes the idle ones, and the others as they come back.
    pub fn close(&self) {
        self.route.closed.store(true, Ordering::Relaxed);
        self.route.valve.close();
        let pools = self.route.all();
        self.route
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        for pool in pools {
            while let Ok(entry) = pool.idle.try_remove() {
                pool.discard(entry, Closed::Drain);
            }
        }
    }
}

impl<C: Connect> Route<C> {
    fn all(&self) -> Vec<Arc<Pool<C>>> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values().map(Arc::clone).collect()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Closes an idle backend of a pool where nobody waits, to make room for another pool.
    fn evict_own(&self) -> bool {
        self.all().iter().any(|pool| {
            pool.queue.len() == 0
                && pool.idle.try_remove().is_ok_and(|entry| {
                    pool.discard(entry, Closed::Idle);
                    true
                })
        })
    }

    /// Pools without any backend get one, if there is a slot.
    fn feed_own(&self) {
        for pool in self.all() {
            if pool.starving.load(Ordering::Relaxed) {
                pool.grow();
            }
        }
    }
}

impl<C: Connect> Pool<C> {
    fn new(route: &Arc<Route<C>>, key: C::Key) -> Self {
        Self {
            route: Arc::clone(route),
            key,
            shared: Arc::new(route.connector.share()),
            idle: deadpool::unmanaged::Pool::new(route.limits.size),
            queue: Queue::default(),
            creating: AtomicUsize::new(0),
            live: Arc::default(),
            starving: AtomicBool::new(false),

            backoff: Mutex::default(),
            keep: AtomicUsize::new(0),
        }
    }

    /// What all connections of this pool share.
    pub fn shared(&self) -> &Arc<C::Shared> {
        &self.shared
    }

    /// What is counted for the route.
    pub fn metrics(&self) -> &Arc<RouteMetrics> {
        &self.route.metrics
    }

    /// The key.
    pub fn key(&self) -> &C::Key {
        &self.key
    }

    /// How long a client may wait: until the next tick of the pool's clock behind that, a tenth of
    /// a second with few of them.
    pub fn wait_timeout(&self) -> Duration {
        self.route.limits.wait_timeout
    }

    /// Whether a backend could be made, if there were need of one.
    pub fn could_grow(&self) -> bool {
        self.route.slots().permits.available_permits() > 0
    }

    /// Closes a connection that is in nobody's hands.
    fn discard(&self, mut entry: Box<Entry<C>>, reason: Closed) {
        entry.connection.part();
        self.route.metrics.connections_closed.inc(reason);
        drop(entry);
        self.route.feed();
        if self.queue.len() > 0 {
            // Whoever waits for this one has to get another.
            self.regrow();
        }
    }

    fn view(&self, name: Named) -> View {
        View {
            name,
            creating: self.creating.load(Ordering::Relaxed),
            waiting: self.queue.len(),
            backends: self.live.view(),
        }
    }

    fn enter(
        &self,
        number: u64,
        connection: C::Connection,
        slot: OwnedSemaphorePermit,
    ) -> Box<Entry<C>> {
        let lifetime = self.route.limits.lifetime();
        let card = self.live.list(number, lifetime, connection.particulars());
        Box::new(Entry {
            connection,
            gauge: self.route.metrics.connections.enter(State::Idle),
            card,
            _slot: slot,
        })
    }
}

impl<C: Connect> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("key", &self.key)
            .field("live", &self.live.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
