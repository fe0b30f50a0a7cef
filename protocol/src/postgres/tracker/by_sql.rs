//! `EXECUTE`, `DEALLOCATE` and `PREPARE` in SQL of a statement that the client prepared by the
//! protocol: the server knows it by a name of ours.

use std::sync::Arc;

use super::front::Action;
use super::{Change, Tracker, message, statements};
use crate::postgres::frame::Header;
use crate::postgres::ledger::{Fate, Kind};
use crate::postgres::refusal;
use crate::postgres::scan::{Named, Verb, named};
use crate::postgres::statements::{Statements, text_of};

/// Parse's body of a statement that does nothing.
const VICTIM: &[u8] = b" \0\0\0";

impl Tracker {
    /// Deals with the text at the beginning of `body`, of a Query or of an unnamed Parse, if it names a statement that the
    /// client prepared by the protocol.
    pub(super) fn by_sql(
        &mut self,
        body: &[u8],
        header: Header,
        names: &mut Statements,
    ) -> Option<Action> {
        if names.is_empty() {
            return None;
        }
        let sql = text_of(body);
        let found = named(sql)?;
        let Named { verb, ref name, .. } = found;
        names.get(name)?;
        if self.is_name_in_doubt(name, names) {
            return Some(Action::Stall);
        }
        if verb == Verb::Prepare && self.is_held_in_doubt(self.taken().id()) {
            return Some(Action::Stall);
        }
        self.scratch.clear();
        let text = self.translated(sql, &found, names);
        let parses = !self.scratch.is_empty();
        let fate = match verb {
            Verb::Prepare if header.tag == b'Q' => {
                self.replace_next("42P05", &refusal::duplicate_statement(name));
                Fate::Replace
            }
            _ => Fate::Forward,
        };
        match header.tag {
            b'Q' => self.push_query(&text, fate, names),
            _ => self.push_unnamed(&text, sql, names),
        }
        match verb {
            Verb::Prepare if header.tag == b'P' => self.unnamed.takes = Some(found.name.into()),
            Verb::Deallocate => {
                let before = names.replace(name, None);
                self.undoable_with_last(Change::Name(found.name.into(), before));
            }
            Verb::Execute | Verb::Prepare if parses && header.tag == b'Q' => {
                // Where the Parse fails, the server skips the Query, too, and this ends it.
                self.scratch.extend_from_slice(&message::SYNC);
                self.ledger.push(Kind::Sync, Fate::Swallow);
                self.batch += 1;
            }
            Verb::Execute | Verb::Prepare => {}
        }
        Some(Action::Rewrite {
            replaced: header.total(),
        })
    }

    /// The unnamed statement's body as this backend's server has to see it. What it needs there
    /// goes into `scratch` first.
    pub(super) fn unnamed_for_server(&mut self, names: &Statements) -> Option<Vec<u8>> {
        let body = names.unnamed();
        let found = named(text_of(body)).filter(|found| names.get(&found.name).is_some())?;
        let mut text = self.translated(text_of(body), &found, names);
        text.extend_from_slice(&[0; 3]);
        self.unnamed.takes = (found.verb == Verb::Prepare).then(|| found.name.into());
        Some(text)
    }

    /// A text with the server's name in the place of the client's.
    fn translated(&mut self, sql: &[u8], found: &Named, names: &Statements) -> Vec<u8> {
        let at = &found.at;
        let mut text = sql.get(..at.start).unwrap_or_default().to_vec();
        match found.verb {
            Verb::Deallocate => self.make_victim(&mut text),
            Verb::Execute => self.make_ready(&found.name, names, &mut text),
            Verb::Prepare => self.make_taken(&mut text),
        }
        text.extend_from_slice(sql.get(at.end..).unwrap_or_default());
        text
    }

    /// The server deallocates one made for that purpose, so that it says and checks what it
    /// always does, and other clients keep theirs.
    fn make_victim(&mut self, text: &mut Vec<u8>) {
        let victim = self.dictionary.intern(statements::OURS, VICTIM);
        self.push_close_of(Arc::clone(&victim));
        // Nothing can be wrong with an empty text, so that the batch does not fail for it.
        message::framed(&mut self.scratch, b'P', |out| {
            victim.push_name(out);
            out.push(0);
            out.extend_from_slice(VICTIM);
        });
        self.ledger.push(Kind::Parse, Fate::Swallow);
        victim.push_name(text);
    }

    /// The backend holds the statement before the server gets to the text.
    fn make_ready(&mut self, name: &[u8], names: &Statements, text: &mut Vec<u8>) {
        let Some(statement) = names.get(name) else {
            return;
        };
        // In a failed transaction the server refuses the text as it would refuse the Parse.
        if !self.may_have_failed() {
            self.hold(statement, Fate::Swallow);
        }
        statement.push_name(text);
    }

    /// The server refuses the name (42P05) as it would refuse the client's, once it has read the
    /// text.
    fn make_taken(&mut self, text: &mut Vec<u8>) {
        let taken = self.taken();
        if !self.may_have_failed() {
            self.hold(&taken, Fate::Swallow);
        }
        taken.push_name(text);
    }

    /// An Execute may run the PREPARE of a name that is taken: that is refused only now.
    #[inline]
    pub(super) fn fate_of_execute(&mut self, names: &Statements) -> Fate {
        let is_ours = self.unnamed.mark == Some(names.unnamed_mark());
        let Some(name) = self.unnamed.takes.as_ref().filter(|_| is_ours) else {
            return Fate::Forward;
        };
        let report = refusal::duplicate_statement(name);
        self.replace_next("42P05", &report);
        Fate::Replace
    }

    fn push_query(&mut self, text: &[u8], fate: Fate, names: &mut Statements) {
        self.drop_unnamed(names);
        message::query(&mut self.scratch, text);
        self.ledger.push(Kind::Query, fate);
        self.batch += 1;
        self.open = false;
    }

    /// What is kept is the client's text: another backend may have to see another.
    fn push_unnamed(&mut self, text: &[u8], sql: &[u8], names: &mut Statements) {
        let body = |text: &[u8]| [text, &[0; 3]].concat();
        message::parse(&mut self.scratch, b"", &body(text));
        self.parse_unnamed(&body(sql), names);
        self.open = true;
    }
}
