//! T-SQL text into tokens.

use crate::tds::error::ServerError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) enum Token {
    /// A keyword or a name, as written; `#t` too.
    Word(String),
    /// `[name]`, or `"name"` under QUOTED_IDENTIFIER.
    Quoted(String),
    Text(String),
    Number(String),
    Blob(Vec<u8>),
    /// `@x`, in small letters, with its `@`.
    Variable(String),
    /// `@@x`, in small letters, with both.
    Global(String),
    Symbol(&'static str),
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Lexed {
    pub(in crate::tds) token: Token,
    /// 1 for the first.
    pub(in crate::tds) line: u32,
    /// Byte offset of its first byte in the text.
    pub(in crate::tds) from: usize,
}

const SYMBOLS: [&str; 31] = [
    "<>", "<=", ">=", "!=", "!<", "!>", "+=", "-=", "*=", "/=", "::", "(", ")", ",", ";", "=", "<",
    ">", "+", "-", "*", "/", "%", ".", "&", "|", "^", "~", ":", "{", "}",
];

/// `quoted`: whether double quotes are names.
pub(in crate::tds) fn lex(text: &str, quoted: bool) -> Result<Vec<Lexed>, ServerError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
        quoted,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let (from, line) = (lexer.at, lexer.line);
        let Some(token) = lexer.token()? else {
            return Ok(tokens);
        };
        tokens.push(Lexed { token, line, from });
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    quoted: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let taken = self.rest().get(..bytes).unwrap_or_default();
        let lines = taken.bytes().filter(|byte| *byte == b'\n').count();
        self.line += u32::try_from(lines).unwrap_or(0);
        self.at += taken.len();
        taken
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.advance(length)
    }

    /// Blanks and comments; those in `/* */` nest.
    fn skip_blanks(&mut self) -> Result<(), ServerError> {
        loop {
            self.take_while(|c| c.is_whitespace() || c == '\0' || c == '\u{feff}');
            if self.rest().starts_with("--") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.skip_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_comment(&mut self) -> Result<(), ServerError> {
        let mut depth = 0;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.advance(2);
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.advance(2);
                if depth == 0 {
                    return Ok(());
                }
            } else if let Some(next) = rest.chars().next() {
                self.advance(next.len_utf8());
            } else {
                return Err(ServerError::new(113, 15, "Missing end comment mark '*/'."));
            }
        }
    }

    fn token(&mut self) -> Result<Option<Token>, ServerError> {
        let rest = self.rest();
        let mut characters = rest.chars();
        let Some(first) = characters.next() else {
            return Ok(None);
        };
        let second = characters.next();
        Ok(Some(match first {
            '\'' => Token::Text(self.until('\'')?),
            'N' | 'n' if second == Some('\'') => {
                self.advance(1);
                Token::Text(self.until('\'')?)
            }
            '[' => Token::Quoted(self.until(']')?),
            '"' if self.quoted => Token::Quoted(self.until('"')?),
            '"' => Token::Text(self.until('"')?),
            '0' if matches!(second, Some('x' | 'X')) => self.blob()?,
            '0'..='9' => Token::Number(self.number()),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => Token::Number(self.number()),
            '$' if second.is_some_and(|c| c.is_ascii_digit()) => {
                self.advance(1);
                Token::Number(self.number())
            }
            '@' => {
                let word = self.take_while(is_word).to_lowercase();
                if word.starts_with("@@") {
                    Token::Global(word)
                } else {
                    Token::Variable(word)
                }
            }
            first if first.is_alphabetic() || matches!(first, '_' | '#' | '$') => {
                Token::Word(self.take_while(is_word).to_owned())
            }
            first => {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                let symbol =
                    symbol.ok_or_else(|| ServerError::syntax(&first.to_string()).at(self.line))?;
                self.advance(symbol.len());
                Token::Symbol(symbol)
            }
        }))
    }

    /// Up to `end`; two of them are one.
    fn until(&mut self, end: char) -> Result<String, ServerError> {
        let line = self.line;
        self.advance(1);
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != end));
            if self.rest().is_empty() {
                let near = text.chars().take(40).collect::<String>();
                let message =
                    format!("Unclosed quotation mark after the character string '{near}'.");
                return Err(ServerError::new(105, 15, message).at(line));
            }
            self.advance(end.len_utf8());
            if !self.rest().starts_with(end) {
                return Ok(text);
            }
            self.advance(end.len_utf8());
            text.push(end);
        }
    }

    fn blob(&mut self) -> Result<Token, ServerError> {
        self.advance(2);
        let digits = self.take_while(|c| c.is_ascii_hexdigit());
        let even = if digits.len().is_multiple_of(2) {
            digits.to_owned()
        } else {
            format!("0{digits}")
        };
        let bytes: Option<Vec<u8>> = even
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        bytes
            .map(Token::Blob)
            .ok_or_else(|| ServerError::syntax("0x").at(self.line))
    }

    fn number(&mut self) -> String {
        let mut number = self.take_while(|c| c.is_ascii_digit()).to_owned();
        if self.rest().starts_with('.') {
            number.push_str(self.advance(1));
            number.push_str(self.take_while(|c| c.is_ascii_digit()));
        }
        let mut next = self.rest().chars();
        if matches!(next.next(), Some('e' | 'E')) {
            let sign = usize::from(matches!(next.clone().next(), Some('+' | '-')));
            if next.nth(sign).is_some_and(|c| c.is_ascii_digit()) {
                number.push_str(self.advance(1 + sign));
                number.push_str(self.take_while(|c| c.is_ascii_digit()));
            }
        }
        number
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '#' | '$' | '@')
}
