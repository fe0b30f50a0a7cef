//! Series of one family, looked up beforehand and addressed by a closed label.
//!
//! Hot path: an index into a slice and an atomic addition; nothing here locks or allocates once
//! it is built.

use std::marker::PhantomData;
use std::sync::Arc;

use prometheus::{Histogram, IntCounter};

use crate::label::{Cause, Direction, Label, Phase};

/// One `M` for each value of `L`.
pub(crate) struct PerLabel<L, M> {
    series: Arc<[M]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, M> PerLabel<L, M> {
    pub(crate) fn new(series: impl FnMut(L) -> M) -> Self {
        Self {
            series: L::ALL.iter().copied().map(series).collect(),
            label: PhantomData,
        }
    }

    /// `L::index` is below `L::ALL.len()`, which is the length of the slice.
    pub(crate) fn get(&self, label: L) -> &M {
        &self.series[label.index()]
    }
}

impl<L, M> Clone for PerLabel<L, M> {
    fn clone(&self) -> Self {
        Self {
            series: Arc::clone(&self.series),
            label: PhantomData,
        }
    }
}

impl<L: Label, M> std::fmt::Debug for PerLabel<L, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PerLabel({})", L::NAME)
    }
}

/// A counter for each value of a label.
#[derive(Debug)]
pub struct Counters<L: Label>(PerLabel<L, IntCounter>);

impl<L: Label> Counters<L> {
    pub(crate) fn new(series: impl FnMut(L) -> IntCounter) -> Self {
        Self(PerLabel::new(series))
    }

    /// One more.
    pub fn inc(&self, label: L) {
        self.0.get(label).inc();
    }

    /// `n` more.
    pub fn add(&self, label: L, n: u64) {
        self.0.get(label).inc_by(n);
    }

    /// How many until now.
    pub fn get(&self, label: L) -> u64 {
        self.0.get(label).get()
    }
}

/// Bytes by direction.
pub type Bytes = Counters<Direction>;

/// Ended sessions by cause; the blame label follows from the cause.
pub type SessionsEnded = Counters<Cause>;

/// How long each phase of opening an upstream connection takes.
#[derive(Debug)]
pub struct ConnectPhases(PerLabel<Phase, Histogram>);

impl ConnectPhases {
    pub(crate) fn new(series: impl FnMut(Phase) -> Histogram) -> Self {
        Self(PerLabel::new(series))
    }

    /// Observed in seconds.
    pub fn phase(&self, phase: Phase) -> &Histogram {
        self.0.get(phase)
    }
}
