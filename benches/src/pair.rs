//! A tracker of TDS with a client's statements: exchanges pass through it without any I/O.

use std::sync::Arc;

use entrapool_protocol::tds::statements::{Dictionary, Statements, Watch};
use entrapool_protocol::tds::token::Layout;
use entrapool_protocol::tds::tracker::{Boundary, Event, SessionState, Setup, Tracker};

use crate::Count;
use crate::conversation::Exchange;
use crate::tds::{HEADER, PACKET, handle, preparation};

/// A backend's books and a client's.
pub struct Pair {
    tracker: Tracker,
    names: Statements,
    /// The session's state behind its login.
    state: u64,
}

/// What a server tells of a session at its login: two states.
const STATE: &[u8] = &[0, 2, 1, 0, 9, 1, 1];

impl Default for Pair {
    fn default() -> Self {
        let setup = Setup {
            layout: Layout::default(),
            packet_size: PACKET,
            state: SessionState::new(Some(STATE)),
        };
        let state = setup.state.hash();
        Self {
            tracker: Tracker::new(Arc::new(Dictionary::new(Watch::Texts)), setup),
            state,
            names: Statements::new(),
        }
    }
}

impl Pair {
    /// Prepares the statement of [`prepared_call`](crate::tds::prepared_call). Returns the
    /// client's handle.
    ///
    /// # Panics
    /// If the tracker does not take it.
    pub fn prepare(&mut self) -> i32 {
        let mut exchange = preparation(4_711);
        self.run(&mut exchange);
        let given = exchange.answer.get(HEADER..).and_then(handle);
        given.unwrap_or_else(|| panic!("no handle in the answer"))
    }

    /// One exchange; returns the bytes that passed. Of the answer, the tracker may change some in
    /// place.
    ///
    /// # Panics
    /// If the answer does not fit its request.
    pub fn run(&mut self, exchange: &mut Exchange) -> usize {
        let mut passed = Count::default();
        let taken = self
            .tracker
            .front(&exchange.request, Some(&mut self.names), &mut passed);
        assert_eq!(taken.map(|taken| taken.bytes), Ok(exchange.request.len()));
        let mut rest = exchange.answer.as_mut_slice();
        loop {
            let Ok(step) = self.tracker.back(rest, Some(&mut self.names)) else {
                panic!("the answer does not fit its request");
            };
            passed.0 += step.give;
            rest = &mut rest[step.take..];
            if let Event::NeedMore = step.event {
                break;
            }
        }
        assert!(rest.is_empty(), "the answer ends in the middle");
        assert_eq!(self.tracker.boundary(), Boundary::Idle);
        // What a session asks at the end of each answer.
        let _ = self.tracker.take_effects();
        assert!(self.tracker.take_facts().is_empty());
        assert_eq!(self.tracker.state().hash(), self.state);
        passed.0
    }
}
