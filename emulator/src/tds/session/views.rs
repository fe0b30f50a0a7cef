//! Names of tables: which database, which temporary one, which of the system's views.

use rusqlite::types::Value;

use super::Session;
use super::locks::Owner;
use crate::tds::error::ServerError;
use crate::tds::sql::translator::{literal, quote};
use crate::tds::sql::type_numbers;
use crate::tds::store::{Column, Table, catalog};
use crate::tds::wire::kind::Kind;

const NAME: Kind = Kind::nvarchar(128);

impl Session {
    /// What a name stands for, for the translator and for statements.
    pub(in crate::tds) fn table(&self, names: &[String]) -> Result<Table, ServerError> {
        let name = names.last().cloned().unwrap_or_default();
        let missing = || {
            let text = format!("Invalid object name '{}'.", names.join("."));
            ServerError::new(208, 16, text)
        };
        if let Some(view) = self.view(names)? {
            return Ok(view);
        }
        let schema = if name.starts_with("##") {
            "tempdb".to_owned()
        } else if name.starts_with('#') {
            "temp".to_owned()
        } else {
            let database = match names {
                [database, _, _] => database,
                _ => &self.context.database,
            };
            self.server.databases.schema(database).ok_or_else(missing)?
        };
        let own_name = table_name(names);
        let found = catalog::table(&self.connection, &schema, &own_name)?;
        found.ok_or_else(missing)
    }

    fn view(&self, names: &[String]) -> Result<Option<Table>, ServerError> {
        let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let parts: Vec<&str> = lower.iter().map(String::as_str).collect();
        Ok(match parts.as_slice() {
            [.., "sys", "dm_exec_sessions"] => Some(self.sessions_view()),
            [.., "sys", "dm_tran_locks"] => Some(self.locks_view()),
            ["tempdb", "sys", "tables" | "objects"] => Some(self.temporary_view()),
            [.., "sys", "databases"] => Some(self.databases_view()),
            [.., "sys", "tables" | "objects"] => Some(self.tables_view()?),
            [.., "sys", "columns" | "all_columns"] => Some(self.columns_view()?),
            [.., "information_schema", "tables"] => Some(self.schema_tables_view()?),
            [.., "information_schema", "columns"] => Some(self.schema_columns_view()?),
            _ => None,
        })
    }

    /// All sessions as of their last request; this one as it is now.
    fn sessions_view(&self) -> Table {
        let mut sessions = self.server.register.sessions();
        for session in &mut sessions {
            if session.spid == self.spid {
                *session = self.seen();
            }
        }
        let options = self.options.shown();
        let mut columns = vec![
            ("session_id", Kind::SmallInt),
            ("login_name", NAME),
            ("host_name", NAME),
            ("program_name", NAME),
            ("database_name", NAME),
            ("open_transaction_count", Kind::Int),
            ("is_user_process", Kind::Bit),
        ];
        columns.extend(options.keys().map(|name| (*name, option_kind(name))));
        let rows = sessions.iter().map(|session| {
            let mut row = vec![
                session.spid.to_string(),
                literal(&session.user),
                literal(&session.host),
                literal(&session.app),
                literal(&session.database),
                session.open_transactions.to_string(),
                "1".to_owned(),
            ];
            row.extend(options.keys().map(|name| {
                let value = session.options.get(name).map_or("", String::as_str);
                match option_kind(name) {
                    Kind::Text(..) => literal(value),
                    _ => value.to_owned(),
                }
            }));
            row
        });
        made("dm_exec_sessions", &columns, rows)
    }

    /// The temporary objects of all sessions, as of their last request: who may see that they are
    /// there may not use them.
    fn temporary_view(&self) -> Table {
        let columns = [
            ("name", NAME),
            ("object_id", Kind::Int),
            ("type", Kind::nvarchar(2)),
        ];
        let sessions = self.server.register.sessions();
        let others = sessions
            .iter()
            .filter(|session| session.spid != self.spid)
            .map(|session| (session.spid, session.temporary_objects.clone()));
        let own = (self.spid, self.temporary_objects());
        let all = others.chain([own]).flat_map(|(spid, tables)| {
            let names = tables.into_iter().map(move |name| (spid, name));
            names.collect::<Vec<_>>()
        });
        let rows = all.map(|(spid, name)| {
            vec![
                literal(&padded(&name, spid)),
                temporary_id(&name, spid).to_string(),
                "'U'".to_owned(),
            ]
        });
        made("objects", &columns, rows)
    }

    /// The names of this session's, and of its temporary procedures.
    pub(super) fn temporary_objects(&self) -> Vec<String> {
        let mut names = catalog::tables(&self.connection, "temp").unwrap_or_default();
        names.extend(catalog::procedures(&self.connection, "temp").unwrap_or_default());
        names
    }

    /// OBJECT_ID of one of this session's temporary tables.
    pub(super) fn temporary_object(&self, name: &str) -> i64 {
        temporary_id(name, self.spid)
    }

    /// What OBJECT_ID knows, by all the ways in which a name can be written: for arguments that
    /// differ from row to row.
    pub(in crate::tds) fn object_names(&self) -> Result<Vec<(String, i64)>, ServerError> {
        let mut known = Vec::new();
        for name in self.temporary_objects() {
            let id = self.temporary_object(&name);
            let bracketed = format!("[{}]", name.replace(']', "]]"));
            for own in [name.as_str(), &bracketed] {
                known.push((format!("tempdb..{own}"), id));
                known.push((format!("tempdb.dbo.{own}"), id));
            }
        }
        for name in self.current_tables()? {
            if let Value::Integer(id) = self.object_id(&name)? {
                known.push((format!("[{name}]"), id));
                known.push((name, id));
            }
        }
        Ok(known)
    }

    fn locks_view(&self) -> Table {
        let columns = [
            ("resource_type", NAME),
            ("resource_description", NAME),
            ("request_mode", NAME),
            ("request_session_id", Kind::Int),
            ("request_owner_type", NAME),
            ("request_status", NAME),
        ];
        let rows = self.server.locks.all().into_iter().map(|lock| {
            vec![
                "'APPLICATION'".to_owned(),
                literal(&format!("0:[{}]", lock.resource)),
                literal(lock.mode.short()),
                lock.spid.to_string(),
                match lock.owner {
                    Owner::Session => "'SESSION'".to_owned(),
                    Owner::Transaction => "'TRANSACTION'".to_owned(),
                },
                "'GRANT'".to_owned(),
            ]
        });
        made("dm_tran_locks", &columns, rows)
    }

    /// Functions that give tables.
    pub(in crate::tds) fn table_function(
        &self,
        names: &[String],
        arguments: &[Value],
    ) -> Result<Table, ServerError> {
        let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let parts: Vec<&str> = lower.iter().map(String::as_str).collect();
        match (parts.as_slice(), arguments) {
            ([.., "sys", "dm_exec_cursors"], [Value::Integer(spid)])
                if *spid == 0 || *spid == i64::from(self.spid) =>
            {
                Ok(self.cursors_table())
            }
            ([.., "sys", "dm_exec_cursors"], _) => Err(ServerError::unsupported(
                "sys.dm_exec_cursors of another session",
            )),
            _ => Err(ServerError::unsupported(&format!(
                "the table function {}",
                names.join(".")
            ))),
        }
    }

    fn cursors_table(&self) -> Table {
        let columns = [
            ("session_id", Kind::Int),
            ("cursor_id", Kind::Int),
            ("name", NAME),
            ("is_open", Kind::Bit),
        ];
        let spid = self.spid.to_string();
        let rows = self.cursors.all().into_iter().map(|(handle, name, open)| {
            vec![
                spid.clone(),
                handle.to_string(),
                literal(&name),
                u8::from(open).to_string(),
            ]
        });
        made("dm_exec_cursors", &columns, rows)
    }

    fn databases_view(&self) -> Table {
        let columns = [
            ("name", NAME),
            ("database_id", Kind::Int),
            ("is_read_committed_snapshot_on", Kind::Bit),
        ];
        let names = self.server.setup.databases.iter().enumerate();
        let rows =
            names.map(|(at, name)| vec![literal(name), (at + 1).to_string(), "1".to_owned()]);
        made("databases", &columns, rows)
    }

    fn current_tables(&self) -> Result<Vec<String>, ServerError> {
        let schema = self.server.databases.schema(&self.context.database);
        match schema {
            Some(schema) => Ok(catalog::tables(&self.connection, &schema)?),
            None => Ok(Vec::new()),
        }
    }

    fn tables_view(&self) -> Result<Table, ServerError> {
        let columns = [
            ("name", NAME),
            ("schema_id", Kind::Int),
            ("type", Kind::nvarchar(2)),
        ];
        let tables = self.current_tables()?;
        let rows = tables
            .iter()
            .map(|name| vec![literal(name), "1".to_owned(), "'U'".to_owned()]);
        Ok(made("tables", &columns, rows))
    }

    /// Of the tables in `dbo`, whose `object_id` is that of OBJECT_ID with the bare name.
    fn columns_view(&self) -> Result<Table, ServerError> {
        let columns = [
            ("object_id", Kind::Int),
            ("name", NAME),
            ("column_id", Kind::Int),
            ("system_type_id", Kind::TinyInt),
            ("is_nullable", Kind::Bit),
            ("is_identity", Kind::Bit),
        ];
        let mut rows = Vec::new();
        for name in self.current_tables()? {
            let table = self.table(std::slice::from_ref(&name))?;
            for (at, column) in table.columns.iter().enumerate() {
                rows.push(vec![
                    super::globals::object_number(&name).to_string(),
                    literal(&column.name),
                    (at + 1).to_string(),
                    type_numbers::number(column.kind)
                        .map_or_else(|| "NULL".to_owned(), |number| number.to_string()),
                    u8::from(column.is_nullable).to_string(),
                    u8::from(column.is_identity).to_string(),
                ]);
            }
        }
        Ok(made("columns", &columns, rows.into_iter()))
    }

    fn schema_tables_view(&self) -> Result<Table, ServerError> {
        let columns = [
            ("TABLE_CATALOG", NAME),
            ("TABLE_SCHEMA", NAME),
            ("TABLE_NAME", NAME),
            ("TABLE_TYPE", Kind::nvarchar(10)),
        ];
        let database = literal(&self.context.database);
        let tables = self.current_tables()?;
        let rows = tables.iter().map(|name| {
            vec![
                database.clone(),
                "'dbo'".to_owned(),
                literal(name),
                "'BASE TABLE'".to_owned(),
            ]
        });
        Ok(made("tables", &columns, rows))
    }

    fn schema_columns_view(&self) -> Result<Table, ServerError> {
        let columns = [
            ("TABLE_CATALOG", NAME),
            ("TABLE_SCHEMA", NAME),
            ("TABLE_NAME", NAME),
            ("COLUMN_NAME", NAME),
            ("ORDINAL_POSITION", Kind::Int),
            ("IS_NULLABLE", Kind::nvarchar(3)),
            ("DATA_TYPE", NAME),
        ];
        let mut rows = Vec::new();
        for name in self.current_tables()? {
            let table = self.table(std::slice::from_ref(&name))?;
            for (at, column) in table.columns.iter().enumerate() {
                let kind = column.kind.to_string();
                let bare = kind.split('(').next().unwrap_or(&kind);
                rows.push(vec![
                    literal(&self.context.database),
                    "'dbo'".to_owned(),
                    literal(&name),
                    literal(&column.name),
                    (at + 1).to_string(),
                    literal(if column.is_nullable { "YES" } else { "NO" }),
                    literal(bare),
                ]);
            }
        }
        Ok(made("columns", &columns, rows.into_iter()))
    }
}

/// As tempdb names a session's table: 116 characters with underscores, then its number.
fn padded(name: &str, spid: u16) -> String {
    format!("{name:_<116}{spid:012X}")
}

fn temporary_id(name: &str, spid: u16) -> i64 {
    let name = name.to_lowercase();
    let hash = name.bytes().fold(i64::from(spid), |hash, byte| {
        (hash * 31 + i64::from(byte)) % 1_000_000_000
    });
    // As on SQL Server, below zero.
    -1 - hash
}

/// The name in the store: schemas other than `dbo` are a part of it.
pub(super) fn table_name(names: &[String]) -> String {
    match names {
        [.., schema, name]
            if !schema.is_empty()
                && !schema.eq_ignore_ascii_case("dbo")
                && !name.starts_with('#') =>
        {
            format!("{schema}.{name}")
        }
        [.., name] => name.clone(),
        [] => String::new(),
    }
}

fn option_kind(name: &str) -> Kind {
    match name {
        "language" | "date_format" => NAME,
        "date_first" | "transaction_isolation_level" => Kind::SmallInt,
        "lock_timeout" | "text_size" | "deadlock_priority" => Kind::Int,
        "row_count" => Kind::BigInt,
        _ => Kind::Bit,
    }
}

/// A table of literals.
fn made(name: &str, columns: &[(&str, Kind)], rows: impl Iterator<Item = Vec<String>>) -> Table {
    let list: Vec<String> = columns.iter().map(|(name, _)| quote(name)).collect();
    let nulls = vec!["NULL"; columns.len()].join(", ");
    // A row of NULLs that WHERE takes out again: there may be no other.
    let mut values = vec![format!("({nulls})")];
    values.extend(rows.map(|row| format!("({})", row.join(", "))));
    let first = list.first().cloned().unwrap_or_default();
    Table {
        sql: format!(
            "(WITH made ({}) AS (VALUES {}) SELECT * FROM made WHERE {first} IS NOT NULL)",
            list.join(", "),
            values.join(", ")
        ),
        schema: String::new(),
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|(name, kind)| Column {
                name: (*name).to_owned(),
                kind: *kind,
                is_identity: false,
                is_nullable: true,
            })
            .collect(),
    }
}
