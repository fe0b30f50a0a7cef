//! Hot path: no allocation per packet or row, no copies of passing bytes. What a backend is in
//! the middle of.
//!
//! A [`Tracker`] belongs to one backend. It sees every packet in both directions and keeps the
//! books that say when the backend may change hands: the request under way, the transaction, an
//! attention that was not heard yet, a bulk load, the session's state as the server tells it. The
//! two directions are in `front` and `back`; `handles` is about prepared statements.
//!
//! One request is under way at a time, the client's or ours: the protocol knows no other way.

mod back;
mod front;
mod handles;
mod state;

use std::sync::Arc;

pub use back::{Event, Step};
pub use front::{BUFFER, Taken};
pub use state::SessionState;

use super::effect::Effects;
use super::message::{self, Prepare, Sending};
use super::packet::{self, Header, Kind};
use super::settings::Change;
use super::statements::{Dictionary, Statement};
use super::token::{Layout, Walker};
use super::{probe, scan::Findings};
use crate::harmless::Harmless;
use back::Response;
use handles::Handles;

/// Whether a backend could change hands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Nothing owed, nothing open, no transaction.
    Idle,
    /// Nothing owed, but inside a transaction.
    InTransaction,
    /// In the middle of something.
    Busy,
}

/// Whose values `@@IDENTITY` and its kin would give on a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// The client's own, or nobody's.
    Own,
    /// Another's: a client that asks for them gets an error.
    Foreign,
}

/// For whom something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// For the client: it was its request, and it was told.
    Client,
    /// For us.
    Ours,
}

/// Something that is different in the session from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The database.
    Database(String),
    /// The language.
    Language(String),
    /// The database's collation.
    Collation([u8; 5]),
    /// A batch of settings, and nothing else, has been carried out.
    Settings(Vec<Change>),
    /// The session is as it was after its login.
    Reset,
    /// The same, but a transaction goes on if there was one: perhaps one that nobody told of.
    ResetInside,
}

/// What a login agreed on.
#[derive(Debug)]
pub struct Setup {
    /// How tokens look.
    pub layout: Layout,
    /// The packet size, in bytes: the same for client and server.
    pub packet_size: usize,
    /// What SESSIONRECOVERY was granted with.
    pub state: SessionState,
}

/// The request under way.
#[derive(Debug)]
struct Owed {
    kind: Kind,
    fate: Fate,
    /// What its text says of transactions and bulk loads.
    effects: Effects,
    /// The settings that it makes, if it does nothing else.
    changes: Vec<Change>,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The client asked, the client gets it.
    Forward,
    /// We asked, or the client has gone.
    Swallow(Purpose),
    /// We asked, and want to know what the answer says.
    Report,
}

/// What we asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A batch that has to go well.
    Batch,
    /// Handles of prepared statements. Whether it went well is seen when they are used.
    Handles,
    /// Nothing any more.
    Nothing,
}

/// A transaction, as far as it is known.
#[derive(Debug, Default)]
struct Transaction {
    /// As the server calls it; 0 if there is none.
    descriptor: u64,
    /// As its client calls it, who was told of it before it had a backend.
    alias: Option<u64>,
    /// The server has told of one that a text began: it tells of all.
    announced: bool,
    /// A text has begun one for certain, and the server did not tell of it.
    was_untold: bool,
    /// A text has begun one, and the server says nothing.
    suspected: bool,
    /// A text has begun another in it.
    nested: bool,
    /// What it was before a text that may have ended it: the server has to be asked.
    doubted: Option<(u64, Option<u64>)>,
}

/// A reset that the server has not acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reset {
    whose: Whose,
    keeps_transaction: bool,
}

/// The books of one backend.
#[derive(Debug)]
pub struct Tracker {
    dictionary: Arc<Dictionary>,
    size: usize,
    walker: Walker,
    state: SessionState,
    owed: Option<Owed>,
    response: Response,
    /// The kind of a client's message of which only a part was sent.
    sending: Option<Kind>,
    /// An attention was sent, and not heard yet.
    attention: bool,
    /// INSERT BULK went well: its data has to follow.
    bulk: bool,
    transaction: Transaction,
    reset: Option<Reset>,
    /// The next request shall bring a reset.
    reset_wanted: bool,
    /// Messages of ours for the client.
    replies: Vec<u8>,
    /// Something of the server's could not be read.
    opaque: bool,
    /// The server has said goodbye.
    dying: bool,
    values: Values,
    effects: Effects,
    facts: Vec<(Whose, Fact)>,
    handles: Handles,
    /// For messages of several packets; kept for its memory.
    gathered: Vec<u8>,
    /// For texts in lower case; kept for its memory.
    lowered: Vec<u8>,
    /// Batches that need not be scanned again.
    harmless: Harmless<2>,
}

impl Tracker {
    /// The books of a backend that has just logged in.
    #[must_use]
    pub fn new(dictionary: Arc<Dictionary>, setup: Setup) -> Self {
        Self {
            dictionary,
            size: setup.packet_size,
            walker: Walker::new(setup.layout),
            state: setup.state,
            owed: None,
            response: Response::default(),
            sending: None,
            attention: false,
            bulk: false,
            transaction: Transaction::default(),
            reset: None,
            reset_wanted: false,
            replies: Vec::new(),
            opaque: false,
            dying: false,
            values: Values::Own,
            effects: Effects::default(),
            facts: Vec::new(),
            handles: Handles::default(),
            gathered: Vec::new(),
            lowered: Vec::new(),
            harmless: Harmless::default(),
        }
    }

    /// Whether the backend could change hands now.
    #[must_use]
    pub fn boundary(&self) -> Boundary {
        if self.is_busy() || self.bulk {
            Boundary::Busy
        } else if self.is_in_transaction() {
            Boundary::InTransaction
        } else {
            Boundary::Idle
        }
    }

    fn is_busy(&self) -> bool {
        self.owed.is_some() || self.attention || self.sending.is_some() || !self.replies.is_empty()
    }

    /// Whether there is a transaction, or may be one.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.descriptor != 0 || self.transaction.suspected
    }

    /// Whether the server tells of transactions that a text begins: of all or of none. `None` while
    /// there was none for certain.
    #[must_use]
    pub fn announces_transactions(&self) -> Option<bool> {
        match (self.transaction.announced, self.transaction.was_untold) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    /// Whether any answer is owed.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.owed.is_some() || self.attention
    }

    /// Whether [`Tracker::back`] has something for the client though the server may have nothing
    /// to say.
    #[inline]
    #[must_use]
    pub fn has_reply_due(&self) -> bool {
        // Not in the middle of an answer of the server's to the client.
        let is_answering = matches!(&self.owed, Some(owed) if owed.fate == Fate::Forward);
        !self.replies.is_empty() && !is_answering
    }

    /// Whether the server announced that it ends the session.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.dying
    }

    /// Whether something of the server's could not be read: the backend stays with its client,
    /// and ends with it.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.opaque
    }

    /// Whether a message was sent to the server in part; only its rest may follow, or what
    /// [`Tracker::wind_up`] appends.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.sending.is_some()
    }

    /// What the server says of the session's state.
    #[must_use]
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// How many prepared statements the backend holds for us.
    #[must_use]
    pub fn prepared(&self) -> usize {
        self.handles.prepared.len()
    }

    /// What the requests since the last call may have left behind.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// What has become different since the last call, in order.
    pub fn take_facts(&mut self) -> Vec<(Whose, Fact)> {
        std::mem::take(&mut self.facts)
    }

    /// Whose values `@@IDENTITY` and its kin would give on the backend.
    pub fn set_values(&mut self, values: Values) {
        self.values = values;
    }

    /// The server was asked, and there is no transaction.
    pub fn no_transaction(&mut self) {
        self.transaction.suspected = false;
        self.transaction.nested = false;
        self.transaction.doubted = None;
    }

    /// The server was asked, and there is one, or it did not say.
    pub fn in_transaction(&mut self) {
        let transaction = &mut self.transaction;
        if let Some((descriptor, alias)) = transaction.doubted.take() {
            transaction.descriptor = descriptor;
            transaction.alias = alias;
            // How deep it is, nobody knows: its next end is asked about, too.
            transaction.nested = true;
        }
        transaction.suspected = transaction.descriptor == 0;
    }

    /// The next request, of whoever it is, brings the session back to what it was after its
    /// login. Its client does not know.
    pub fn reset_next(&mut self) {
        self.reset_wanted = true;
    }

    /// Appends a batch of ours to `out`; it has to go well: see [`Event::OwnAnswered`] and
    /// [`Event::OwnFailed`]. Returns whether it was sent: not while the backend is busy.
    #[must_use]
    pub fn inject_batch(&mut self, text: &str, out: &mut Vec<u8>) -> bool {
        self.inject_text(text, Fate::Swallow(Purpose::Batch), out)
    }

    /// Appends [`message::CLEAN`] with a reset to `out`: see [`Tracker::inject_batch`]. A server
    /// that does not say that it has reset the session has failed.
    #[must_use]
    pub fn inject_cleaning(&mut self, out: &mut Vec<u8>) -> bool {
        self.bulk = false;
        self.reset_wanted |= !self.is_busy();
        self.inject_text(message::CLEAN, Fate::Swallow(Purpose::Batch), out)
    }

    /// Begins a transaction of which the client was told already, as `alias` if the server tells of
    /// transactions. `request` is the client's own, in one packet: see [`lazy`](super::lazy). It has
    /// to go well, as [`Tracker::inject_batch`]. Returns whether it was sent.
    #[must_use]
    pub fn inject_begin(&mut self, request: &[u8], alias: Option<u64>, out: &mut Vec<u8>) -> bool {
        let Ok(Some(header)) = Header::read(request) else {
            return false;
        };
        if self.is_busy() {
            return false;
        }
        let at = out.len();
        out.extend_from_slice(request);
        let Sending { status, .. } = self.sending_of_ours();
        if let Some(place) = out.get_mut(at + 1) {
            *place |= status;
        }
        self.owe(header.kind, Fate::Swallow(Purpose::Batch));
        self.transaction.alias = alias;
        let begins = matches!(header.kind, Kind::Batch);
        if let Some(owed) = self.owed.as_mut().filter(|_| begins) {
            owed.effects = Effects::BEGIN;
        }
        true
    }

    /// Asks what the session has left: see [`probe`]. The answer comes as [`Event::Reported`].
    /// Returns whether it was sent: not while the backend is busy.
    #[must_use]
    pub fn inject_probe(&mut self, out: &mut Vec<u8>) -> bool {
        self.inject_text(probe::TEXT, Fate::Report, out)
    }

    fn inject_text(&mut self, text: &str, fate: Fate, out: &mut Vec<u8>) -> bool {
        if self.is_busy() {
            return false;
        }
        let sending = self.sending_of_ours();
        message::batch(text, sending, out);
        self.owe(Kind::Batch, fate);
        true
    }

    /// How a request of ours is sent, which brings the reset that is wanted.
    fn sending_of_ours(&mut self) -> Sending {
        let (status, descriptor) = match std::mem::take(&mut self.reset_wanted) {
            // The reset comes before the request: 2.2.3.1.2. No transaction outlives it.
            true => {
                self.begin_reset(Whose::Ours, packet::RESET);
                (packet::RESET, 0)
            }
            false => (0, self.transaction.descriptor),
        };
        Sending {
            descriptor,
            status,
            size: self.size,
        }
    }

    fn owe(&mut self, kind: Kind, fate: Fate) {
        self.owed = Some(Owed {
            kind,
            fate,
            effects: Effects::default(),
            changes: Vec::new(),
        });
        self.response.begin();
    }

    /// A request goes out that resets the session first: prepared statements are gone with it.
    fn begin_reset(&mut self, whose: Whose, status: u8) {
        self.handles.forget_all();
        self.reset = Some(Reset {
            whose,
            keeps_transaction: status & packet::RESET == 0,
        });
    }

    /// Appends a request to hold `statement`, and to let go of handles that nobody needs.
    fn inject_prepare(&mut self, statement: &Arc<Statement>, out: &mut Vec<u8>) {
        let sending = self.sending_of_ours();
        let forget = std::mem::take(&mut self.handles.stale);
        let request = Prepare {
            forget: &forget,
            parameters: statement.parameters(),
            text: statement.text(),
        };
        message::prepare(request, sending, out);
        self.owe(Kind::Rpc, Fate::Swallow(Purpose::Handles));
        self.handles
            .prepare_ours(Arc::clone(statement), forget.len());
    }

    /// Appends a request to let go of handles that nobody needs.
    fn inject_unprepare(&mut self, out: &mut Vec<u8>) {
        let sending = self.sending_of_ours();
        let forget = std::mem::take(&mut self.handles.stale);
        message::unprepare(&forget, sending, out);
        self.owe(Kind::Rpc, Fate::Swallow(Purpose::Handles));
    }

    /// Brings the backend to an end of whatever its client left open: appends to `out` what has
    /// to be sent. Nothing of the answers is for a client.
    pub fn wind_up(&mut self, out: &mut Vec<u8>) {
        self.replies.clear();
        self.bulk = false;
        if let Some(kind) = self.sending.take() {
            // The server drops the message, and says so (2.2.1.7).
            let status = packet::LAST | packet::IGNORE;
            out.extend_from_slice(&packet::header(kind, status, 8, 0));
        } else if self
            .owed
            .as_ref()
            .is_some_and(|owed| owed.fate == Fate::Forward)
            && !self.attention
        {
            out.extend_from_slice(&message::ATTENTION);
            self.attention = true;
        }
        if let Some(owed) = self.owed.as_mut().filter(|owed| owed.fate == Fate::Forward) {
            owed.fate = Fate::Swallow(Purpose::Nothing);
        }
    }

    /// Forgets what only a burst needed; called when the backend changes hands.
    pub fn shrink(&mut self) {
        for memory in [&mut self.gathered, &mut self.lowered, &mut self.replies] {
            if memory.capacity() > 16 * 1024 {
                *memory = Vec::new();
            }
        }
        self.handles.shrink();
    }

    /// Notes what a request is about to do.
    fn note(&mut self, effects: Effects) {
        self.effects |= effects;
        let lasting = Effects::BEGIN
            | Effects::END
            | Effects::NAMED_END
            | Effects::SEVERAL
            | Effects::ONLY_BEGINS
            | Effects::BULK
            | Effects::ADVANCE
            | Effects::CODE
            | Effects::UNKNOWN;
        if let Some(owed) = &mut self.owed {
            owed.effects |= effects.only(lasting);
        }
    }

    fn note_findings(&mut self, findings: Findings) {
        self.note(findings.effects);
    }
}

#[cfg(test)]
#[path = "tracker/tests.rs"]
mod tests;
