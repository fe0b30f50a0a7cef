//! Settings that a session asked for, and the batch that gives them to a backend.
//!
//! A batch of nothing but SET and USE can be repeated on any backend: every driver begins its
//! sessions with one.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::reader::{Reader, utf16};
use super::scan::lexer::{Lexer, Token, lower};

/// Transaction Manager requests.
const BEGIN: u16 = 5;
const COMMIT: u16 = 7;
const ROLLBACK: u16 = 8;
/// The flag of an end that another transaction follows.
const BEGINS: u8 = 1;
/// Longest batch that is looked at, in bytes of UTF-16.
const LONGEST: usize = 8 * 1024;
/// Most settings that are kept of a session.
const MOST: usize = 64;
/// The isolation level that a session begins with. A reset leaves the level alone on some servers.
const FIRST_LEVEL: &str = "SET transaction isolation level read committed";

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// What is set: an option's name in lower case, or `use`.
    key: Box<str>,
    /// The statement that does it.
    text: Box<str>,
}

impl Change {
    /// The isolation level that a Transaction Manager request asks for, which stays in force
    /// behind its transaction (MS-TDS 2.2.6.9). `None` if it asks for none.
    #[must_use]
    pub fn isolation(request: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(request);
        let kind = reader.u16()?;
        if matches!(kind, COMMIT | ROLLBACK) {
            let name = reader.u8()?;
            reader.bytes(name.into())?;
            if reader.u8()? & BEGINS == 0 {
                return None;
            }
        } else if kind != BEGIN {
            return None;
        }
        let level = match reader.u8()? {
            1 => "read uncommitted",
            2 => "read committed",
            3 => "repeatable read",
            4 => "serializable",
            5 => "snapshot",
            _ => return None,
        };
        Some(Self {
            key: LEVEL.into(),
            text: format!("SET {LEVEL} {level}").into(),
        })
    }

    /// What is set: an option's name in lower case, or `use`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The statement that does it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Settings, in the order in which they were made: SET LANGUAGE changes what SET DATEFORMAT did
/// before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Settings(Vec<Change>);

/// What turns a backend with some settings into one with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// It is one already.
    Nothing,
    /// This batch.
    Batch(String),
    /// A reset, then this batch, if there is one: there is no statement that takes a setting back.
    Reset(Option<String>),
}

impl Settings {
    /// Makes changes; a later value of the same setting takes the place of the earlier one.
    /// Returns whether there was room for all of them.
    pub fn apply(&mut self, changes: &[Change]) -> bool {
        for change in changes {
            self.0.retain(|earlier| earlier.key != change.key);
            if self.0.len() >= MOST {
                return false;
            }
            self.0.push(change.clone());
        }
        true
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The settings, in their order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.0
    }

    /// Whether transactions have the isolation level that a session begins with.
    #[must_use]
    pub fn has_first_level(&self) -> bool {
        let mut levels = self.0.iter().filter(|change| *change.key == *LEVEL);
        levels.all(|change| change.text.eq_ignore_ascii_case(FIRST_LEVEL))
    }

    /// Tells apart what may change the meaning of a statement's text.
    #[must_use]
    pub fn context(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    /// What turns a backend with the settings `applied` into one with these.
    #[must_use]
    pub fn change_from(&self, applied: &Self) -> Plan {
        if self == applied {
            return Plan::Nothing;
        }
        let has = |key: &str| self.0.iter().any(|change| *change.key == *key);
        let is_extended = applied.0.iter().all(|change| has(&change.key));
        if is_extended {
            let same = self.0.iter().zip(&applied.0);
            let same = same.take_while(|(one, other)| one == other).count();
            let rest = self.0.get(same..).unwrap_or_default();
            return Plan::Batch(batch(rest.iter().map(|change| &*change.text)));
        }
        Plan::Reset(self.behind_reset(applied))
    }

    /// The batch that gives these settings to a backend that had `applied` and is reset; `None` if
    /// the reset is enough.
    #[must_use]
    pub fn behind_reset(&self, applied: &Self) -> Option<String> {
        let has = |settings: &Self| settings.0.iter().any(|change| *change.key == *LEVEL);
        let level = (!has(self) && has(applied)).then_some(FIRST_LEVEL);
        let all = self.0.iter().map(|change| &*change.text);
        let text = batch(level.into_iter().chain(all));
        Some(text).filter(|text| !text.is_empty())
    }
}

fn batch<'t>(statements: impl Iterator<Item = &'t str>) -> String {
    let mut text = String::new();
    for statement in statements {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(statement);
    }
    text
}

const LEVEL: &str = "transaction isolation level";

/// Reads a batch (UTF-16) that consists of SET and USE alone; `None` for any other, and for one
/// whose repetition would do something else. `scratch` is kept for its memory.
#[must_use]
pub fn recognise(text: &[u8], scratch: &mut Vec<u8>) -> Option<Vec<Change>> {
    if text.len() > LONGEST {
        return None;
    }
    lower(text, scratch);
    let (changes, behind) = leading(text, scratch);
    (behind == scratch.len() && !changes.is_empty()).then_some(changes)
}

/// The changes that a batch begins with, and where (in characters) they end: what is behind may
/// be anything. `lowered` is the text as `lower` makes it.
pub(super) fn leading(text: &[u8], lowered: &[u8]) -> (Vec<Change>, usize) {
    let mut reader = Batch {
        text,
        lexer: Lexer::new(lowered),
        changes: Vec::new(),
    };
    reader.skip_question();
    loop {
        let (_, end) = reader.lexer.span();
        let before = reader.changes.len();
        let read = match reader.lexer.next() {
            Token::End if reader.lexer.is_lost() => None,
            Token::End => return (reader.changes, lowered.len()),
            Token::Punctuation(b';') => Some(()),
            Token::Word(b"set") => reader.set(),
            Token::Word(b"use") => reader.database(),
            _ => None,
        };
        if read.is_none() || reader.lexer.is_lost() || before > MOST {
            reader.changes.truncate(before);
            return (reader.changes, end);
        }
    }
}

struct Batch<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    changes: Vec<Change>,
}

impl<'a> Batch<'a> {
    /// jTDS asks for the precision in the same batch.
    fn skip_question(&mut self) {
        let mut lexer = self.lexer.clone();
        if lexer.next() == Token::Word(b"select") && lexer.next() == Token::Word(b"@@max_precision")
        {
            self.lexer = lexer;
        }
    }

    /// The text of the token that was read last, as it came.
    fn written(&self) -> Option<String> {
        let (from, to) = self.lexer.span();
        self.text.get(2 * from..2 * to).map(utf16)
    }

    fn push(&mut self, key: &str, value: &str) {
        self.changes.push(Change {
            key: key.into(),
            text: format!("SET {key} {value}").into(),
        });
    }

    fn database(&mut self) -> Option<()> {
        match self.lexer.next() {
            Token::Word(name) if !name.starts_with(b"@") => {}
            Token::Quoted(_) => {}
            _ => return None,
        }
        let name = self.written()?;
        self.changes.push(Change {
            key: "use".into(),
            text: format!("USE {name}").into(),
        });
        Some(())
    }

    fn word(&mut self) -> Option<&'a [u8]> {
        match self.lexer.next() {
            Token::Word(word) if !word.starts_with(b"@") => Some(word),
            _ => None,
        }
    }

    fn set(&mut self) -> Option<()> {
        let option = self.word()?;
        match option {
            b"transaction" => self.level(),
            b"statistics" => {
                let kind = std::str::from_utf8(self.word()?).ok()?;
                let switch = self.switch()?;
                self.push(&format!("statistics {kind}"), switch);
                Some(())
            }
            b"language" | b"dateformat" => {
                match self.lexer.next() {
                    Token::Word(word) if !word.starts_with(b"@") => {}
                    Token::Quoted(_) | Token::Text(_) => {}
                    _ => return None,
                }
                let value = self.written()?;
                self.push(std::str::from_utf8(option).ok()?, &value);
                Some(())
            }
            b"datefirst"
            | b"lock_timeout"
            | b"rowcount"
            | b"textsize"
            | b"query_governor_cost_limit"
            | b"deadlock_priority" => {
                let value = self.number()?;
                self.push(std::str::from_utf8(option).ok()?, &value);
                Some(())
            }
            option => self.switches(option),
        }
    }

    fn level(&mut self) -> Option<()> {
        if self.word()? != b"isolation" || self.word()? != b"level" {
            return None;
        }
        let level = match self.word()? {
            b"read" => match self.word()? {
                b"committed" => "read committed",
                b"uncommitted" => "read uncommitted",
                _ => return None,
            },
            b"repeatable" if self.word()? == b"read" => "repeatable read",
            b"serializable" => "serializable",
            b"snapshot" => "snapshot",
            _ => return None,
        };
        self.push(LEVEL, level);
        Some(())
    }

    /// A number with or without sign, or LOW, NORMAL, HIGH.
    fn number(&mut self) -> Option<String> {
        match self.lexer.next() {
            Token::Number => self.written(),
            Token::Punctuation(b'-') if self.lexer.next() == Token::Number => {
                self.written().map(|number| format!("-{number}"))
            }
            Token::Word(b"low" | b"normal" | b"high") => self.written(),
            _ => None,
        }
    }

    fn switch(&mut self) -> Option<&'static str> {
        match self.word()? {
            b"on" => Some("on"),
            b"off" => Some("off"),
            _ => None,
        }
    }

    /// `SET ANSI_NULLS, QUOTED_IDENTIFIER ON`.
    fn switches(&mut self, first: &'a [u8]) -> Option<()> {
        let mut options = vec![first];
        while self.lexer.peek() == Token::Punctuation(b',') {
            self.lexer.next();
            options.push(self.word()?);
        }
        let switch = self.switch()?;
        for option in options {
            SWITCHES.binary_search(&option).ok()?;
            self.push(std::str::from_utf8(option).ok()?, switch);
        }
        Some(())
    }
}

/// Options that are ON or OFF, sorted. Those under which a session does not do what it is told
/// (NOEXEC, FMTONLY, SHOWPLAN) are not among them.
#[rustfmt::skip]
const SWITCHES: &[&[u8]] = &[
    b"ansi_defaults", b"ansi_null_dflt_off", b"ansi_null_dflt_on", b"ansi_nulls", b"ansi_padding",
    b"ansi_warnings", b"arithabort", b"arithignore", b"concat_null_yields_null",
    b"cursor_close_on_commit", b"forceplan", b"implicit_transactions", b"nocount",
    b"numeric_roundabort", b"quoted_identifier", b"remote_proc_transactions", b"xact_abort",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tds::reader::push_utf16;

    fn of(text: &str) -> Option<Vec<String>> {
        let mut bytes = Vec::new();
        push_utf16(&mut bytes, text);
        let changes = recognise(&bytes, &mut Vec::new())?;
        Some(
            changes
                .iter()
                .map(|change| change.text.to_string())
                .collect(),
        )
    }

    fn settings(text: &str) -> Settings {
        let mut bytes = Vec::new();
        push_utf16(&mut bytes, text);
        let mut settings = Settings::default();
        let changes = recognise(&bytes, &mut Vec::new()).unwrap();
        assert!(settings.apply(&changes));
        settings
    }

    #[test]
    fn what_drivers_begin_with_is_recognised() {
        assert_eq!(
            of("SET ARITHABORT ON;SET TEXTSIZE 2147483647;use [My Db]"),
            Some(vec![
                "SET arithabort on".into(),
                "SET textsize 2147483647".into(),
                "USE [My Db]".into(),
            ])
        );
        assert_eq!(
            of(
                "SELECT @@MAX_PRECISION\r\nSET TRANSACTION ISOLATION LEVEL READ COMMITTED\r\nSET IMPLICIT_TRANSACTIONS OFF\r\nSET QUOTED_IDENTIFIER ON"
            ),
            Some(vec![
                "SET transaction isolation level read committed".into(),
                "SET implicit_transactions off".into(),
                "SET quoted_identifier on".into(),
            ])
        );
        assert_eq!(
            of("set ansi_nulls, ansi_padding off set language N'Français' set lock_timeout -1"),
            Some(vec![
                "SET ansi_nulls off".into(),
                "SET ansi_padding off".into(),
                "SET language N'Français'".into(),
                "SET lock_timeout -1".into(),
            ])
        );
    }

    #[test]
    fn levels_of_requests_are_settings() {
        let text = |request: &[u8]| {
            let change = Change::isolation(request)?;
            Some(change.text().to_owned())
        };
        let snapshot = "SET transaction isolation level snapshot";
        assert_eq!(text(&[5, 0, 5, 0]).as_deref(), Some(snapshot));
        assert_eq!(
            text(&[7, 0, 2, b'x', 0, 1, 5, 0]).as_deref(),
            Some(snapshot)
        );
        for other in [
            &[][..],
            &[5, 0, 0, 0],
            &[5, 0, 9, 0],
            &[5],
            &[7, 0, 0, 0],
            &[8, 0, 9, 1, 5],
            &[9, 0, 5, 0],
        ] {
            assert_eq!(text(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_can_t_be_repeated_is_not() {
        for text in [
            "",
            "select 1",
            "set nocount on select 1",
            "set @a = 1",
            "set rowcount @n",
            "set context_info 0x01",
            "set noexec on",
            "set showplan_all on",
            "set identity_insert t on",
            "use @db",
            "set language 'open",
            "set nocount",
            "set transaction isolation level read",
            "select @@max_precision",
        ] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_a_batch_begins_with_is_told_from_the_rest() {
        let mut lowered = Vec::new();
        for (text, changes, rest) in [
            ("SET NOCOUNT ON; SELECT 1", 1, " SELECT 1"),
            (
                "set nocount on set rowcount @n select 1",
                1,
                " set rowcount @n select 1",
            ),
            ("select 1", 0, "select 1"),
            ("use a set xact_abort on\r\nexec p", 2, "\r\nexec p"),
        ] {
            let mut bytes = Vec::new();
            push_utf16(&mut bytes, text);
            lower(&bytes, &mut lowered);
            let (found, behind) = leading(&bytes, &lowered);
            assert_eq!(
                (found.len(), utf16(&bytes[2 * behind..])),
                (changes, rest.into())
            );
        }
    }

    #[test]
    fn only_the_difference_is_sent() {
        let none = Settings::default();
        let some = settings("set nocount on use a");
        let more = settings("set nocount on use a set datefirst 1");
        assert_eq!(some.change_from(&some.clone()), Plan::Nothing);
        assert_eq!(
            more.change_from(&some),
            Plan::Batch("SET datefirst 1".into())
        );
        assert_eq!(
            some.change_from(&none),
            Plan::Batch("SET nocount on\nUSE a".into())
        );
        assert_eq!(
            some.change_from(&more),
            Plan::Reset(Some("SET nocount on\nUSE a".into()))
        );
        let level = settings("set transaction isolation level snapshot");
        assert_eq!(
            none.change_from(&level),
            Plan::Reset(Some(FIRST_LEVEL.into()))
        );
        assert_eq!(none.change_from(&some), Plan::Reset(None));
        let mut later = some.clone();
        assert!(later.apply(settings("set nocount off").changes()));
        assert_eq!(
            later.change_from(&some),
            Plan::Batch("USE a\nSET nocount off".into())
        );
        assert_ne!(later.context(), some.context());
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(SWITCHES.is_sorted_by(|one, other| one < other));
    }
}
