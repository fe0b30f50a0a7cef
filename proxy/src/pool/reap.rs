//! Closing idle backends that are too old, unused for too long, or dead; making those that are
//! to be kept; forgetting pools that nobody uses.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use entrapool_metrics::Closed;

use super::{Connect, Connection, Entry, Pool, Route};

/// Starts the task that looks after `route`'s idle backends until the route is dropped.
pub(super) fn spawn<C: Connect>(route: &Arc<Route<C>>) {
    let mut ticks = tokio::time::interval(route.limits.reap_every());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let route = Arc::downgrade(route);
    tokio::spawn(async move {
        loop {
            ticks.tick().await;
            let Some(route) = Weak::upgrade(&route) else {
                return;
            };
            for pool in route.all() {
                pool.reap();
                pool.grow();
            }
            route.forget_unused();
        }
    });
}

impl<C: Connect> Pool<C> {
    fn reap(&self) {
        let now = Instant::now();
        let mut kept = Vec::new();
        while let Ok(mut entry) = self.idle.try_remove() {
            // The ones used last come first: those behind are what the pool has too many of.
            match self.unwanted(&mut entry, now, kept.len()) {
                Some(reason) => self.discard(entry, reason),
                None => kept.push(entry),
            }
        }
        for entry in kept.into_iter().rev() {
            self.offer(entry);
        }
    }

    fn unwanted(&self, entry: &mut Entry<C>, now: Instant, kept: usize) -> Option<Closed> {
        let limits = &self.route.limits;
        if now >= entry.card.expires {
            Some(Closed::Lifetime)
        } else if let Some(reason) = entry.connection.unfit() {
            Some(reason)
        } else if entry.card.state_for(now) >= limits.idle_timeout
            && kept >= self.keep.load(Ordering::Relaxed)
        {
            Some(Closed::Idle)
        } else {
            None
        }
    }
}

impl<C: Connect> Route<C> {
    /// Clients name databases freely: a pool of which only the map knows, and which holds
    /// nothing, is dropped.
    fn forget_unused(&self) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| {
            Arc::strong_count(pool) > 1
                || pool.live.len() > 0
                || pool.keep.load(Ordering::Relaxed) > 0
        });
    }
}
