//! Making backends: each in a task of its own, a few at a time, with a pause after a failure.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use entrapool_metrics::{State, StateGuard};
use tokio::sync::OwnedSemaphorePermit;

use super::{Connect, Pool};

/// Logins under way at once for one key. More would only queue at the server and at Entra.
const MOST_AT_ONCE: usize = 4;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// When the next attempt may be made, after failures.
pub(super) struct Backoff<E> {
    last: Option<Failure<E>>,
    pause: Duration,
}

struct Failure<E> {
    error: E,
    until: Instant,
}

impl<E> Default for Backoff<E> {
    fn default() -> Self {
        Self {
            last: None,
            pause: SHORTEST_PAUSE,
        }
    }
}

impl<E: Clone> Backoff<E> {
    fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Returns how long to pause: doubled each time, up to 5 s, less up to a quarter at random.
    fn failed(&mut self, error: E) -> Duration {
        let pause = self.pause.mul_f64(1.0 - fastrand::f64() / 4.0);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.last = Some(Failure {
            error,
            until: Instant::now() + pause,
        });
        pause
    }

    fn pausing(&self) -> Option<&E> {
        self.last
            .as_ref()
            .filter(|last| Instant::now() < last.until)
            .map(|last| &last.error)
    }
}

impl<C: Connect> Pool<C> {
    /// The error of the last attempt, if it is too early for another and there is no backend
    /// to wait for.
    pub(super) fn hopeless(&self) -> Option<C::Error> {
        if self.live.len() > 0 {
            return None;
        }
        self.backoff
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pausing()
            .cloned()
    }

    /// Makes as many backends as there is need and room for.
    pub(super) fn grow(self: &Arc<Self>) {
        while !self.route.is_closed() && !self.route.valve.is_paused() && self.needs_another() {
            if self
                .backoff
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pausing()
                .is_some()
            {
                return;
            }
            let slot = self.slot();
            self.set_starving(slot.is_none());
            let Some(slot) = slot else { return };
            self.creating.fetch_add(1, Ordering::Relaxed);
            // Taken before the dialling: what is outdated meanwhile is not lent.
            let number = self.route.born.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::spawn(Arc::clone(self).create(number, slot));
        }
        self.set_starving(false);
    }

    /// A connection that is no backend: nobody borrows it, and it has no part in the limit. It is
    /// counted as long as the guard lives.
    ///
    /// # Errors
    /// As the connector says.
    pub async fn connect_apart(&self) -> Result<(C::Connection, StateGuard), C::Error> {
        let mut gauge = self.route.metrics.connections.enter(State::Creating);
        let connection = self
            .route
            .connector
            .connect(&self.key, &self.shared)
            .await?;
        gauge.move_to(State::Listening);
        Ok((connection, gauge))
    }

    /// As [`Pool::grow`], from where there is only a reference.
    pub(super) fn regrow(&self) {
        let pools = self
            .route
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let this = pools.get(&self.key).map(Arc::clone);
        drop(pools);
        if let Some(this) = this {
            this.grow();
        }
    }

    fn needs_another(&self) -> bool {
        let creating = self.creating.load(Ordering::Relaxed);
        let live = self.live.len();
        // A backend that is on its way to somebody who waits still counts as available.
        let coming = creating + self.idle.status().available;
        let wanted =
            self.queue.len() > coming || self.keep.load(Ordering::Relaxed) > creating + live;
        // A pool that others share the slots with may find more of them than it has places for.
        wanted && creating < MOST_AT_ONCE && creating + live < self.route.limits.size
    }

    fn slot(&self) -> Option<OwnedSemaphorePermit> {
        let take = || {
            Arc::clone(&self.route.slots().permits)
                .try_acquire_owned()
                .ok()
        };
        take().or_else(|| if self.route.evict() { take() } else { None })
    }

    fn set_starving(&self, no_slot: bool) {
        let starving =
            no_slot && self.live.len() == 0 && self.creating.load(Ordering::Relaxed) == 0;
        if self.starving.swap(starving, Ordering::Relaxed) != starving {
            let count = &self.route.slots().starving;
            if starving {
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    async fn create(self: Arc<Self>, number: u64, slot: OwnedSemaphorePermit) {
        let gauge = self.route.metrics.connections.enter(State::Creating);
        let made = self.route.connector.connect(&self.key, &self.shared).await;
        drop(gauge);
        match made {
            Ok(connection) => {
                self.backoff
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .succeeded();
                let entry = self.enter(number, connection, slot);
                self.creating.fetch_sub(1, Ordering::Relaxed);
                self.offer(entry);
                self.grow();
            }
            Err(error) => {
                drop(slot);
                self.creating.fetch_sub(1, Ordering::Relaxed);
                self.pause_after(error).await;
            }
        }
    }

    /// Those who wait learn of the failure at once, unless there are backends that may come
    /// back; then another attempt is made after a while.
    async fn pause_after(self: &Arc<Self>, error: C::Error) {
        let pause = self.failed(error.clone());
        if self.live.len() == 0 && !self.route.valve.is_paused() {
            self.queue.tell(Some(error));
        }
        self.route.feed();
        tokio::time::sleep(pause).await;
        self.grow();
    }

    fn failed(&self, error: C::Error) -> Duration {
        self.backoff
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .failed(error)
    }
}
