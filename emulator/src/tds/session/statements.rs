//! Which plain statement is which.

use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, Token};
use crate::tds::sql::tokens::Tokens;
use crate::tds::wire::tokens::{Done, env, put_env_text};

impl Session {
    pub(super) fn plain(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        let tokens = Tokens::new(run);
        let Some(Token::Word(first)) = tokens.peek() else {
            return Err(tokens.unexpected().into());
        };
        let first = first.to_ascii_lowercase();
        // SET is heard even then: it is how it ends.
        if self.options.is_dry() && first != "set" {
            return Ok(Step::Next);
        }
        match first.as_str() {
            "select" | "insert" | "update" | "delete" | "truncate" | "with" => {
                self.data_statement(&first, run, out)
            }
            "create" | "alter" | "drop" => {
                self.definition(run, out)?;
                out.done(Done::new(self.done_kind()));
                Ok(Step::Next)
            }
            "declare" => self.declare_statement(run),
            "set" => self.set_statement(run, out),
            "exec" | "execute" => self.execute_statement(run, out),
            "print" => self.print(run, out),
            "raiserror" => self.raise(run, out),
            "throw" => self.throw(run),
            "waitfor" => self.wait_for(run),
            "begin" => self.begin_statement(run, out),
            "commit" => self.commit_statement(run, out),
            "rollback" => self.rollback_statement(run, out),
            "save" => self.save_statement(run),
            "use" => self.use_statement(run, out),
            "return" => self.return_statement(run),
            "break" => Ok(Step::Break),
            "continue" => Ok(Step::Continue),
            "open" | "fetch" | "close" | "deallocate" => self.cursor_statement(run, out),
            "dbcc" => self.dbcc(run, out),
            "revert" => {
                self.context.impersonations.pop();
                Ok(Step::Next)
            }
            other => Err(ServerError::unsupported(&other.to_uppercase()).into()),
        }
    }

    fn data_statement(
        &mut self,
        first: &str,
        run: &[Lexed],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        let verb = if first == "with" {
            main_verb(run)
        } else {
            first.to_owned()
        };
        match verb.as_str() {
            "insert" if is_bulk(run) => self.insert_bulk(run, out),
            "insert" => self.insert(run, out),
            "update" => self.update(run, out),
            "delete" => self.delete(run, out),
            "truncate" => self.truncate(run, out),
            _ => self.select(run, out),
        }
    }

    /// USE database.
    fn use_statement(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        tokens.expect("use")?;
        let name = tokens.name()?;
        tokens.end()?;
        let found = self.server.has_database(&name).map(str::to_owned);
        let Some(database) = found else {
            let text = format!(
                "Database '{name}' does not exist. Make sure that the name is entered correctly."
            );
            return Err(ServerError::new(911, 16, text).into());
        };
        if self.server.setup.use_is_refused && database != self.facts.database {
            let text = "USE statement is not supported to switch between databases. Use a new \
                        connection to connect to a different database.";
            return Err(ServerError::new(40_508, 16, text).into());
        }
        let old = std::mem::replace(&mut self.context.database, database.clone());
        out.put(|bytes| put_env_text(bytes, env::DATABASE, &database, &old));
        let text = format!("Changed database context to '{database}'.");
        out.info(&ServerError::info(5701, text).with_state(2));
        self.last.row_count = 0;
        Ok(Step::Next)
    }

    /// `RETURN [number]`.
    fn return_statement(&mut self, run: &[Lexed]) -> Result<Step, Stop> {
        let behind = run.get(1..).unwrap_or_default();
        if !behind.is_empty() {
            let value = self.evaluate(behind)?.1;
            if let rusqlite::types::Value::Integer(status) = value {
                self.frame()?.status = i32::try_from(status).unwrap_or(0);
            }
        }
        Ok(Step::Return)
    }

    /// DBCC TRACEON, TRACEOFF, USEROPTIONS.
    fn dbcc(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        tokens.expect("dbcc")?;
        let command = tokens.name()?.to_ascii_lowercase();
        match command.as_str() {
            "traceon" | "traceoff" => {
                let inside = tokens.parenthesised()?;
                let flags = inside.iter().filter_map(|lexed| match &lexed.token {
                    Token::Number(number) => number.parse::<i64>().ok(),
                    _ => None,
                });
                for flag in flags {
                    if command == "traceon" {
                        self.context.trace_flags.insert(flag);
                    } else {
                        self.context.trace_flags.remove(&flag);
                    }
                }
                Ok(Step::Next)
            }
            "useroptions" => self.user_options(out),
            other => {
                Err(ServerError::unsupported(&format!("DBCC {}", other.to_uppercase())).into())
            }
        }
    }
}

/// The statement behind common table expressions.
fn main_verb(run: &[Lexed]) -> String {
    let mut depth = 0_usize;
    for lexed in run {
        match &lexed.token {
            Token::Symbol("(") => depth += 1,
            Token::Symbol(")") => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 => {
                let word = word.to_ascii_lowercase();
                if ["select", "insert", "update", "delete"].contains(&word.as_str()) {
                    return word;
                }
            }
            _ => {}
        }
    }
    "select".to_owned()
}

fn is_bulk(run: &[Lexed]) -> bool {
    Tokens::new(run).is_at(1, "bulk")
}
