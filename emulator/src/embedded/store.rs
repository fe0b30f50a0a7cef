//! A session's connection to SQLite: what a statement will give, and running it.
//!
//! One file per database, shared by all sessions in write-ahead mode. Functions that belong to
//! PostgreSQL are defined here. Blocks; never call it on the reactor.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;
use rusqlite::{Connection, Statement as Prepared};

use super::columns::{self, Item};
use super::lexer::Token;
use super::parameters::{self, Columns};
use super::reply::Column;
use super::settings::SERVER_VERSION;
use super::sql_error::SqlError;
use super::statement::{Data, Tag};
use super::types::PgType;
use crate::error::Error;

/// How long a writer waits for another session's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// One session's view of a database.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
}

/// What a statement takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) parameters: Vec<PgType>,
    /// Empty when it gives no rows.
    pub(super) columns: Vec<Column>,
}

/// What a statement gave.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) rows: Vec<Vec<Value>>,
    /// For CommandComplete.
    pub(super) tag: String,
}

impl Store {
    pub(super) fn open(file: &Path, database: &str, role: &str, pid: i32) -> Result<Self, Error> {
        let failed = |source| Error::Store {
            name: database.to_owned(),
            source,
        };
        let connection = Connection::open(file).map_err(failed)?;
        prepare(&connection, database, role, pid).map_err(failed)?;
        Ok(Self { connection })
    }

    /// BEGIN, COMMIT and their like.
    pub(super) fn control(&self, sql: &str) -> Result<(), SqlError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// The first column of a query of our own.
    pub(super) fn texts(&self, sql: &str) -> Result<Vec<String>, SqlError> {
        let mut statement = self.connection.prepare(sql)?;
        let rows: Result<_, _> = statement.query_map([], |row| row.get(0))?.collect();
        Ok(rows?)
    }

    /// Whether a transaction is open. SQLite ends one by itself after some errors.
    pub(super) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Parameter and column types, without running the statement for its effect.
    pub(super) fn shape(
        &self,
        tokens: &[Token<'_>],
        data: &Data,
        declared: &[Option<PgType>],
    ) -> Result<Shape, SqlError> {
        let mut statement = self.connection.prepare(&data.sql)?;
        let known = self.columns_of(tokens)?;
        let count = data.parameters.max(declared.len());
        let parameters = parameters::infer(tokens, count, declared, &data.casts, &known);
        let items = columns::select_list(tokens);
        let tried = try_out(&mut statement, &parameters)?;
        let columns = statement
            .columns()
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let item = items.as_ref().and_then(|items| items.get(at));
                let name = item.and_then(|item| item.name.clone());
                Column {
                    name: name.unwrap_or_else(|| column.name().to_owned()),
                    kind: column
                        .decl_type()
                        .map(PgType::named)
                        .or_else(|| item.and_then(|item| item.kind))
                        .unwrap_or_else(|| guess(item, tried.get(at))),
                }
            })
            .collect();
        Ok(Shape {
            parameters,
            columns,
        })
    }

    pub(super) fn run(&self, data: &Data, values: &[Value]) -> Result<Outcome, SqlError> {
        let mut statement = self.connection.prepare(&data.sql)?;
        bind(&mut statement, values)?;
        let width = statement.column_count();
        let mut rows = Vec::new();
        let mut cursor = statement.raw_query();
        while let Some(row) = cursor.next()? {
            let values: Result<_, _> = (0..width).map(|at| row.get(at)).collect();
            rows.push(values?);
        }
        drop(cursor);
        let count = match data.tag {
            Tag::Select => rows.len(),
            _ => usize::try_from(self.connection.changes()).unwrap_or(usize::MAX),
        };
        Ok(Outcome {
            rows,
            tag: data.tag.with_count(count),
        })
    }

    fn columns_of(&self, tokens: &[Token<'_>]) -> Result<Columns, SqlError> {
        let mut known = Columns::default();
        for (at, table) in parameters::tables(tokens).iter().enumerate() {
            let mut statement = self
                .connection
                .prepare_cached("select name, type from pragma_table_info(?1)")?;
            let mut rows = statement.query([table])?;
            while let Some(row) = rows.next()? {
                let name: String = row.get(0)?;
                let kind = PgType::named(&row.get::<_, String>(1)?);
                known.by_name.insert(name.to_lowercase(), kind);
                if at == 0 {
                    known.of_first.push(kind);
                }
            }
        }
        Ok(known)
    }
}

/// The first row that a query gives for sample parameters; empty when it may change something.
fn try_out(statement: &mut Prepared<'_>, parameters: &[PgType]) -> Result<Vec<Value>, SqlError> {
    let width = statement.column_count();
    if width == 0 || !statement.readonly() {
        return Ok(Vec::new());
    }
    let samples: Vec<Value> = parameters.iter().map(|kind| kind.sample()).collect();
    bind(statement, &samples)?;
    let mut cursor = statement.raw_query();
    // An error (a value out of range, say) belongs to the execution, not to the description.
    let Ok(Some(row)) = cursor.next() else {
        return Ok(Vec::new());
    };
    let values: Result<_, _> = (0..width).map(|at| row.get(at)).collect();
    Ok(values?)
}

fn guess(item: Option<&Item>, tried: Option<&Value>) -> PgType {
    match tried {
        Some(Value::Integer(number))
            if item.is_some_and(|item| item.narrow) && i32::try_from(*number).is_ok() =>
        {
            PgType::Int4
        }
        Some(Value::Integer(_)) => PgType::Int8,
        Some(Value::Real(_)) => PgType::Float8,
        Some(Value::Blob(_)) => PgType::Bytea,
        Some(Value::Text(_) | Value::Null) | None => PgType::Text,
    }
}

/// SQLite numbers parameters up to the highest in the text; a client may declare more.
fn bind(statement: &mut Prepared<'_>, values: &[Value]) -> Result<(), SqlError> {
    let wanted = statement.parameter_count();
    for (at, value) in values.iter().take(wanted).enumerate() {
        statement.raw_bind_parameter(at + 1, value)?;
    }
    Ok(())
}

fn prepare(connection: &Connection, database: &str, role: &str, pid: i32) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    // A misspelt name in double quotes is an error, not a string.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version = format!(
        "PostgreSQL {SERVER_VERSION}, SQLite {}",
        rusqlite::version()
    );
    let texts = [
        ("version", version.as_str()),
        ("current_database", database),
        ("current_catalog", database),
        ("current_schema", "public"),
        ("current_user", role),
        ("current_role", role),
        ("session_user", role),
        ("user", role),
    ];
    for (name, value) in texts {
        constant(connection, name, Value::Text(value.to_owned()))?;
    }
    constant(connection, "pg_backend_pid", Value::Integer(pid.into()))?;
    constant(connection, "pg_is_in_recovery", Value::Integer(0))
}

fn constant(connection: &Connection, name: &str, value: Value) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function(name, 0, flags, move |_| Ok(value.clone()))
}
