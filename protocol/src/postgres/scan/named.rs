//! Texts that name a prepared statement: `EXECUTE`, `DEALLOCATE` and `PREPARE`.

use std::ops::Range;

use super::lexer::{Backslash, Lexer, Token};

/// What a text does with the statement that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `DEALLOCATE name`.
    Deallocate,
    /// `EXECUTE name`, by itself or behind `EXPLAIN` or `CREATE TABLE ... AS`.
    Execute,
    /// `PREPARE name ... AS`.
    Prepare,
}

/// The name of a prepared statement in a text, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// What is done with it.
    pub verb: Verb,
    /// Where the name stands, with its quotes.
    pub at: Range<usize>,
    /// The name.
    pub name: Vec<u8>,
}

/// Reads a statement that names a prepared one and is alone in its text.
#[must_use]
pub fn named(text: &[u8]) -> Option<Named> {
    let begin = text.iter().position(|byte| !byte.is_ascii_whitespace())?;
    if !matches!(
        text.get(begin),
        Some(b'd' | b'D' | b'e' | b'E' | b'c' | b'C' | b'p' | b'P')
    ) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let mut lexer = Lexer::new(&lower, text, Backslash::IsPlain);
    let verb = match lexer.next() {
        Token::Word(b"deallocate") => Verb::Deallocate,
        Token::Word(b"execute") => Verb::Execute,
        Token::Word(b"prepare") => Verb::Prepare,
        Token::Word(word @ (b"explain" | b"create")) => behind(word, &mut lexer)?,
        _ => return None,
    };
    let mut token = lexer.next();
    if verb == Verb::Deallocate && token == Token::Word(b"prepare") {
        token = lexer.next();
    }
    let end = lexer.position();
    let (at, name) = match token {
        Token::Word(b"all") if verb == Verb::Deallocate => return None,
        Token::Word(b"transaction") if verb == Verb::Prepare => return None,
        Token::Word(name) => (end - name.len()..end, name.to_vec()),
        Token::Quoted(name) => {
            let range = end - name.len() - 2..end;
            let name = text.get(range.start + 1..range.end - 1)?;
            (range, unquoted(name))
        }
        _ => return None,
    };
    ends(&mut lexer).then_some(Named { verb, at, name })
}

/// Goes behind the `EXECUTE` that a statement with this first word carries out.
fn behind(word: &[u8], lexer: &mut Lexer<'_>) -> Option<Verb> {
    let mut before = Token::Word(word);
    loop {
        let token = lexer.next();
        match token {
            Token::Word(b"execute") if word == b"explain" || before == Token::Word(b"as") => {
                return Some(Verb::Execute);
            }
            Token::End | Token::Punctuation(b';') => return None,
            // Options apart, whatever else EXPLAIN explains is not ours.
            Token::Word(b"select" | b"with" | b"insert" | b"update" | b"delete") => return None,
            _ => before = token,
        }
    }
}

/// Whether nothing but the rest of the statement follows.
fn ends(lexer: &mut Lexer<'_>) -> bool {
    lexer.skip_statement();
    lexer.next() == Token::End && !lexer.is_lost() && !lexer.is_doubtful()
}

/// A quoted name without the doubling of its quotes.
fn unquoted(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(byte);
        if byte == b'"' {
            bytes.next();
        }
    }
    plain
}
