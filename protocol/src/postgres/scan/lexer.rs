//! Splits SQL into words, names, strings and the rest (PostgreSQL 4.1), without allocation.

use crate::comment;

/// A piece of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a plain name, in lower case.
    Word(&'a [u8]),
    /// A name in double quotes, without them; a doubled quote in it is left as it is.
    Quoted(&'a [u8]),
    /// A string's content; escapes in it are left as they are.
    Text(&'a [u8]),
    /// A number, or a parameter (`$1`).
    Number,
    /// Any other character.
    Punctuation(u8),
    /// There is no more.
    End,
}

/// Reads a text token by token.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    /// In lower case.
    text: &'a [u8],
    /// As it came: the tags of `$tag$` differ by case.
    original: &'a [u8],
    at: usize,
    backslash: Backslash,
    doubtful: bool,
    lost: bool,
    peeked: Option<Token<'a>>,
}

impl<'a> Lexer<'a> {
    /// `text` is `original` in lower case, byte for byte.
    pub(super) fn new(text: &'a [u8], original: &'a [u8], backslash: Backslash) -> Self {
        Self {
            text,
            original,
            at: 0,
            backslash,
            doubtful: false,
            lost: false,
            peeked: None,
        }
    }

    /// Whether a string never ended, or can't be read with certainty.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether it depends on [`Backslash`] where a string ended.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Another one, at the same place.
    pub(super) fn fork(&self) -> Self {
        self.clone()
    }

    pub(super) fn peek(&mut self) -> Token<'a> {
        if let Some(token) = self.peeked {
            return token;
        }
        let token = self.read();
        self.peeked = Some(token);
        token
    }

    pub(super) fn next(&mut self) -> Token<'a> {
        match self.peeked.take() {
            Some(token) => token,
            None => self.read(),
        }
    }

    /// Where the token that was read last ends; nothing may have been peeked at.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes on behind the next semicolon.
    pub(super) fn skip_statement(&mut self) {
        while !matches!(self.next(), Token::End | Token::Punctuation(b';')) {}
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.text
            .get(from..to.min(self.text.len()))
            .unwrap_or_default()
    }

    fn read(&mut self) -> Token<'a> {
        self.skip_blanks();
        if self.at >= self.text.len() {
            return Token::End;
        }
        match self.byte(0) {
            b'\'' => self.string(self.backslash),
            b'"' => self.quoted(),
            b'$' => self.dollar(),
            b'0'..=b'9' => self.number(),
            first if is_word_start(first) => self.word(),
            other => {
                self.at += 1;
                Token::Punctuation(other)
            }
        }
    }

    /// Blanks and comments; the ones in `/* */` nest.
    fn skip_blanks(&mut self) {
        loop {
            match (self.byte(0), self.byte(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0c | 0x0b, _) => self.at += 1,
                (b'-', b'-') => self.at = comment::end_of_line(self.text, self.at),
                (b'/', b'*') => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        let behind = comment::behind_block(self.text, self.at);
        self.at = behind.unwrap_or(self.text.len());
    }

    /// A string, at its opening quote. A doubled quote ends one and begins the next, which
    /// makes no difference to its end.
    fn string(&mut self, backslash: Backslash) -> Token<'a> {
        self.at += 1;
        let begin = self.at;
        while self.at < self.text.len() {
            match (self.byte(0), self.byte(1)) {
                (b'\'', b'\'') => self.at += 2,
                (b'\'', _) => {
                    let content = self.slice(begin, self.at);
                    self.at += 1;
                    return Token::Text(content);
                }
                (b'\\', next) => {
                    self.doubtful |= next == b'\'';
                    if backslash == Backslash::Escapes {
                        // In an encoding such as SJIS, a character may end in a backslash.
                        self.lost |= self.slice(begin, self.at).last() >= Some(&0x80);
                        self.at += 1;
                    }
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        self.lost = true;
        Token::Text(self.slice(begin, self.at))
    }

    fn quoted(&mut self) -> Token<'a> {
        self.at += 1;
        let begin = self.at;
        while self.at < self.text.len() {
            match (self.byte(0), self.byte(1)) {
                (b'"', b'"') => self.at += 2,
                (b'"', _) => {
                    let content = self.slice(begin, self.at);
                    self.at += 1;
                    return Token::Quoted(content);
                }
                _ => self.at += 1,
            }
        }
        self.lost = true;
        Token::Quoted(self.slice(begin, self.at))
    }

    /// A parameter, or a string between `$tag$` and `$tag$`.
    fn dollar(&mut self) -> Token<'a> {
        let begin = self.at;
        self.at += 1;
        if self.byte(0).is_ascii_digit() {
            return self.number();
        }
        while is_word(self.byte(0)) && self.byte(0) != b'$' {
            self.at += 1;
        }
        if self.byte(0) != b'$' {
            return Token::Punctuation(b'$');
        }
        self.at += 1;
        let tag = self.original.get(begin..self.at).unwrap_or_default();
        let content = self.at;
        while self.at < self.text.len() {
            let end = self.at + tag.len();
            if self.byte(0) == b'$' && self.original.get(self.at..end) == Some(tag) {
                let text = self.slice(content, self.at);
                self.at += tag.len();
                return Token::Text(text);
            }
            self.at += 1;
        }
        self.lost = true;
        Token::Text(self.slice(content, self.at))
    }

    fn number(&mut self) -> Token<'a> {
        while is_word(self.byte(0)) || self.byte(0) == b'.' {
            self.at += 1;
        }
        Token::Number
    }

    fn word(&mut self) -> Token<'a> {
        let begin = self.at;
        while is_word(self.byte(0)) {
            self.at += 1;
        }
        let word = self.slice(begin, self.at);
        if self.byte(0) == b'\'' {
            match word {
                b"e" => return self.string(Backslash::Escapes),
                b"b" | b"x" | b"n" => return self.string(self.backslash),
                _ => {}
            }
        }
        Token::Word(word)
    }
}

/// What a backslash in `'...'` is: that is what `standard_conforming_strings` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Backslash {
    /// A character as any other: the default.
    IsPlain,
    /// It takes the next character as it is, as it always does in `E'...'`.
    Escapes,
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}
