//! `EXECUTE`, `DEALLOCATE` and `PREPARE` in SQL of a statement that the client prepared by the
//! protocol: the server knows it by a name of ours.

use std::sync::Arc;

use super::front::Action;
use super::{Change, Tracker, message, statements};
use crate::postgres::frame::Header;
use crate::postgres::ledger::{Fate, Kind};
use crate::postgres::refusal;
use crate::postgres::scan::{Named, Verb, named};
use crate::postgres::statements::Statements;

/// Parse's body of a statement that does nothing.
const VICTIM: &[u8] = b" \0\0\0";

impl Tracker {
    /// Deals with the text of a Query or of an unnamed Parse, if it names a statement that the
    /// client prepared by the protocol.
    pub(super) fn by_sql(
        &mut self,
        sql: &[u8],
        header: Header,
        names: &mut Statements,
    ) -> Option<Action> {
        if names.is_empty() {
            return None;
        }
        let Named { verb, at, name } = named(sql)?;
        names.get(&name)?;
        if verb == Verb::Prepare && header.tag != b'Q' {
            return None;
        }
        if self.is_name_in_doubt(&name, names) {
            return Some(Action::Stall);
        }
        if verb == Verb::Prepare && self.is_held_in_doubt(self.taken().id()) {
            return Some(Action::Stall);
        }
        self.scratch.clear();
        let mut text = sql.get(..at.start).unwrap_or_default().to_vec();
        match verb {
            Verb::Deallocate => self.make_victim(&mut text),
            Verb::Execute => self.make_ready(&name, names, &mut text),
            Verb::Prepare => self.make_taken(&mut text),
        }
        text.extend_from_slice(sql.get(at.end..).unwrap_or_default());
        let parses = !self.scratch.is_empty();
        let fate = match verb {
            Verb::Prepare => {
                self.replace_next("42P05", &refusal::duplicate_statement(&name));
                Fate::Replace
            }
            Verb::Deallocate | Verb::Execute => Fate::Forward,
        };
        self.push_text(text, header, fate, names);
        match verb {
            Verb::Deallocate => {
                let before = names.replace(&name, None);
                self.undoable_with_last(Change::Name(name.into(), before));
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

    /// The text goes on in the kind of message that it came in.
    fn push_text(&mut self, mut text: Vec<u8>, header: Header, fate: Fate, names: &mut Statements) {
        if header.tag == b'Q' {
            self.drop_unnamed(names);
            message::query(&mut self.scratch, &text);
            self.ledger.push(Kind::Query, fate);
            self.batch += 1;
            self.open = false;
        } else {
            text.extend_from_slice(&[0; 3]);
            message::parse(&mut self.scratch, b"", &text);
            self.parse_unnamed(&text, names);
            self.open = true;
        }
    }
}
