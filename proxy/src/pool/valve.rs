//! What an operator may do to the pools of a route: hold clients back, and replace backends.
//!
//! The query path pays one relaxed load per lease and one per return, of a number that changes
//! when an operator says so: backends up to that number are closed when they are in no hands.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use entrapool_metrics::Closed;

use super::{Connect, Pool, Pools, Route};

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Lets clients wait; closes idle backends now and the others as they come back.
    Pause,
    /// Lets clients go on, and gives those who wait their whole time anew.
    Resume,
    /// Closes idle backends now and the others as they come back; new ones are made instead as they
    /// are needed.
    Replace,
}

/// What came of it so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether clients are held back.
    pub paused: bool,
    /// Backends up to this number are closed as they come back.
    pub outdated: u64,
    /// How many of them there still are, logins that nobody will use included.
    pub unsettled: usize,
}

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
    /// Does what an operator wants; whether clients go on or wait otherwise than before.
    pub fn turn(&self, turn: Turn) -> bool {
        let valve = &self.route.valve;
        match turn {
            Turn::Pause => {
                // In this order: a backend whose number is taken later finds the valve shut.
                let before = valve.paused.swap(true, Ordering::SeqCst);
                self.replace();
                !before
            }
            Turn::Resume => {
                let before = valve.paused.swap(false, Ordering::SeqCst);
                for pool in self.route.all() {
                    pool.queue.tell(None);
                    pool.grow();
                }
                before
            }
            Turn::Replace => {
                self.replace();
                false
            }
        }
    }

    /// Whether clients are held back.
    pub(super) fn is_paused(&self) -> bool {
        self.route.valve.is_paused()
    }

    /// How things stand.
    pub fn standing(&self) -> Standing {
        let paused = self.route.valve.is_paused();
        let outdated = self.route.valve.outdated.load(Ordering::Relaxed);
        let pools = self.route.all();
        let unsettled = pools.iter().map(|pool| {
            let creating = if paused { pool.creating() } else { 0 };
            pool.live.up_to(outdated) + creating
        });
        Standing {
            paused,
            outdated,
            unsettled: unsettled.sum(),
        }
    }

    fn replace(&self) {
        let newest = self.route.born.load(Ordering::SeqCst);
        self.route.valve.outdate(newest);
        for pool in self.route.all() {
            pool.drop_outdated();
        }
    }
}

impl<C: Connect> Route<C> {
    /// Why the backend of this number may not be lent any more.
    #[inline]
    pub(super) fn outdated(&self, number: u64) -> Option<Closed> {
        self.valve.is_outdated(number).then(|| self.why_outdated())
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
