//! Hot path: no allocation per packet or row, no copies of passing bytes. From the server to the
//! client.

use super::{Boundary, Fact, Fate, Owed, Purpose, Tracker, Values, Whose};
use crate::tds::Violation;
use crate::tds::effect::Effects;
use crate::tds::error::ServerError;
use crate::tds::packet::{self, HEADER, Header, Kind};
use crate::tds::statements::{Statements, Watch};
use crate::tds::token::{DONEPROC, Done, ENVCHANGE, EnvChange, SESSIONSTATE, Token};

/// Largest answer to a question of ours, in bytes.
const LARGEST_REPORT: usize = 64 * 1024;
/// Bytes of a DONE from TDS 7.2 on.
const DONE_LENGTH: usize = 13;

/// A stretch of the server's bytes, and what happened at its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes at the start of the input that are done with.
    pub take: usize,
    /// How many of these, from the first, are for the client. They may have been changed in place.
    pub give: usize,
    /// What happened.
    pub event: Event,
}

/// What the caller has to know or do before it goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// More bytes are needed.
    NeedMore,
    /// Nothing: another stretch follows.
    Next,
    /// A message of ours goes to the client here.
    Insert(Vec<u8>),
    /// The client's request is answered; the boundary may have changed.
    Ready {
        /// What it is now.
        boundary: Boundary,
        /// Whether the last statement failed.
        failed: bool,
    },
    /// A request of ours is answered, or one whose client has gone.
    OwnAnswered,
    /// A batch of ours failed.
    OwnFailed(Box<ServerError>),
    /// A question of ours has been answered, by these tokens: see `probe::Answer`. They are empty
    /// if there are too many.
    Reported(Vec<u8>),
}

/// The answer under way.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// The last DONE.
    last: Option<Done>,
    /// A DONE has acknowledged an attention.
    heard: bool,
    /// Calls answered to their ends.
    call: usize,
    /// A statement of it failed, whether it is the last or an earlier one.
    erred: bool,
    /// The first error, of an answer to us.
    error: Option<Box<ServerError>>,
    /// The answer to a question of ours.
    report: Vec<u8>,
    overflowed: bool,
    /// The beginning of an ENVCHANGE that may be hidden, up to its length.
    carry: [u8; 3],
    carried: usize,
    /// Its client has gone: what is still to come of the answer is for nobody.
    orphan: bool,
}

impl Response {
    pub(super) fn begin(&mut self) {
        self.orphan = false;
        self.last = None;
        self.heard = false;
        self.call = 0;
        self.erred = false;
        self.error = None;
        self.report = Vec::new();
        self.overflowed = false;
    }
}

/// What a token said, without its bytes.
enum Said {
    Done(Done),
    Error(ServerError),
    Change(Option<EnvChange>),
    State,
    Int {
        ordinal: u16,
        at: usize,
        from: usize,
        count: usize,
    },
    Unknown,
    Nothing,
}

/// A payload out of which pieces are cut.
struct Cutting<'p> {
    payload: &'p mut [u8],
    /// How much of it is done with, and what is left of that.
    read: usize,
    written: usize,
}

impl Cutting<'_> {
    fn cut(&mut self, from: usize, to: usize) {
        self.keep_to(from);
        self.read = to;
    }

    fn keep_to(&mut self, to: usize) {
        if self.read != self.written {
            self.payload.copy_within(self.read..to, self.written);
        }
        self.written += to - self.read;
        self.read = to;
    }
}

impl Tracker {
    /// Takes what the server sent, up to the first thing that the caller has to know. Only whole
    /// packets are taken; what the client is not to see is taken out of them in place.
    ///
    /// `names` as for [`Tracker::front`].
    ///
    /// # Errors
    /// [`Violation`]; the server's connection is of no use after it.
    pub fn back(
        &mut self,
        input: &mut [u8],
        mut names: Option<&mut Statements>,
    ) -> Result<Step, Violation> {
        let mut take = 0;
        let step = |take, give, event| Ok(Step { take, give, event });
        loop {
            if self.has_reply_due() {
                return match take {
                    0 => step(0, 0, Event::Insert(std::mem::take(&mut self.replies))),
                    _ => step(take, take, Event::Next),
                };
            }
            let rest = input.get_mut(take..).unwrap_or_default();
            let Some(header) = Header::read(rest)? else {
                return step(take, take, Event::NeedMore);
            };
            if header.kind != Kind::Answer {
                return Err(Violation::Kind {
                    kind: header.kind.byte(),
                });
            }
            let total = header.total();
            let Some(packet) = rest.get_mut(..total) else {
                return step(take, take, Event::NeedMore);
            };
            let passes = self.passes();
            if take > 0 && (!passes || self.response.carried > 0) {
                return step(take, take, Event::Next);
            }
            if let Some(carry) = self.carry_for(packet) {
                return step(0, 0, Event::Insert(carry));
            }
            let left = self.packet(packet, names.as_deref_mut())?;
            let event = match header.is_last() {
                true => self.end(packet.get(..left).unwrap_or_default())?,
                false => None,
            };
            // A packet of which nothing is left is needed only for its end.
            let is_bare = left == HEADER && total > HEADER && !header.is_last();
            let give = if passes && !is_bare { left } else { 0 };
            if give != total || event.is_some() {
                return step(take + total, take + give, event.unwrap_or(Event::Next));
            }
            take += total;
        }
    }

    /// Whether what comes now is for the client.
    fn passes(&self) -> bool {
        match &self.owed {
            Some(owed) => owed.fate == Fate::Forward,
            // The answer to an attention, or the server's goodbye.
            None => !self.response.orphan,
        }
    }

    /// What was held back of the last packet, if it turns out to be for the client.
    fn carry_for(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let response = &mut self.response;
        let carry = response.carry.get(..response.carried)?;
        if carry.is_empty() {
            return None;
        }
        // Behind the token's byte and length comes its type, if this packet is as long as that.
        let kind = *packet.get(HEADER + carry.len().abs_diff(3))?;
        response.carried = 0;
        if kind == RESET_CHANGE {
            return None;
        }
        let length = u16::try_from(HEADER + carry.len()).unwrap_or(u16::MAX);
        let mut whole = packet::header(Kind::Answer, 0, length, 0).to_vec();
        whole.extend_from_slice(carry);
        Some(whole)
    }

    /// Goes through one packet. Returns how long it is without what the client is not to see.
    fn packet(
        &mut self,
        packet: &mut [u8],
        mut names: Option<&mut Statements>,
    ) -> Result<usize, Violation> {
        if self.owed.is_none() && !self.attention {
            // Nobody asked: the server is about to close.
            self.dying = true;
        }
        let payload = packet.get_mut(HEADER..).unwrap_or_default();
        self.collect(payload);
        let length = payload.len();
        let mut cutting = Cutting {
            payload,
            read: 0,
            written: 0,
        };
        self.walker.begin_packet();
        let mut at = 0;
        loop {
            let (next, begin, said) = self.hear_token(cutting.payload, at);
            at = next;
            match said {
                None => break,
                Some(Said::State) => cutting.cut(begin.unwrap_or(0), at),
                Some(Said::Change(change)) => {
                    let is_reset = change == Some(EnvChange::Reset);
                    let hides = is_reset && self.hides_reset();
                    let ends = change == Some(EnvChange::Ended);
                    if ends && let Some(alias) = self.transaction.alias.take() {
                        rename(cutting.payload, at, alias);
                    }
                    self.change(change)?;
                    if hides {
                        cutting.cut(begin.unwrap_or(0), at);
                    }
                }
                Some(Said::Done(done)) => self.done(done),
                Some(Said::Error(error)) => self.error(error),
                Some(Said::Int {
                    ordinal: 0,
                    at,
                    from,
                    count,
                }) => {
                    let place = cutting.payload.get_mut(at..at + count);
                    self.handle_given(place.unwrap_or_default(), from, names.as_deref_mut());
                }
                Some(Said::Unknown) => self.opaque = true,
                Some(Said::Int { .. } | Said::Nothing) => {}
            }
        }
        if let Some(from) = self.hidden_tail(cutting.payload) {
            cutting.cut(from, length);
        }
        cutting.keep_to(length);
        let left = HEADER + cutting.written;
        if left < packet.len() {
            let [high, low] = u16::try_from(left).unwrap_or(u16::MAX).to_be_bytes();
            if let Some([_, _, a, b]) = packet.first_chunk_mut::<4>() {
                (*a, *b) = (high, low);
            }
        }
        Ok(left)
    }

    /// The next token: where it ends, where it begins, what it says.
    #[inline]
    fn hear_token(&mut self, payload: &[u8], at: usize) -> (usize, Option<usize>, Option<Said>) {
        let Self { walker, state, .. } = self;
        let walked = walker.next(payload, at);
        let said = walked.token.map(|token| match token {
            Token::Done(done) => Said::Done(done),
            Token::Error(body) => Said::Error(ServerError::read(body)),
            Token::EnvChange(body) => Said::Change(EnvChange::read(body)),
            Token::SessionState(body) => {
                state.update(body);
                Said::State
            }
            Token::Int {
                ordinal,
                at,
                from,
                count,
            } => Said::Int {
                ordinal,
                at,
                from: from.into(),
                count: count.into(),
            },
            Token::Unknown(_) => Said::Unknown,
            Token::Info(_) | Token::LoginAck(_) | Token::Features(_) | Token::ReturnStatus(_) => {
                Said::Nothing
            }
        });
        (walked.at, walked.begin, said)
    }

    /// Keeps the answer to a question of ours.
    fn collect(&mut self, payload: &[u8]) {
        if self
            .owed
            .as_ref()
            .is_none_or(|owed| owed.fate != Fate::Report)
        {
            return;
        }
        let response = &mut self.response;
        response.overflowed |= response.report.len() + payload.len() > LARGEST_REPORT;
        if !response.overflowed {
            response.report.extend_from_slice(payload);
        }
    }

    fn hides_reset(&self) -> bool {
        self.reset.is_some_and(|reset| reset.whose == Whose::Ours)
    }

    /// Where the packet's end begins that is not for the client, or may not be: a token that
    /// goes on in the next one.
    fn hidden_tail(&mut self, payload: &[u8]) -> Option<usize> {
        let (token, begin) = self.walker.cut_token()?;
        match token {
            SESSIONSTATE => Some(begin.unwrap_or(0)),
            ENVCHANGE if self.hides_reset() => match self.walker.kept().first() {
                Some(&RESET_CHANGE) => Some(begin.unwrap_or(0)),
                Some(_) => None,
                None => {
                    let response = &mut self.response;
                    let (from, carried) = match begin {
                        Some(begin) => (begin, 0),
                        None if response.carried > 0 => (0, response.carried),
                        None => return None,
                    };
                    let part = payload.get(from..)?;
                    let whole = carried + part.len();
                    let place = response.carry.get_mut(carried..whole)?;
                    place.copy_from_slice(part);
                    response.carried = whole;
                    Some(from)
                }
            },
            _ => None,
        }
    }

    fn whose(&self) -> Whose {
        match &self.owed {
            Some(owed) if owed.fate == Fate::Forward => Whose::Client,
            _ => Whose::Ours,
        }
    }

    fn change(&mut self, change: Option<EnvChange>) -> Result<(), Violation> {
        let whose = self.whose();
        let change = change.ok_or(Violation::Malformed {
            what: "ENVCHANGE",
            why: "its values",
        })?;
        let fact = match change {
            EnvChange::Began(descriptor) => {
                self.transaction.descriptor = descriptor;
                // Some tell of those alone that the transaction manager was asked for.
                let by_text = self
                    .owed
                    .as_ref()
                    .is_some_and(|owed| owed.kind != Kind::Transaction);
                self.transaction.announced |= by_text;
                self.transaction.suspected = false;
                return Ok(());
            }
            EnvChange::Ended => {
                self.transaction.descriptor = 0;
                self.transaction.suspected = false;
                self.transaction.nested = false;
                return Ok(());
            }
            EnvChange::Reset => {
                self.was_reset();
                return Ok(());
            }
            EnvChange::Database(name) => Fact::Database(name),
            EnvChange::Language(name) => Fact::Language(name),
            EnvChange::Collation(collation) => Fact::Collation(collation),
            EnvChange::PacketSize(_) | EnvChange::Routing { .. } | EnvChange::Other(_) => {
                return Ok(());
            }
        };
        self.facts.push((whose, fact));
        Ok(())
    }

    fn was_reset(&mut self) {
        let reset = self.reset.take();
        let fact = match reset {
            Some(reset) if reset.keeps_transaction => Fact::ResetInside,
            _ => {
                self.transaction.descriptor = 0;
                self.transaction.suspected = false;
                self.transaction.nested = false;
                Fact::Reset
            }
        };
        self.state.reset();
        let whose = reset.map_or(Whose::Ours, |reset| reset.whose);
        self.facts.push((whose, fact));
    }

    fn done(&mut self, done: Done) {
        self.response.heard |= done.is_attention();
        self.response.erred |= done.failed();
        self.response.last = Some(done);
        // One that a call runs in its turn has a DONEPROC of its own.
        let ends_call = done.status & Done::IN_BATCH != 0 || done.is_final();
        if done.token == DONEPROC && ends_call {
            self.handles.end_call(self.response.call);
            self.response.call += 1;
        }
    }

    fn error(&mut self, error: ServerError) {
        self.dying |= error.is_fatal();
        self.response.erred = true;
        if error.is_about_a_handle() {
            self.handles.lost();
        }
        if self.whose() == Whose::Ours {
            self.response.error.get_or_insert_with(|| Box::new(error));
        }
    }

    /// Bytes of the first parameter that comes back: a handle, where one is due. The client gets
    /// its own instead.
    fn handle_given(&mut self, bytes: &mut [u8], from: usize, names: Option<&mut Statements>) {
        let call = self.response.call;
        let Some(preparing) = self
            .handles
            .preparing
            .front_mut()
            .filter(|preparing| preparing.call == call)
        else {
            return;
        };
        let end = from + bytes.len();
        if let Some(place) = preparing.real.get_mut(from..end) {
            place.copy_from_slice(bytes);
        }
        if let Some(handle) = preparing.handle
            && let Some(own) = handle.to_le_bytes().get(from..end)
        {
            bytes.copy_from_slice(own);
        }
        if end == preparing.real.len() {
            self.handles.gave(names);
        }
    }

    /// The message is at its end; `packet` is its last.
    fn end(&mut self, packet: &[u8]) -> Result<Option<Event>, Violation> {
        let was_lost = self.walker.is_lost();
        if !self.walker.end_message() && !was_lost {
            return Err(Violation::Malformed {
                what: "a message of the server",
                why: "it ends in the middle of a token",
            });
        }
        if was_lost {
            self.end_unread(packet);
        }
        let failed = self.response.last.is_some_and(|done| done.failed());
        if self.attention && self.response.heard {
            self.attention = false;
        }
        let Some(owed) = self.owed.take() else {
            // The second message of an answer to an attention: see 4.19.2.
            if self.attention {
                return Ok(None);
            }
            let boundary = self.boundary();
            return Ok(Some(match std::mem::take(&mut self.response.orphan) {
                true => Event::OwnAnswered,
                false => Event::Ready { boundary, failed },
            }));
        };
        self.handles.end_call(usize::MAX);
        if self.reset.take().is_some() {
            // It was not acknowledged: nobody knows what the session is like.
            self.opaque = true;
        }
        Ok(self.answered(owed, failed))
    }

    /// Of a message that could not be read, its end says whether an attention was heard.
    fn end_unread(&mut self, packet: &[u8]) {
        let begin = packet.len().saturating_sub(DONE_LENGTH);
        if let Some([token, low, high, ..]) = packet.get(begin..) {
            let done = Done {
                token: *token,
                status: u16::from_le_bytes([*low, *high]),
                command: 0,
                rows: 0,
            };
            self.response.heard |= done.is_attention();
            self.response.erred |= done.failed();
            self.response.last = Some(done);
        }
        self.effects |= Effects::UNKNOWN;
    }

    fn answered(&mut self, owed: Owed, failed: bool) -> Option<Event> {
        let Owed {
            kind,
            fate,
            effects,
            changes,
        } = owed;
        self.bulk = kind == Kind::Batch && effects.any(Effects::BULK) && !failed;
        // One statement's success says nothing of the others.
        let erred = self.response.erred;
        self.suspect(effects, erred);
        // Of code that nobody sees it is not known that it has made such values.
        let is_certain = !effects.any(Effects::CODE | Effects::UNKNOWN) && !erred;
        if effects.any(Effects::ADVANCE) && is_certain {
            self.values = Values::Own;
        }
        if !changes.is_empty() {
            match erred || self.response.heard {
                true => self.effects |= Effects::SETTING,
                false => self.facts.push((Whose::Client, Fact::Settings(changes))),
            }
        }
        match fate {
            Fate::Forward if self.attention => None,
            Fate::Forward => Some(Event::Ready {
                boundary: self.boundary(),
                failed,
            }),
            Fate::Report => {
                let overflowed = self.response.overflowed || failed;
                let report = std::mem::take(&mut self.response.report);
                Some(Event::Reported(if overflowed {
                    Vec::new()
                } else {
                    report
                }))
            }
            Fate::Swallow(Purpose::Batch) => Some(match self.response.error.take() {
                Some(error) => Event::OwnFailed(error),
                None if self.opaque => Event::OwnFailed(Box::new(not_as_asked())),
                None => Event::OwnAnswered,
            }),
            Fate::Swallow(Purpose::Nothing) if self.attention => {
                self.response.orphan = true;
                None
            }
            Fate::Swallow(Purpose::Handles | Purpose::Nothing) => Some(Event::OwnAnswered),
        }
    }

    /// What a text says of transactions counts where the server says nothing.
    fn suspect(&mut self, effects: Effects, failed: bool) {
        if self.transaction.announced {
            return;
        }
        let is_open = self.is_in_transaction();
        let is_asked = self.dictionary.watch() != Watch::Unasked;
        let transaction = &mut self.transaction;
        let begins = effects.any(Effects::BEGIN);
        // Code that nobody sees may begin another one inside.
        let may_begin = effects.any(Effects::CODE | Effects::UNKNOWN) && is_asked;
        transaction.nested |= is_open && may_begin;
        if begins {
            let must_tell = effects.any(Effects::ONLY_BEGINS) && !is_open && !failed;
            transaction.was_untold |= must_tell;
            transaction.nested |= is_open || effects.any(Effects::SEVERAL);
            transaction.suspected = transaction.descriptor == 0;
        }
        let ends = effects.any(Effects::END) && is_open && !begins;
        let is_doubtful = transaction.nested || failed;
        if effects.any(Effects::NAMED_END) && (is_open || begins) || ends && is_doubtful {
            if !is_asked {
                return;
            }
            transaction.doubted = Some((transaction.descriptor, transaction.alias));
            transaction.nested = false;
            self.effects |= Effects::NESTED;
        } else if !ends {
            return;
        }
        transaction.suspected = false;
        transaction.descriptor = 0;
        transaction.alias = None;
    }
}

/// Puts the client's own descriptor into an ENVCHANGE that ends at `end`, where it says what has
/// ended: its last eight bytes.
fn rename(payload: &mut [u8], end: usize, alias: u64) {
    let begin = end.checked_sub(9);
    if let Some([8, place @ ..]) = begin.and_then(|begin| payload.get_mut(begin..end)) {
        place.copy_from_slice(&alias.to_le_bytes());
    }
}

/// ENVCHANGE 18: the session was reset.
const RESET_CHANGE: u8 = 18;

fn not_as_asked() -> ServerError {
    ServerError {
        number: 0,
        state: 0,
        class: 16,
        message: "the server did not say that it has reset the session".to_owned(),
    }
}
