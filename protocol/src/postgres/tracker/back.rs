//! Hot path: no allocation, no copies of passing bytes. From the server to the client.

use std::borrow::Cow;

use super::{Boundary, Rest, Tracker, message};
use crate::postgres::channels::{Notification, Side};
use crate::postgres::effect::Effects;
use crate::postgres::error::ServerError;
use crate::postgres::frame::{HEADER, Header, split_cstr, split_parameter};
use crate::postgres::ledger::{Fate, Kind};
use crate::postgres::statements::{Statements, Watch};
use crate::postgres::{Status, Violation};

/// Messages up to this size are looked into where there is something to see; larger ones pass.
const LARGEST_SEEN: usize = 8 * 1024;

/// Largest row of an answer to a question of ours.
const LARGEST_ROW: usize = 64 * 1024;

/// A stretch of the server's bytes, all with one destination, and what happened at its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Bytes of the input that this is about.
    pub take: usize,
    /// Whether they are for the client; otherwise nobody gets them.
    pub to_client: bool,
    /// What happened at the end of the stretch.
    pub event: Event<'a>,
}

/// What the caller has to know or do before it goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// More bytes are needed.
    NeedMore,
    /// Nothing: another stretch follows.
    Next,
    /// A message of ours goes to the client here.
    Insert(Cow<'static, [u8]>),
    /// ReadyForQuery; the boundary may have changed.
    Ready(Boundary),
    /// ParameterStatus.
    Parameter {
        /// The setting's name.
        name: &'a [u8],
        /// Its value now.
        value: &'a [u8],
    },
    /// A query of ours failed.
    OwnQueryFailed(Box<ServerError>),
    /// A row of the answer to a question of ours: the body of its DataRow.
    Row(&'a [u8]),
    /// A question of ours failed; no more rows come, but [`Event::Reported`] does.
    ReportFailed(Box<ServerError>),
    /// A question of ours has been answered.
    Reported,
    /// The marker of [`Tracker::begin_crossing`] has come.
    Marked,
}

/// What one message is.
enum Seen<'a> {
    /// It passes by length.
    Passing,
    /// Its end has to be here first.
    Wait,
    /// The stretch ends behind it.
    Event(Event<'a>),
    /// Something happens before it passes by length.
    Before(Event<'a>),
}

impl Tracker {
    /// Takes what the server sent, up to the first thing that the caller has to know.
    ///
    /// `names` as for [`Tracker::front`].
    ///
    /// # Errors
    /// [`Violation`]; the server's connection is of no use after it.
    pub fn back<'a>(
        &mut self,
        input: &'a [u8],
        mut names: Option<&mut Statements>,
    ) -> Result<Step<'a>, Violation> {
        let mut take = 0;
        let mut to_client = true;
        let mut event = Event::NeedMore;
        loop {
            if self.back.left > 0 {
                if take > 0 && to_client != self.back.pass {
                    event = Event::Next;
                    break;
                }
                to_client = self.back.pass;
                let step = self.back.left.min(input.len() - take);
                take += step;
                self.back.left -= step;
                if self.back.left > 0 {
                    break;
                }
            }
            if let Some(reply) = self.due_reply() {
                event = Event::Insert(Cow::Borrowed(reply));
                break;
            }
            let message = input.get(take..).unwrap_or_default();
            let Some(header) = Header::read(message)? else {
                break;
            };
            let pass = if header.tag == b'A' && self.crossing.is_some() {
                match self.crossed(header, message)? {
                    Some(pass) => pass,
                    None => break,
                }
            } else {
                self.is_for_client(header.tag)
            };
            if take > 0 && to_client != pass {
                event = Event::Next;
                break;
            }
            match self.back_message(header, message, names.as_deref_mut())? {
                Seen::Passing => {
                    self.back = Rest {
                        left: header.total(),
                        pass,
                    }
                }
                Seen::Wait => break,
                Seen::Before(seen) => {
                    self.back = Rest {
                        left: header.total(),
                        pass,
                    };
                    event = seen;
                    break;
                }
                Seen::Event(seen) => {
                    take += header.total();
                    to_client = pass;
                    event = seen;
                    break;
                }
            }
        }
        Ok(Step {
            take,
            to_client,
            event,
        })
    }

    /// The answer that is ours to make now.
    #[inline]
    fn due_reply(&mut self) -> Option<&'static [u8]> {
        let owed = self
            .ledger
            .front()
            .filter(|owed| owed.fate == Fate::Synthesize)?;
        self.ledger.pop();
        match owed.kind {
            Kind::Parse => Some(&message::PARSE_COMPLETE),
            _ => Some(&message::CLOSE_COMPLETE),
        }
    }

    /// Whether a message that comes now is for the client. What a request of ours brings is
    /// not, except for a notification, and for the error of a Parse that we put in front of a
    /// Bind: that is the answer to the Bind.
    #[inline]
    fn is_for_client(&self, tag: u8) -> bool {
        match (self.ledger.front(), tag) {
            (Some(owed), b'E') => match owed.fate {
                Fate::Swallow => owed.kind.is_extended(),
                Fate::Replace | Fate::Report => false,
                Fate::Forward | Fate::Synthesize => true,
            },
            (Some(owed), _) => !matches!(owed.fate, Fate::Swallow | Fate::Report) || tag == b'A',
            (None, _) => true,
        }
    }

    /// Books one message (55.7).
    #[inline]
    fn back_message<'a>(
        &mut self,
        header: Header,
        message: &'a [u8],
        names: Option<&mut Statements>,
    ) -> Result<Seen<'a>, Violation> {
        match header.tag {
            // Rows, their end in a COPY, and what may come at any time.
            b'D' => self.row(header, message),
            b'A' => self.notification(header, message),
            b'd' | b'c' | b't' | b'N' | b'V' | b'H' => Ok(Seen::Passing),
            b'T' | b'n' => {
                if self.expects(Kind::Describe) {
                    self.ledger.pop();
                }
                Ok(Seen::Passing)
            }
            b'1' => self.complete(header, Kind::Parse),
            b'2' => self.complete(header, Kind::Bind),
            b'3' => self.complete(header, Kind::Close),
            b'I' | b's' => self.executed(header),
            b'C' => self.command_complete(header, message, names),
            b'Z' => self.ready(header, message),
            b'G' => {
                self.copy_in = !self.ledger.enter_copy_in();
                Ok(Seen::Passing)
            }
            b'S' => parameter(header, message),
            b'E' => self.error(header, message, names),
            tag => Err(Violation::Tag { tag: tag.into() }),
        }
    }

    /// Whether a notification is for the client while where it comes from is changing; `None`
    /// if it has to be whole first.
    fn crossed(&self, header: Header, message: &[u8]) -> Result<Option<bool>, Violation> {
        let Some(crossing) = &self.crossing else {
            return Ok(Some(true));
        };
        let is_ours = match header.body(message) {
            Some(body) => Notification::read(body)?.channel == &*crossing.marker.channel,
            None if header.total() <= LARGEST_SEEN => return Ok(None),
            None => false,
        };
        let side = match crossing.passed {
            false => Side::Before,
            true => Side::Behind,
        };
        Ok(Some(!is_ours && side == crossing.side))
    }

    fn notification<'a>(
        &mut self,
        header: Header,
        message: &'a [u8],
    ) -> Result<Seen<'a>, Violation> {
        let (Some(crossing), Some(body)) = (&mut self.crossing, header.body(message)) else {
            return Ok(Seen::Passing);
        };
        if !Notification::read(body)?.is(&crossing.marker) {
            return Ok(Seen::Passing);
        }
        crossing.passed = true;
        Ok(Seen::Event(Event::Marked))
    }

    /// DataRow: only an answer to a question of ours is looked at.
    #[inline]
    fn row<'a>(&self, header: Header, message: &'a [u8]) -> Result<Seen<'a>, Violation> {
        if self
            .ledger
            .front()
            .is_none_or(|owed| owed.fate != Fate::Report)
        {
            return Ok(Seen::Passing);
        }
        if header.total() > LARGEST_ROW {
            return Err(Violation::TooLarge {
                tag: 'D',
                length: header.total(),
                limit: LARGEST_ROW,
            });
        }
        Ok(match header.body(message) {
            Some(body) => Seen::Event(Event::Row(body)),
            None => Seen::Wait,
        })
    }

    #[inline]
    fn expects(&self, kind: Kind) -> bool {
        self.ledger.front().is_some_and(|owed| owed.kind == kind)
    }

    #[inline]
    fn complete<'a>(&mut self, header: Header, kind: Kind) -> Result<Seen<'a>, Violation> {
        if !self.expects(kind) {
            return Err(self.out_of_sync(header.tag));
        }
        self.ledger.pop();
        Ok(Seen::Passing)
    }

    /// A statement has run: the end of an Execute, one of many inside a Query.
    fn executed<'a>(&mut self, header: Header) -> Result<Seen<'a>, Violation> {
        if self.expects(Kind::Execute) {
            self.ledger.pop();
        } else if !self.expects(Kind::Query) {
            return Err(self.out_of_sync(header.tag));
        }
        self.copy_in = false;
        Ok(Seen::Passing)
    }

    fn command_complete<'a>(
        &mut self,
        header: Header,
        message: &[u8],
        names: Option<&mut Statements>,
    ) -> Result<Seen<'a>, Violation> {
        match header.body(message) {
            Some(body) => {
                let tag = body.strip_suffix(b"\0").unwrap_or(body);
                let effects = Effects::of_tag(tag);
                if effects.any(Effects::DISCARD_ALL | Effects::DEALLOCATE_ALL) {
                    self.forget_statements(names);
                }
                if changes_schema(tag) {
                    self.dictionary.schema_changed();
                }
                let ours = self
                    .ledger
                    .front()
                    .is_some_and(|owed| matches!(owed.fate, Fate::Swallow | Fate::Report));
                if !ours {
                    self.see_tag(tag);
                }
                // `SET LOCAL` has the tag of `SET`: where texts are looked at, they know better.
                self.effects |= match self.dictionary.watch() {
                    // Whoever makes a command of ours sees to what it leaves.
                    _ if ours => Effects::default(),
                    Watch::Tags => effects,
                    Watch::Texts | Watch::Strictly => effects.without(Effects::SETTING),
                };
            }
            None if header.total() <= LARGEST_SEEN => return Ok(Seen::Wait),
            None => {}
        }
        self.executed(header)
    }

    fn ready<'a>(&mut self, header: Header, message: &[u8]) -> Result<Seen<'a>, Violation> {
        let malformed = Violation::Malformed {
            tag: 'Z',
            what: "status",
        };
        if header.length != 5 {
            return Err(malformed);
        }
        let Some(body) = header.body(message) else {
            return Ok(Seen::Wait);
        };
        let Some(owed) = self
            .ledger
            .front()
            .filter(|owed| owed.kind.ends_with_ready())
        else {
            return Err(self.out_of_sync(header.tag));
        };
        self.status = body
            .first()
            .copied()
            .and_then(Status::from_byte)
            .ok_or(malformed)?;
        self.ledger.pop();
        self.copy_in = false;
        self.settle_changes();
        Ok(Seen::Event(match owed.fate {
            Fate::Report => Event::Reported,
            _ => Event::Ready(self.boundary()),
        }))
    }

    /// ErrorResponse. One that nothing asked for, or of severity FATAL, ends the session.
    fn error<'a>(
        &mut self,
        header: Header,
        message: &[u8],
        names: Option<&mut Statements>,
    ) -> Result<Seen<'a>, Violation> {
        if message.len() < header.total().min(LARGEST_SEEN) {
            return Ok(Seen::Wait);
        }
        let seen = message.len().min(header.total()).min(LARGEST_SEEN);
        let body = message.get(HEADER..seen).unwrap_or_default();
        self.dying |= is_fatal(body);
        self.copy_in = false;
        self.see_error();
        let Some(owed) = self.ledger.front() else {
            return Ok(Seen::Passing);
        };
        let at = self.ledger.first();
        let mut names = names;
        if is_stale_plan(body) {
            self.dictionary.schema_changed();
            if let Some(names) = names.as_deref_mut() {
                names.renew(&self.dictionary);
            }
        }
        if owed.kind.is_extended() {
            self.fail_batch(names);
        } else if owed.kind == Kind::Query {
            self.fail_query(at, names);
        }
        Ok(match owed.fate {
            Fate::Replace => {
                let own = self.replacement(at);
                // It may fail for another reason first: that is the client's to know.
                let is_whole = seen == header.total();
                let error = match own.instead_of == ServerError::read(body).code || !is_whole {
                    true => own.error,
                    false => message.get(..seen).unwrap_or_default().to_vec(),
                };
                Seen::Before(Event::Insert(Cow::Owned(error)))
            }
            Fate::Report => {
                let error = Box::new(ServerError::read(body));
                Seen::Before(Event::ReportFailed(error))
            }
            Fate::Swallow if !owed.kind.is_extended() => {
                let error = Box::new(ServerError::read(body));
                Seen::Before(Event::OwnQueryFailed(error))
            }
            _ => Seen::Passing,
        })
    }

    fn out_of_sync(&self, tag: u8) -> Violation {
        let expected = match self.ledger.front() {
            None => "nothing",
            Some(owed) => match owed.kind {
                Kind::Parse => "ParseComplete",
                Kind::Bind => "BindComplete",
                Kind::Close => "CloseComplete",
                Kind::Describe => "a description",
                Kind::Execute => "the end of an Execute",
                Kind::Query => "the results of a Query",
                Kind::FunctionCall => "FunctionCallResponse",
                Kind::Sync | Kind::CopyEnd | Kind::Ignored => "ReadyForQuery",
            },
        };
        Violation::OutOfSync {
            tag: tag.into(),
            expected,
        }
    }
}

/// Whether a command may have changed what the result of a statement looks like.
fn changes_schema(tag: &[u8]) -> bool {
    tag.starts_with(b"ALTER ") || tag.starts_with(b"DROP ") || tag == b"CREATE VIEW"
}

/// "cached plan must not change result type", in any language: by the place in PostgreSQL's
/// source that says it (the field `R`), which has no other error of this code.
fn is_stale_plan(mut body: &[u8]) -> bool {
    let mut code = false;
    while let Some((&field, rest)) = body.split_first() {
        let Some((value, rest)) = split_cstr(rest) else {
            return false;
        };
        match (field, value) {
            (b'C', value) => code = value == b"0A000",
            (b'R', b"RevalidateCachedQuery") => return code,
            _ => {}
        }
        body = rest;
    }
    false
}

fn parameter(header: Header, message: &[u8]) -> Result<Seen<'_>, Violation> {
    let Some(body) = header.body(message) else {
        return Ok(if header.total() <= LARGEST_SEEN {
            Seen::Wait
        } else {
            Seen::Passing
        });
    };
    let (name, value) = split_parameter(body)?;
    Ok(Seen::Event(Event::Parameter { name, value }))
}

/// Whether an ErrorResponse has the severity FATAL or PANIC, by its untranslated field `V`.
fn is_fatal(mut body: &[u8]) -> bool {
    while let Some((&field, rest)) = body.split_first() {
        let Some((value, rest)) = split_cstr(rest) else {
            return false;
        };
        if field == b'V' {
            return matches!(value, b"FATAL" | b"PANIC");
        }
        body = rest;
    }
    false
}
