//! The databases: one SQLite file each, attached to every session's connection.
//!
//! Write-ahead mode gives readers the last committed state, as READ_COMMITTED_SNAPSHOT does on
//! Azure; there is one writer per database.

pub(super) mod catalog;
mod dates;
mod runtime;

pub(super) use catalog::{Column, Table};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;

use super::sql::translator::quote;
use crate::error::Error;

/// All databases of a server; the files go with the value.
#[derive(Debug)]
pub(super) struct Databases {
    directory: TempDir,
    names: Vec<String>,
}

impl Databases {
    pub(super) fn create(names: &[String]) -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("entrapool-tds-")
            .tempdir()
            .map_err(Error::io("make a directory for the TDS server"))?;
        let databases = Self {
            directory,
            names: names.to_vec(),
        };
        // Made now, so that a broken store is seen at the start.
        let connection = databases.open().map_err(|source| Error::Store {
            name: names.join(", "),
            source,
        })?;
        for schema in databases.schemas() {
            catalog::create(&connection, &schema).map_err(|source| Error::Store {
                name: schema.clone(),
                source,
            })?;
        }
        Ok(databases)
    }

    /// SQLite's names for them.
    fn schemas(&self) -> Vec<String> {
        let mut schemas: Vec<String> = (0..self.names.len()).map(|at| format!("db{at}")).collect();
        schemas.push("tempdb".to_owned());
        schemas
    }

    /// SQLite's name for a database. `None`: there is none such.
    pub(super) fn schema(&self, name: &str) -> Option<String> {
        if name.eq_ignore_ascii_case("tempdb") {
            return Some("tempdb".to_owned());
        }
        let mut names = self.names.iter();
        let at = names.position(|known| known.eq_ignore_ascii_case(name))?;
        Some(format!("db{at}"))
    }

    /// A session's connection to all of them.
    pub(super) fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_in_memory()?;
        // A misspelt name in double quotes is an error, not a string.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        // Waiting is ours: it has to hear attentions.
        connection.busy_timeout(std::time::Duration::ZERO)?;
        for schema in self.schemas() {
            let file = self.directory.path().join(format!("{schema}.sqlite"));
            let attach = format!("ATTACH ?1 AS {}", quote(&schema));
            connection.execute(&attach, [file.to_string_lossy()])?;
            attempt(|| connection.pragma_update(Some(schema.as_str()), "journal_mode", "WAL"))?;
            connection.pragma_update(Some(schema.as_str()), "synchronous", "OFF")?;
        }
        connection.pragma_update(None, "foreign_keys", true)?;
        catalog::create(&connection, "temp")?;
        runtime::register(&connection)?;
        Ok(connection)
    }
}

/// Other sessions may be opening or checkpointing the same file just now.
fn attempt(mut try_it: impl FnMut() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    let mut left = 400;
    loop {
        match try_it() {
            Err(error) if is_busy(&error) && left > 0 => {
                left -= 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

/// Somebody else is writing: worth trying again.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    let is_stale = error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_BUSY_SNAPSHOT);
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked)
    ) && !is_stale
}
