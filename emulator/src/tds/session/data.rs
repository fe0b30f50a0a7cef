//! SELECT, and how every statement gets to the store: in which transaction, with what patience.

use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, Statement};

use super::rows::{headings, put_metadata, put_row};
use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::Lexed;
use crate::tds::sql::query::Query;
use crate::tds::sql::translator::Translator;
use crate::tds::store::is_busy;
use crate::tds::wire::tokens::Done;

/// Numbers of statements in DONE (opaque in MS-TDS; those of SQL Server).
pub(super) mod command {
    pub(in crate::tds::session) const SELECT: u16 = 0xc1;
    pub(in crate::tds::session) const INSERT: u16 = 0xc3;
    pub(in crate::tds::session) const DELETE: u16 = 0xc4;
    pub(in crate::tds::session) const UPDATE: u16 = 0xc5;
    pub(in crate::tds::session) const BULK: u16 = 0xf0;
}

/// LOCK_TIMEOUT -1 waits for ever on SQL Server, where somebody finds deadlocks. Here, waiting so
/// long is taken for one.
const DEADLOCK: Duration = Duration::from_secs(30);

impl Session {
    pub(super) fn select(&mut self, tokens: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        self.before_data(Access::Reads)?;
        let (query, bound) = {
            let mut translator = Translator::new(self, tokens);
            let query = translator.query()?;
            translator.tokens().end()?;
            (query, translator.into_bound())
        };
        let assigns =
            |name: &Option<String>| name.as_ref().is_some_and(|name| name.starts_with('@'));
        if query.columns.iter().any(|column| assigns(&column.name)) {
            if !query.columns.iter().all(|column| assigns(&column.name)) {
                let text = "A SELECT statement that assigns a value to a variable must not be \
                            combined with data-retrieval operations.";
                return Err(ServerError::new(141, 15, text).into());
            }
            self.open_implicit_for(tokens, out);
            return self.select_into_variables(&query, &bound, out);
        }
        if query.into.is_some() {
            return self.select_into(&query, &bound, out);
        }
        self.open_implicit_for(tokens, out);
        self.begin_reading()?;
        let count = self.stream(&query, &bound, out)?;
        self.count_done(out, command::SELECT, count);
        Ok(Step::Next)
    }

    /// Sends a query's rows; gives their number.
    pub(super) fn stream(
        &self,
        query: &Query,
        bound: &[Value],
        out: &mut Output,
    ) -> Result<u64, Stop> {
        let most = match self.options.row_count {
            _ if self.options.is_on("fmtonly") => 0,
            0 => u64::MAX,
            limit => limit,
        };
        let start = Instant::now();
        loop {
            let mut has_begun = false;
            let outcome = self.stream_once(query, bound, (most, &mut has_begun), out);
            match outcome {
                Err(Failure::Store(error)) if is_busy(&error) && !has_begun => {
                    self.wait(start)?;
                }
                Err(Failure::Store(error)) => return Err(error.into()),
                Err(Failure::Stop(stop)) => return Err(stop),
                Ok(count) => return Ok(count),
            }
        }
    }

    fn stream_once(
        &self,
        query: &Query,
        bound: &[Value],
        (most, has_begun): (u64, &mut bool),
        out: &mut Output,
    ) -> Result<u64, Failure> {
        let mut statement = self.connection.prepare(&query.sql)?;
        bind(&mut statement, bound)?;
        let width = statement.column_count();
        let mut rows = statement.raw_query();
        let mut row = read(&mut rows, width)?;
        let headings = headings(&query.columns, row.as_deref());
        put_metadata(out, &headings);
        *has_begun = true;
        let mut count = 0;
        while let Some(values) = row {
            if count >= most {
                break;
            }
            if self.cancel.is_set() || out.is_gone() {
                return Err(Failure::Stop(Stop::Cancelled));
            }
            put_row(out, &headings, values).map_err(|error| Failure::Stop(error.into()))?;
            count += 1;
            row = read(&mut rows, width)?;
        }
        Ok(count)
    }

    /// All rows at once, for statements that need them.
    pub(super) fn all_rows(&self, sql: &str, bound: &[Value]) -> Result<Vec<Vec<Value>>, Stop> {
        self.patiently(|connection| {
            let mut statement = connection.prepare(sql)?;
            bind(&mut statement, bound)?;
            let width = statement.column_count();
            let mut rows = statement.raw_query();
            let mut all = Vec::new();
            while let Some(row) = read(&mut rows, width)? {
                all.push(row);
            }
            Ok(all)
        })
    }

    /// The first value of the first row; NULL when there is none.
    pub(super) fn single(&self, sql: &str, bound: &[Value]) -> Result<Value, Stop> {
        let rows = self.all_rows(sql, bound)?;
        let first = rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next());
        Ok(first.unwrap_or(Value::Null))
    }

    /// Runs a statement that changes something; gives the number of rows changed.
    pub(super) fn change(&self, sql: &str, bound: &[Value]) -> Result<u64, Stop> {
        self.patiently(|connection| {
            let mut statement = connection.prepare(sql)?;
            bind(&mut statement, bound)?;
            let count = statement.raw_execute()?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }

    /// Tries until the lock is had, LOCK_TIMEOUT is over, or an attention comes.
    pub(super) fn patiently<T>(
        &self,
        mut attempt: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Stop> {
        let start = Instant::now();
        loop {
            match attempt(&self.connection) {
                Err(error) if is_busy(&error) => self.wait(start)?,
                Err(error) => return Err(self.explained(error)),
                Ok(done) => return Ok(done),
            }
        }
    }

    /// A breach of a unique index that is no constraint has a number of its own, which SQLite
    /// does not tell apart.
    fn explained(&self, error: rusqlite::Error) -> Stop {
        let is_unique = error
            .sqlite_error()
            .is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE);
        let message = error.to_string();
        let broken = message.split_once(": ").map(|(_, columns)| columns);
        if let (true, Some(columns)) = (is_unique, broken)
            && let Some(error) = self.duplicate_in_index(columns)
        {
            return error.into();
        }
        error.into()
    }

    /// `columns`: `t.a, t.b`.
    fn duplicate_in_index(&self, columns: &str) -> Option<ServerError> {
        let table = columns.split('.').next()?;
        let prefix = format!("{table}.");
        let names = columns.replace(&prefix, "").replace(", ", ",");
        let schema = self.server.databases.schema(&self.context.database)?;
        let sql = "SELECT il.name FROM pragma_index_list(?1, ?2) il WHERE il.origin = 'c' AND \
                   (SELECT group_concat(name) FROM pragma_index_info(il.name, ?2)) = ?3";
        let found: Option<String> = self
            .connection
            .query_row(sql, [table, &schema, &names], |row| row.get(0))
            .ok();
        let index = found?;
        let index = index.strip_prefix(&prefix).unwrap_or(&index);
        let text = format!(
            "Cannot insert duplicate key row in object 'dbo.{table}' with unique index '{index}'."
        );
        Some(ServerError::new(2601, 14, text))
    }

    /// Rests once between tries that began at `start`.
    fn wait(&self, start: Instant) -> Result<(), Stop> {
        let waited = start.elapsed();
        let is_over = match u64::try_from(self.options.lock_timeout) {
            Ok(most) => waited >= Duration::from_millis(most),
            Err(_) if waited >= DEADLOCK => {
                let text = "Transaction was deadlocked on lock resources with another process and \
                            has been chosen as the deadlock victim. Rerun the transaction.";
                return Err(ServerError::new(1205, 13, text).into());
            }
            Err(_) => false,
        };
        if is_over {
            let error = ServerError::new(1222, 16, "Lock request time out period exceeded.");
            return Err(error.with_state(51).into());
        }
        if self.cancel.rest() {
            Ok(())
        } else {
            Err(Stop::Cancelled)
        }
    }

    /// Before a statement touches data: faults that tests asked for, and doomed transactions.
    pub(super) fn before_data(&self, access: Access) -> Result<(), Stop> {
        if let Some(fault) = self.server.faults.next_statement() {
            return Err(fault.into());
        }
        if access == Access::Writes && self.transaction.is_doomed() {
            let text = "The current transaction cannot be committed and cannot support operations \
                        that write to the log file. Roll back the transaction.";
            return Err(ServerError::new(3930, 16, text).into());
        }
        Ok(())
    }

    /// The end of a statement that counted rows.
    pub(super) fn count_done(&mut self, out: &mut Output, command: u16, count: u64) {
        self.last.row_count = count;
        let mut done = Done::new(self.done_kind());
        done.command = command;
        let silent = self.options.is_on("nocount");
        if silent && self.is_in_module() && command != command::SELECT {
            return;
        }
        done.rows = (!silent).then_some(count);
        out.done(done);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Reads,
    Writes,
}

enum Failure {
    Store(rusqlite::Error),
    Stop(Stop),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

fn bind(statement: &mut Statement<'_>, values: &[Value]) -> rusqlite::Result<()> {
    let wanted = statement.parameter_count();
    for (at, value) in values.iter().take(wanted).enumerate() {
        statement.raw_bind_parameter(at + 1, value)?;
    }
    Ok(())
}

fn read(rows: &mut rusqlite::Rows<'_>, width: usize) -> rusqlite::Result<Option<Vec<Value>>> {
    match rows.next()? {
        Some(row) => (0..width)
            .map(|at| row.get(at))
            .collect::<Result<_, _>>()
            .map(Some),
        None => Ok(None),
    }
}
