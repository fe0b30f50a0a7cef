//! What a statement's text says that it may leave behind in its session.
//!
//! A scan of words, not a parser: where it can't be sure it suspects, which costs a question to
//! the server; it is wrong in the other direction only for what no text shows (a trigger, a
//! view's functions, an operator's). Runs once per text of a prepared statement, and once per
//! Query.

mod assignment;
mod functions;
mod lexer;
mod named;

use super::effect::Effects;
pub use assignment::custom_assignment;
use functions::{Function, function};
use lexer::{Backslash, Lexer, Token};
pub use named::{Named, Verb, named};

/// Custom settings (`app.user`) that one text may name before its names count as unknown.
const MOST_NAMES: usize = 16;

/// What a text may leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// The kinds of state.
    pub effects: Effects,
    /// The custom settings that it names: those with a dot, which the server does not list.
    pub custom: Vec<Box<str>>,
    /// Whether it is one `SET` for the session and nothing else: what it leaves depends on the
    /// settings before it alone.
    pub is_lone_set: bool,
}

impl Findings {
    /// Of a text that can't be looked at.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            effects: Effects::CODE,
            ..Self::default()
        }
    }

    fn merge(&mut self, other: &Self) {
        self.add(other.effects);
        for name in &other.custom {
            self.setting(Some(name));
        }
    }

    fn add(&mut self, effects: Effects) {
        self.effects |= effects;
    }

    /// A setting's name, as far as it is known.
    fn setting(&mut self, name: Option<&str>) {
        self.add(Effects::SETTING);
        let Some(name) = name else {
            self.add(Effects::UNNAMED | Effects::STATE);
            return;
        };
        if name.eq_ignore_ascii_case("seed") {
            // The server does not tell its value.
            self.add(Effects::HIDDEN | Effects::STATE);
        }
        if !name.contains('.') || self.custom.iter().any(|known| **known == *name) {
            return;
        }
        if self.custom.len() >= MOST_NAMES {
            self.add(Effects::UNNAMED);
        } else {
            self.custom.push(name.into());
        }
    }
}

/// Scans the text of a Query or Parse. `scratch` is kept for its memory.
#[must_use]
pub fn scan(text: &[u8], scratch: &mut Vec<u8>) -> Findings {
    lower(text, scratch);
    let mut lexer = Lexer::new(scratch, text, Backslash::IsPlain);
    let plain = statements(&mut lexer);
    if !lexer.is_doubtful() {
        return plain.unwrap_or_else(Findings::unknown);
    }
    // The setting is the session's; what either way finds is suspected.
    let mut lexer = Lexer::new(scratch, text, Backslash::Escapes);
    let mut findings = match (plain, statements(&mut lexer)) {
        (Some(mut findings), Some(other)) => {
            findings.merge(&other);
            findings
        }
        (Some(findings), None) | (None, Some(findings)) => findings,
        (None, None) => Findings::unknown(),
    };
    findings.is_lone_set = false;
    findings
}

fn lower(text: &[u8], scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.extend(text.iter().map(u8::to_ascii_lowercase));
}

/// `None` if the text can't be read to its end.
fn statements(lexer: &mut Lexer<'_>) -> Option<Findings> {
    let mut findings = Findings::default();
    let (mut count, mut sets) = (0, false);
    loop {
        let token = lexer.next();
        match token {
            Token::End => break,
            Token::Punctuation(b';') => continue,
            Token::Word(word) => first_word(word, lexer, &mut findings),
            _ => rest(Before::default(), lexer, &mut findings),
        }
        count += 1;
        sets = token == Token::Word(b"set");
    }
    findings.is_lone_set = count == 1 && sets && findings.effects == Effects::SETTING;
    (!lexer.is_lost()).then_some(findings)
}

/// A statement, by the word that it begins with; takes it up to its end.
fn first_word(word: &[u8], lexer: &mut Lexer<'_>, findings: &mut Findings) {
    match word {
        b"set" => {
            set(lexer, findings);
            return lexer.skip_statement();
        }
        b"reset" => findings.add(Effects::SETTING),
        b"discard" => findings.add(Effects::SETTING | Effects::RELATION | Effects::FORGET),
        b"listen" | b"unlisten" => findings.add(Effects::LISTEN),
        b"prepare" => {
            if matches!(lexer.peek(), Token::Word(b"transaction")) {
                return lexer.skip_statement();
            }
            findings.add(Effects::PREPARE | Effects::STATE);
        }
        b"deallocate" => findings.add(Effects::PREPARE | Effects::FORGET),
        b"declare" => return declare(lexer, findings),
        b"close" => findings.add(Effects::CURSOR),
        b"drop" => findings.add(Effects::RELATION),
        b"do" => {
            findings.add(Effects::CODE);
            return code(lexer, findings);
        }
        b"call" => findings.add(Effects::CODE),
        b"load" => findings.add(Effects::HIDDEN | Effects::STATE),
        b"insert" | b"copy" | b"merge" => findings.add(Effects::ADVANCE),
        _ => {}
    }
    rest(Before::of(word), lexer, findings);
}

/// `SET`, which is many commands, up to its name.
fn set(lexer: &mut Lexer<'_>, findings: &mut Findings) {
    let mut token = lexer.peek();
    if let Token::Word(b"session") = token {
        lexer.next();
        match lexer.peek() {
            Token::Word(b"characteristics" | b"authorization") => {
                return findings.add(Effects::SETTING);
            }
            // `SET session.user = ...` names a custom setting.
            Token::Punctuation(b'.') => return findings.setting(None),
            next => token = next,
        }
    }
    match token {
        Token::Word(b"local" | b"transaction" | b"constraints") => {}
        Token::Word(_) | Token::Quoted(_) => {
            lexer.next();
            let name = dotted(token, lexer);
            findings.setting(name.as_deref());
        }
        Token::End | Token::Punctuation(_) | Token::Text(_) | Token::Number => {}
    }
}

/// The name that begins with `token`; `None` if it is not plain text.
fn dotted(token: Token<'_>, lexer: &mut Lexer<'_>) -> Option<String> {
    let mut name = piece(token)?;
    while matches!(lexer.peek(), Token::Punctuation(b'.')) {
        lexer.next();
        name.push('.');
        name.push_str(&piece(lexer.next())?);
    }
    Some(name)
}

fn piece(token: Token<'_>) -> Option<String> {
    match token {
        Token::Word(bytes) | Token::Quoted(bytes) if !bytes.contains(&b'"') => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        _ => None,
    }
}

/// `DECLARE ... CURSOR`: one `WITH HOLD` outlives its transaction. Its query may do more.
fn declare(lexer: &mut Lexer<'_>, findings: &mut Findings) {
    let mut holds = lexer.fork();
    loop {
        match holds.next() {
            Token::Word(b"hold") => break findings.add(Effects::CURSOR | Effects::STATE),
            Token::End | Token::Punctuation(b';') | Token::Word(b"for") => break,
            _ => {}
        }
    }
    rest(Before::default(), lexer, findings);
}

/// `DO`: its body is a string, and a text like this one.
fn code(lexer: &mut Lexer<'_>, findings: &mut Findings) {
    loop {
        match lexer.next() {
            Token::End | Token::Punctuation(b';') => return,
            Token::Text(body) => {
                findings.merge(&scan_body(body));
            }
            _ => {}
        }
    }
}

/// A body of code: statements begin anywhere in it, so that its words are all looked at.
fn scan_body(body: &[u8]) -> Findings {
    let mut findings = Findings::default();
    let mut lexer = Lexer::new(body, body, Backslash::IsPlain);
    loop {
        match lexer.next() {
            Token::End => break,
            Token::Word(b"set") => set(&mut lexer, &mut findings),
            Token::Word(b"execute") => findings.add(Effects::UNNAMED),
            Token::Word(word) if matches!(lexer.peek(), Token::Punctuation(b'(')) => {
                call(word, &lexer, &mut findings);
            }
            Token::Word(b"load") => findings.add(Effects::HIDDEN),
            _ => {}
        }
    }
    if lexer.is_lost() {
        findings.add(Effects::UNNAMED);
    }
    findings
}

/// What came before a word, as far as it says what the word is.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Before {
    #[default]
    Anything,
    /// `INTO`, `TABLE`, `AS`, `WITH` and such: a name follows that is no function's.
    Name,
    /// `CREATE`, `INTO`, `LOCAL`: `TEMP` is the keyword here.
    Creation,
}

impl Before {
    fn of(word: &[u8]) -> Self {
        match word {
            b"create" | b"into" | b"local" | b"global" | b"replace" => Self::Creation,
            b"table" | b"as" | b"with" | b"recursive" | b"copy" | b"references" | b"on"
            | b"exists" | b"only" => Self::Name,
            _ => Self::Anything,
        }
    }
}

/// Everything else up to the statement's end: temporary relations, and calls.
fn rest(mut before: Before, lexer: &mut Lexer<'_>, findings: &mut Findings) {
    let stays = findings.effects.only(Effects::STATE);
    loop {
        match lexer.next() {
            Token::End | Token::Punctuation(b';') => return,
            // ON COMMIT DROP: of this statement, nothing stays.
            Token::Word(b"commit") if lexer.peek() == Token::Word(b"drop") => {
                findings.effects = findings.effects.without(Effects::STATE) | stays;
                before = Before::Anything;
            }
            Token::Word(b"temp" | b"temporary") if before == Before::Creation => {
                findings.add(Effects::RELATION | Effects::STATE);
                before = Before::Creation;
            }
            Token::Word(word) => {
                if word.starts_with(b"pg_temp") {
                    findings.add(Effects::RELATION);
                } else if word == b"insert" {
                    findings.add(Effects::ADVANCE);
                }
                before = match lexer.peek() {
                    // A name in parts is one name: what it is depends on what was before it.
                    Token::Punctuation(b'.') => {
                        lexer.next();
                        qualified(word, before, lexer, findings);
                        Before::Anything
                    }
                    Token::Punctuation(b'(')
                        if before == Before::Anything && Before::of(word) == Before::Anything =>
                    {
                        call(word, lexer, findings);
                        Before::Anything
                    }
                    _ => Before::of(word),
                };
            }
            Token::Quoted(name) => {
                if name.starts_with(b"pg_temp") {
                    findings.add(Effects::RELATION);
                }
                match lexer.peek() {
                    Token::Punctuation(b'.') => {
                        lexer.next();
                        qualified(name, before, lexer, findings);
                    }
                    Token::Punctuation(b'(') if before == Before::Anything => {
                        findings.add(Effects::CODE);
                    }
                    _ => {}
                }
                before = Before::Anything;
            }
            _ => before = Before::Anything,
        }
    }
}

/// A name in parts, behind its first part and dot.
fn qualified(first: &[u8], before: Before, lexer: &mut Lexer<'_>, findings: &mut Findings) {
    let mut schema = first;
    loop {
        let token = lexer.next();
        match lexer.peek() {
            Token::Punctuation(b'.') => {
                lexer.next();
                schema = b"";
            }
            Token::Punctuation(b'(') if before == Before::Anything => {
                return match token {
                    Token::Word(name) if schema == b"pg_catalog" => call(name, lexer, findings),
                    _ => findings.add(Effects::CODE),
                };
            }
            _ => return,
        }
    }
}

/// A call of a function; the lexer is in front of its parenthesis.
fn call(name: &[u8], lexer: &Lexer<'_>, findings: &mut Findings) {
    match function(name) {
        Function::Harmless => {}
        Function::SetConfig => set_config(lexer.fork(), findings),
        Function::Leaves(effects) => findings.add(effects),
        Function::Unknown => findings.add(Effects::CODE),
    }
}

/// `set_config(name, value, is_local)`.
fn set_config(mut lexer: Lexer<'_>, findings: &mut Findings) {
    lexer.next();
    let name = match (lexer.next(), lexer.peek()) {
        (Token::Text(name), Token::Punctuation(b',')) => std::str::from_utf8(name).ok(),
        _ => None,
    };
    let mut depth = 1_u32;
    let mut last = Token::End;
    loop {
        let token = lexer.next();
        match token {
            Token::Punctuation(b'(' | b'[') => depth += 1,
            Token::Punctuation(b')' | b']') => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            Token::End | Token::Punctuation(b';') => break,
            _ => {}
        }
        last = token;
    }
    if !matches!(last, Token::Word(b"true")) {
        findings.setting(name);
    }
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
