//! A translated expression: SQLite text, and what is known of its type.

use crate::tds::wire::kind::Kind;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Piece {
    pub(in crate::tds) sql: String,
    /// `None`: not known before it has run, or NULL.
    pub(in crate::tds) kind: Option<Kind>,
    /// The name of a result column.
    pub(in crate::tds) name: Option<String>,
    /// Its value may be text that stands for a number.
    pub(in crate::tds) is_textual_number: bool,
}

impl Piece {
    pub(in crate::tds) fn new(sql: impl Into<String>, kind: impl Into<Option<Kind>>) -> Self {
        Self {
            sql: sql.into(),
            kind: kind.into(),
            name: None,
            is_textual_number: false,
        }
    }

    pub(in crate::tds) fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// As an operand of arithmetic and comparisons.
    pub(in crate::tds) fn numeric(&self) -> String {
        if self.is_textual_number {
            format!("CAST({} AS NUMERIC)", self.sql)
        } else {
            self.sql.clone()
        }
    }

    /// Converted, unless it is of that kind already.
    pub(in crate::tds) fn cast(&self, kind: Kind) -> String {
        if self.kind == Some(kind) {
            return self.sql.clone();
        }
        format!("tsql_cast({}, '{kind}')", self.sql)
    }
}
