//! A reload: new pools take the place of old ones, whose sessions go on as they were.
//!
//! Both share one set of slots, so that the server never sees more backends of a route than its
//! `pool_size`, old and new together. (After it was made smaller: not once those that are too many
//! have come back.) A pool without any backend comes first, whichever route it is of.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Connect, Pools, Route, Turn};

/// How long an unused backend of a retired pool is kept: its slot is wanted by those that serve
/// new clients, yet a busy session should not log in for each transaction.
const RETIRED_IDLE: Duration = Duration::from_secs(5);

/// What routes share that have followed each other.
pub(super) struct Slots<C: Connect> {
    /// One permit per backend that may exist, over all routes and keys.
    pub(super) permits: Arc<Semaphore>,
    /// Pools with waiting clients, no backend and no slot: others give theirs up.
    pub(super) starving: AtomicUsize,
    /// Those that share.
    routes: Mutex<Vec<Weak<Route<C>>>>,
}

impl<C: Connect> Pools<C> {
    /// Takes the place of `old`, with its slots. To be called before a backend is made.
    pub fn succeed(&self, old: &Self) {
        let slots = Arc::clone(old.route.slots());
        let (before, now) = (old.route.limits.size, self.route.limits.size);
        if self.route.slots.set(Arc::clone(&slots)).is_err() {
            return;
        }
        slots.join(&self.route);
        let permits = Arc::clone(&slots.permits);
        if now > before {
            permits.add_permits(now - before);
        } else if let Ok(fewer) = u32::try_from(before - now)
            && fewer > 0
        {
            // They are taken as they come back, before anybody else gets them.
            tokio::spawn(async move {
                if let Ok(taken) = permits.acquire_many_owned(fewer).await {
                    taken.forget();
                }
            });
        }
        // Who is held back is so by whichever route a client finds.
        if old.is_paused() {
            self.turn(Turn::Pause);
        }
    }

    /// From now on it serves the sessions that it has, and keeps little for them.
    pub fn retire(&self) {
        self.route.retired.store(true, Ordering::Relaxed);
        for pool in self.route.all() {
            pool.keep.store(0, Ordering::Relaxed);
        }
        while self.route.evict_own() {}
    }
}

/// The last session has ended, or all have.
impl<C: Connect> Drop for Pools<C> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<C: Connect> Slots<C> {
    fn join(&self, route: &Arc<Route<C>>) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|other| other.strong_count() > 0);
        routes.push(Arc::downgrade(route));
    }

    fn sharers(&self) -> Vec<Arc<Route<C>>> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.iter().filter_map(Weak::upgrade).collect()
    }
}

impl<C: Connect> Route<C> {
    /// Its own, or those of the route that it has followed.
    #[inline]
    pub(super) fn slots(self: &Arc<Self>) -> &Arc<Slots<C>> {
        self.slots.get_or_init(|| {
            Arc::new(Slots {
                permits: Arc::new(Semaphore::new(self.limits.size)),
                starving: AtomicUsize::new(0),
                routes: Mutex::new(vec![Arc::downgrade(self)]),
            })
        })
    }

    /// Closes an idle backend where nobody waits for it, to make room for another pool.
    pub(super) fn evict(self: &Arc<Self>) -> bool {
        self.evict_own() || self.slots().sharers().iter().any(|it| it.evict_own())
    }

    /// A slot has become free: those without any backend come first.
    pub(super) fn feed(self: &Arc<Self>) {
        let slots = self.slots();
        if slots.starving.load(Ordering::Relaxed) > 0 {
            for route in slots.sharers() {
                route.feed_own();
            }
        }
    }

    /// How long an unused backend is kept.
    pub(super) fn idle_timeout(&self) -> Duration {
        match self.retired.load(Ordering::Relaxed) {
            true => self.limits.idle_timeout.min(RETIRED_IDLE),
            false => self.limits.idle_timeout,
        }
    }
}
