//! Transactions: counts, descriptors, savepoints, and their ENVCHANGEs (MS-TDS 2.2.7.9).
//!
//! SQLite's transaction begins with the first write (or the first read, for the levels that need
//! it): until then every read sees the last committed state, as under READ_COMMITTED_SNAPSHOT.

use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::builder::Profile;
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, Token};
use crate::tds::sql::tokens::Tokens;
use crate::tds::sql::translator::quote;
use crate::tds::wire::tokens::{Done, DoneKind, env, put_env_bytes};
use crate::tds::wire::transaction::Isolation;

#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// @@TRANCOUNT.
    count: u32,
    /// 0 outside of a transaction.
    descriptor: u64,
    /// The client was told the descriptor.
    is_announced: bool,
    /// SQLite has begun.
    has_begun: bool,
    is_doomed: bool,
    name: String,
    /// In order.
    savepoints: Vec<String>,
}

/// How a transaction was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    InText,
    ByRequest,
}

impl Transaction {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn descriptor(&self) -> u64 {
        self.descriptor
    }

    pub(super) fn is_announced(&self) -> bool {
        self.is_announced
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.is_doomed
    }

    /// It can only be rolled back any more.
    pub(super) fn doom(&mut self) {
        self.is_doomed = self.count > 0;
    }
}

impl Session {
    /// `BEGIN TRANSACTION [name]`.
    pub(super) fn begin_statement(
        &mut self,
        tokens: &[Lexed],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(tokens);
        tokens.expect("begin")?;
        if tokens.is("distributed") {
            return Err(ServerError::unsupported("BEGIN DISTRIBUTED TRANSACTION").into());
        }
        let _either = tokens.take("tran") || tokens.take("transaction");
        let name = self.transaction_name(&mut tokens)?;
        if tokens.take("with") {
            return Err(ServerError::unsupported("WITH MARK").into());
        }
        tokens.end()?;
        self.begin(name.as_deref().unwrap_or_default(), Asked::InText, out);
        self.last.row_count = 0;
        Ok(Step::Next)
    }

    pub(super) fn begin(&mut self, name: &str, asked: Asked, out: &mut Output) {
        self.transaction.count += 1;
        if self.transaction.count > 1 {
            return;
        }
        self.server.counters.begins.add();
        let descriptor = self.server.new_descriptor();
        self.transaction.descriptor = descriptor;
        self.transaction.is_announced =
            asked == Asked::ByRequest || self.server.setup.profile == Profile::Azure;
        name.clone_into(&mut self.transaction.name);
        self.announce(env::BEGIN, descriptor, out);
    }

    /// Under SET IMPLICIT_TRANSACTIONS ON.
    pub(super) fn open_implicit(&mut self, out: &mut Output) {
        if self.transaction.count == 0 && self.options.is_on("implicit_transactions") {
            self.begin("", Asked::InText, out);
        }
    }

    /// The same before a SELECT: one that selects from no table begins none.
    pub(super) fn open_implicit_for(&mut self, select: &[Lexed], out: &mut Output) {
        let is_from = |lexed: &Lexed| matches!(&lexed.token, Token::Word(word) if word.eq_ignore_ascii_case("from"));
        if select.iter().any(is_from) {
            self.open_implicit(out);
        }
    }

    /// `COMMIT [TRANSACTION [name]]`.
    pub(super) fn commit_statement(
        &mut self,
        tokens: &[Lexed],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(tokens);
        tokens.expect("commit")?;
        let _any = tokens.take("tran") || tokens.take("transaction") || tokens.take("work");
        self.transaction_name(&mut tokens)?;
        tokens.end()?;
        self.commit(out)?;
        self.last.row_count = 0;
        Ok(Step::Next)
    }

    pub(super) fn commit(&mut self, out: &mut Output) -> Result<(), Stop> {
        if self.transaction.count == 0 {
            let text = "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.";
            return Err(ServerError::new(3902, 16, text).into());
        }
        if self.transaction.is_doomed {
            let text = "The current transaction cannot be committed and cannot support operations \
                        that write to the log file. Roll back the transaction.";
            return Err(ServerError::new(3930, 16, text).into());
        }
        if self.transaction.count > 1 {
            self.transaction.count -= 1;
            return Ok(());
        }
        if self.transaction.has_begun {
            self.change("COMMIT", &[])?;
        }
        self.server.counters.commits.add();
        self.finish_transaction(env::COMMIT, out);
        Ok(())
    }

    /// `ROLLBACK [TRANSACTION [name of the transaction or of a savepoint]]`.
    pub(super) fn rollback_statement(
        &mut self,
        tokens: &[Lexed],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(tokens);
        tokens.expect("rollback")?;
        let _any = tokens.take("tran") || tokens.take("transaction") || tokens.take("work");
        let name = self.transaction_name(&mut tokens)?;
        tokens.end()?;
        self.rollback(name.as_deref().unwrap_or_default(), out)?;
        self.last.row_count = 0;
        Ok(Step::Next)
    }

    pub(super) fn rollback(&mut self, name: &str, out: &mut Output) -> Result<(), Stop> {
        if self.transaction.count == 0 {
            let text = "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.";
            return Err(ServerError::new(3903, 16, text).into());
        }
        if name.is_empty() || name.eq_ignore_ascii_case(&self.transaction.name) {
            self.roll_back_all(out);
            return Ok(());
        }
        let mut savepoints = self.transaction.savepoints.iter();
        let Some(at) = savepoints.rposition(|known| known.eq_ignore_ascii_case(name)) else {
            let text = format!(
                "Cannot roll back {name}. No transaction or savepoint of that name was found."
            );
            return Err(ServerError::new(6401, 16, text).into());
        };
        self.transaction.savepoints.truncate(at + 1);
        self.change(&format!("ROLLBACK TO {}", quote(&savepoint(at))), &[])?;
        Ok(())
    }

    /// SAVE TRANSACTION name.
    pub(super) fn save_statement(&mut self, tokens: &[Lexed]) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(tokens);
        tokens.expect("save")?;
        let _either = tokens.take("tran") || tokens.take("transaction");
        let name = self.transaction_name(&mut tokens)?;
        let name = name.ok_or_else(|| tokens.unexpected())?;
        tokens.end()?;
        self.save(&name)?;
        Ok(Step::Next)
    }

    pub(super) fn save(&mut self, name: &str) -> Result<(), Stop> {
        if self.transaction.count == 0 {
            let text = "Cannot issue SAVE TRANSACTION when there is no active transaction.";
            return Err(ServerError::new(628, 16, text).into());
        }
        self.begin_writing()?;
        let at = self.transaction.savepoints.len();
        self.change(&format!("SAVEPOINT {}", quote(&savepoint(at))), &[])?;
        self.transaction.savepoints.push(name.to_owned());
        Ok(())
    }

    /// Whatever the count; nothing without a transaction.
    pub(super) fn roll_back_all(&mut self, out: &mut Output) {
        if self.transaction.count == 0 {
            return;
        }
        self.roll_back_silently();
        self.server.counters.rollbacks.add();
        self.finish_transaction(env::ROLLBACK, out);
    }

    /// In the store only.
    pub(super) fn roll_back_silently(&self) {
        if !self.connection.is_autocommit() {
            // It fails only when SQLite has rolled back already.
            let _already = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// A batch may not end with a transaction that can only be rolled back.
    pub(super) fn end_doomed(&mut self, out: &mut Output) {
        let text = "Uncommittable transaction is detected at the end of the batch. The transaction \
                    is rolled back.";
        self.roll_back_all(out);
        out.error(&ServerError::new(3998, 16, text));
        out.done(Done::failed(DoneKind::Done));
    }

    fn finish_transaction(&mut self, kind: u8, out: &mut Output) {
        let descriptor = self.transaction.descriptor;
        self.announce(kind, descriptor, out);
        self.transaction = Transaction::default();
        self.server.locks.end_of_transaction(self.spid);
        if self.options.is_on("cursor_close_on_commit") {
            self.cursors.close_all();
        }
    }

    fn announce(&self, kind: u8, descriptor: u64, out: &mut Output) {
        if !self.transaction.is_announced || !self.facts.version.is_wide() {
            return;
        }
        let descriptor = descriptor.to_le_bytes();
        let (new, old): (&[u8], &[u8]) = match kind {
            env::BEGIN => (&descriptor, &[]),
            _ => (&[], &descriptor),
        };
        out.put(|bytes| put_env_bytes(bytes, kind, new, old));
    }

    /// Before a read: which state it may see.
    pub(super) fn begin_reading(&mut self) -> Result<(), Stop> {
        if self.transaction.count == 0 || self.transaction.has_begun {
            return Ok(());
        }
        match self.options.isolation {
            // The last committed state, at each statement.
            Isolation::ReadUncommitted | Isolation::ReadCommitted => return Ok(()),
            Isolation::Snapshot => self.change("BEGIN", &[])?,
            // Nobody may change what was read; here that is the whole store.
            Isolation::RepeatableRead | Isolation::Serializable => {
                self.change("BEGIN IMMEDIATE", &[])?
            }
        };
        self.transaction.has_begun = true;
        Ok(())
    }

    /// Before a write, and before anything that a rollback must take back.
    pub(super) fn begin_writing(&mut self) -> Result<(), Stop> {
        if self.transaction.count > 0 && !self.transaction.has_begun {
            self.change("BEGIN", &[])?;
            self.transaction.has_begun = true;
        }
        Ok(())
    }

    /// Several statements of the store as one.
    pub(super) fn atomically<T>(
        &mut self,
        steps: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.change("SAVEPOINT statement", &[])?;
        let outcome = steps(self);
        if outcome.is_err() {
            let _gone_with_it = self.connection.execute_batch("ROLLBACK TO statement");
        }
        match self.change("RELEASE statement", &[]) {
            Ok(_) => outcome,
            Err(stop) => {
                let _gone_with_it = self
                    .connection
                    .execute_batch("ROLLBACK TO statement; RELEASE statement");
                outcome.and(Err(stop))
            }
        }
    }

    fn transaction_name(&self, tokens: &mut Tokens<'_>) -> Result<Option<String>, Stop> {
        match tokens.peek() {
            Some(Token::Word(_) | Token::Quoted(_)) if !tokens.is("with") => {
                Ok(Some(tokens.name()?))
            }
            Some(Token::Variable(name)) => {
                tokens.next();
                match self.variable(name)?.1 {
                    rusqlite::types::Value::Text(text) => Ok(Some(text)),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }
}

/// The store's name for the savepoint at this place: T-SQL's may come twice.
fn savepoint(at: usize) -> String {
    format!("save{at}")
}
