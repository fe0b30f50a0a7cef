//! Transactions that are one `SET` and nothing else: what they leave need not be asked for each
//! time.

use super::Tracker;
use crate::postgres::Status;
use crate::postgres::scan::Findings;

/// Longest text that is kept, in bytes.
const LONGEST: usize = 256;

/// The `SET` that was seen last.
#[derive(Debug, Default)]
pub(super) struct Alone {
    text: Vec<u8>,
    /// The batch that it is in.
    batch: Option<u64>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none, or more than one, or something else in its batch.
    #[default]
    Unfit,
    /// On its way.
    Sent,
    /// The server has carried it out.
    Done,
}

impl Tracker {
    /// The text of the `SET` that the last transaction was, if it was one and nothing else.
    #[must_use]
    pub fn lone_set(&self) -> Option<&[u8]> {
        let alone = &self.alone;
        let is_last = alone.batch.is_some_and(|batch| batch + 1 == self.batch);
        (alone.state == State::Done && is_last).then_some(&alone.text)
    }

    /// A text is about to be carried out that was found to leave something.
    pub(super) fn see_set(&mut self, text: &[u8], findings: &Findings) {
        if !findings.is_lone_set || text.len() > LONGEST {
            return;
        }
        let first = self.alone.batch != Some(self.batch);
        let begins =
            self.status == Status::Idle && self.effects.is_empty() && !self.ledger.owes_ready();
        self.alone.batch = Some(self.batch);
        self.alone.text.clear();
        self.alone.text.extend_from_slice(text);
        self.alone.state = match first && begins {
            true => State::Sent,
            false => State::Unfit,
        };
    }

    /// A command of the client's is done.
    #[inline]
    pub(super) fn see_tag(&mut self, tag: &[u8]) {
        self.alone.state = match self.alone.state {
            State::Sent if tag == b"SET" => State::Done,
            _ => State::Unfit,
        };
    }

    /// The server has failed something.
    pub(super) fn see_error(&mut self) {
        self.alone.state = State::Unfit;
    }
}
