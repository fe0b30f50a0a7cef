//! Splits a console's command into words. Case is kept: names of routes have it.

use crate::comment;

/// A piece of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word or number.
    Word(String),
    /// A name in double quotes, without them.
    Quoted(String),
    /// A string in single quotes, without them.
    Text(String),
    /// `;`
    Semicolon,
    /// Any other character.
    Other(char),
}

/// A quote that is never closed, or a comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed(pub(super) &'static str);

/// All tokens of `text`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Unclosed> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if rest.starts_with("--") {
            at = comment::end_of_line(text.as_bytes(), at);
        } else if rest.starts_with("/*") {
            let behind = comment::behind_block(text.as_bytes(), at);
            at = behind.ok_or(Unclosed("comment"))?;
        } else if first == '"' || first == '\'' {
            let (content, length) = quoted(rest, first)?;
            tokens.push(if first == '"' {
                Token::Quoted(content)
            } else {
                Token::Text(content)
            });
            at += length;
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest.get(..length).unwrap_or_default().into()));
            at += length;
        } else {
            tokens.push(if first == ';' {
                Token::Semicolon
            } else {
                Token::Other(first)
            });
            at += first.len_utf8();
        }
    }
    Ok(tokens)
}

/// What stands between the quotes at the start of `text`, with doubled ones made single, and how
/// many bytes it takes with its quotes.
fn quoted(text: &str, quote: char) -> Result<(String, usize), Unclosed> {
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            content.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return Ok((content, at + 1));
        }
    }
    Err(Unclosed(if quote == '"' {
        "quoted name"
    } else {
        "string"
    }))
}

/// No dollar: `$1` is a parameter, and there are none.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
