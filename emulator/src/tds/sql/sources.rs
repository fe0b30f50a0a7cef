//! FROM: tables, derived tables, joins.

use super::piece::Piece;
use super::translator::{Source, Translator, quote};
use crate::tds::error::ServerError;
use crate::tds::store::Table;
use crate::tds::wire::kind::Kind;

impl Translator<'_> {
    /// Everything behind FROM; the sources are put into the innermost scope.
    pub(super) fn sources(&mut self) -> Result<String, ServerError> {
        let mut sql = self.source()?;
        loop {
            if self.tokens.symbol(",") {
                sql.push_str(&format!(", {}", self.source()?));
                continue;
            }
            let Some(join) = self.join()? else {
                return Ok(sql);
            };
            sql.push_str(&format!(" {join} JOIN {}", self.source()?));
            if self.tokens.take("on") {
                sql.push_str(&format!(" ON {}", self.expression()?.sql));
            }
        }
    }

    /// The words in front of JOIN, which are taken with it.
    fn join(&mut self) -> Result<Option<&'static str>, ServerError> {
        let kind = if self.tokens.take("join") {
            return Ok(Some("INNER"));
        } else if self.tokens.take("inner") {
            "INNER"
        } else if self.tokens.is("left") || self.tokens.is("right") || self.tokens.is("full") {
            let kind = if self.tokens.is("left") {
                "LEFT"
            } else if self.tokens.is("right") {
                "RIGHT"
            } else {
                "FULL"
            };
            self.tokens.next();
            self.tokens.take("outer");
            kind
        } else if self.tokens.is("cross") && self.tokens.is_at(1, "join") {
            self.tokens.next();
            "CROSS"
        } else if self.tokens.is_any(&["cross", "outer"]) {
            return Err(ServerError::unsupported("APPLY"));
        } else {
            return Ok(None);
        };
        self.tokens.expect("join")?;
        Ok(Some(kind))
    }

    fn source(&mut self) -> Result<String, ServerError> {
        if self.tokens.is_symbol("(") {
            return self.derived();
        }
        let line = self.tokens.line();
        let names = self.tokens.names()?;
        if self.tokens.is_symbol("(") && !self.tokens.is_at(1, "nolock") {
            return self.table_function(&names);
        }
        let found = match names.as_slice() {
            [name] => self
                .named_queries
                .iter()
                .rev()
                .find(|query| query.alias.eq_ignore_ascii_case(name))
                .map(|query| (quote(name), query.columns.clone())),
            _ => None,
        };
        let (sql, columns) = match found {
            Some(found) => found,
            None => {
                let table = self.session.table(&names).map_err(|error| error.at(line))?;
                (table.sql.clone(), columns_of(&table))
            }
        };
        self.aliased(&names, sql, columns)
    }

    /// `sys.dm_exec_cursors(@@SPID) AS c`.
    fn table_function(&mut self, names: &[String]) -> Result<String, ServerError> {
        let arguments = self.arguments()?;
        let values = self.constants(&arguments);
        let table = self.session.table_function(names, &values)?;
        self.aliased(names, table.sql.clone(), columns_of(&table))
    }

    fn aliased(
        &mut self,
        names: &[String],
        sql: String,
        columns: Vec<(String, Option<Kind>)>,
    ) -> Result<String, ServerError> {
        let own = names.last().cloned().unwrap_or_default();
        let alias = self.source_alias()?.unwrap_or(own);
        self.hints()?;
        let sql = format!("{sql} AS {}", quote(&alias));
        self.add(Source { alias, columns });
        Ok(sql)
    }

    /// `(SELECT …) AS a (x, y)`, `(VALUES …) AS a (x)`, or joins in parentheses.
    fn derived(&mut self) -> Result<String, ServerError> {
        self.descend()?;
        let derived = self.derived_here();
        self.rise();
        derived
    }

    fn derived_here(&mut self) -> Result<String, ServerError> {
        self.tokens.expect_symbol("(")?;
        let (sql, columns) =
            if self.tokens.is_any(&["select", "with"]) || self.tokens.is_symbol("(") {
                let query = self.query()?;
                (query.sql, query.columns)
            } else if self.tokens.take("values") {
                self.values()?
            } else {
                let sql = self.sources()?;
                self.tokens.expect_symbol(")")?;
                return Ok(format!("({sql})"));
            };
        self.tokens.expect_symbol(")")?;
        let alias = self
            .source_alias()?
            .ok_or_else(|| self.tokens.unexpected())?;
        let names = if self.tokens.is_symbol("(") {
            self.column_names()?
        } else {
            columns
                .iter()
                .map(|column| column.name.clone().unwrap_or_default())
                .collect()
        };
        let list: Vec<String> = names.iter().map(|name| quote(name)).collect();
        // Only a common table expression can name its columns in SQLite.
        let sql = format!(
            "(WITH derived ({}) AS ({sql}) SELECT * FROM derived) AS {}",
            list.join(", "),
            quote(&alias)
        );
        let kinds = columns.iter().map(|column| column.kind);
        let columns = names.into_iter().zip(kinds).collect();
        self.add(Source { alias, columns });
        Ok(sql)
    }

    /// `(1, 2), (3, 4)`: the text with VALUES, and the types of the first row.
    pub(in crate::tds) fn values(&mut self) -> Result<(String, Vec<Piece>), ServerError> {
        let mut rows = Vec::new();
        let mut first: Option<Vec<Piece>> = None;
        loop {
            self.tokens.expect_symbol("(")?;
            let mut row = Vec::new();
            loop {
                row.push(self.expression()?);
                if !self.tokens.symbol(",") {
                    break;
                }
            }
            self.tokens.expect_symbol(")")?;
            let items: Vec<&str> = row.iter().map(|piece| piece.sql.as_str()).collect();
            rows.push(format!("({})", items.join(", ")));
            match &mut first {
                None => first = Some(row),
                Some(first) if first.len() != row.len() => {
                    let text = "All the rows of a table value constructor must have the same number \
                                of columns.";
                    return Err(ServerError::new(10_709, 16, text).at(self.tokens.line()));
                }
                Some(first) => {
                    for (known, piece) in first.iter_mut().zip(row) {
                        known.kind = super::operators::common([known.kind, piece.kind]);
                    }
                }
            }
            if !self.tokens.symbol(",") {
                break;
            }
        }
        let sql = format!("VALUES {}", rows.join(", "));
        Ok((sql, first.unwrap_or_default()))
    }

    fn source_alias(&mut self) -> Result<Option<String>, ServerError> {
        // SET belongs to UPDATE … FROM, OPTION to the query.
        if self
            .tokens
            .is_any(&["set", "tablesample", "pivot", "unpivot"])
        {
            return Ok(None);
        }
        self.alias()
    }

    /// WITH (NOLOCK) and its like change nothing here.
    pub(in crate::tds) fn hints(&mut self) -> Result<(), ServerError> {
        if self.tokens.is("with") {
            self.tokens.next();
            self.tokens.parenthesised()?;
        } else if self.tokens.is_symbol("(") && self.tokens.is_at(1, "nolock") {
            self.tokens.parenthesised()?;
        }
        Ok(())
    }

    pub(super) fn add(&mut self, source: Source) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(source);
        }
    }
}

fn columns_of(table: &Table) -> Vec<(String, Option<Kind>)> {
    let columns = table.columns.iter();
    columns
        .map(|column| (column.name.clone(), Some(column.kind)))
        .collect()
}
