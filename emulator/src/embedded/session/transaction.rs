//! Transactions of the embedded server: explicit blocks, and the implicit one that PostgreSQL
//! opens for each Query message and between two Syncs.

use bytes::BytesMut;
use pgwire::messages::response::TransactionStatus;

use super::super::reply::{put_error, put_warning};
use super::super::sql_error::SqlError;
use super::super::statement::Statement;
use super::{Session, complete, put_report};

/// Where the session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    Idle,
    /// Begun for a statement; ends with the Query message or at Sync.
    Implicit,
    /// Begun by BEGIN; ends by COMMIT or ROLLBACK.
    Block,
    /// A block in which something failed; only its end, or a way back to a savepoint, is taken.
    Failed,
}

impl Transaction {
    pub(super) fn status(self) -> TransactionStatus {
        match self {
            Self::Idle | Self::Implicit => TransactionStatus::Idle,
            Self::Block => TransactionStatus::Transaction,
            Self::Failed => TransactionStatus::Error,
        }
    }
}

impl Session {
    /// Before a statement that reads or writes.
    pub(super) fn enter(&mut self) -> Result<(), SqlError> {
        self.refuse_if_failed()?;
        if self.transaction == Transaction::Idle {
            self.store.control("BEGIN")?;
            self.settings.begin();
            self.transaction = Transaction::Implicit;
        }
        Ok(())
    }

    pub(super) fn refuse_if_failed(&self) -> Result<(), SqlError> {
        if self.transaction == Transaction::Failed {
            return Err(SqlError::error(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    /// At the end of a Query message, or at Sync.
    pub(super) fn end_implicit(&mut self, out: &mut BytesMut) {
        if self.transaction == Transaction::Implicit {
            match self.finish("COMMIT", out) {
                Ok(()) => {}
                Err(error) => self.fail(&error, out),
            }
        }
        if self.transaction == Transaction::Idle {
            self.portals.clear();
        }
    }

    /// After an error: tells it, and undoes what it must.
    pub(super) fn fail(&mut self, error: &SqlError, out: &mut BytesMut) {
        put_error(out, error);
        match self.transaction {
            Transaction::Idle | Transaction::Failed => {}
            Transaction::Block => self.transaction = Transaction::Failed,
            Transaction::Implicit => {
                // There is nothing to commit, so nothing is lost if SQLite has undone it already.
                let _undone = self.finish("ROLLBACK", out);
                self.transaction = Transaction::Idle;
            }
        }
    }

    /// Transaction statements. Says whether it was one.
    pub(super) fn control(
        &mut self,
        statement: &Statement,
        out: &mut BytesMut,
    ) -> Result<bool, SqlError> {
        let tag = match statement {
            Statement::Begin => self.begin(out)?,
            Statement::Commit => self.end_block("COMMIT", out)?,
            Statement::Rollback => self.end_block("ROLLBACK", out)?,
            Statement::Savepoint(name) => self.savepoint("SAVEPOINT", name)?,
            Statement::Release(name) => self.savepoint("RELEASE", name)?,
            Statement::RollbackTo(name) => self.rollback_to(name)?,
            _ => return Ok(false),
        };
        complete(out, tag)?;
        Ok(true)
    }

    fn begin(&mut self, out: &mut BytesMut) -> Result<&'static str, SqlError> {
        self.refuse_if_failed()?;
        if self.transaction == Transaction::Block {
            put_warning(out, "25001", "there is already a transaction in progress");
        }
        self.enter()?;
        self.transaction = Transaction::Block;
        Ok("BEGIN")
    }

    fn end_block(
        &mut self,
        how: &'static str,
        out: &mut BytesMut,
    ) -> Result<&'static str, SqlError> {
        match self.transaction {
            Transaction::Idle | Transaction::Implicit => {
                put_warning(out, "25P01", "there is no transaction in progress");
                if self.transaction == Transaction::Implicit {
                    self.finish(how, out)?;
                }
                Ok(how)
            }
            Transaction::Block => {
                self.finish(how, out)?;
                Ok(how)
            }
            // COMMIT of a failed transaction is answered with ROLLBACK.
            Transaction::Failed => {
                self.finish("ROLLBACK", out)?;
                Ok("ROLLBACK")
            }
        }
    }

    fn savepoint(&self, verb: &'static str, name: &str) -> Result<&'static str, SqlError> {
        self.refuse_if_failed()?;
        self.need_block(verb)?;
        self.store.control(&format!("{verb} {}", quoted(name)))?;
        Ok(verb)
    }

    fn rollback_to(&mut self, name: &str) -> Result<&'static str, SqlError> {
        self.need_block("ROLLBACK TO SAVEPOINT")?;
        self.store
            .control(&format!("ROLLBACK TO {}", quoted(name)))?;
        self.transaction = Transaction::Block;
        Ok("ROLLBACK")
    }

    fn need_block(&self, verb: &str) -> Result<(), SqlError> {
        match self.transaction {
            Transaction::Block | Transaction::Failed => Ok(()),
            Transaction::Idle | Transaction::Implicit => Err(SqlError::error(
                "25P01",
                format!("{verb} can only be used in transaction blocks"),
            )),
        }
    }

    fn finish(&mut self, how: &str, out: &mut BytesMut) -> Result<(), SqlError> {
        let mut outcome = Ok(());
        if self.store.in_transaction() {
            outcome = self.store.control(how);
        }
        // A COMMIT that fails has not happened; PostgreSQL ends the transaction then.
        if outcome.is_err() && self.store.in_transaction() {
            self.store.control("ROLLBACK")?;
        }
        self.transaction = Transaction::Idle;
        self.portals.clear();
        if how == "COMMIT" && outcome.is_ok() {
            self.settings.commit();
        } else {
            for report in self.settings.roll_back() {
                put_report(out, report)?;
            }
        }
        outcome
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
