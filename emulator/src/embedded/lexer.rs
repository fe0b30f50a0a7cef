//! Cuts SQL into tokens and statements, as far as PostgreSQL 4.1 goes here.
//!
//! Knows quotes, comments, parameters and casts; it does not parse. Refuses forms whose meaning
//! SQLite would get wrong (dollar quotes, bit strings).

use super::sql_error::SqlError;

/// A piece of SQL, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a plain name.
    Word,
    /// A name in double quotes.
    Quoted,
    Number,
    /// A string in single quotes.
    String,
    /// `E'…'`, with only such escapes as stand for one character (PostgreSQL 4.1.2.2).
    Escaped,
    /// `$1` and so on.
    Parameter(usize),
    /// Punctuation: one character, or `::`.
    Symbol,
}

impl Token<'_> {
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// The name that a word, quoted name or string stands for.
    pub(super) fn unquoted(&self) -> String {
        let inner = |quote: &str| {
            let text = self.text.trim_start_matches(quote);
            let text = self
                .text
                .get(1..self.text.len().saturating_sub(1))
                .unwrap_or(text);
            text.replace(&quote.repeat(2), quote)
        };
        match self.kind {
            Kind::Word => self.text.to_ascii_lowercase(),
            Kind::Quoted => inner("\""),
            Kind::String => inner("'"),
            Kind::Escaped => unescaped(self.text),
            _ => self.text.to_owned(),
        }
    }
}

/// The statements of a query string, without empty ones.
pub(super) fn statements(sql: &str) -> Result<Vec<Vec<Token<'_>>>, SqlError> {
    let mut all = vec![Vec::new()];
    for token in tokens(sql)? {
        if token.is_symbol(";") {
            all.push(Vec::new());
        } else if let Some(last) = all.last_mut() {
            last.push(token);
        }
    }
    all.retain(|statement| !statement.is_empty());
    Ok(all)
}

fn tokens(sql: &str) -> Result<Vec<Token<'_>>, SqlError> {
    let mut found: Vec<Token<'_>> = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        if rest.starts_with("--") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        if rest.starts_with("/*") {
            rest = after_comment(rest)?;
            continue;
        }
        let (kind, length) = token(rest, first)?;
        let text = &rest[..length];
        // B'…', X'…', N'…': the prefix touches the quote.
        let prefixed = found.last().is_some_and(|last| {
            last.kind == Kind::Word && last.text.as_bytes().as_ptr_range().end == text.as_ptr()
        });
        if kind == Kind::String && prefixed {
            return Err(SqlError::unsupported(
                "strings with a prefix before the quote",
            ));
        }
        found.push(Token { kind, text });
        rest = &rest[length..];
    }
    Ok(found)
}

fn token(rest: &str, first: char) -> Result<(Kind, usize), SqlError> {
    if matches!(first, 'e' | 'E') && rest[1..].starts_with('\'') {
        return Ok((Kind::Escaped, escaped(rest)?));
    }
    let run = |inside: fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
    Ok(match first {
        '\'' => (Kind::String, quoted(rest, '\'')?),
        '"' => (Kind::Quoted, quoted(rest, '"')?),
        '$' => {
            let digits = rest[1..]
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len() - 1);
            let number = rest[1..=digits]
                .parse()
                .ok()
                .filter(|n| (1..=999).contains(n));
            let number = number.ok_or_else(|| SqlError::unsupported("dollar quotes"))?;
            (Kind::Parameter(number), 1 + digits)
        }
        '0'..='9' => (Kind::Number, number(rest)),
        '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => (Kind::Number, number(rest)),
        ':' if rest.starts_with("::") => (Kind::Symbol, 2),
        // What SQLite would take for a parameter or a quoted name of its own.
        '?' | '@' | '#' | '`' | '[' | ':' => {
            return Err(SqlError::unsupported(&format!("the operator {first}")));
        }
        c if c.is_alphabetic() || c == '_' => (
            Kind::Word,
            run(|c| c.is_alphanumeric() || c == '_' || c == '$'),
        ),
        c => (Kind::Symbol, operator(rest).unwrap_or_else(|| c.len_utf8())),
    })
}

/// Operators of two characters stay together.
fn operator(rest: &str) -> Option<usize> {
    ["<=", ">=", "<>", "!=", "||", "->", "<<", ">>"]
        .iter()
        .find(|operator| rest.starts_with(**operator))
        .map(|operator| operator.len())
}

/// Digits, a fraction, an exponent.
fn number(rest: &str) -> usize {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |length| from + length)
    };
    let mut end = digits(0);
    if rest[end..].starts_with('.') {
        end = digits(end + 1);
    }
    let exponent = rest[end..]
        .strip_prefix(['e', 'E'])
        .map(|after| after.strip_prefix(['+', '-']).unwrap_or(after))
        .filter(|after| after.starts_with(|c: char| c.is_ascii_digit()));
    exponent.map_or(end, |after| digits(rest.len() - after.len()))
}

/// The length of a quoted text; the quote inside is doubled.
fn quoted(rest: &str, quote: char) -> Result<usize, SqlError> {
    let mut from = 1;
    loop {
        let Some(at) = rest[from..].find(quote) else {
            return Err(SqlError::error("42601", "unterminated quoted text"));
        };
        from += at + 1;
        if !rest[from..].starts_with(quote) {
            return Ok(from);
        }
        from += 1;
    }
}

/// The length of an escape string. Numeric escapes (`\\x41`, `\\101`, `\\u0041`) are refused.
fn escaped(rest: &str) -> Result<usize, SqlError> {
    let mut characters = rest.char_indices().skip(2).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, next)) if escape(next).is_some() => {}
                _ => return Err(SqlError::unsupported("numeric escapes in strings")),
            },
            '\'' if characters.peek().is_some_and(|(_, next)| *next == '\'') => {
                characters.next();
            }
            '\'' => return Ok(at + 1),
            _ => {}
        }
    }
    Err(SqlError::error("42601", "unterminated quoted string"))
}

/// What a character after a backslash stands for.
fn escape(character: char) -> Option<char> {
    Some(match character {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'x' | 'u' | 'U' | '0'..='7' => return None,
        other => other,
    })
}

/// The content of a whole escape string.
fn unescaped(text: &str) -> String {
    let mut content = String::new();
    let mut characters = text[2..text.len() - 1].chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => content.extend(characters.next().and_then(escape)),
            // The second of two quotes.
            '\'' => content.extend(characters.next()),
            other => content.push(other),
        }
    }
    content
}

/// Block comments nest (PostgreSQL 4.1.5).
fn after_comment(rest: &str) -> Result<&str, SqlError> {
    let mut depth = 1;
    let mut at = 2;
    while depth > 0 {
        let tail = &rest[at..];
        let next = tail.find("*/");
        match (next, tail.find("/*")) {
            (None, _) => return Err(SqlError::error("42601", "unterminated /* comment")),
            (Some(end), Some(start)) if start < end => {
                depth += 1;
                at += start + 2;
            }
            (Some(end), _) => {
                depth -= 1;
                at += end + 2;
            }
        }
    }
    Ok(&rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        tokens(sql)
            .unwrap()
            .iter()
            .map(|token| token.text)
            .collect()
    }

    #[test]
    fn quotes_comments_and_parameters_are_whole_tokens() {
        assert_eq!(
            texts("select 'a;''b', \"c;\"\"d\" -- x;\n /* a /* b */ ; */ from t where i>=$12::int"),
            [
                "select",
                "'a;''b'",
                ",",
                "\"c;\"\"d\"",
                "from",
                "t",
                "where",
                "i",
                ">=",
                "$12",
                "::",
                "int"
            ]
        );
        assert_eq!(
            texts("1.5e-3+.5 t1.c"),
            ["1.5e-3", "+", ".5", "t1", ".", "c"]
        );
    }

    #[test]
    fn statements_end_at_semicolons_outside_quotes() {
        let all = statements(" ; select ';' ;; select 2").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0][1].unquoted(), ";");
    }

    #[test]
    fn escape_strings_are_read() {
        let found = tokens(r"e'o''b\\c\'\n' E'' e").unwrap();
        let kinds: Vec<_> = found.iter().map(|token| token.kind).collect();
        assert_eq!(kinds, [Kind::Escaped, Kind::Escaped, Kind::Word]);
        assert_eq!(found[0].unquoted(), "o'b\\c'\n");
        assert_eq!(found[1].unquoted(), "");
        assert_eq!(tokens(r"E'a\'").unwrap_err().code, "42601");
    }

    #[test]
    fn what_sqlite_would_misread_is_refused() {
        for sql in [
            "select E'\\x41'",
            "select B'1'",
            "select $$a$$",
            "select ?",
            "select a[1]",
            "select :x",
        ] {
            assert_eq!(tokens(sql).unwrap_err().code, "0A000", "{sql}");
        }
        for sql in ["select 'a", "/* a", "select \"a"] {
            assert_eq!(tokens(sql).unwrap_err().code, "42601", "{sql}");
        }
    }
}
