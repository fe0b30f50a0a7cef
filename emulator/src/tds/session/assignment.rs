//! DECLARE, SET @x, SELECT @x = …, and expressions that are needed as values.

use rusqlite::types::Value;

use super::data::command;
use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, Token};
use crate::tds::sql::query::Query;
use crate::tds::sql::tokens::Tokens;
use crate::tds::sql::translator::Translator;
use crate::tds::wire::kind::Kind;

impl Session {
    /// The value of an expression that is all of these tokens.
    pub(super) fn evaluate(&self, tokens: &[Lexed]) -> Result<(Option<Kind>, Value), Stop> {
        let mut translator = Translator::new(self, tokens);
        let piece = translator.expression()?;
        translator.tokens().end()?;
        let bound = translator.into_bound();
        let sql = format!("SELECT {}", piece.sql);
        Ok((piece.kind, self.single(&sql, &bound)?))
    }

    /// DECLARE @a int = 1, @b nvarchar(10); cursors have their own form.
    pub(super) fn declare_statement(&mut self, run: &[Lexed]) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        tokens.expect("declare")?;
        if !matches!(tokens.peek(), Some(Token::Variable(_))) {
            return self.declare_cursor(run);
        }
        loop {
            let name = tokens.variable()?;
            tokens.take("as");
            if tokens.is_any(&["table", "cursor"]) {
                return Err(ServerError::unsupported("table and cursor variables").into());
            }
            let kind = tokens.kind()?;
            let value = if tokens.symbol("=") {
                let (value, behind) = self.leading_value(tokens.rest())?;
                tokens.go_to(tokens.at() + behind);
                value
            } else {
                Value::Null
            };
            self.declare(&name, kind, value)?;
            if !tokens.symbol(",") {
                break;
            }
        }
        tokens.end()?;
        Ok(Step::Next)
    }

    /// The value of an expression in front, and how many tokens it took.
    pub(super) fn leading_value(&self, tokens: &[Lexed]) -> Result<(Value, usize), Stop> {
        let mut translator = Translator::new(self, tokens);
        let piece = translator.expression()?;
        let taken = translator.tokens().at();
        let bound = translator.into_bound();
        let value = self.single(&format!("SELECT {}", piece.sql), &bound)?;
        Ok((value, taken))
    }

    /// SET @x = …, SET @x += ….
    pub(super) fn set_variable(&mut self, run: &[Lexed]) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        tokens.expect("set")?;
        let name = tokens.variable()?;
        let operator = match tokens.next() {
            Some(Token::Symbol(symbol)) => *symbol,
            _ => return Err(tokens.unexpected().into()),
        };
        let value = match operator {
            "=" => self.evaluate(tokens.rest())?.1,
            "+=" | "-=" | "*=" | "/=" => {
                // @x += e is @x + (e).
                let line = tokens.line();
                let lexed = |token| Lexed {
                    token,
                    line,
                    from: 0,
                };
                let symbol = match operator {
                    "+=" => "+",
                    "-=" => "-",
                    "*=" => "*",
                    _ => "/",
                };
                let mut whole = vec![
                    lexed(Token::Variable(name.clone())),
                    lexed(Token::Symbol(symbol)),
                    lexed(Token::Symbol("(")),
                ];
                whole.extend_from_slice(tokens.rest());
                whole.push(lexed(Token::Symbol(")")));
                self.evaluate(&whole)?.1
            }
            _ => return Err(tokens.unexpected().into()),
        };
        self.assign_variable(&name, value)?;
        self.last.row_count = 1;
        Ok(Step::Next)
    }

    /// SELECT @a = x, @b = y FROM …: the last row counts; without rows nothing changes.
    pub(super) fn select_into_variables(
        &mut self,
        query: &Query,
        bound: &[Value],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        self.begin_reading()?;
        let rows = self.all_rows(&query.sql, bound)?;
        let count = u64::try_from(rows.len()).unwrap_or(0);
        if let Some(row) = rows.into_iter().next_back() {
            for (column, value) in query.columns.iter().zip(row) {
                let name = column.name.as_deref().unwrap_or_default();
                self.assign_variable(name, value)?;
            }
        }
        self.count_done(out, command::SELECT, count);
        Ok(Step::Next)
    }
}
