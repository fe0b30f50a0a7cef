//! Hot path: no allocation; one short lock inside deadpool. Borrowing a backend.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use deadpool::unmanaged::Object;
use entrapool_metrics::{Closed, State};

use super::{Connect, Connection, Entry, Pool};

/// A backend in somebody's hands.
///
/// [`Lease::give_back`] is the normal end. A lease that is dropped closes its backend: a path
/// that forgets to say what state it left is safe, not leaky.
pub struct Lease<C: Connect> {
    object: Option<Object<Box<Entry<C>>>>,
    pool: Arc<Pool<C>>,
    closing: Closed,
}

/// Why there is no backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseError<E> {
    /// None can be made.
    Connect(E),
    /// None became free in time.
    Timeout,
    /// entrapool is stopping.
    Closed,
}

impl<C: Connect> Pool<C> {
    /// An idle backend, if there is one. `borrower` tells sessions apart.
    pub fn try_lease(self: &Arc<Self>, borrower: u64, now: Instant) -> Option<Lease<C>> {
        while let Ok(object) = self.idle.try_get() {
            if let Some(lease) = self.lend(object, borrower, now) {
                return Some(lease);
            }
        }
        None
    }

    /// Makes a lease of an idle backend, unless it is not fit any more.
    #[inline]
    pub(super) fn lend(
        self: &Arc<Self>,
        mut object: Object<Box<Entry<C>>>,
        borrower: u64,
        now: Instant,
    ) -> Option<Lease<C>> {
        let unfit = if now >= object.card.expires {
            Some(Closed::Lifetime)
        } else if let Some(reason) = self.route.outdated(object.card.number()) {
            Some(reason)
        } else {
            object.connection.unfit()
        };
        if let Some(reason) = unfit {
            self.discard(Object::take(object), reason);
            return None;
        }
        object.enter(State::Active, now);
        let before = object.card.lend(borrower);
        if before != borrower && before != 0 {
            self.route.metrics.handovers.inc();
        }
        Some(Lease {
            object: Some(object),
            pool: Arc::clone(self),
            closing: Closed::Error,
        })
    }

    /// A new backend joins, or one comes back from a long cleaning.
    pub(super) fn offer(&self, entry: Box<Entry<C>>) {
        if self.route.is_closed() {
            self.discard(entry, Closed::Drain);
        } else if self.route.valve.is_paused() {
            self.discard(entry, Closed::Operator);
        } else if let Err((entry, _)) = self.idle.try_add(entry) {
            // There are as many permits as places: only a closed pool has none.
            self.discard(entry, Closed::Drain);
        } else {
            self.serve_idle();
        }
    }
}

impl<C: Connect> Lease<C> {
    /// The backend can be lent to anybody: it is between transactions, and clean.
    #[inline]
    pub fn give_back(mut self, now: Instant) {
        let Some(mut object) = self.object.take() else {
            return;
        };
        let route = &self.pool.route;
        let reason = if now >= object.card.expires {
            Closed::Lifetime
        } else if let Some(reason) = route.outdated(object.card.number()) {
            reason
        } else if route.slots().starving.load(Ordering::Relaxed) > 0 {
            Closed::Idle
        } else {
            object.enter(State::Idle, now);
            self.pool.hand_over(object);
            return;
        };
        self.pool.discard(Object::take(object), reason);
    }

    /// The backend is being rolled back or reset, for nobody in particular.
    pub fn begin_cleaning(&mut self) {
        if let Some(object) = &mut self.object {
            object.enter(State::Cleaning, Instant::now());
        }
    }

    /// What to count if the lease is dropped.
    pub fn closes_for(&mut self, reason: Closed) {
        self.closing = reason;
    }

    /// Closes the backend if it is not to be lent again anyway; there is no use in cleaning it.
    #[must_use]
    pub fn unless_outdated(mut self) -> Option<Self> {
        let object = self.object.as_ref()?;
        match self.pool.route.outdated(object.card.number()) {
            Some(reason) => {
                self.closing = reason;
                None
            }
            None => Some(self),
        }
    }

    /// Whether the backend has reached the end of its life.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.object
            .as_ref()
            .is_none_or(|object| now >= object.card.expires)
    }
}

impl<C: Connect> Drop for Lease<C> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.pool.discard(Object::take(object), self.closing);
        }
    }
}

impl<C: Connect> Deref for Lease<C> {
    type Target = C::Connection;

    #[expect(
        clippy::expect_used,
        reason = "only give_back and drop, which consume it, empty it"
    )]
    fn deref(&self) -> &C::Connection {
        &self
            .object
            .as_ref()
            .expect("a lease holds a backend")
            .connection
    }
}

impl<C: Connect> DerefMut for Lease<C> {
    #[expect(
        clippy::expect_used,
        reason = "only give_back and drop, which consume it, empty it"
    )]
    fn deref_mut(&mut self) -> &mut C::Connection {
        &mut self
            .object
            .as_mut()
            .expect("a lease holds a backend")
            .connection
    }
}

impl<C: Connect> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.pool.key)
            .finish_non_exhaustive()
    }
}
