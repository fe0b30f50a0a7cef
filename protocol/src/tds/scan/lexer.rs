//! Splits T-SQL into words, names, strings and the rest, without allocation.

use crate::comment;

/// A piece of T-SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Token<'a> {
    /// A keyword, a plain name or a variable, in lower case.
    Word(&'a [u8]),
    /// A name in brackets or double quotes, without them; a doubled bracket or quote in it is left
    /// as it is. (What is in double quotes is a string, if QUOTED_IDENTIFIER is off.)
    Quoted(&'a [u8]),
    /// A string's content; a doubled quote in it is left as it is.
    Text(&'a [u8]),
    /// A number.
    Number,
    /// Any other character.
    Punctuation(u8),
    /// There is no more.
    End,
}

/// Stands for a character that is not ASCII: a letter, for all that matters here.
pub(in crate::tds) const OTHER: u8 = 0x80;

/// Puts `text` (UTF-16) into `out` as one byte a character, in lower case.
pub(in crate::tds) fn lower(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let (units, _) = text.as_chunks::<2>();
    out.extend(units.iter().map(|unit| match *unit {
        [byte, 0] if byte < OTHER => byte.to_ascii_lowercase(),
        // The blanks of Unicode that the server takes as such.
        [0xa0, 0] | [0x00, 0x30] => b' ',
        _ => OTHER,
    }));
}

/// Reads a text token by token.
#[derive(Clone)]
pub(in crate::tds) struct Lexer<'a> {
    /// As [`lower`] makes it.
    text: &'a [u8],
    at: usize,
    /// Where the token read last begins.
    begin: usize,
    lost: bool,
    peeked: Option<(Token<'a>, usize, usize)>,
}

impl<'a> Lexer<'a> {
    pub(in crate::tds) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            begin: 0,
            lost: false,
            peeked: None,
        }
    }

    /// Whether a string or comment never ended.
    pub(in crate::tds) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(in crate::tds) fn peek(&mut self) -> Token<'a> {
        if let Some((token, ..)) = self.peeked {
            return token;
        }
        let before = (self.begin, self.at);
        let token = self.read();
        self.peeked = Some((token, self.begin, self.at));
        (self.begin, self.at) = before;
        token
    }

    pub(in crate::tds) fn next(&mut self) -> Token<'a> {
        match self.peeked.take() {
            Some((token, begin, at)) => {
                (self.begin, self.at) = (begin, at);
                token
            }
            None => self.read(),
        }
    }

    /// Where the token that `next` gave last begins and ends, in characters.
    pub(in crate::tds) fn span(&self) -> (usize, usize) {
        (self.begin, self.at)
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
        self.begin = self.at;
        if self.at >= self.text.len() {
            return Token::End;
        }
        match self.byte(0) {
            b'\'' => Token::Text(self.until(b'\'')),
            b'[' => Token::Quoted(self.until(b']')),
            b'"' => Token::Quoted(self.until(b'"')),
            b'n' if self.byte(1) == b'\'' => {
                self.at += 1;
                Token::Text(self.until(b'\''))
            }
            b'0'..=b'9' => {
                while is_word(self.byte(0)) || self.byte(0) == b'.' {
                    self.at += 1;
                }
                Token::Number
            }
            first if is_word(first) => {
                let begin = self.at;
                while is_word(self.byte(0)) {
                    self.at += 1;
                }
                Token::Word(self.slice(begin, self.at))
            }
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
                (0..=b' ', _) if self.at < self.text.len() => self.at += 1,
                (b'-', b'-') => self.at = comment::end_of_line(self.text, self.at),
                (b'/', b'*') => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        let behind = comment::behind_block(self.text, self.at);
        self.lost |= behind.is_none();
        self.at = behind.unwrap_or(self.text.len());
    }

    /// What stands between the quote here and the one that ends it.
    fn until(&mut self, end: u8) -> &'a [u8] {
        self.at += 1;
        let begin = self.at;
        while self.at < self.text.len() {
            match (self.byte(0), self.byte(1)) {
                (first, second) if first == end && second == end => self.at += 2,
                (first, _) if first == end => {
                    let content = self.slice(begin, self.at);
                    self.at += 1;
                    return content;
                }
                _ => self.at += 1,
            }
        }
        self.lost = true;
        self.slice(begin, self.at)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@' | b'#' | b'$') || byte >= OTHER
}
