//! Texts that give a value to one custom setting and do nothing else.

use super::lexer::{Backslash, Lexer, Token};
use super::{dotted, lower};

/// The name and value in a text that gives a string to a custom setting (`SET app.user = 'x'`)
/// and does nothing else. `None` for one that has to be read more closely, though it may be such.
#[must_use]
pub fn custom_assignment(text: &[u8]) -> Option<(String, &str)> {
    let mut lowered = Vec::new();
    lower(text, &mut lowered);
    let mut lexer = Lexer::new(&lowered, text, Backslash::IsPlain);
    if lexer.next() != Token::Word(b"set") {
        return None;
    }
    let mut token = lexer.next();
    if token == Token::Word(b"session") {
        token = lexer.next();
    }
    // What a letter beyond ASCII is in lower case depends on the server.
    let name = dotted(token, &mut lexer).filter(|name| name.is_ascii())?;
    let assigns = matches!(lexer.next(), Token::Punctuation(b'=') | Token::Word(b"to"));
    let Token::Text(value) = lexer.next() else {
        return None;
    };
    let end = lexer.position().checked_sub(1)?;
    let value = text.get(end.checked_sub(value.len())?..end)?;
    let quote = end - value.len();
    let before = text.get(..quote)?.strip_suffix(b"'")?;
    // Neither a prefix (`E'...'`) nor `$$`, and nothing in it that has a meaning of its own.
    let plain = matches!(before.last(), Some(b' ' | b'=')) && text.get(end) == Some(&b'\'');
    let means_itself = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'\'' | b'\\');
    // A name in quotes is as it is written.
    let folds = !before.contains(&b'"');
    (assigns && plain && folds && name.contains('.') && ends(&mut lexer))
        .then_some(value)
        .filter(|value| value.iter().all(means_itself))
        .and_then(|value| std::str::from_utf8(value).ok())
        .map(|value| (name, value))
}

/// Whether nothing but semicolons follows, and everything before it was read with certainty.
fn ends(lexer: &mut Lexer<'_>) -> bool {
    let mut token = lexer.next();
    while token == Token::Punctuation(b';') {
        token = lexer.next();
    }
    token == Token::End && !lexer.is_lost() && !lexer.is_doubtful()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_settings_are_read_where_they_are_plain() {
        for (text, expected) in [
            ("SET App.User = 'Ann B'", Some(("app.user", "Ann B"))),
            ("set session app.user TO '7' ;", Some(("app.user", "7"))),
            ("SET a.b.c='';", Some(("a.b.c", ""))),
            ("SET app.user = E'x'", None),
            ("SET app.user = U&'x'", None),
            ("SET app.user = 'it''s'", None),
            ("SET app.user = $$x$$", None),
            ("SET app.user = $x$ 'ab$x$", None),
            ("SET app.user = 'a\\b'", None),
            ("SET app.user = 'ä'", None),
            ("SET app.user = 'a', 'b'", None),
            ("SET app.user = 'a' 'b'", None),
            ("SET app.user = 'a'; select 1", None),
            ("SET app.user = default", None),
            ("SET app.user 'a'", None),
            ("SET \"App\".user = 'a'", None),
            ("SET ä.user = 'a'", None),
            ("SET local app.user = 'a'", None),
            ("SET work_mem = '4MB'", None),
            ("SET session.user = 'a'", None),
            ("SET app. = 'a'", None),
            ("SET app.user = ", None),
            ("SET", None),
            ("", None),
        ] {
            let found = custom_assignment(text.as_bytes());
            let found = found.as_ref().map(|(name, value)| (name.as_str(), *value));
            assert_eq!(found, expected, "{text}");
        }
    }
}
