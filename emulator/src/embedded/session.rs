//! One session of the embedded server after its login: messages in, messages out.
//!
//! Knows the simple and the extended query protocol (PostgreSQL 55.2.2, 55.2.3), transactions
//! with savepoints, settings, and prepared statements. Not known, and refused: COPY, function
//! calls, SQL-level PREPARE, cursors, notifications. No I/O; it blocks only in the store.

mod extended;
mod transaction;

use std::collections::BTreeMap;
use std::collections::HashMap;

use bytes::BytesMut;
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};

use super::lexer::{Token, statements};
use super::reply::{Column, put, put_columns, put_error, put_row};
use super::settings::{Report, Settings};
use super::sql_error::SqlError;
use super::statement::{Statement, understand};
use super::store::Store;
use super::types::PgType;
use extended::{Portal, Prepared};
use rusqlite::types::Value;
use transaction::Transaction;

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    End,
}

/// A logged-in client.
#[derive(Debug)]
pub(super) struct Session {
    store: Store,
    transaction: Transaction,
    settings: Settings,
    prepared: HashMap<String, Prepared>,
    portals: HashMap<String, Portal>,
    /// After an error in the extended protocol: everything up to Sync is thrown away.
    skipping: bool,
}

impl Session {
    pub(super) fn new(store: Store, role: &str) -> Self {
        Self {
            store,
            transaction: Transaction::Idle,
            settings: Settings::new(role),
            prepared: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
        }
    }

    /// What the server says after a good login.
    pub(super) fn greet(
        &mut self,
        parameters: &BTreeMap<String, String>,
        pid: i32,
        out: &mut BytesMut,
    ) -> Result<(), SqlError> {
        for (name, value) in parameters {
            let known_elsewhere = ["user", "database", "options", "replication"];
            if known_elsewhere.contains(&name.as_str()) || name.starts_with("_pq_.") {
                continue;
            }
            self.settings
                .start_with(name, value)
                .map_err(|error| SqlError::fatal(error.code, error.message))?;
        }
        put(out, &Authentication::Ok)?;
        for report in self.settings.at_login() {
            put_report(out, report)?;
        }
        put(out, &BackendKeyData::new(pid, SecretKey::I32(pid)))?;
        put(out, &ReadyForQuery::new(self.transaction.status()))
    }

    pub(super) fn handle_all(&mut self, messages: Vec<Message>, out: &mut BytesMut) -> Flow {
        for message in messages {
            match self.handle(message, out) {
                Ok(Flow::Continue) => {}
                Ok(Flow::End) => return Flow::End,
                Err(error) => {
                    put_error(out, &error);
                    return Flow::End;
                }
            }
        }
        Flow::Continue
    }

    /// An error here ends the session; errors of statements are answered inside.
    fn handle(&mut self, message: Message, out: &mut BytesMut) -> Result<Flow, SqlError> {
        match message {
            Message::Terminate(_) => return Ok(Flow::End),
            Message::Sync(_) => {
                self.skipping = false;
                self.end_implicit(out);
                put(out, &ReadyForQuery::new(self.transaction.status()))?;
            }
            // Everything is written at the end of each batch anyway.
            Message::Flush(_) => {}
            message if message.is_extended_query() => {
                if !self.skipping
                    && let Err(error) = self.extended(message, out)
                {
                    self.skipping = true;
                    self.fail(&error, out);
                }
            }
            Message::Query(query) => {
                // Up to Sync, PostgreSQL throws everything away, a Query as well.
                if !self.skipping {
                    self.simple(&query.query, out)?;
                }
            }
            Message::CopyData(_) | Message::CopyDone(_) | Message::CopyFail(_) => {}
            _ => {
                let text = "unexpected message after the login".to_owned();
                return Err(SqlError::fatal("08P01", text));
            }
        }
        Ok(Flow::Continue)
    }

    fn simple(&mut self, sql: &str, out: &mut BytesMut) -> Result<(), SqlError> {
        // As in PostgreSQL, a simple query ends the unnamed statement and portal.
        self.prepared.remove("");
        self.portals.remove("");
        match self.simple_statements(sql, out) {
            Ok(()) => self.end_implicit(out),
            Err(error) => self.fail(&error, out),
        }
        put(out, &ReadyForQuery::new(self.transaction.status()))
    }

    fn simple_statements(&mut self, sql: &str, out: &mut BytesMut) -> Result<(), SqlError> {
        let all = statements(sql)?;
        if all.is_empty() {
            put(out, &EmptyQueryResponse::new())?;
        }
        for tokens in &all {
            self.simple_statement(tokens, out)?;
        }
        Ok(())
    }

    fn simple_statement(
        &mut self,
        tokens: &[Token<'_>],
        out: &mut BytesMut,
    ) -> Result<(), SqlError> {
        let data = match understand(tokens)? {
            Statement::Data(data) => data,
            Statement::Show(name) => {
                let (columns, row) = self.show(&name)?;
                put_columns(out, &columns, &[])?;
                put_row(out, &columns, &[], &row)?;
                return complete(out, "SHOW");
            }
            Statement::SetConfig(settings) => {
                put_columns(out, &set_config_columns(&settings), &[])?;
                let row = self.set_config(&settings, out)?;
                put_row(out, &set_config_columns(&settings), &[], &row)?;
                return complete(out, "SELECT 1");
            }
            other => return self.session_statement(&other, out),
        };
        self.enter()?;
        let shape = self.store.shape(tokens, &data, &[])?;
        if data.parameters > 0 {
            return Err(SqlError::error("42P02", "there is no parameter $1"));
        }
        let outcome = self.store.run(&data, &[])?;
        if !shape.columns.is_empty() {
            put_columns(out, &shape.columns, &[])?;
            for row in &outcome.rows {
                put_row(out, &shape.columns, &[], row)?;
            }
        }
        complete(out, &outcome.tag)
    }

    /// Statements about the session itself, except SHOW, which gives rows.
    fn session_statement(
        &mut self,
        statement: &Statement,
        out: &mut BytesMut,
    ) -> Result<(), SqlError> {
        if self.control(statement, out)? {
            return Ok(());
        }
        if *statement == Statement::DiscardAll {
            self.refuse_if_failed()?;
        } else {
            self.enter()?;
        }
        let reports = match statement {
            Statement::Set { name, value } => self.settings.set(name, value)?.into_iter().collect(),
            Statement::Reset(name) => self.settings.reset(name)?.into_iter().collect(),
            Statement::ResetAll => self.settings.reset_all(),
            Statement::DiscardAll => self.discard_all()?,
            Statement::DeallocateAll => {
                self.prepared.clear();
                Vec::new()
            }
            Statement::Deallocate(name) => {
                self.prepared.remove(name).ok_or_else(|| {
                    let text = format!("prepared statement \"{name}\" does not exist");
                    SqlError::error("26000", text)
                })?;
                Vec::new()
            }
            _ => return Err(SqlError::unsupported("this statement here")),
        };
        for report in reports {
            put_report(out, report)?;
        }
        complete(
            out,
            match statement {
                Statement::Set { .. } => "SET",
                Statement::Reset(_) | Statement::ResetAll => "RESET",
                Statement::DiscardAll => "DISCARD ALL",
                Statement::DeallocateAll => "DEALLOCATE ALL",
                _ => "DEALLOCATE",
            },
        )
    }

    /// Sets each and gives the row of the result.
    fn set_config(
        &mut self,
        settings: &[(String, String)],
        out: &mut BytesMut,
    ) -> Result<Vec<Value>, SqlError> {
        self.enter()?;
        for (name, value) in settings {
            if let Some(report) = self.settings.set(name, value)? {
                put_report(out, report)?;
            }
        }
        Ok(settings
            .iter()
            .map(|(_, value)| Value::Text(value.clone()))
            .collect())
    }

    fn discard_all(&mut self) -> Result<Vec<Report>, SqlError> {
        if self.transaction == Transaction::Block {
            let text = "DISCARD ALL cannot run inside a transaction block";
            return Err(SqlError::error("25001", text));
        }
        self.prepared.clear();
        self.portals.clear();
        let temporary = "select 'drop table temp.\"' || replace(name, '\"', '\"\"') || '\"' \
                         from temp.sqlite_master where type = 'table'";
        for drop in self.store.texts(temporary)? {
            self.store.control(&drop)?;
        }
        Ok(self.settings.reset_all())
    }
}

/// The columns of `SELECT set_config(…), …`.
fn set_config_columns(settings: &[(String, String)]) -> Vec<Column> {
    let column = || Column {
        name: "set_config".to_owned(),
        kind: PgType::Text,
    };
    settings.iter().map(|_| column()).collect()
}

fn put_report(out: &mut BytesMut, report: Report) -> Result<(), SqlError> {
    put(
        out,
        &ParameterStatus::new(report.name.into_owned(), report.value),
    )
}

fn complete(out: &mut BytesMut, tag: &str) -> Result<(), SqlError> {
    put(out, &CommandComplete::new(tag.to_owned()))
}
