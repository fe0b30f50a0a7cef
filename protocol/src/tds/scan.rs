//! What a text of T-SQL says that it may leave behind in its session.
//!
//! A scan of words, not a parser: T-SQL needs no semicolons, so that a statement can begin at any
//! word. Where it can't be sure it suspects, which costs a cleaning; it is wrong in the other
//! direction only for what no text shows (a trigger that sets CONTEXT_INFO). Runs once per text
//! of a prepared statement, and once per batch.

pub(super) mod lexer;
mod procedures;

use super::effect::Effects;
use lexer::{Lexer, Token, lower};
pub(super) use procedures::effects as effects_of_procedure;

/// The longest text that is looked at, in bytes of UTF-16.
pub const LONGEST: usize = 32 * 1024;
/// How deep texts in texts are looked at: `EXEC('...')`.
const DEEPEST: u8 = 2;

/// What a text may leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Findings {
    /// The kinds of state.
    pub effects: Effects,
}

impl Findings {
    /// Of a text that can't be looked at.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            effects: Effects::UNKNOWN | Effects::ADVANCE,
        }
    }
}

/// Scans the text (UTF-16) of a batch or statement. `scratch` is kept for its memory.
#[must_use]
pub fn scan(text: &[u8], scratch: &mut Vec<u8>) -> Findings {
    if text.len() > LONGEST {
        return Findings::unknown();
    }
    lower(text, scratch);
    scan_lowered(scratch)
}

/// The same, of a text that [`lower`] has made.
pub(super) fn scan_lowered(text: &[u8]) -> Findings {
    if text.len() > LONGEST / 2 {
        return Findings::unknown();
    }
    scan_at(text, 0)
}

fn scan_at(text: &[u8], depth: u8) -> Findings {
    let mut scanner = Scanner {
        lexer: Lexer::new(text),
        effects: Effects::default(),
        depth,
        open: 0,
        seen: Seen::default(),
        set_belongs: false,
    };
    scanner.run();
    if scanner.lexer.is_lost() {
        return Findings::unknown();
    }
    Findings {
        effects: scanner.effects,
    }
}

/// The handles in a text that is nothing but `EXEC sp_unprepare` of each, as JDBC sends it.
#[must_use]
pub fn unprepared(text: &[u8], scratch: &mut Vec<u8>) -> Option<Vec<i32>> {
    // Longer than the longest list that a driver sends.
    if text.len() > LONGEST {
        return None;
    }
    lower(text, scratch);
    let mut lexer = Lexer::new(scratch);
    let mut handles = Vec::new();
    loop {
        match lexer.next() {
            Token::End => return (!handles.is_empty()).then_some(handles),
            Token::Punctuation(b';') => continue,
            Token::Word(b"exec" | b"execute") => {}
            _ => return None,
        }
        if lexer.next() != Token::Word(b"sp_unprepare") || lexer.next() != Token::Number {
            return None;
        }
        let (from, to) = lexer.span();
        let number = std::str::from_utf8(scratch.get(from..to)?).ok()?;
        handles.push(number.parse().ok()?);
    }
}

/// What the text has done so far that RECALL may mean.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// A statement that sets @@ROWCOUNT and @@ERROR.
    any: bool,
    /// One that sets @@IDENTITY.
    insert: bool,
    /// One that sets @@FETCH_STATUS, @@CURSOR_ROWS.
    cursor: bool,
}

struct Scanner<'a> {
    lexer: Lexer<'a>,
    effects: Effects,
    depth: u8,
    /// Transactions begun and not ended.
    open: i32,
    seen: Seen,
    /// The next SET is a part of UPDATE, MERGE or ALTER.
    set_belongs: bool,
}

impl Scanner<'_> {
    fn add(&mut self, effects: Effects) {
        self.effects |= effects;
    }

    fn run(&mut self) {
        if self.is_definition() {
            return;
        }
        let mut is_first = true;
        // A dot, or a comma: what follows is a name, not a keyword.
        let mut after_dot = false;
        loop {
            let token = self.lexer.next();
            match token {
                Token::End => break,
                Token::Word(word) if after_dot => self.name(word),
                Token::Word(word) => {
                    if is_first && !is_statement(word) {
                        // A batch may begin with a procedure's name.
                        self.procedure(word);
                    } else {
                        self.word(word);
                    }
                }
                Token::Quoted(name) => {
                    if is_first {
                        self.procedure(name);
                    } else {
                        self.name(name);
                    }
                }
                Token::Text(_) | Token::Number | Token::Punctuation(_) => {}
            }
            is_first &= token == Token::Punctuation(b';');
            after_dot = token == Token::Punctuation(b'.');
        }
        match self.open {
            ..=0 => {}
            1 => self.add(Effects::BEGIN),
            _ => self.add(Effects::BEGIN.with(Effects::SEVERAL)),
        }
    }

    /// `CREATE PROCEDURE` and the like are alone in their batch, and nothing of their bodies runs.
    fn is_definition(&self) -> bool {
        let mut lexer = self.lexer.clone();
        if !matches!(lexer.next(), Token::Word(b"create" | b"alter")) {
            return false;
        }
        let mut token = lexer.next();
        if token == Token::Word(b"or") {
            lexer.next();
            token = lexer.next();
        }
        let is_module = matches!(
            token,
            Token::Word(b"proc" | b"procedure" | b"function" | b"trigger" | b"view")
        );
        // A temporary one is state.
        is_module
            && !matches!(lexer.next(), Token::Word(name) | Token::Quoted(name) if name.starts_with(b"#"))
    }

    /// A word that is a name.
    fn name(&mut self, name: &[u8]) {
        if name.starts_with(b"##") {
            self.add(Effects::GLOBAL_TABLE);
        } else if name.starts_with(b"#") {
            self.add(Effects::TEMP_TABLE);
            if name.ends_with(b"_") {
                // The question whether it is there can't tell these from what the server pads with.
                self.add(Effects::UNKNOWN);
            }
        }
    }

    fn word(&mut self, word: &[u8]) {
        match word {
            b"set" => self.set(),
            b"use" => self.use_database(),
            b"begin" => self.begin(),
            b"commit" => self.end_transaction(self.open - 1),
            b"rollback" => self.rollback(),
            b"exec" | b"execute" => self.execute(),
            b"revert" | b"setuser" => self.add(Effects::EXECUTE_AS),
            b"declare" => self.declare(),
            b"dbcc" => {
                if matches!(self.lexer.peek(), Token::Word(b"traceon" | b"traceoff")) {
                    self.add(Effects::TRACE);
                }
                self.seen.any = true;
            }
            b"insert" => {
                if self.lexer.peek() == Token::Word(b"bulk") {
                    self.add(Effects::BULK);
                }
                self.advance();
            }
            b"merge" | b"into" | b"bulk" => self.advance(),
            b"update" | b"delete" => {
                self.set_belongs = word == b"update";
                self.seen.any = true;
            }
            b"alter" => self.set_belongs = true,
            b"select" | b"print" | b"truncate" | b"create" | b"drop" | b"raiserror" => {
                // Its own words come first: `SELECT @@ROWCOUNT` asks for what was before it.
                self.recall_behind();
                self.seen.any = true;
            }
            b"fetch" | b"open" => self.seen.cursor = true,
            b"close" | b"deallocate" => self.add(Effects::RELEASE),
            _ => {
                self.recall(word);
                self.name(word);
            }
        }
    }

    fn advance(&mut self) {
        self.add(Effects::ADVANCE);
        self.seen.insert = true;
        self.seen.any = true;
    }

    /// What a statement without rows before it asks for, in its first word.
    fn recall_behind(&mut self) {
        if let Token::Word(word) = self.lexer.peek() {
            self.recall(word);
        }
    }

    fn recall(&mut self, word: &[u8]) {
        let known = match word {
            b"@@identity" | b"scope_identity" => self.seen.insert,
            b"@@rowcount" | b"rowcount_big" | b"@@error" => self.seen.any,
            b"@@fetch_status" | b"@@cursor_rows" => self.seen.cursor,
            _ => return,
        };
        if !known {
            self.add(Effects::RECALL);
        }
    }

    fn set(&mut self) {
        if std::mem::take(&mut self.set_belongs) {
            return;
        }
        let Token::Word(option) = self.lexer.peek() else {
            return;
        };
        if option.starts_with(b"@") {
            return;
        }
        self.lexer.next();
        match option {
            b"context_info" => self.add(Effects::CONTEXT),
            b"implicit_transactions" => self.add(Effects::SETTING | Effects::IMPLICIT),
            _ => self.add(Effects::SETTING),
        }
    }

    fn use_database(&mut self) {
        match self.lexer.peek() {
            // OPTION (USE HINT (...)), USE PLAN.
            Token::Word(b"hint" | b"plan") => {}
            Token::Word(_) | Token::Quoted(_) => self.add(Effects::SETTING),
            _ => {}
        }
    }

    fn begin(&mut self) {
        match self.lexer.peek() {
            Token::Word(b"tran" | b"transaction") => self.open += 1,
            Token::Word(b"distributed") => {
                self.open += 1;
                self.add(Effects::DISTRIBUTED);
            }
            _ => {}
        }
    }

    fn end_transaction(&mut self, left: i32) {
        if self.open <= 0 {
            self.add(Effects::END);
        }
        self.open = left.max(0);
    }

    /// With a name, it may be a savepoint's, and the transaction goes on.
    fn rollback(&mut self) {
        let mut lexer = self.lexer.clone();
        let is_named = matches!(lexer.next(), Token::Word(b"tran" | b"transaction"))
            && match lexer.next() {
                Token::Word(name) => !is_statement(name),
                Token::Quoted(_) => true,
                _ => false,
            };
        match is_named {
            true => self.add(Effects::END.with(Effects::NAMED_END)),
            false => self.end_transaction(0),
        }
    }

    /// `DECLARE name CURSOR`: one that is LOCAL, or a variable, ends with its batch.
    fn declare(&mut self) {
        let mut lexer = self.lexer.clone();
        let (Token::Word(name) | Token::Quoted(name)) = lexer.next() else {
            return;
        };
        if name.starts_with(b"@") {
            return;
        }
        // INSENSITIVE, SCROLL stand in front in the older syntax.
        let mut is_cursor = false;
        for _ in 0..3 {
            if lexer.next() == Token::Word(b"cursor") {
                is_cursor = true;
                break;
            }
        }
        if is_cursor && lexer.next() != Token::Word(b"local") {
            self.add(Effects::CURSOR);
        }
    }

    fn execute(&mut self) {
        self.seen = Seen {
            any: true,
            insert: true,
            cursor: true,
        };
        match self.lexer.next() {
            Token::Word(b"as") => self.add(Effects::EXECUTE_AS),
            Token::Punctuation(b'(') => self.dynamic(),
            Token::Word(variable) if variable.starts_with(b"@") => {
                if self.lexer.peek() != Token::Punctuation(b'=') {
                    return self.add(Effects::CODE | Effects::ADVANCE);
                }
                self.lexer.next();
                match self.lexer.next() {
                    Token::Word(name) | Token::Quoted(name) => self.procedure(name),
                    _ => self.add(Effects::CODE | Effects::ADVANCE),
                }
            }
            Token::Word(name) | Token::Quoted(name) => self.procedure(name),
            _ => self.add(Effects::CODE | Effects::ADVANCE),
        }
    }

    /// `EXEC('...')`, behind its parenthesis.
    fn dynamic(&mut self) {
        match (self.lexer.next(), self.lexer.peek()) {
            (Token::Text(text), Token::Punctuation(b')')) => self.inner(text),
            _ => self.add(Effects::CODE | Effects::ADVANCE),
        }
    }

    /// A text in the text.
    fn inner(&mut self, text: &[u8]) {
        if self.depth >= DEEPEST {
            return self.add(Effects::CODE | Effects::ADVANCE);
        }
        let mut plain = Vec::with_capacity(text.len());
        let mut bytes = text.iter();
        while let Some(&byte) = bytes.next() {
            plain.push(byte);
            if byte == b'\'' {
                bytes.next();
            }
        }
        let findings = scan_at(&plain, self.depth + 1);
        self.add(findings.effects.without(Effects::LOCAL));
    }

    /// A call of a procedure, behind the first part of its name.
    fn procedure(&mut self, first: &[u8]) {
        let mut name = first;
        while self.lexer.peek() == Token::Punctuation(b'.') {
            self.lexer.next();
            match self.lexer.peek() {
                Token::Word(part) | Token::Quoted(part) => {
                    self.lexer.next();
                    name = part;
                }
                _ => {}
            }
        }
        match name {
            b"sp_executesql" => match (self.lexer.next(), self.lexer.peek()) {
                (Token::Text(text), Token::End | Token::Punctuation(b',' | b';')) => {
                    self.inner(text);
                }
                _ => self.add(Effects::CODE | Effects::ADVANCE),
            },
            b"sp_getapplock" => {
                if self.names_session() {
                    self.add(Effects::APP_LOCK);
                }
            }
            _ => self.add(procedures::effects(name)),
        }
    }

    /// Whether an argument up to the end of the text is 'Session', or may be.
    fn names_session(&self) -> bool {
        let mut lexer = self.lexer.clone();
        let mut owner = false;
        loop {
            match lexer.next() {
                Token::End | Token::Punctuation(b';') => return false,
                Token::Text(b"session") => return true,
                Token::Word(b"@lockowner") => owner = true,
                Token::Word(word) if owner && word.starts_with(b"@") => return true,
                _ => {}
            }
        }
    }
}

/// Whether a batch that begins with this word begins with a statement; else, it is a procedure's
/// name.
fn is_statement(word: &[u8]) -> bool {
    STATEMENTS.binary_search(&word).is_ok()
}

/// Words that statements begin with, sorted.
#[rustfmt::skip]
const STATEMENTS: &[&[u8]] = &[
    b"add", b"alter", b"backup", b"begin", b"bulk", b"checkpoint", b"close", b"commit", b"create",
    b"dbcc", b"deallocate", b"declare", b"delete", b"deny", b"disable", b"drop", b"enable", b"end",
    b"exec", b"execute", b"fetch", b"get", b"goto", b"grant", b"if", b"insert", b"kill", b"merge",
    b"move", b"open", b"print", b"raiserror", b"readtext", b"receive", b"reconfigure", b"restore",
    b"return", b"revert", b"revoke", b"rollback", b"save", b"select", b"send", b"set", b"setuser",
    b"shutdown", b"throw", b"truncate", b"update", b"updatetext", b"use", b"waitfor", b"while",
    b"with", b"writetext",
];

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
