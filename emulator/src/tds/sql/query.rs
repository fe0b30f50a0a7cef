//! SELECT: common table expressions, TOP, INTO, set operators, ORDER BY, OFFSET.

use super::lexer::Token;
use super::operators::common;
use super::piece::Piece;
use super::translator::{Source, Translator, quote};
use crate::tds::error::ServerError;

/// Words that end a select list's item.
pub(super) const CLAUSES: [&str; 24] = [
    "from",
    "where",
    "group",
    "having",
    "order",
    "union",
    "except",
    "intersect",
    "into",
    "option",
    "for",
    "offset",
    "on",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "join",
    "with",
    "when",
    "then",
    "as",
    "outer",
];

/// A translated query.
#[derive(Debug, Clone)]
pub(in crate::tds) struct Query {
    pub(in crate::tds) sql: String,
    pub(in crate::tds) columns: Vec<Piece>,
    /// SELECT … INTO this table.
    pub(in crate::tds) into: Option<Vec<String>>,
}

/// The parts of one SELECT between set operators.
struct Core {
    sql: String,
    columns: Vec<Piece>,
    into: Option<Vec<String>>,
    top: Option<String>,
}

impl Translator<'_> {
    /// A whole query, up to what does not belong to it.
    pub(in crate::tds) fn query(&mut self) -> Result<Query, ServerError> {
        self.descend()?;
        let known = self.named_queries.len();
        let query = self.with_query();
        self.named_queries.truncate(known);
        self.rise();
        query
    }

    fn with_query(&mut self) -> Result<Query, ServerError> {
        let with = self.common_tables()?;
        let mut query = self.combined()?;
        query.sql = format!("{with}{}", query.sql);
        Ok(query)
    }

    /// WITH a AS (…), b (x, y) AS (…): gives the text, and remembers the columns.
    pub(in crate::tds) fn common_tables(&mut self) -> Result<String, ServerError> {
        if !self.tokens.take("with") {
            return Ok(String::new());
        }
        let mut parts = Vec::new();
        loop {
            let name = self.tokens.name()?;
            let names = if self.tokens.is_symbol("(") {
                Some(self.column_names()?)
            } else {
                None
            };
            self.tokens.expect("as")?;
            self.tokens.expect_symbol("(")?;
            let query = self.query()?;
            self.tokens.expect_symbol(")")?;
            let columns: Vec<_> = query
                .columns
                .iter()
                .enumerate()
                .map(|(at, column)| {
                    let given = names.as_ref().and_then(|names| names.get(at).cloned());
                    let name = given.or_else(|| column.name.clone()).unwrap_or_default();
                    (name, column.kind)
                })
                .collect();
            let list: Vec<_> = columns.iter().map(|(name, _)| quote(name)).collect();
            parts.push(format!(
                "{} ({}) AS ({})",
                quote(&name),
                list.join(", "),
                query.sql
            ));
            self.named_queries.push(Source {
                alias: name,
                columns,
            });
            if !self.tokens.symbol(",") {
                break;
            }
        }
        Ok(format!("WITH {} ", parts.join(", ")))
    }

    /// `(a, b)`.
    pub(in crate::tds) fn column_names(&mut self) -> Result<Vec<String>, ServerError> {
        self.tokens.expect_symbol("(")?;
        let mut names = Vec::new();
        loop {
            names.push(self.tokens.name()?);
            if !self.tokens.symbol(",") {
                break;
            }
        }
        self.tokens.expect_symbol(")")?;
        Ok(names)
    }

    fn combined(&mut self) -> Result<Query, ServerError> {
        let first = self.core()?;
        let (into, mut columns) = (first.into, first.columns);
        let mut parts = vec![(first.sql, first.top)];
        let mut operators = Vec::new();
        while let Some(operator) = self.set_operator() {
            let next = self.core()?;
            if next.columns.len() != columns.len() {
                let text = "All queries combined using a UNION, INTERSECT or EXCEPT operator must \
                            have an equal number of expressions in their target lists.";
                return Err(ServerError::new(205, 16, text).at(self.tokens.line()));
            }
            for (column, other) in columns.iter_mut().zip(&next.columns) {
                column.kind = common([column.kind, other.kind]);
            }
            operators.push(operator);
            parts.push((next.sql, next.top));
        }
        let is_single = operators.is_empty();
        let mut limit = None;
        let mut sql = String::new();
        for (at, (part, top)) in parts.into_iter().enumerate() {
            if at > 0 {
                sql.push_str(operators.get(at - 1).copied().unwrap_or_default());
            }
            match top {
                Some(top) if is_single => {
                    limit = Some(top);
                    sql.push_str(&part);
                }
                Some(top) => sql.push_str(&format!("SELECT * FROM ({part} LIMIT {top})")),
                None => sql.push_str(&part),
            }
        }
        // ORDER BY may name columns of the tables, which `core` has left in scope for it, and
        // those of the result.
        if !is_single {
            self.leave();
            self.enter(Vec::new());
        }
        let named = columns
            .iter()
            .filter_map(|column| Some((column.name.clone()?, column.kind)));
        self.add(Source {
            alias: String::new(),
            columns: named.collect(),
        });
        let end = self.tail(limit);
        self.leave();
        sql.push_str(&end?);
        Ok(Query { sql, columns, into })
    }

    fn set_operator(&mut self) -> Option<&'static str> {
        let operator = if self.tokens.is("union") && self.tokens.is_at(1, "all") {
            self.tokens.next();
            " UNION ALL "
        } else if self.tokens.is("union") {
            " UNION "
        } else if self.tokens.is("except") {
            " EXCEPT "
        } else if self.tokens.is("intersect") {
            " INTERSECT "
        } else {
            return None;
        };
        self.tokens.next();
        // The tables of the query before are out of sight.
        self.leave();
        Some(operator)
    }

    /// One SELECT. Its tables stay in scope.
    fn core(&mut self) -> Result<Core, ServerError> {
        if self.tokens.symbol("(") {
            let query = self.query()?;
            self.tokens.expect_symbol(")")?;
            self.enter(Vec::new());
            return Ok(Core {
                sql: format!("SELECT * FROM ({})", query.sql),
                columns: query.columns,
                into: query.into,
                top: None,
            });
        }
        self.tokens.expect("select")?;
        let distinct = if self.tokens.take("distinct") {
            "DISTINCT "
        } else {
            self.tokens.take("all");
            ""
        };
        let top = self.top()?;
        // FROM first: it says what the names in the list mean.
        let list = self.tokens.at();
        self.enter(Vec::new());
        let from = self.find_from();
        let (from_sql, behind) = match from {
            Some(at) => {
                self.tokens.go_to(at + 1);
                let sql = self.sources()?;
                (format!(" FROM {sql}"), self.tokens.at())
            }
            None => (String::new(), 0),
        };
        self.tokens.go_to(list);
        let columns = self.select_list()?;
        let into = if self.tokens.take("into") {
            Some(self.tokens.names()?)
        } else {
            None
        };
        if from.is_some() {
            self.tokens.go_to(behind);
        }
        let items: Vec<String> = columns.iter().map(as_item).collect();
        let rest = self.restrictions()?;
        Ok(Core {
            sql: format!("SELECT {distinct}{}{from_sql}{rest}", items.join(", ")),
            columns,
            into,
            top,
        })
    }

    /// TOP n, TOP (expression).
    pub(in crate::tds) fn top(&mut self) -> Result<Option<String>, ServerError> {
        if !self.tokens.take("top") {
            return Ok(None);
        }
        let top = if self.tokens.symbol("(") {
            let piece = self.expression()?;
            self.tokens.expect_symbol(")")?;
            piece.numeric()
        } else {
            match self.tokens.next() {
                Some(Token::Number(number)) => number.clone(),
                _ => return Err(self.tokens.unexpected()),
            }
        };
        if self.tokens.is("percent") || self.tokens.is("with") && self.tokens.is_at(1, "ties") {
            return Err(ServerError::unsupported(
                "TOP … PERCENT and TOP … WITH TIES",
            ));
        }
        Ok(Some(format!("({top})")))
    }

    /// The FROM of the SELECT whose list is next.
    fn find_from(&self) -> Option<usize> {
        let mut depth = 0_usize;
        for (ahead, lexed) in self.tokens.rest().iter().enumerate() {
            match &lexed.token {
                Token::Symbol("(") => depth += 1,
                Token::Symbol(")") if depth == 0 => return None,
                Token::Symbol(")") => depth -= 1,
                Token::Symbol(";") => return None,
                Token::Word(word) if depth == 0 => {
                    if word.eq_ignore_ascii_case("from") {
                        return Some(self.tokens.at() + ahead);
                    }
                    let ends = [
                        "union",
                        "except",
                        "intersect",
                        "order",
                        "where",
                        "group",
                        "having",
                    ];
                    if ends.iter().any(|end| word.eq_ignore_ascii_case(end)) {
                        return None;
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn select_list(&mut self) -> Result<Vec<Piece>, ServerError> {
        let mut columns = Vec::new();
        loop {
            self.select_item(&mut columns)?;
            if !self.tokens.symbol(",") {
                return Ok(columns);
            }
        }
    }

    fn select_item(&mut self, columns: &mut Vec<Piece>) -> Result<(), ServerError> {
        if self.tokens.symbol("*") {
            return self.expand(None, columns);
        }
        let is_all_of_one = matches!(self.tokens.peek_at(1), Some(Token::Symbol(".")))
            && matches!(self.tokens.peek_at(2), Some(Token::Symbol("*")));
        if is_all_of_one {
            let table = self.tokens.name()?;
            self.tokens.go_to(self.tokens.at() + 2);
            return self.expand(Some(&table), columns);
        }
        // `@x = expression`: SELECT as an assignment, told by the name.
        if let (Some(Token::Variable(name)), Some(Token::Symbol("="))) =
            (self.tokens.peek(), self.tokens.peek_at(1))
        {
            self.tokens.go_to(self.tokens.at() + 2);
            columns.push(self.expression()?.named(name.clone()));
            return Ok(());
        }
        // `name = expression`
        let is_assigned_name =
            matches!(self.tokens.peek(), Some(Token::Word(_) | Token::Quoted(_)))
                && matches!(self.tokens.peek_at(1), Some(Token::Symbol("=")));
        let early_name = if is_assigned_name {
            let name = self.tokens.name()?;
            self.tokens.next();
            Some(name)
        } else {
            None
        };
        let mut piece = self.expression()?;
        if let Some(name) = early_name {
            piece.name = Some(name);
        } else if let Some(alias) = self.alias()? {
            piece.name = Some(alias);
        }
        columns.push(piece);
        Ok(())
    }

    /// `AS name`, `name`, `AS 'name'`.
    pub(super) fn alias(&mut self) -> Result<Option<String>, ServerError> {
        if self.tokens.take("as") {
            if let Some(Token::Text(name)) = self.tokens.peek() {
                self.tokens.next();
                return Ok(Some(name.clone()));
            }
            return self.tokens.name().map(Some);
        }
        match self.tokens.peek() {
            Some(Token::Quoted(name)) => {
                self.tokens.next();
                Ok(Some(name.clone()))
            }
            Some(Token::Text(name)) => {
                self.tokens.next();
                Ok(Some(name.clone()))
            }
            Some(Token::Word(word)) => {
                let is_clause = CLAUSES
                    .iter()
                    .any(|clause| word.eq_ignore_ascii_case(clause));
                if is_clause {
                    return Ok(None);
                }
                self.tokens.next();
                Ok(Some(word.clone()))
            }
            _ => Ok(None),
        }
    }

    /// `*` and `t.*`, written out.
    fn expand(&self, table: Option<&str>, columns: &mut Vec<Piece>) -> Result<(), ServerError> {
        let before = columns.len();
        for source in self.scopes.last().into_iter().flatten() {
            if table.is_some_and(|table| !source.alias.eq_ignore_ascii_case(table)) {
                continue;
            }
            for (name, kind) in &source.columns {
                let sql = format!("{}.{}", quote(&source.alias), quote(name));
                columns.push(Piece::new(sql, *kind).named(name.clone()));
            }
        }
        if columns.len() == before {
            let text = "Must specify table to select from.";
            return Err(ServerError::new(263, 16, text).at(self.tokens.line()));
        }
        Ok(())
    }

    /// WHERE, GROUP BY, HAVING.
    fn restrictions(&mut self) -> Result<String, ServerError> {
        let mut sql = self.condition_clause()?;
        if self.tokens.take("group") {
            self.tokens.expect("by")?;
            sql.push_str(&format!(" GROUP BY {}", self.list()?));
        }
        if self.tokens.take("having") {
            sql.push_str(&format!(" HAVING {}", self.expression()?.sql));
        }
        Ok(sql)
    }

    /// WHERE, or nothing.
    pub(in crate::tds) fn condition_clause(&mut self) -> Result<String, ServerError> {
        if !self.tokens.take("where") {
            return Ok(String::new());
        }
        if self.tokens.is("current") {
            return Err(ServerError::unsupported("WHERE CURRENT OF"));
        }
        Ok(format!(" WHERE {}", self.expression()?.sql))
    }

    fn list(&mut self) -> Result<String, ServerError> {
        let mut items = Vec::new();
        loop {
            items.push(self.expression()?.sql);
            if !self.tokens.symbol(",") {
                return Ok(items.join(", "));
            }
        }
    }

    /// `a DESC, b`.
    pub(super) fn ordering(&mut self) -> Result<String, ServerError> {
        let mut items = Vec::new();
        loop {
            let mut item = self.expression()?.sql;
            if self.tokens.take("desc") {
                item.push_str(" DESC");
            } else {
                self.tokens.take("asc");
            }
            items.push(item);
            if !self.tokens.symbol(",") {
                return Ok(items.join(", "));
            }
        }
    }

    /// ORDER BY, OFFSET … FETCH, FOR, OPTION. `limit`: of TOP.
    fn tail(&mut self, limit: Option<String>) -> Result<String, ServerError> {
        let mut sql = String::new();
        let mut limit = limit;
        if self.tokens.is("order") && self.tokens.is_at(1, "by") {
            self.tokens.go_to(self.tokens.at() + 2);
            // Aliases of the list are names here, which no table has.
            sql.push_str(&format!(" ORDER BY {}", self.ordering()?));
        }
        if self.tokens.take("offset") {
            let offset = self.sum()?.numeric();
            let _one = self.tokens.take("rows") || self.tokens.take("row");
            let mut rows = "-1".to_owned();
            if self.tokens.take("fetch") {
                let _first = self.tokens.take("next") || self.tokens.take("first");
                rows = self.sum()?.numeric();
                let _one = self.tokens.take("rows") || self.tokens.take("row");
                self.tokens.expect("only")?;
            }
            limit = Some(format!("{rows} OFFSET {offset}"));
        }
        if let Some(limit) = limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        if self.tokens.is("for") && self.tokens.is_at(1, "browse") {
            self.tokens.go_to(self.tokens.at() + 2);
        } else if self.tokens.is("for")
            && !self.tokens.is_at(1, "read")
            && !self.tokens.is_at(1, "update")
        {
            return Err(ServerError::unsupported("FOR XML and FOR JSON"));
        }
        if self.tokens.take("option") {
            self.tokens.parenthesised()?;
        }
        Ok(sql)
    }
}

fn as_item(column: &Piece) -> String {
    match &column.name {
        Some(name) if !name.is_empty() => format!("{} AS {}", column.sql, quote(name)),
        _ => column.sql.clone(),
    }
}
