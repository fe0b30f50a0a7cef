//! Hot path: no allocation, no copies of passing bytes. What a backend is in the middle of.
//!
//! A [`Tracker`] belongs to one backend. It sees every byte in both directions by its header
//! and keeps the books that say when the backend may change hands: the replies owed, the state
//! of a COPY, whether a batch is still open. Bodies that nobody has to look at pass by length,
//! across any cut. The two directions are in `front` and `back`.

mod alone;
mod back;
mod by_sql;
mod front;
mod named;

use std::collections::VecDeque;
use std::sync::Arc;

use alone::Alone;
pub use back::{Event, Step};
pub use front::Taken;

use super::Status;
use super::channels::{Marker, Side};
use super::effect::Effects;
use super::ledger::{Fate, Kind, Ledger};
use super::scan::{Findings, scan};
use super::statements::{Dictionary, Prepared, Statement, Statements};
use super::{message, probe, statements};
use crate::harmless::Harmless;

/// The most memory for an unnamed statement that is kept for the next one, in bytes.
const LARGEST_SPARE: usize = 1024;

/// Whether a backend could change hands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Nothing owed, nothing open, no transaction.
    Idle,
    /// Nothing owed, but inside a transaction block.
    InTransaction,
    /// Nothing owed, inside a transaction block that has failed.
    Failed,
    /// In the middle of something.
    Busy,
}

/// Whose values `currval` and `lastval` would give on a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// The client's own, or nobody's.
    Own,
    /// Another's, and nobody asks for them: an INSERT before would make it one's own.
    Unasked,
    /// Another's: they must be gone before this client advances or asks for one.
    Foreign,
}

/// The rest of a message whose beginning has been dealt with.
#[derive(Debug, Clone, Copy, Default)]
struct Rest {
    /// Bytes still to come.
    left: usize,
    /// Whether they go where the beginning went, or nowhere.
    pass: bool,
}

/// The books of one backend.
#[derive(Debug)]
pub struct Tracker {
    ledger: Ledger,
    status: Status,
    /// Extended requests were sent and no Sync after them.
    open: bool,
    /// Whose values `currval` and `lastval` would give.
    sequences: Values,
    /// The next request must not see what another client's sequences say.
    discards_sequences: bool,
    /// Counts what brings a ReadyForQuery: batches up to their Sync, Queries.
    batch: u64,
    /// The server failed an extended request whose Sync has not been sent yet.
    skipping: bool,
    /// The server reads COPY data.
    copy_in: bool,
    /// The server announced the end of the session (an error of severity FATAL).
    dying: bool,
    front: Rest,
    back: Rest,
    effects: Effects,
    /// The custom settings that texts named.
    custom: Vec<Box<str>>,
    dictionary: Arc<Dictionary>,
    prepared: Prepared,
    unnamed: Unnamed,
    /// A request that may make the server forget statements, until its batch is answered.
    forgets: Option<Forgets>,
    undo: VecDeque<Undo>,
    /// The errors of [`Fate::Replace`].
    replacements: VecDeque<Replacement>,
    /// The client's notifications are changing the connection that they come by.
    crossing: Option<Box<Crossing>>,
    /// For messages that are rewritten or injected; kept for its memory.
    scratch: Vec<u8>,
    /// For texts in lower case; kept for its memory.
    lowered: Vec<u8>,
    /// Texts that need not be scanned again.
    harmless: Harmless<1>,
    alone: Alone,
}

/// Which of the backend's notifications are for the client.
#[derive(Debug)]
struct Crossing {
    marker: Marker,
    side: Side,
    /// Whether the marker has come.
    passed: bool,
}

/// The backend's unnamed statement.
#[derive(Debug, Default)]
struct Unnamed {
    /// Which it is: see [`Statements::unnamed_mark`]. `None` if there is none, or one that
    /// nobody may use.
    mark: Option<(u64, u32)>,
    /// The ledger's number of its Parse.
    parsed_at: u64,
    /// The name that it would PREPARE, if that is one of its client's already.
    takes: Option<Box<[u8]>>,
    /// Memory for the next text: see [`Change::Unnamed`].
    spare: Vec<u8>,
}

/// `DEALLOCATE` and `DISCARD`, whose names may be ours and the client's, or none.
#[derive(Debug, Clone, Copy)]
struct Forgets {
    /// The ledger's number of the request.
    at: u64,
    /// The batch that it belongs to.
    batch: u64,
}

/// The error that a client gets instead of the server's.
#[derive(Debug, Default)]
struct Replacement {
    /// The ledger's number of the request.
    at: u64,
    /// The SQLSTATE of the server's.
    instead_of: &'static str,
    /// An ErrorResponse.
    error: Vec<u8>,
}

/// What has to be put back when the server skips a request that we had booked as done.
#[derive(Debug)]
struct Undo {
    /// The ledger's number of the request.
    at: u64,
    /// The batch that it belongs to.
    batch: u64,
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// The client's name meant this before.
    Name(Box<[u8]>, Option<Arc<Statement>>),
    /// The client's unnamed statement was this before.
    Unnamed(Vec<u8>),
    /// The backend was to hold this one from now on.
    Held(u32),
    /// The backend was to lose this one.
    Lost(Arc<Statement>),
}

impl Tracker {
    /// The books of a backend that has just logged in.
    #[must_use]
    pub fn new(dictionary: Arc<Dictionary>) -> Self {
        Self {
            ledger: Ledger::default(),
            status: Status::Idle,
            open: false,
            sequences: Values::Own,
            discards_sequences: false,
            batch: 0,
            skipping: false,
            copy_in: false,
            dying: false,
            front: Rest::default(),
            back: Rest::default(),
            effects: Effects::default(),
            custom: Vec::new(),
            dictionary,
            prepared: Prepared::default(),
            unnamed: Unnamed::default(),
            forgets: None,
            undo: VecDeque::new(),
            replacements: VecDeque::new(),
            crossing: None,
            scratch: Vec::new(),
            lowered: Vec::new(),
            harmless: Harmless::default(),
            alone: Alone::default(),
        }
    }

    /// Whether the backend could change hands now.
    #[must_use]
    pub fn boundary(&self) -> Boundary {
        let busy = !self.ledger.is_empty()
            || self.open
            || self.skipping
            || self.copy_in
            || self.front.left > 0
            || self.back.left > 0;
        match self.status {
            _ if busy => Boundary::Busy,
            Status::Idle => Boundary::Idle,
            Status::Transaction => Boundary::InTransaction,
            Status::Failed => Boundary::Failed,
        }
    }

    /// The status of the last ReadyForQuery.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether any reply is owed.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.ledger.is_empty()
    }

    /// Whether the next answer is one that we make, so that [`Tracker::back`] has something for
    /// the client though the server may have nothing to say.
    #[inline]
    #[must_use]
    pub fn has_reply_due(&self) -> bool {
        self.back.left == 0
            && self
                .ledger
                .front()
                .is_some_and(|owed| owed.fate == Fate::Synthesize)
    }

    /// Whether the server announced that it ends the session.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.dying
    }

    /// Whether a message was sent to the server in part; only its rest may follow.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.front.left > 0 && self.front.pass
    }

    /// What the commands since the last call may have left behind.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// The names of custom settings that they may have set.
    pub fn take_custom(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.custom)
    }

    /// Whose values `currval` and `lastval` would give on the backend.
    pub fn set_sequences(&mut self, values: Values) {
        self.sequences = values;
    }

    /// Notes what a text is about to do.
    fn watch(&mut self, text: &[u8]) {
        if self.harmless.knows(text) {
            return;
        }
        let findings = scan(text, &mut self.lowered);
        if findings == Findings::default() {
            self.harmless.learn(text);
        }
        self.see_set(text, &findings);
        self.note(&findings);
    }

    fn note(&mut self, findings: &Findings) {
        if findings.effects.any(Effects::FORGET) {
            self.forgets = Some(Forgets {
                at: self.ledger.next(),
                batch: self.batch,
            });
        }
        let explicit = Effects::SEQUENCE | Effects::RECALL;
        if self.sequences != Values::Own && findings.effects.any(explicit | Effects::ADVANCE) {
            let matter = self.sequences == Values::Foreign || findings.effects.any(explicit);
            self.discards_sequences = matter && !self.may_have_failed();
            self.sequences = Values::Own;
        }
        self.effects |= findings.effects.without(Effects::FORGET);
        self.custom.extend_from_slice(&findings.custom);
    }

    /// Whether the transaction may be a failed one when the server gets to the next request.
    fn may_have_failed(&self) -> bool {
        self.status == Status::Failed || self.ledger.owes_ready()
    }

    /// Asks what the session has left, of the kinds in `asked` and of these custom settings.
    /// Appends to `out` what goes to the server now, before anything else. The rows come as
    /// [`Event::Row`], then [`Event::Reported`].
    pub fn inject_probe(
        &mut self,
        asked: Effects,
        custom: &[Box<str>],
        role: &str,
        out: &mut Vec<u8>,
    ) {
        let statement = self
            .dictionary
            .intern(statements::OURS, &probe::parse_body());
        self.scratch.clear();
        self.hold(&statement, Fate::Report);
        let name = |out: &mut Vec<u8>| statement.push_name(out);
        probe::bind(&mut self.scratch, name, asked, custom, role);
        self.ledger.push(Kind::Bind, Fate::Report);
        self.scratch.extend_from_slice(&message::EXECUTE_ALL);
        self.ledger.push(Kind::Execute, Fate::Report);
        self.scratch.extend_from_slice(&message::SYNC);
        self.ledger.push(Kind::Sync, Fate::Report);
        self.batch += 1;
        out.extend_from_slice(&self.scratch);
    }

    /// How many named statements the backend holds for us.
    #[must_use]
    pub fn prepared(&self) -> usize {
        self.prepared.len()
    }

    /// Owes the answer to a Query of ours, which the caller sends before anything else.
    pub fn inject_query(&mut self) {
        self.unnamed.mark = None;
        self.ledger.push(Kind::Query, Fate::Swallow);
    }

    /// From now on only the notifications on that side of `marker` are for the client, until
    /// [`Tracker::end_crossing`]. The marker is [`Event::Marked`] and nobody's.
    pub fn begin_crossing(&mut self, marker: Marker, side: Side) {
        self.crossing = Some(Box::new(Crossing {
            marker,
            side,
            passed: false,
        }));
    }

    /// All notifications are for the client again. Returns whether the marker has come.
    pub fn end_crossing(&mut self) -> bool {
        self.crossing.take().is_some_and(|crossing| crossing.passed)
    }

    /// Brings the backend to an end of whatever its client left open: appends to `out` what
    /// has to be sent for the server to become ready. Nothing of the answers is for a client.
    pub fn wind_up(&mut self, out: &mut Vec<u8>) {
        if self.copy_in {
            message::copy_fail(out, "the client has gone");
            self.copy_in = false;
        }
        if self.open {
            // A Sync alone would commit what its client never committed; behind an error it
            // does not (55.2.3).
            message::framed(out, b'D', |out| {
                out.push(b'S');
                out.extend_from_slice(statements::UNKNOWN);
                out.push(0);
            });
            self.ledger.push(Kind::Describe, Fate::Swallow);
        }
        if self.open || self.skipping {
            out.extend_from_slice(&message::SYNC);
            self.ledger.push(Kind::Sync, Fate::Swallow);
            self.open = false;
            self.skipping = false;
        }
        self.unnamed.mark = None;
    }

    /// Forgets what only a burst needed; called when the backend changes hands.
    pub fn shrink(&mut self) {
        self.ledger.shrink();
        for memory in [&mut self.scratch, &mut self.lowered] {
            if memory.capacity() > 16 * 1024 {
                *memory = Vec::new();
            }
        }
    }

    /// The error that the client gets for the next request pushed, if the server fails it with
    /// this code.
    fn replace_next(&mut self, instead_of: &'static str, report: &message::Report) {
        let mut error = Vec::new();
        report.encode(&mut error);
        self.replacements.push_back(Replacement {
            at: self.ledger.next(),
            instead_of,
            error,
        });
    }

    /// The error prepared for request `at`. Those of requests before it were never asked for.
    fn replacement(&mut self, at: u64) -> Replacement {
        while let Some(replacement) = self.replacements.pop_front() {
            if replacement.at == at {
                return replacement;
            }
        }
        Replacement::default()
    }

    /// Books a change that must be undone if the server skips the next request pushed.
    fn undoable(&mut self, change: Change) {
        self.undoable_at(self.ledger.next(), change);
    }

    /// The same for the request pushed last.
    fn undoable_with_last(&mut self, change: Change) {
        self.undoable_at(self.ledger.next().saturating_sub(1), change);
    }

    fn undoable_at(&mut self, at: u64, change: Change) {
        self.undo.push_back(Undo {
            at,
            batch: self.batch,
            change,
        });
    }

    /// Whether a batch before this one has changed something of which the server has not said
    /// yet whether it did or skipped it. In a batch, what comes behind is skipped as well.
    #[inline]
    fn is_in_doubt(&self, something: impl Fn(&Change) -> bool) -> bool {
        self.undo
            .iter()
            .take_while(|undo| undo.batch < self.batch)
            .any(|undo| something(&undo.change))
    }

    /// A batch has been carried out: its changes stay.
    fn settle_changes(&mut self) {
        let done = self.ledger.first();
        self.forgets = self.forgets.filter(|forgets| forgets.at >= done);
        while let Some(undo) = self.undo.pop_front_if(|undo| undo.at < done) {
            if let Change::Unnamed(text) = undo.change
                && text.capacity() <= LARGEST_SPARE
            {
                self.unnamed.spare = text;
            }
        }
    }

    /// The server failed an extended request: nothing up to the next Sync has happened.
    fn fail_batch(&mut self, mut client: Option<&mut Statements>) {
        let from = self.ledger.first();
        self.skipping = !self.ledger.fail_to_sync();
        let to = self.ledger.first();
        self.copy_in = false;
        self.open = self.open && !self.skipping;
        // What belongs to batches behind the Sync will be carried out.
        let later = self
            .undo
            .split_off(self.undo.partition_point(|undo| undo.at < to));
        let failed = self.undo.partition_point(|undo| undo.at < from);
        let failed = std::mem::replace(&mut self.undo, later).split_off(failed);
        for Undo { at, change, .. } in failed.into_iter().rev() {
            let change = match change {
                // A Parse that fails has ended the one before all the same.
                Change::Unnamed(_) if at == from => Change::Unnamed(Vec::new()),
                change => change,
            };
            self.revert(change, client.as_deref_mut());
        }
        if (from..to).contains(&self.unnamed.parsed_at) {
            self.unnamed.mark = None;
        }
    }

    /// The server failed a Query: it has not deallocated the name that it was for.
    fn fail_query(&mut self, at: u64, client: Option<&mut Statements>) {
        let index = self.undo.partition_point(|undo| undo.at < at);
        let is_name = |undo: &mut Undo| undo.at == at && matches!(undo.change, Change::Name(..));
        let last = self.undo.iter_mut().skip(index).position(is_name);
        if let Some(undo) = last.and_then(|last| self.undo.remove(index + last)) {
            self.revert(undo.change, client);
        }
    }

    /// Undoes one change. A later batch that changed the same did not build on it, except that
    /// it would go back to it in turn.
    fn revert(&mut self, change: Change, client: Option<&mut Statements>) {
        match change {
            Change::Name(name, before) => {
                if let Some(client) = client {
                    client.replace(&name, before);
                }
            }
            Change::Unnamed(before) => {
                let later = self
                    .undo
                    .iter_mut()
                    .find_map(|undo| match &mut undo.change {
                        Change::Unnamed(text) => Some(text),
                        _ => None,
                    });
                match (later, client) {
                    (Some(text), _) => *text = before,
                    (None, Some(client)) => {
                        client.replace_unnamed(before);
                    }
                    (None, None) => {}
                }
            }
            Change::Held(id) => {
                self.prepared.remove(id);
                self.undo
                    .retain(|undo| !matches!(&undo.change, Change::Lost(lost) if lost.id() == id));
            }
            Change::Lost(statement) => {
                self.prepared.insert(statement);
            }
        }
    }

    /// All named prepared statements of the session are gone on the server, but for those of
    /// requests behind the one that did it.
    fn forget_statements(&mut self, client: Option<&mut Statements>) {
        let now = self.ledger.first();
        for undo in &mut self.undo {
            if let Change::Name(_, before) = &mut undo.change {
                *before = None;
            }
        }
        self.undo
            .retain(|undo| !matches!(undo.change, Change::Lost(_)));
        let later = || self.undo.iter().filter(|undo| undo.at > now);
        self.prepared.retain(|id| {
            later().any(|undo| matches!(undo.change, Change::Held(held) if held == id))
        });
        if let Some(client) = client {
            client.retain(|name| {
                later().any(|undo| matches!(&undo.change, Change::Name(new, _) if **new == *name))
            });
        }
    }
}

#[cfg(test)]
#[path = "tracker/tests.rs"]
mod tests;
