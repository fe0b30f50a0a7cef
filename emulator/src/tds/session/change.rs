//! UPDATE, DELETE, TRUNCATE TABLE.

use super::data::{Access, command};
use super::insert::{Plan, output_clause, returning};
use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, Token};
use crate::tds::sql::tokens::Tokens;
use crate::tds::sql::translator::{Source, Translator, literal, quote};
use crate::tds::store::Table;
use crate::tds::wire::tokens::Done;

impl Session {
    pub(super) fn update(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        self.before_data(Access::Writes)?;
        let plan = self.plan_update(run)?;
        self.change_rows(&plan, command::UPDATE, out)
    }

    pub(super) fn delete(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        self.before_data(Access::Writes)?;
        let plan = self.plan_delete(run)?;
        self.change_rows(&plan, command::DELETE, out)
    }

    fn change_rows(&mut self, plan: &Plan, command: u16, out: &mut Output) -> Result<Step, Stop> {
        self.open_implicit(out);
        self.begin_writing()?;
        let count = self.run_plan(plan, out)?;
        self.count_done(out, command, count);
        Ok(Step::Next)
    }

    fn plan_update(&self, run: &[Lexed]) -> Result<Plan, Stop> {
        let mut translator = Translator::new(self, run);
        let with = translator.common_tables()?;
        translator.tokens().expect("update")?;
        let table = self.changed_table(&mut translator)?;
        translator.tokens().expect("set")?;
        let mut sets = Vec::new();
        loop {
            sets.push(set_item(&mut translator, &table)?);
            if !translator.tokens().symbol(",") {
                break;
            }
        }
        let output = output_clause(&mut translator, &table, "inserted")?;
        let condition = rest(&mut translator, "UPDATE … FROM")?;
        let sql = format!(
            "{with}UPDATE {} AS {} SET {}{condition}{}",
            table.sql,
            quote(&table.name),
            sets.join(", "),
            returning(&output)
        );
        Ok(Plan {
            sql,
            bound: translator.into_bound(),
            output,
            has_identity: false,
        })
    }

    fn plan_delete(&self, run: &[Lexed]) -> Result<Plan, Stop> {
        let mut translator = Translator::new(self, run);
        let with = translator.common_tables()?;
        translator.tokens().expect("delete")?;
        translator.tokens().take("from");
        let table = self.changed_table(&mut translator)?;
        let output = output_clause(&mut translator, &table, "deleted")?;
        let condition = rest(&mut translator, "DELETE … FROM")?;
        let sql = format!(
            "{with}DELETE FROM {} AS {}{condition}{}",
            table.sql,
            quote(&table.name),
            returning(&output)
        );
        Ok(Plan {
            sql,
            bound: translator.into_bound(),
            output,
            has_identity: false,
        })
    }

    /// The table, whose columns are in scope from here on.
    fn changed_table(&self, translator: &mut Translator<'_>) -> Result<Table, ServerError> {
        if translator.tokens().is("top") {
            return Err(ServerError::unsupported("UPDATE TOP and DELETE TOP"));
        }
        let line = translator.tokens().line();
        let names = translator.tokens().names()?;
        let table = self.table(&names).map_err(|error| error.at(line))?;
        if table.schema.is_empty() {
            return Err(ServerError::unsupported("changes of a system view"));
        }
        translator.hints()?;
        translator.enter(vec![Source {
            alias: table.name.clone(),
            columns: table
                .columns
                .iter()
                .map(|column| (column.name.clone(), Some(column.kind)))
                .collect(),
        }]);
        Ok(table)
    }

    pub(super) fn truncate(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        self.before_data(Access::Writes)?;
        let mut tokens = Tokens::new(run);
        tokens.expect("truncate")?;
        tokens.expect("table")?;
        let table = self.table(&tokens.names()?)?;
        tokens.end()?;
        self.open_implicit(out);
        self.begin_writing()?;
        self.atomically(|session| {
            session.change(&format!("DELETE FROM {}", table.sql), &[])?;
            if table.columns.iter().any(|column| column.is_identity) {
                let schema = quote(&table.schema);
                let name = literal(&table.name);
                let sql = format!("DELETE FROM {schema}.sqlite_sequence WHERE name = {name}");
                session.change(&sql, &[])?;
            }
            Ok(())
        })?;
        out.done(Done::new(self.done_kind()));
        Ok(Step::Next)
    }
}

/// `column = value`, `column += value`.
fn set_item(translator: &mut Translator<'_>, table: &Table) -> Result<String, ServerError> {
    if matches!(translator.tokens().peek(), Some(Token::Variable(_))) {
        return Err(ServerError::unsupported("variables in UPDATE … SET"));
    }
    let from = translator.tokens().at();
    let names = translator.tokens().names()?;
    let name = names.last().cloned().unwrap_or_default();
    let column = table
        .column(&name)
        .ok_or_else(|| ServerError::new(207, 16, format!("Invalid column name '{name}'.")))?;
    let value = if translator.tokens().symbol("=") {
        translator.expression()?
    } else {
        let symbol = match translator.tokens().next() {
            Some(Token::Symbol("+=")) => "+",
            Some(Token::Symbol("-=")) => "-",
            Some(Token::Symbol("*=")) => "*",
            Some(Token::Symbol("/=")) => "/",
            _ => {
                translator.tokens().go_to(from);
                return Err(translator.tokens().unexpected());
            }
        };
        let value = translator.expression()?;
        let own = crate::tds::sql::piece::Piece::new(quote(&column.name), column.kind);
        crate::tds::sql::operators::arithmetic(symbol, &own, &value)
    };
    let kind = column.kind;
    Ok(format!(
        "{} = tsql_assign({}, '{kind}')",
        quote(&column.name),
        value.sql
    ))
}

/// WHERE and the end. `joined`: what a FROM would be.
fn rest(translator: &mut Translator<'_>, joined: &str) -> Result<String, ServerError> {
    if translator.tokens().is("from") {
        return Err(ServerError::unsupported(joined));
    }
    let condition = translator.condition_clause()?;
    if translator.tokens().take("option") {
        translator.tokens().parenthesised()?;
    }
    translator.tokens().end()?;
    Ok(condition)
}
