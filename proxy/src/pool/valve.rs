//! What an operator may do to the pools of a route: hold clients back, and replace backends.
//!
//! The query path pays one relaxed load per lease and one per return, of a number that changes
//! when an operator says so: backends up to that number are closed when they are in no hands.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use entrapool_metrics::Closed;

use super::{Connect, Pool, Pools, Route};

/// The state of a route's valve.
#[derive(Debug, Default)]
pub(super) struct Valve {
    paused: AtomicBool,
    outdated: AtomicU64,
}

impl Valve {
    /// Whether the backend of this number is to be closed when it is in no hands.
    #[inline]
    pub(super) fn is_outdated(&self, number: u64) -> bool {
        number <= self.outdated.load(Ordering::Relaxed)
    }

    /// Whether clients are held back, and no backends made.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// All backends are to be closed, those to come as well.
    pub(super) fn close(&self) {
        self.outdated.store(u64::MAX, Ordering::SeqCst);
    }

    /// Those up to `number` are; never fewer than before.
    fn outdate(&self, number: u64) {
        self.outdated.fetch_max(number, Ordering::SeqCst);
    }
}

impl<C: Connect> Pools<C> {
    /// Lets clients wait until [`Pools::resume`]; closes idle backends now and the others as they
    /// come back. Returns whether they were let through until now.
    pub fn pause(&self) -> bool {
        // In this order: a backend whose number is taken later finds the valve shut.
        let before = self.route.valve.paused.swap(true, Ordering::SeqCst);
        self.replace();
        !before
    }

    /// Lets clients through again, and gives those who wait their whole time anew. Returns whether
    /// they were held back until now.
    pub fn resume(&self) -> bool {
        let before = self.route.valve.paused.swap(false, Ordering::SeqCst);
        for pool in self.route.all() {
            pool.failure.send_replace(None);
            pool.grow();
        }
        before
    }

    /// Closes idle backends now and the others as they come back; new ones are made instead as
    /// they are needed.
    pub fn replace(&self) {
        let newest = self.route.born.load(Ordering::SeqCst);
        self.route.valve.outdate(newest);
        for pool in self.route.all() {
            pool.drop_outdated();
        }
    }

    /// Whether clients are held back.
    pub fn is_paused(&self) -> bool {
        self.route.valve.is_paused()
    }

    /// Backends up to this number are closed as they come back.
    pub fn outdated(&self) -> u64 {
        self.route.valve.outdated.load(Ordering::Relaxed)
    }

    /// How many backends are still to be closed, logins that nobody will use included.
    pub fn unsettled(&self) -> usize {
        let pools = self.route.all();
        let unsettled = pools.iter().map(|pool| {
            let outdated = pool.live.up_to(self.outdated());
            outdated + if self.is_paused() { pool.creating() } else { 0 }
        });
        unsettled.sum()
    }
}

impl<C: Connect> Route<C> {
    /// Why the backend of this number may not be lent any more.
    #[inline]
    pub(super) fn outdated(&self, number: u64) -> Option<Closed> {
        self.valve
            .is_outdated(number)
            .then(|| self.why_outdated())
    }

    #[cold]
    fn why_outdated(&self) -> Closed {
        if self.is_closed() {
            Closed::Drain
        } else {
            Closed::Operator
        }
    }
}

impl<C: Connect> Pool<C> {
    fn creating(&self) -> usize {
        self.creating.load(Ordering::Relaxed)
    }

    /// Closes the idle backends that may not be lent any more.
    fn drop_outdated(&self) {
        let mut kept = Vec::new();
        while let Ok(entry) = self.idle.try_remove() {
            match self.route.outdated(entry.card.number()) {
                Some(reason) => self.discard(entry, reason),
                None => kept.push(entry),
            }
        }
        for entry in kept.into_iter().rev() {
            self.offer(entry);
        }
    }
}
