//! The state of a translation: what is left to read, which values are bound, what names mean.

use rusqlite::types::Value;

use super::lexer::Lexed;
use super::piece::Piece;
use super::tokens::Tokens;
use crate::tds::error::ServerError;
use crate::tds::session::Session;
use crate::tds::wire::kind::Kind;

/// Expressions in expressions: bounds the stack.
const MAX_DEPTH: usize = 60;

/// Something that has columns: a table under its alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Source {
    pub(in crate::tds) alias: String,
    /// Name and type; the type of a computed column may be unknown.
    pub(in crate::tds) columns: Vec<(String, Option<Kind>)>,
}

#[derive(Debug)]
pub(in crate::tds) struct Translator<'a> {
    pub(super) session: &'a Session,
    pub(super) tokens: Tokens<'a>,
    /// The values of `?1`, `?2`, …
    pub(super) bound: Vec<Value>,
    /// The innermost query last.
    pub(super) scopes: Vec<Vec<Source>>,
    /// Common table expressions.
    pub(super) named_queries: Vec<Source>,
    depth: usize,
}

impl<'a> Translator<'a> {
    pub(in crate::tds) fn new(session: &'a Session, tokens: &'a [Lexed]) -> Self {
        Self {
            session,
            tokens: Tokens::new(tokens),
            bound: Vec::new(),
            scopes: Vec::new(),
            named_queries: Vec::new(),
            depth: 0,
        }
    }

    pub(in crate::tds) fn tokens(&mut self) -> &mut Tokens<'a> {
        &mut self.tokens
    }

    pub(in crate::tds) fn into_bound(self) -> Vec<Value> {
        self.bound
    }

    /// Columns of the tables from here on; the caller takes them away again.
    pub(in crate::tds) fn enter(&mut self, sources: Vec<Source>) {
        self.scopes.push(sources);
    }

    pub(in crate::tds) fn leave(&mut self) {
        self.scopes.pop();
    }

    /// A value as a parameter of the statement.
    pub(in crate::tds) fn bind(&mut self, kind: Option<Kind>, value: Value) -> Piece {
        self.bound.push(value);
        let mut piece = Piece::new(format!("?{}", self.bound.len()), kind);
        piece.is_textual_number = kind.is_some_and(Kind::is_exact);
        piece
    }

    /// One level deeper. The caller calls `rise` when it is back.
    pub(super) fn descend(&mut self) -> Result<(), ServerError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let text = "Some part of your SQL statement is nested too deeply. Rewrite the query or \
                        break it up into smaller queries.";
            return Err(ServerError::new(191, 15, text).at(self.tokens.line()));
        }
        Ok(())
    }

    pub(super) fn rise(&mut self) {
        self.depth -= 1;
    }

    /// The type of a column that a name means. `None`: no table here has it.
    pub(super) fn column(&self, table: Option<&str>, name: &str) -> Option<Option<Kind>> {
        for scope in self.scopes.iter().rev() {
            for source in scope {
                if table.is_some_and(|table| !source.alias.eq_ignore_ascii_case(table)) {
                    continue;
                }
                let mut columns = source.columns.iter();
                let found = columns.find(|(known, _)| known.eq_ignore_ascii_case(name));
                if let Some((_, kind)) = found {
                    return Some(*kind);
                }
            }
        }
        None
    }
}

/// A name of SQLite.
pub(in crate::tds) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text of SQLite.
pub(in crate::tds) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
