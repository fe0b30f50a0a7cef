//! Running statements: SQLBatch, control flow, what an error ends.

use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, lex};
use crate::tds::sql::parser::{Statement, parse};
use crate::tds::sql::translator::Translator;
use crate::tds::wire::bytes::utf16;
use crate::tds::wire::headers;
use crate::tds::wire::tokens::Done;

impl Session {
    /// SQLBatch (MS-TDS 2.2.6.7).
    pub(super) fn batch_request(&mut self, body: &[u8], out: &mut Output) -> Result<(), Stop> {
        self.server.counters.batches.add();
        let text = self.without_headers(body)?;
        let text = utf16(text).ok_or_else(|| ServerError::protocol("text of an odd length"))?;
        self.push_batch(&text)?;
        self.run_text(&text, out).map(|_| ())
    }

    /// Takes ALL_HEADERS off and compares the transaction that it names with ours.
    pub(super) fn without_headers<'a>(&self, body: &'a [u8]) -> Result<&'a [u8], Stop> {
        let version = self.facts.version;
        let (descriptor, rest) = headers::take(body, version)
            .map_err(|malformed| Stop::from(ServerError::protocol(&malformed.to_string())))?;
        let own = self.transaction.descriptor();
        let unknowing = descriptor == 0 && !self.transaction.is_announced();
        let is_stale = self.stale_descriptor == Some(descriptor);
        if descriptor == own || is_stale || unknowing || !version.is_wide() {
            return Ok(rest);
        }
        let text = format!(
            "The server failed to resume the transaction. Desc:{descriptor:x}. (The session's is \
             {own:x}.)"
        );
        Err(ServerError::new(3971, 16, text).into())
    }

    /// All statements of a text, in the frame that is open.
    pub(super) fn run_text(&mut self, text: &str, out: &mut Output) -> Result<Step, Stop> {
        let tokens = lex(text, self.options.is_on("quoted_identifier"))?;
        let statements = parse(&tokens)?;
        self.run_all(&statements, out)
    }

    pub(super) fn run_all(
        &mut self,
        statements: &[Statement],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        for statement in statements {
            let step = self.run_one(statement, out)?;
            if step != Step::Next {
                return Ok(step);
            }
        }
        Ok(Step::Next)
    }

    fn run_one(&mut self, statement: &Statement, out: &mut Output) -> Result<Step, Stop> {
        if self.cancel.is_set() || out.is_gone() {
            return Err(Stop::Cancelled);
        }
        match statement {
            Statement::Plain(tokens) => {
                let outcome = self.plain(tokens, out);
                let line = tokens.first().map_or(1, |token| token.line);
                self.settle(outcome, line, out)
            }
            Statement::Block(statements) => self.run_all(statements, out),
            Statement::If {
                condition,
                then,
                otherwise,
            } => match (self.holds(condition, out)?, otherwise) {
                (Some(true), _) => self.run_one(then, out),
                (Some(false), Some(otherwise)) => self.run_one(otherwise, out),
                _ => Ok(Step::Next),
            },
            Statement::While { condition, body } => {
                while self.holds(condition, out)? == Some(true) {
                    match self.run_one(body, out)? {
                        Step::Break => break,
                        Step::Return => return Ok(Step::Return),
                        Step::Next | Step::Continue => {}
                    }
                }
                Ok(Step::Next)
            }
            Statement::Try { body, catch } => self.run_try(body, catch, out),
        }
    }

    /// `None`: it failed, which has been told.
    fn holds(&mut self, condition: &[Lexed], out: &mut Output) -> Result<Option<bool>, Stop> {
        let outcome = self.condition(condition);
        let line = condition.first().map_or(1, |token| token.line);
        match outcome {
            Ok(holds) => Ok(Some(holds)),
            Err(stop) => self.settle(Err(stop), line, out).map(|_| None),
        }
    }

    fn condition(&self, tokens: &[Lexed]) -> Result<bool, Stop> {
        let mut translator = Translator::new(self, tokens);
        let piece = translator.expression()?;
        translator.tokens().end()?;
        let bound = translator.into_bound();
        let sql = format!("SELECT ({}) IS TRUE", piece.sql);
        let value = self.single(&sql, &bound)?;
        Ok(value == rusqlite::types::Value::Integer(1))
    }

    fn run_try(
        &mut self,
        body: &[Statement],
        catch: &[Statement],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        let depth = self.frames.len();
        self.frame()?.tries += 1;
        let outcome = self.run_all(body, out);
        // An error in a called procedure has left its frames behind.
        while self.frames.len() > depth {
            self.pop_module();
        }
        self.frame()?.tries -= 1;
        let error = match outcome {
            // Class 20 and more, and attentions, are for nobody to catch.
            Err(Stop::Raised(error)) if error.class < 20 => *error,
            outcome => return outcome,
        };
        self.last.error = error.number;
        self.last.is_thrown = false;
        self.frame()?.caught.push(error);
        let outcome = self.run_all(catch, out);
        if let Ok(frame) = self.frame() {
            frame.caught.pop();
        }
        outcome
    }

    /// What an error means for the transaction and the rest of the batch.
    fn settle(
        &mut self,
        outcome: Result<Step, Stop>,
        line: u32,
        out: &mut Output,
    ) -> Result<Step, Stop> {
        let mut error = match outcome {
            Ok(step) => {
                self.last.error = 0;
                return Ok(step);
            }
            Err(Stop::Raised(error)) => error,
            Err(stop) => return Err(stop),
        };
        if error.line == 1 {
            error.line = line;
        }
        if error.procedure.is_empty() {
            error.procedure = self.line_procedure();
        }
        self.last.error = error.number;
        let by_user = error.number >= 50_000;
        let aborts_all = self.options.is_on("xact_abort") && !by_user;
        if error.number == 1205 || error.number == 3960 {
            self.roll_back_all(out);
        } else if aborts_all && self.is_trying() {
            self.transaction.doom();
        } else if aborts_all {
            self.roll_back_all(out);
        }
        if self.is_trying() {
            return Err(Stop::Raised(error));
        }
        out.error(&error);
        out.done(Done::failed(self.done_kind()));
        if error.class >= 20 {
            return Err(Stop::Ended);
        }
        let is_thrown = std::mem::take(&mut self.last.is_thrown);
        if error.aborts_batch() || aborts_all || is_thrown {
            return Err(Stop::Aborted);
        }
        Ok(Step::Next)
    }
}
