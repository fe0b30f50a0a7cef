//! Hot path: no allocation, no copies of passing bytes. Prepared statements on their way to the
//! server: what a client calls them, what the backend does.

use std::sync::Arc;

use super::front::{Action, DISCARD_SEQUENCES, malformed, too_large, whole_within};
use super::{Change, Tracker, Undo, Values, message, statements};
use crate::postgres::Violation;
use crate::postgres::effect::Effects;
use crate::postgres::frame::{HEADER, Header, split_cstr};
use crate::postgres::ledger::{Fate, Kind};
use crate::postgres::refusal;
use crate::postgres::scan::{Findings, scan};
use crate::postgres::statements::{Statement, Statements, Watch, text_of};

/// The largest message that has to be seen whole: the Parse of a named statement.
const LARGEST_PARSE: usize = 16 * 1024 * 1024;
/// The longest names (portal and statement together) that a message may carry.
const LARGEST_NAMES: usize = 8 * 1024;
/// Largest unnamed Parse that is remembered, for a Bind on another backend.
const LARGEST_UNNAMED: usize = 16 * 1024;
/// A Parse's body: no text, no types.
const NO_STATEMENT: &[u8] = &[0; 3];

impl Tracker {
    /// Parse, Bind, Describe and Close, where statements have names of ours.
    pub(super) fn named(
        &mut self,
        kind: Kind,
        header: Header,
        message: &[u8],
        names: &mut Statements,
    ) -> Result<Action, Violation> {
        self.scratch.clear();
        let action = match kind {
            Kind::Parse => self.parse(header, message, names)?,
            Kind::Bind => self.bind(header, message, names)?,
            _ => self.describe_or_close(kind, header, message, names)?,
        };
        if !matches!(action, Action::Wait | Action::Stall) {
            self.open = true;
        }
        Ok(action)
    }

    fn parse(
        &mut self,
        header: Header,
        message: &[u8],
        names: &mut Statements,
    ) -> Result<Action, Violation> {
        let unnamed = match message.get(HEADER) {
            Some(first) => *first == 0,
            None if header.body(message).is_some() => return Err(malformed(b'P', "name")),
            None => return Ok(Action::Wait),
        };
        let Some(body) = header.body(message) else {
            return self.parse_in_part(header, unnamed, names);
        };
        let (name, body) = split_cstr(body).ok_or_else(|| malformed(b'P', "name"))?;
        if self.dictionary.watch() == Watch::Strictly {
            let findings = scan(text_of(body), &mut self.lowered);
            if findings.effects.any(Effects::STATE) {
                return Ok(self.refuse(header));
            }
        }
        if unnamed {
            if let Some(action) = self.by_sql(body, header, names) {
                return Ok(action);
            }
            self.parse_unnamed(body, names);
            return Ok(Action::Pass);
        }
        if self.is_name_in_doubt(name, names) {
            return Ok(Action::Stall);
        }
        if names.get(name).is_some() {
            return Ok(self.duplicate(name, body, header));
        }
        let statement = self.dictionary.intern(names.context, body);
        if self.is_held_in_doubt(statement.id()) {
            return Ok(Action::Stall);
        }
        names.replace(name, Some(Arc::clone(&statement)));
        // In a failed transaction the server refuses what it would else accept.
        let action = if self.holds(&statement) && !self.may_have_failed() {
            self.ledger.push(Kind::Parse, Fate::Synthesize);
            Action::Drop
        } else {
            self.push_parse(&statement, Fate::Forward);
            Action::Rewrite {
                replaced: header.total(),
            }
        };
        self.undoable_with_last(Change::Name(name.into(), None));
        Ok(action)
    }

    /// A Parse of which only the beginning is here.
    fn parse_in_part(
        &mut self,
        header: Header,
        unnamed: bool,
        names: &mut Statements,
    ) -> Result<Action, Violation> {
        if unnamed && header.total() > LARGEST_UNNAMED {
            self.parse_unnamed(&[], names);
            return Ok(Action::Pass);
        }
        whole_within(header, LARGEST_PARSE)
    }

    /// The unnamed statement stays unnamed on the server, where it is planned as such. Its text
    /// is kept, unless it is empty, in case it is used on another backend.
    pub(super) fn parse_unnamed(&mut self, body: &[u8], names: &mut Statements) {
        let mut text = std::mem::take(&mut self.unnamed.spare);
        text.clear();
        text.extend_from_slice(body);
        let before = names.replace_unnamed(text);
        self.undoable(Change::Unnamed(before));
        self.unnamed.mark = Some(names.unnamed_mark());
        self.unnamed.takes = None;
        self.unnamed.parsed_at = self.ledger.next();
        self.ledger.push(Kind::Parse, Fate::Forward);
    }

    pub(super) fn drop_unnamed(&mut self, names: &mut Statements) {
        self.unnamed.mark = None;
        let before = names.replace_unnamed(Vec::new());
        // What an earlier request ended may come back, if the server has skipped that; not behind
        // this one.
        let is_pending = |undo: &Undo| matches!(undo.change, Change::Unnamed(_));
        if !before.is_empty() || self.undo.iter().any(is_pending) {
            self.undoable(Change::Unnamed(before));
        }
    }

    fn bind(
        &mut self,
        header: Header,
        message: &[u8],
        names: &Statements,
    ) -> Result<Action, Violation> {
        let end = header.total().min(message.len());
        let body = message.get(HEADER..end).unwrap_or_default();
        let found = split_cstr(body)
            .and_then(|(portal, rest)| split_cstr(rest).map(|(name, _)| (portal, name)));
        let Some((portal, name)) = found else {
            return match header.body(message) {
                Some(_) => Err(malformed(b'B', "names")),
                None if body.len() < LARGEST_NAMES => Ok(Action::Wait),
                None => whole_within(header, LARGEST_NAMES),
            };
        };
        if portal.len() + name.len() >= LARGEST_NAMES {
            return Err(too_large(header, LARGEST_NAMES));
        }
        if self.is_name_in_doubt(name, names) || self.is_discard_in_doubt() {
            return Ok(Action::Stall);
        }
        let Some(id) = self.use_statement(name, names, Kind::Bind) else {
            return Ok(Action::Pass);
        };
        let replaced = HEADER + portal.len() + 1 + name.len() + 1;
        let rest = header.total() - replaced;
        message::framed_longer(&mut self.scratch, b'B', rest, |out| {
            message::cstr(out, portal);
            push_target(id, out);
            out.push(0);
        });
        self.push_use(Kind::Bind, id, name);
        Ok(Action::Rewrite { replaced })
    }

    fn describe_or_close(
        &mut self,
        kind: Kind,
        header: Header,
        message: &[u8],
        names: &mut Statements,
    ) -> Result<Action, Violation> {
        let waiting = whole_within(header, LARGEST_NAMES)?;
        let Some(body) = header.body(message) else {
            return Ok(waiting);
        };
        let (&what, name) = body
            .split_first()
            .ok_or_else(|| malformed(header.tag, "kind"))?;
        let (name, _) = split_cstr(name).ok_or_else(|| malformed(header.tag, "name"))?;
        if what != b'S' {
            self.ledger.push(kind, Fate::Forward);
            return Ok(Action::Pass);
        }
        if self.is_name_in_doubt(name, names) {
            return Ok(Action::Stall);
        }
        if kind == Kind::Close {
            return Ok(self.close_statement(name, names));
        }
        let Some(id) = self.use_statement(name, names, kind) else {
            return Ok(Action::Pass);
        };
        message::framed_longer(&mut self.scratch, b'D', 0, |out| {
            out.push(b'S');
            push_target(id, out);
            out.push(0);
        });
        self.push_use(kind, id, name);
        Ok(Action::Rewrite {
            replaced: header.total(),
        })
    }

    /// The backend keeps a named statement for whoever uses it next; only the client forgets it.
    fn close_statement(&mut self, name: &[u8], names: &mut Statements) -> Action {
        if name.is_empty() {
            self.drop_unnamed(names);
            self.ledger.push(Kind::Close, Fate::Forward);
            return Action::Pass;
        }
        if let Some(before) = names.replace(name, None) {
            self.undoable(Change::Name(name.into(), Some(before)));
        }
        self.ledger.push(Kind::Close, Fate::Synthesize);
        Action::Drop
    }

    /// Makes sure that the backend holds the statement that a Bind or Describe names. Returns
    /// what to call it, or `None` if the message can pass as it is (and has been booked).
    fn use_statement(&mut self, name: &[u8], names: &Statements, kind: Kind) -> Option<Target> {
        if name.is_empty() {
            return self.use_unnamed(names, kind);
        }
        let Some(statement) = names.get(name) else {
            if name.starts_with(statements::PREFIX) {
                // It must not meet a statement of ours; the server will not know this one.
                return Some(Target::Unknown);
            }
            // The server knows no such name either, and says so in its own words.
            self.ledger.push(kind, Fate::Forward);
            return None;
        };
        self.hold(statement, Fate::Swallow);
        if let Some(findings) = statement.findings().filter(|_| kind == Kind::Bind) {
            self.see_set(text_of(statement.body()), findings);
            self.note(findings);
            if std::mem::take(&mut self.discards_sequences) {
                self.push_discard();
            }
        }
        Some(Target::Statement(statement.id()))
    }

    /// Whether it is not known yet what `name` means to the client or the backend.
    pub(super) fn is_name_in_doubt(&self, name: &[u8], names: &Statements) -> bool {
        if self.undo.is_empty() && self.forgets.is_none() {
            return false;
        }
        let forgets = self
            .forgets
            .is_some_and(|forgets| forgets.batch < self.batch);
        if forgets && !name.is_empty() {
            return true;
        }
        if name.is_empty() {
            return self.is_in_doubt(|change| matches!(change, Change::Unnamed(_)));
        }
        self.is_in_doubt(|change| matches!(change, Change::Name(changed, _) if **changed == *name))
            || names
                .get(name)
                .is_some_and(|statement| self.is_held_in_doubt(statement.id()))
    }

    /// Whether it is not known yet if the backend holds a statement.
    pub(super) fn is_held_in_doubt(&self, id: u32) -> bool {
        self.is_in_doubt(|change| match change {
            Change::Held(held) => *held == id,
            Change::Lost(lost) => lost.id() == id,
            Change::Name(..) | Change::Unnamed(_) => false,
        })
    }

    /// Whether the backend holds a statement for certain: no request under way may make it
    /// forget.
    fn holds(&mut self, statement: &Statement) -> bool {
        self.prepared.touch(statement.id()) && self.forgets.is_none()
    }

    /// Makes sure that the backend holds a statement.
    pub(super) fn hold(&mut self, statement: &Arc<Statement>, fate: Fate) {
        if !self.holds(statement) {
            self.push_parse(statement, fate);
        }
    }

    fn use_unnamed(&mut self, names: &Statements, kind: Kind) -> Option<Target> {
        if kind == Kind::Bind && self.dictionary.watch() != Watch::Tags {
            if names.unnamed().is_empty() {
                self.note(&Findings::unknown());
            } else {
                self.watch(text_of(names.unnamed()));
            }
            if std::mem::take(&mut self.discards_sequences) {
                self.push_discard();
            }
        }
        if self.unnamed.mark == Some(names.unnamed_mark()) {
            if !self.scratch.is_empty() {
                return Some(Target::Unnamed);
            }
            self.ledger.push(kind, Fate::Forward);
            return None;
        }
        if !names.unnamed().is_empty() {
            self.unnamed.takes = None;
            let translated = match names.is_empty() {
                true => None,
                false => self.unnamed_for_server(names),
            };
            let body = translated.as_deref().unwrap_or_else(|| names.unnamed());
            message::parse(&mut self.scratch, b"", body);
            self.unnamed.mark = Some(names.unnamed_mark());
            self.unnamed.parsed_at = self.ledger.next();
            self.ledger.push(Kind::Parse, Fate::Swallow);
        } else {
            // The server may hold somebody else's: without one it gives the right error.
            message::close(&mut self.scratch, b'S', b"");
            self.unnamed.mark = None;
            self.ledger.push(Kind::Close, Fate::Swallow);
        }
        Some(Target::Unnamed)
    }

    /// Injects or passes on the Parse of a named statement into `scratch`, with the Close of
    /// the one that has to go for it.
    fn push_parse(&mut self, statement: &Arc<Statement>, fate: Fate) {
        if let Some(before) = self.prepared.remove(statement.id()) {
            self.push_close_of(before);
        }
        if let Some(evicted) = self.prepared.insert(Arc::clone(statement)) {
            self.push_close_of(evicted);
        }
        message::framed_longer(&mut self.scratch, b'P', 0, |out| {
            statement.push_name(out);
            out.push(0);
            out.extend_from_slice(statement.body());
        });
        self.undoable(Change::Held(statement.id()));
        self.ledger.push(Kind::Parse, fate);
    }

    /// Injects the Close of a statement that the backend is to hold no more.
    pub(super) fn push_close_of(&mut self, lost: Arc<Statement>) {
        let mut name = Vec::new();
        lost.push_name(&mut name);
        message::close(&mut self.scratch, b'S', &name);
        self.undoable(Change::Lost(lost));
        self.ledger.push(Kind::Close, Fate::Swallow);
    }

    /// Books a Bind or Describe whose rewritten form is in `scratch`.
    fn push_use(&mut self, kind: Kind, target: Target, name: &[u8]) {
        let fate = match target {
            Target::Unknown => {
                self.replace_next("26000", &refusal::unknown_statement(name));
                Fate::Replace
            }
            Target::Statement(_) | Target::Unnamed => Fate::Forward,
        };
        self.ledger.push(kind, fate);
    }

    /// The same in front of a Bind, whose rewritten form comes into `scratch` behind it.
    fn push_discard(&mut self) {
        let statement = self.discard_statement();
        self.hold(&statement, Fate::Swallow);
        message::framed(&mut self.scratch, b'B', |out| {
            out.push(0);
            statement.push_name(out);
            out.extend_from_slice(&[0; 7]);
        });
        self.ledger.push(Kind::Bind, Fate::Swallow);
        self.scratch.extend_from_slice(&message::EXECUTE_ALL);
        self.ledger.push(Kind::Execute, Fate::Swallow);
    }

    fn discard_statement(&self) -> Arc<Statement> {
        let mut body = DISCARD_SEQUENCES.to_vec();
        body.extend_from_slice(&[0; 3]);
        self.dictionary.intern(statements::OURS, &body)
    }

    fn is_discard_in_doubt(&self) -> bool {
        self.sequences != Values::Own
            && !self.undo.is_empty()
            && self.is_held_in_doubt(self.discard_statement().id())
    }

    /// The statement whose name is in use wherever a client's own would be.
    pub(super) fn taken(&self) -> Arc<Statement> {
        self.dictionary.intern(statements::OURS, NO_STATEMENT)
    }

    /// PostgreSQL refuses a name that is taken (42P05), but only after it has read the text and
    /// looked at the transaction. So the server gets it, under a name that is taken there.
    fn duplicate(&mut self, name: &[u8], body: &[u8], header: Header) -> Action {
        let taken = self.taken();
        if self.is_held_in_doubt(taken.id()) {
            return Action::Stall;
        }
        self.hold(&taken, Fate::Swallow);
        message::framed_longer(&mut self.scratch, b'P', 0, |out| {
            taken.push_name(out);
            out.push(0);
            out.extend_from_slice(body);
        });
        self.replace_next("42P05", &refusal::duplicate_statement(name));
        self.ledger.push(Kind::Parse, Fate::Replace);
        Action::Rewrite {
            replaced: header.total(),
        }
    }
}

/// What a Bind or Describe shall name on the server.
#[derive(Clone, Copy)]
enum Target {
    Statement(u32),
    Unnamed,
    Unknown,
}

fn push_target(target: Target, out: &mut Vec<u8>) {
    match target {
        Target::Statement(id) => statements::push_name(id, out),
        Target::Unnamed => {}
        Target::Unknown => out.extend_from_slice(statements::UNKNOWN),
    }
}
