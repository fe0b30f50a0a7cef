//! A reload: new pools take the place of old ones, whose sessions go on as they were.
//!
//! Both share one set of slots, so that the server never sees more backends of a route than its
//! `pool_size`, old and new together. (After it was made smaller: not once those that are too many
//! have come back.)

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Connect, Pools, Route, Turn};

/// How long an unused backend of a retired pool is kept: its slot is wanted by those that serve
/// new clients, yet a busy session should not log in for each transaction.
const RETIRED_IDLE: Duration = Duration::from_secs(5);

impl<C: Connect> Pools<C> {
    /// Takes the place of `old`, with its slots. To be called before a backend is made.
    pub fn succeed(&self, old: &Self) {
        let slots = Arc::clone(old.route.slots());
        let (before, now) = (old.route.limits.size, self.route.limits.size);
        if self.route.slots.set(Arc::clone(&slots)).is_err() {
            return;
        }
        if now > before {
            slots.add_permits(now - before);
        } else if let Ok(fewer) = u32::try_from(before - now)
            && fewer > 0
        {
            // They are taken as they come back, before anybody else gets them.
            tokio::spawn(async move {
                if let Ok(permits) = slots.acquire_many_owned(fewer).await {
                    permits.forget();
                }
            });
        }
        // Who is held back is so by whichever route a client finds.
        if old.is_paused() {
            self.turn(Turn::Pause);
        }
        let mut predecessors = old.route.predecessors();
        predecessors.push(Arc::downgrade(&old.route));
        *self
            .route
            .predecessors
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = predecessors;
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

impl<C: Connect> Route<C> {
    /// One permit per backend that may exist, over all keys, and those of predecessors.
    pub(super) fn slots(&self) -> &Arc<Semaphore> {
        let make = || Arc::new(Semaphore::new(self.limits.size));
        self.slots.get_or_init(make)
    }

    /// Closes an idle backend where nobody waits for it, here or in the pools before these.
    pub(super) fn evict(&self) -> bool {
        self.evict_own()
            || self
                .predecessors()
                .iter()
                .filter_map(Weak::upgrade)
                .any(|old| old.evict_own())
    }

    /// How long an unused backend is kept.
    pub(super) fn idle_timeout(&self) -> Duration {
        match self.retired.load(Ordering::Relaxed) {
            true => self.limits.idle_timeout.min(RETIRED_IDLE),
            false => self.limits.idle_timeout,
        }
    }

    /// Those that are still there.
    fn predecessors(&self) -> Vec<Weak<Self>> {
        let mut predecessors = self
            .predecessors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        predecessors.retain(|old| old.strong_count() > 0);
        predecessors.clone()
    }
}
