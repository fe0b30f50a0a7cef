//! What SQLite does not know of a table: T-SQL's types, identity columns; and procedures.

use rusqlite::{Connection, OptionalExtension};

use crate::tds::sql::translator::quote;
use crate::tds::wire::kind::Kind;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Column {
    pub(in crate::tds) name: String,
    pub(in crate::tds) kind: Kind,
    pub(in crate::tds) is_identity: bool,
    pub(in crate::tds) is_nullable: bool,
}

/// A table, or something that can be read like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Table {
    /// As SQLite names it.
    pub(in crate::tds) sql: String,
    /// SQLite's name of the database; empty for views of ours.
    pub(in crate::tds) schema: String,
    pub(in crate::tds) name: String,
    pub(in crate::tds) columns: Vec<Column>,
}

impl Table {
    pub(in crate::tds) fn column(&self, name: &str) -> Option<&Column> {
        let mut columns = self.columns.iter();
        columns.find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

pub(super) fn create(connection: &Connection, schema: &str) -> rusqlite::Result<()> {
    let schema = quote(schema);
    connection.execute_batch(&format!(
        "CREATE TABLE {schema}.tds_columns (tbl TEXT COLLATE NOCASE, name TEXT, kind TEXT, \
         is_identity INTEGER, is_nullable INTEGER, place INTEGER); \
         CREATE TABLE {schema}.tds_procedures (name TEXT COLLATE NOCASE PRIMARY KEY, body TEXT)"
    ))
}

/// `None`: there is no such table.
pub(in crate::tds) fn table(
    connection: &Connection,
    schema: &str,
    name: &str,
) -> rusqlite::Result<Option<Table>> {
    let sql = format!(
        "SELECT name, kind, is_identity, is_nullable, tbl FROM {}.tds_columns WHERE tbl = ?1 \
         ORDER BY place",
        quote(schema)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([name])?;
    let mut columns = Vec::new();
    let mut own_name = String::new();
    while let Some(row) = rows.next()? {
        let kind: String = row.get(1)?;
        own_name = row.get(4)?;
        columns.push(Column {
            name: row.get(0)?,
            kind: parse_kind(&kind),
            is_identity: row.get(2)?,
            is_nullable: row.get(3)?,
        });
    }
    if columns.is_empty() {
        return Ok(None);
    }
    Ok(Some(Table {
        sql: format!("{}.{}", quote(schema), quote(&own_name)),
        schema: schema.to_owned(),
        name: own_name,
        columns,
    }))
}

/// The names of all tables.
pub(in crate::tds) fn tables(
    connection: &Connection,
    schema: &str,
) -> rusqlite::Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT tbl FROM {}.tds_columns ORDER BY tbl",
        quote(schema)
    );
    let mut statement = connection.prepare(&sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

pub(in crate::tds) fn add(
    connection: &Connection,
    schema: &str,
    table: &str,
    column: &Column,
) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO {0}.tds_columns SELECT ?1, ?2, ?3, ?4, ?5, count(*) FROM {0}.tds_columns \
         WHERE tbl = ?1",
        quote(schema)
    );
    let kind = column.kind.to_string();
    let values = rusqlite::params![
        table,
        column.name,
        kind,
        column.is_identity,
        column.is_nullable
    ];
    connection.execute(&sql, values)?;
    Ok(())
}

pub(in crate::tds) fn forget(
    connection: &Connection,
    schema: &str,
    table: &str,
) -> rusqlite::Result<()> {
    let sql = format!("DELETE FROM {}.tds_columns WHERE tbl = ?1", quote(schema));
    connection.execute(&sql, [table])?;
    Ok(())
}

/// The names of all procedures.
pub(in crate::tds) fn procedures(
    connection: &Connection,
    schema: &str,
) -> rusqlite::Result<Vec<String>> {
    let sql = format!(
        "SELECT name FROM {}.tds_procedures ORDER BY name",
        quote(schema)
    );
    let mut statement = connection.prepare(&sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// The text of a procedure.
pub(in crate::tds) fn procedure(
    connection: &Connection,
    schema: &str,
    name: &str,
) -> rusqlite::Result<Option<String>> {
    let sql = format!(
        "SELECT body FROM {}.tds_procedures WHERE name = ?1",
        quote(schema)
    );
    connection
        .query_row(&sql, [name], |row| row.get(0))
        .optional()
}

/// What [`Kind`]'s Display wrote.
pub(in crate::tds) fn parse_kind(text: &str) -> Kind {
    let (name, sizes) = text.split_once('(').unwrap_or((text, ""));
    let sizes: Vec<Option<u16>> = sizes
        .trim_end_matches(')')
        .split(',')
        .filter(|size| !size.is_empty())
        .map(|size| size.trim().parse().ok())
        .collect();
    Kind::named(name, &sizes).unwrap_or(Kind::nvarchar(4_000))
}
