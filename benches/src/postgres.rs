//! A tracker of PostgreSQL with a client's statements: exchanges pass through it without any I/O.

use std::sync::Arc;

use entrapool_protocol::Sink;
use entrapool_protocol::postgres::statements::{Dictionary, Statements, Watch};
use entrapool_protocol::postgres::tracker::{Boundary, Event, Tracker};

use crate::Count;
use crate::conversation::{Exchange, preparation};

/// A backend's books and a client's, as in `pool_mode=auto`.
pub struct Pair {
    tracker: Tracker,
    names: Statements,
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            tracker: Tracker::new(Arc::new(Dictionary::new(Watch::Texts))),
            names: Statements::new(1),
        }
    }
}

impl Pair {
    /// One that has prepared the statement of
    /// [`prepared_batch`](crate::conversation::prepared_batch).
    #[must_use]
    pub fn prepared() -> Self {
        let mut pair = Self::default();
        pair.run(&preparation());
        pair
    }

    /// One exchange; returns the bytes that passed.
    ///
    /// # Panics
    /// If the answer does not fit its request.
    pub fn run(&mut self, exchange: &Exchange) -> usize {
        let mut passed = Count::default();
        let taken = self
            .tracker
            .front(&exchange.request, Some(&mut self.names), &mut passed);
        assert_eq!(taken.map(|taken| taken.bytes), Ok(exchange.request.len()));
        let mut rest = exchange.answer.as_slice();
        loop {
            let Ok(step) = self.tracker.back(rest, Some(&mut self.names)) else {
                panic!("the answer does not fit its request");
            };
            passed.put(&rest[..step.take]);
            rest = &rest[step.take..];
            if let Event::NeedMore = step.event {
                break;
            }
        }
        assert_eq!(self.tracker.boundary(), Boundary::Idle);
        // What a session asks at the end of each answer.
        let _ = self.tracker.take_effects();
        passed.0
    }
}
