//! Gauges of what is there now, counted by values that leave when they are dropped.
//!
//! Hot path: `move_to` runs twice per lease. Atomics only.

use prometheus::{IntCounter, IntGauge};

use crate::label::{Label as _, PinReason, State};
use crate::series::PerLabel;

/// Upstream connections by state.
#[derive(Debug)]
pub struct Connections(PerLabel<State, IntGauge>);

impl Connections {
    pub(crate) fn new(series: impl FnMut(State) -> IntGauge) -> Self {
        Self(PerLabel::new(series))
    }

    /// A connection appears, in `state`; it is counted until the guard is dropped.
    #[must_use = "the connection is counted only as long as the guard lives"]
    pub fn enter(&self, state: State) -> StateGuard {
        self.0.get(state).inc();
        StateGuard {
            gauges: self.0.clone(),
            state,
        }
    }

    /// How many are in `state` now.
    pub fn now(&self, state: State) -> i64 {
        self.0.get(state).get()
    }
}

/// One upstream connection in exactly one state.
#[derive(Debug)]
pub struct StateGuard {
    gauges: PerLabel<State, IntGauge>,
    state: State,
}

impl StateGuard {
    /// From the present state to `next`.
    pub fn move_to(&mut self, next: State) {
        if next == self.state {
            return;
        }
        // Enter before leaving: a scrape in between sees one too many, never a connection lost.
        self.gauges.get(next).inc();
        self.gauges.get(self.state).dec();
        self.state = next;
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.state
    }
}

impl Drop for StateGuard {
    fn drop(&mut self) {
        self.gauges.get(self.state).dec();
    }
}

/// Clients of a route: now, and since the start.
#[derive(Debug)]
pub struct Clients {
    now: IntGauge,
    total: IntCounter,
}

impl Clients {
    pub(crate) fn new(now: IntGauge, total: IntCounter) -> Self {
        Self { now, total }
    }

    /// A client was accepted: one more in total, and one more now until the guard is dropped.
    #[must_use = "the client is counted only as long as the guard lives"]
    pub fn client(&self) -> ClientGuard {
        self.total.inc();
        self.now.inc();
        ClientGuard(self.now.clone())
    }

    /// How many are connected.
    pub fn now(&self) -> i64 {
        self.now.get()
    }

    /// How many were accepted since the start.
    pub fn total(&self) -> u64 {
        self.total.get()
    }
}

/// One connected client.
#[derive(Debug)]
pub struct ClientGuard(IntGauge);

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Clients that wait for a backend.
#[derive(Debug)]
pub struct Waiting(IntGauge);

impl Waiting {
    pub(crate) fn new(now: IntGauge) -> Self {
        Self(now)
    }

    /// A client begins to wait, until the guard is dropped.
    #[must_use = "the client is counted only as long as the guard lives"]
    pub fn client(&self) -> WaitingGuard {
        self.0.inc();
        WaitingGuard(self.0.clone())
    }

    /// How many wait now.
    pub fn now(&self) -> i64 {
        self.0.get()
    }
}

/// One waiting client.
#[derive(Debug)]
pub struct WaitingGuard(IntGauge);

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Pinned sessions by reason: now, and since the start.
#[derive(Debug)]
pub struct Pins {
    now: PerLabel<PinReason, IntGauge>,
    total: PerLabel<PinReason, IntCounter>,
}

impl Pins {
    pub(crate) fn new(
        now: impl FnMut(PinReason) -> IntGauge,
        total: impl FnMut(PinReason) -> IntCounter,
    ) -> Self {
        Self {
            now: PerLabel::new(now),
            total: PerLabel::new(total),
        }
    }

    /// A session that is not pinned yet; it counts for what the guard holds until it is dropped.
    #[must_use = "the session is counted only as long as the guard lives"]
    pub fn session(&self) -> PinGuard {
        PinGuard {
            now: self.now.clone(),
            total: self.total.clone(),
            held: 0,
        }
    }

    /// How many sessions are pinned for this reason now.
    pub fn now(&self, reason: PinReason) -> i64 {
        self.now.get(reason).get()
    }

    /// How often sessions were, since the start.
    pub fn total(&self, reason: PinReason) -> u64 {
        self.total.get(reason).get()
    }
}

/// What one session is pinned for.
#[derive(Debug)]
pub struct PinGuard {
    now: PerLabel<PinReason, IntGauge>,
    total: PerLabel<PinReason, IntCounter>,
    /// By [`PinReason::index`].
    held: u32,
}

/// `PinGuard::held` has a bit for each.
const _: () = assert!(PinReason::ALL.len() <= 32);

impl PinGuard {
    /// From now on the session is pinned for `reason`, or not. Returns whether that is news.
    pub fn set(&mut self, reason: PinReason, pinned: bool) -> bool {
        let bit = 1_u32 << reason.index();
        if (self.held & bit != 0) == pinned {
            return false;
        }
        self.held ^= bit;
        if pinned {
            self.now.get(reason).inc();
            self.total.get(reason).inc();
        } else {
            self.now.get(reason).dec();
        }
        true
    }
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        for &reason in PinReason::ALL {
            self.set(reason, false);
        }
    }
}
