//! Hot path: no allocation, no copies of passing bytes. From the client to the server.

use super::{Rest, Tracker, message};
use crate::Sink;
use crate::postgres::Violation;
use crate::postgres::effect::Effects;
use crate::postgres::frame::{HEADER, Header};
use crate::postgres::ledger::{Fate, Kind};
use crate::postgres::refusal;
use crate::postgres::scan::Findings;
use crate::postgres::statements::{Statements, Watch, text_of};

/// What no server can read.
const NO_SQL: &[u8] = b"refused";
/// Makes `currval` and `lastval` unknown to the session.
pub(super) const DISCARD_SEQUENCES: &[u8] = b"DISCARD SEQUENCES";
/// Largest Query whose text is looked at.
const LARGEST_TEXT: usize = 16 * 1024;

/// What [`Tracker::front`] made of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes done with. What is left is the beginning of a message that has to be longer.
    pub bytes: usize,
    /// The client said Terminate; nothing behind it counts.
    pub terminate: bool,
    /// What is left has to be given again when the server has answered more.
    pub stalled: bool,
}

/// What becomes of one message.
pub(super) enum Action {
    /// Goes on as it came.
    Pass,
    /// Goes nowhere.
    Drop,
    /// Has to be seen whole, or at least further.
    Wait,
    /// Builds on what an earlier batch may not have done: its answers have to come first.
    Stall,
    /// `scratch` goes instead of its first bytes; the rest goes on.
    Rewrite { replaced: usize },
    /// The session ends.
    Terminate,
}

impl Tracker {
    /// Takes what the client sent; `out` gets what the server shall see.
    ///
    /// With `names`, prepared statements are kept under names of ours, so that the client finds
    /// them on any backend; without, everything passes as it is.
    ///
    /// # Errors
    /// [`Violation`]; the client's connection is of no use after it.
    pub fn front(
        &mut self,
        input: &[u8],
        mut names: Option<&mut Statements>,
        out: &mut impl Sink,
    ) -> Result<Taken, Violation> {
        let mut run = 0; // where the bytes begin that pass but were not put yet
        let mut at = 0;
        let (mut terminate, mut stalled) = (false, false);
        loop {
            if self.front.left > 0 {
                let step = self.front.left.min(input.len() - at);
                at += step;
                self.front.left -= step;
                if !self.front.pass {
                    run = at;
                }
                if self.front.left > 0 {
                    break;
                }
            }
            let message = input.get(at..).unwrap_or_default();
            let booked = match Header::read(message) {
                Ok(None) => break,
                Ok(Some(header)) => self
                    .front_message(header, message, names.as_deref_mut())
                    .map(|action| (header, action)),
                Err(violation) => Err(violation),
            };
            // What is booked has to be sent all the same, or its answers would never come.
            let (header, action) =
                booked.inspect_err(|_| out.put(input.get(run..at).unwrap_or_default()))?;
            match action {
                Action::Pass => {
                    self.front = Rest {
                        left: header.total(),
                        pass: true,
                    }
                }
                Action::Drop => {
                    out.put(input.get(run..at).unwrap_or_default());
                    run = at;
                    self.front = Rest {
                        left: header.total(),
                        pass: false,
                    };
                }
                Action::Rewrite { replaced } => {
                    out.put(input.get(run..at).unwrap_or_default());
                    out.put(&self.scratch);
                    at += replaced;
                    run = at;
                    self.front = Rest {
                        left: header.total() - replaced,
                        pass: true,
                    };
                }
                Action::Wait => break,
                Action::Stall => {
                    stalled = true;
                    break;
                }
                Action::Terminate => {
                    terminate = true;
                    break;
                }
            }
        }
        out.put(input.get(run..at).unwrap_or_default());
        Ok(Taken {
            bytes: at,
            terminate,
            stalled,
        })
    }

    /// Books one message. 55.7 says what each is; 55.2.3 what happens after an error.
    #[inline]
    fn front_message(
        &mut self,
        header: Header,
        message: &[u8],
        names: Option<&mut Statements>,
    ) -> Result<Action, Violation> {
        match header.tag {
            b'X' => return Ok(Action::Terminate),
            b'S' => return Ok(self.sync()),
            b'd' | b'c' | b'f' => return Ok(self.copy_data(header.tag)),
            b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => {}
            tag => return Err(Violation::Tag { tag: tag.into() }),
        }
        if self.skipping {
            return Ok(Action::Drop);
        }
        if self.copy_in {
            if header.tag != b'H' {
                // The COPY takes it as an error and consumes it: nothing more is owed for it.
                self.copy_in = false;
            }
            return Ok(Action::Pass);
        }
        let kind = match header.tag {
            b'Q' | b'F' => return Ok(self.simple(header, message, names)),
            b'H' => return Ok(Action::Pass),
            b'E' => Kind::Execute,
            b'P' => Kind::Parse,
            b'B' => Kind::Bind,
            b'D' => Kind::Describe,
            _ => Kind::Close,
        };
        let Some(names) = names else {
            self.open = true;
            self.ledger.push(kind, Fate::Forward);
            return Ok(Action::Pass);
        };
        if kind == Kind::Execute {
            let fate = self.fate_of_execute(names);
            self.open = true;
            self.ledger.push(kind, fate);
            return Ok(Action::Pass);
        }
        self.named(kind, header, message, names)
    }

    fn sync(&mut self) -> Action {
        if !self.copy_in {
            self.ledger.push(Kind::Sync, Fate::Forward);
            self.batch += 1;
            self.open = false;
            self.skipping = false;
        }
        Action::Pass
    }

    /// CopyData, CopyDone, CopyFail. A server that is not in a COPY (any more) ignores them
    /// (55.2.6), so those that come late, when nothing is owed, need not reach it.
    fn copy_data(&mut self, tag: u8) -> Action {
        if self.skipping || (!self.copy_in && self.ledger.is_empty()) {
            return Action::Drop;
        }
        if tag != b'd' {
            if self.copy_in {
                self.copy_in = false;
            } else {
                self.ledger.push(Kind::CopyEnd, Fate::Forward);
            }
        }
        Action::Pass
    }

    /// Query and FunctionCall. A Query ends the unnamed statement (55.2.3).
    fn simple(&mut self, header: Header, message: &[u8], names: Option<&mut Statements>) -> Action {
        if header.tag == b'Q' {
            let before = self.effects;
            if self.dictionary.watch() != Watch::Tags {
                match header.body(message) {
                    Some(body) => self.watch(text_of(body)),
                    None if header.total() <= LARGEST_TEXT => return Action::Wait,
                    None => self.note(&Findings::unknown()),
                }
            }
            if self.dictionary.watch() == Watch::Strictly && self.effects.any(Effects::STATE) {
                self.effects = before;
                return self.refuse(header);
            }
            if std::mem::take(&mut self.discards_sequences) {
                return self.behind_discard(message, names);
            }
            if let Some(names) = names {
                if let Some(body) = header.body(message)
                    && let Some(action) = self.by_sql(body, header, names)
                {
                    return action;
                }
                self.drop_unnamed(names);
            }
            self.ledger.push(Kind::Query, Fate::Forward);
        } else {
            self.note(&Findings::unknown());
            self.ledger.push(Kind::FunctionCall, Fate::Forward);
        }
        self.batch += 1;
        self.open = false;
        Action::Pass
    }

    /// Refuses a Query or Parse in strict mode: the server is made to fail at this place by what
    /// it can't read.
    pub(super) fn refuse(&mut self, header: Header) -> Action {
        self.discards_sequences = false;
        self.scratch.clear();
        self.replace_next("42601", &refusal::leaves_state());
        if header.tag == b'Q' {
            message::query(&mut self.scratch, NO_SQL);
            self.ledger.push(Kind::Query, Fate::Replace);
            self.batch += 1;
            self.open = false;
        } else {
            let mut body = NO_SQL.to_vec();
            body.extend_from_slice(&[0; 3]);
            message::parse(&mut self.scratch, b"", &body);
            self.unnamed.mark = None;
            self.ledger.push(Kind::Parse, Fate::Replace);
            self.open = true;
        }
        Action::Rewrite {
            replaced: header.total(),
        }
    }

    /// Puts `DISCARD SEQUENCES` in front of a Query that asks for a sequence's value, which would
    /// be another client's: so the server says that there is none.
    fn behind_discard(&mut self, message: &[u8], names: Option<&mut Statements>) -> Action {
        if let Some(names) = names {
            self.drop_unnamed(names);
        }
        self.scratch.clear();
        message::query(&mut self.scratch, DISCARD_SEQUENCES);
        self.ledger.push(Kind::Query, Fate::Swallow);
        let header = message.get(..HEADER).unwrap_or_default();
        self.scratch.extend_from_slice(header);
        self.ledger.push(Kind::Query, Fate::Forward);
        self.batch += 1;
        self.open = false;
        Action::Rewrite {
            replaced: header.len(),
        }
    }
}

/// A message that has to be whole is waited for, if it may ever become so.
pub(super) fn whole_within(header: Header, limit: usize) -> Result<Action, Violation> {
    if header.total() > limit {
        return Err(too_large(header, limit));
    }
    Ok(Action::Wait)
}

pub(super) fn too_large(header: Header, limit: usize) -> Violation {
    Violation::TooLarge {
        tag: header.tag.into(),
        length: header.total(),
        limit,
    }
}

pub(super) fn malformed(tag: u8, what: &'static str) -> Violation {
    Violation::Malformed {
        tag: tag.into(),
        what,
    }
}
