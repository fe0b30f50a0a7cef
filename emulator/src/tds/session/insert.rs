//! INSERT, with OUTPUT and identity columns.

use rusqlite::types::Value;

use super::data::{Access, command};
use super::rows::{headings, put_metadata, put_row};
use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::Lexed;
use crate::tds::sql::piece::Piece;
use crate::tds::sql::translator::{Translator, quote};
use crate::tds::store::{Column, Table};

/// A statement of the store that changes rows, and what it gives back.
pub(super) struct Plan {
    pub(super) sql: String,
    pub(super) bound: Vec<Value>,
    /// OUTPUT; empty without.
    pub(super) output: Vec<Piece>,
    pub(super) has_identity: bool,
}

impl Session {
    pub(super) fn insert(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        self.before_data(Access::Writes)?;
        let plan = self.plan_insert(run)?;
        self.open_implicit(out);
        self.begin_writing()?;
        let count = self.run_plan(&plan, out)?;
        if plan.has_identity && count > 0 {
            let identity = self.connection.last_insert_rowid();
            self.last.identity = Some(identity);
            self.frame()?.identity = Some(identity);
        }
        self.count_done(out, command::INSERT, count);
        Ok(Step::Next)
    }

    /// Runs it, and sends what OUTPUT asked for.
    pub(super) fn run_plan(&self, plan: &Plan, out: &mut Output) -> Result<u64, Stop> {
        if self.options.is_on("fmtonly") {
            return Ok(0);
        }
        if plan.output.is_empty() {
            return self.change(&plan.sql, &plan.bound);
        }
        let rows = self.all_rows(&plan.sql, &plan.bound)?;
        let headings = headings(&plan.output, rows.first().map(Vec::as_slice));
        put_metadata(out, &headings);
        let count = u64::try_from(rows.len()).unwrap_or(0);
        for row in rows {
            put_row(out, &headings, row)?;
        }
        Ok(count)
    }

    fn plan_insert(&self, run: &[Lexed]) -> Result<Plan, Stop> {
        let mut translator = Translator::new(self, run);
        let with = translator.common_tables()?;
        translator.tokens().expect("insert")?;
        translator.tokens().take("into");
        let line = translator.tokens().line();
        let names = translator.tokens().names()?;
        let table = self.table(&names).map_err(|error| error.at(line))?;
        if table.schema.is_empty() {
            return Err(ServerError::unsupported("INSERT into a system view").into());
        }
        translator.hints()?;
        let named = if translator.tokens().is_symbol("(") {
            Some(translator.column_names()?)
        } else {
            None
        };
        let output = output_clause(&mut translator, &table, "inserted")?;
        let has_identity = table.columns.iter().any(|column| column.is_identity);
        let returning = returning(&output);
        let target = &table.sql;
        if translator.tokens().is("default") && translator.tokens().is_at(1, "values") {
            let sql = format!("{with}INSERT INTO {target} DEFAULT VALUES{returning}");
            let bound = translator.into_bound();
            return Ok(Plan {
                sql,
                bound,
                output,
                has_identity,
            });
        }
        let columns = self.target_columns(&table, named.as_deref())?;
        let (source, width) = if translator.tokens().take("values") {
            let (sql, row) = translator.values()?;
            (sql, row.len())
        } else if translator.tokens().is_any(&["exec", "execute"]) {
            return Err(ServerError::unsupported("INSERT … EXECUTE").into());
        } else {
            let query = translator.query()?;
            (query.sql, query.columns.len())
        };
        translator.tokens().end()?;
        if width != columns.len() {
            let text = "Column name or number of supplied values does not match table definition.";
            return Err(ServerError::new(213, 16, text).at(line).into());
        }
        let list: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let casts: Vec<String> = columns.iter().map(|column| assigned(column)).collect();
        let list = list.join(", ");
        let sql = format!(
            "{with}INSERT INTO {target} ({list}) SELECT {} FROM (WITH given ({list}) AS ({source}) \
             SELECT * FROM given) WHERE true{returning}",
            casts.join(", ")
        );
        Ok(Plan {
            sql,
            bound: translator.into_bound(),
            output,
            has_identity,
        })
    }

    /// The columns that get values, with the rules on identity columns.
    fn target_columns<'t>(
        &self,
        table: &'t Table,
        named: Option<&[String]>,
    ) -> Result<Vec<&'t Column>, ServerError> {
        let may_set = self.options.identity_insert.as_deref() == Some(table.sql.as_str());
        let Some(named) = named else {
            let columns = table.columns.iter();
            return Ok(columns.filter(|column| !column.is_identity).collect());
        };
        let mut columns = Vec::new();
        for name in named {
            let column = table.column(name).ok_or_else(|| {
                ServerError::new(207, 16, format!("Invalid column name '{name}'."))
            })?;
            if column.is_identity && !may_set {
                let text = format!(
                    "Cannot insert explicit value for identity column in table '{}' when \
                     IDENTITY_INSERT is set to OFF.",
                    table.name
                );
                return Err(ServerError::new(544, 16, text));
            }
            columns.push(column);
        }
        Ok(columns)
    }
}

/// A column's value, converted to its type.
pub(super) fn assigned(column: &Column) -> String {
    format!("tsql_assign({}, '{}')", quote(&column.name), column.kind)
}

/// OUTPUT inserted.a, deleted.b: `pseudo` is the one that can be had.
pub(super) fn output_clause(
    translator: &mut Translator<'_>,
    table: &Table,
    pseudo: &str,
) -> Result<Vec<Piece>, ServerError> {
    if !translator.tokens().take("output") {
        return Ok(Vec::new());
    }
    let mut pieces = Vec::new();
    loop {
        let tokens = translator.tokens();
        let which = tokens.name()?;
        if !which.eq_ignore_ascii_case(pseudo) {
            let what = format!("OUTPUT of anything but {pseudo}'s columns here");
            return Err(ServerError::unsupported(&what));
        }
        tokens.expect_symbol(".")?;
        if tokens.symbol("*") {
            let all = table.columns.iter();
            pieces.extend(all.map(|column| {
                Piece::new(quote(&column.name), column.kind).named(column.name.clone())
            }));
        } else {
            let name = tokens.name()?;
            let column = table.column(&name).ok_or_else(|| {
                ServerError::new(207, 16, format!("Invalid column name '{name}'."))
            })?;
            let mut piece = Piece::new(quote(&column.name), column.kind).named(name);
            if tokens.take("as") {
                piece.name = Some(tokens.name()?);
            }
            pieces.push(piece);
        }
        if !translator.tokens().symbol(",") {
            break;
        }
    }
    if translator.tokens().is("into") {
        return Err(ServerError::unsupported("OUTPUT … INTO"));
    }
    Ok(pieces)
}

pub(super) fn returning(output: &[Piece]) -> String {
    if output.is_empty() {
        return String::new();
    }
    let items: Vec<&str> = output.iter().map(|piece| piece.sql.as_str()).collect();
    format!(" RETURNING {}", items.join(", "))
}
