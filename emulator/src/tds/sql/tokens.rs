//! Reading a run of tokens from the front.

use super::lexer::{Lexed, Token};
use crate::tds::error::ServerError;
use crate::tds::wire::kind::Kind;

#[derive(Debug, Clone, Copy)]
pub(in crate::tds) struct Tokens<'a> {
    all: &'a [Lexed],
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(in crate::tds) fn new(all: &'a [Lexed]) -> Self {
        Self { all, at: 0 }
    }

    pub(in crate::tds) fn at(&self) -> usize {
        self.at
    }

    pub(in crate::tds) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(in crate::tds) fn rest(&self) -> &'a [Lexed] {
        self.all.get(self.at..).unwrap_or_default()
    }

    pub(in crate::tds) fn slice(&self, from: usize, to: usize) -> &'a [Lexed] {
        self.all.get(from..to).unwrap_or_default()
    }

    pub(in crate::tds) fn is_empty(&self) -> bool {
        self.at >= self.all.len()
    }

    pub(in crate::tds) fn peek(&self) -> Option<&'a Token> {
        self.peek_at(0)
    }

    pub(in crate::tds) fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.all.get(self.at + ahead).map(|lexed| &lexed.token)
    }

    pub(in crate::tds) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    pub(in crate::tds) fn line(&self) -> u32 {
        let here = self.all.get(self.at).or_else(|| self.all.last());
        here.map_or(1, |lexed| lexed.line)
    }

    /// Whether a keyword is next.
    pub(in crate::tds) fn is(&self, word: &str) -> bool {
        self.is_at(0, word)
    }

    pub(in crate::tds) fn is_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    pub(in crate::tds) fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    pub(in crate::tds) fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    pub(in crate::tds) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol)
    }

    pub(in crate::tds) fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    pub(in crate::tds) fn expect(&mut self, word: &str) -> Result<(), ServerError> {
        if self.take(word) {
            return Ok(());
        }
        Err(self.unexpected())
    }

    pub(in crate::tds) fn expect_symbol(&mut self, symbol: &str) -> Result<(), ServerError> {
        if self.symbol(symbol) {
            return Ok(());
        }
        Err(self.unexpected())
    }

    /// The error for what is next.
    pub(in crate::tds) fn unexpected(&self) -> ServerError {
        let near = match self
            .peek()
            .or_else(|| self.all.last().map(|last| &last.token))
        {
            Some(Token::Word(word) | Token::Quoted(word)) => word.clone(),
            Some(Token::Text(text)) => text.chars().take(40).collect(),
            Some(Token::Number(number)) => number.clone(),
            Some(Token::Variable(name) | Token::Global(name)) => name.clone(),
            Some(Token::Symbol(symbol)) => (*symbol).to_owned(),
            Some(Token::Blob(_)) => "0x".to_owned(),
            None => String::new(),
        };
        ServerError::syntax(&near).at(self.line())
    }

    /// Nothing may follow, a semicolon apart.
    pub(in crate::tds) fn end(&mut self) -> Result<(), ServerError> {
        while self.symbol(";") {}
        if self.is_empty() {
            return Ok(());
        }
        Err(self.unexpected())
    }

    /// A name, in brackets or not.
    pub(in crate::tds) fn name(&mut self) -> Result<String, ServerError> {
        match self.peek() {
            Some(Token::Word(name) | Token::Quoted(name)) => {
                self.at += 1;
                Ok(name.clone())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `a.b.c`, with empty parts in `a..c`.
    pub(in crate::tds) fn names(&mut self) -> Result<Vec<String>, ServerError> {
        let mut names = vec![self.name()?];
        while self.symbol(".") {
            if self.is_symbol(".") {
                names.push(String::new());
            } else {
                names.push(self.name()?);
            }
        }
        Ok(names)
    }

    pub(in crate::tds) fn variable(&mut self) -> Result<String, ServerError> {
        match self.peek() {
            Some(Token::Variable(name)) => {
                self.at += 1;
                Ok(name.clone())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A data type: `nvarchar(max)`, `decimal(10, 2)`.
    pub(in crate::tds) fn kind(&mut self) -> Result<Kind, ServerError> {
        let mut names = self.names()?;
        let mut name = names.pop().unwrap_or_default();
        if name.eq_ignore_ascii_case("double") && self.take("precision") {
            "float".clone_into(&mut name);
        }
        if self.take("varying") {
            name = format!("var{name}");
        }
        let mut sizes = Vec::new();
        if self.symbol("(") {
            loop {
                match self.next() {
                    Some(Token::Word(word)) if word.eq_ignore_ascii_case("max") => sizes.push(None),
                    Some(Token::Number(number)) => {
                        let size = number.parse().map_err(|_| ServerError::syntax(number))?;
                        sizes.push(Some(size));
                    }
                    _ => return Err(self.unexpected()),
                }
                if !self.symbol(",") {
                    break;
                }
            }
            self.expect_symbol(")")?;
        }
        Kind::named(&name, &sizes).ok_or_else(|| {
            let text = format!("Type {name} is not a defined system type.");
            ServerError::new(243, 16, text).at(self.line())
        })
    }

    /// Everything in a pair of parentheses that is next, without them.
    pub(in crate::tds) fn parenthesised(&mut self) -> Result<&'a [Lexed], ServerError> {
        self.expect_symbol("(")?;
        let from = self.at;
        let mut depth = 1;
        while let Some(token) = self.next() {
            match token {
                Token::Symbol("(") => depth += 1,
                Token::Symbol(")") => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(self.slice(from, self.at - 1));
            }
        }
        Err(self.unexpected())
    }
}
