//! The limit that IMDS puts on token requests of one machine: so many per second, so many at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts requests in the last second and those still being answered.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: AtomicUsize,
    at_once: AtomicUsize,
    recent: Mutex<VecDeque<Instant>>,
    running: AtomicUsize,
}

/// A request being answered; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    limit: &'a RateLimit,
    within: bool,
}

impl RateLimit {
    pub(crate) fn new(per_second: usize, at_once: usize) -> Self {
        Self {
            per_second: AtomicUsize::new(per_second),
            at_once: AtomicUsize::new(at_once),
            recent: Mutex::default(),
            running: AtomicUsize::new(0),
        }
    }

    pub(crate) fn set(&self, per_second: usize, at_once: usize) {
        self.per_second.store(per_second, Ordering::Relaxed);
        self.at_once.store(at_once, Ordering::Relaxed);
    }

    /// Lets a request in, and notes whether it is one too many.
    pub(crate) fn enter(&self) -> Running<'_> {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent
            .front()
            .is_some_and(|at| now.duration_since(*at) >= WINDOW)
        {
            recent.pop_front();
        }
        recent.push_back(now);
        let running = self.running.fetch_add(1, Ordering::AcqRel) + 1;
        Running {
            limit: self,
            within: recent.len() <= self.per_second.load(Ordering::Relaxed)
                && running <= self.at_once.load(Ordering::Relaxed),
        }
    }
}

impl Running<'_> {
    pub(crate) fn is_within(&self) -> bool {
        self.within
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.limit.running.fetch_sub(1, Ordering::AcqRel);
    }
}
