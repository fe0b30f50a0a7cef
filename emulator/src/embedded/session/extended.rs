//! The extended query protocol: Parse, Bind, Describe, Execute, Close (PostgreSQL 55.2.3).

use bytes::{Bytes, BytesMut};
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, CloseComplete, Execute, Parse, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::EmptyQueryResponse;
use rusqlite::types::Value;

use super::super::lexer::statements;
use super::super::reply::{Column, put, put_columns, put_row};
use super::super::sql_error::SqlError;
use super::super::statement::{Statement, understand};
use super::super::store::Shape;
use super::super::types::{Format, PgType};
use super::{Session, complete, set_config_columns};

/// A parsed statement.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    /// `None` for an empty query string.
    statement: Option<Statement>,
    shape: Shape,
}

/// A statement with its parameters, perhaps under way.
#[derive(Debug)]
pub(super) struct Portal {
    prepared: Prepared,
    values: Vec<Value>,
    formats: Vec<Format>,
    /// Once executed: rows not yet sent, and the tag for the end.
    pending: Option<(std::vec::IntoIter<Vec<Value>>, String)>,
}

impl Session {
    pub(super) fn extended(
        &mut self,
        message: Message,
        out: &mut BytesMut,
    ) -> Result<(), SqlError> {
        match message {
            Message::Parse(parse) => {
                self.parse(&parse)?;
                put(out, &ParseComplete::new())
            }
            Message::Bind(bind) => {
                self.bind(&bind)?;
                put(out, &BindComplete::new())
            }
            Message::Describe(describe) => {
                let name = describe.name.unwrap_or_default();
                self.describe(describe.target_type, &name, out)
            }
            Message::Execute(execute) => self.execute(&execute, out),
            Message::Close(close) => {
                let name = close.name.unwrap_or_default();
                match close.target_type {
                    b'S' => drop(self.prepared.remove(&name)),
                    _ => drop(self.portals.remove(&name)),
                }
                put(out, &CloseComplete::new())
            }
            _ => Err(SqlError::error("08P01", "unexpected message")),
        }
    }

    fn parse(&mut self, parse: &Parse) -> Result<(), SqlError> {
        let name = parse.name.clone().unwrap_or_default();
        if !name.is_empty() && self.prepared.contains_key(&name) {
            let text = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::error("42P05", text));
        }
        let all = statements(&parse.query)?;
        let tokens = match all.as_slice() {
            [] => &[],
            [one] => one.as_slice(),
            _ => {
                let text = "cannot insert multiple commands into a prepared statement";
                return Err(SqlError::error("42601", text));
            }
        };
        let statement = (!tokens.is_empty())
            .then(|| understand(tokens))
            .transpose()?;
        let shape = match &statement {
            Some(Statement::Data(data)) => {
                let declared: Result<Vec<_>, _> = parse
                    .type_oids
                    .iter()
                    .map(|oid| (*oid != 0).then(|| PgType::with_oid(*oid)).transpose())
                    .collect();
                self.enter()?;
                self.store.shape(tokens, data, &declared?)?
            }
            Some(Statement::Show(name)) => Shape {
                parameters: Vec::new(),
                columns: self.show(name)?.0,
            },
            Some(Statement::SetConfig(settings)) => Shape {
                parameters: Vec::new(),
                columns: set_config_columns(settings),
            },
            _ => Shape {
                parameters: Vec::new(),
                columns: Vec::new(),
            },
        };
        self.prepared.insert(name, Prepared { statement, shape });
        Ok(())
    }

    fn bind(&mut self, bind: &Bind) -> Result<(), SqlError> {
        let name = bind.statement_name.clone().unwrap_or_default();
        let prepared = self.statement(&name)?.clone();
        // A failed block takes nothing but its end.
        if !ends_transaction(prepared.statement.as_ref()) {
            self.refuse_if_failed()?;
        }
        let kinds = &prepared.shape.parameters;
        if bind.parameters.len() != kinds.len() {
            let text = format!(
                "bind message supplies {} parameters, but prepared statement \"{name}\" \
                 requires {}",
                bind.parameters.len(),
                kinds.len()
            );
            return Err(SqlError::error("08P01", text));
        }
        let given = formats(&bind.parameter_format_codes)?;
        let values: Result<Vec<_>, _> = bind
            .parameters
            .iter()
            .zip(kinds)
            .enumerate()
            .map(|(at, (bytes, kind))| decode(bytes.as_ref(), *kind, Format::of(&given, at)))
            .collect();
        let portal = Portal {
            values: values?,
            formats: formats(&bind.result_column_format_codes)?,
            prepared,
            pending: None,
        };
        let portal_name = bind.portal_name.clone().unwrap_or_default();
        if !portal_name.is_empty() && self.portals.contains_key(&portal_name) {
            let text = format!("cursor \"{portal_name}\" already exists");
            return Err(SqlError::error("42P03", text));
        }
        self.portals.insert(portal_name, portal);
        Ok(())
    }

    fn describe(&self, target: u8, name: &str, out: &mut BytesMut) -> Result<(), SqlError> {
        if target == b'S' {
            let shape = &self.statement(name)?.shape;
            let types = shape.parameters.iter().map(|kind| kind.oid()).collect();
            put(out, &ParameterDescription::new(types))?;
            return put_shape(out, &shape.columns, &[]);
        }
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        put_shape(out, &portal.prepared.shape.columns, &portal.formats)
    }

    fn execute(&mut self, execute: &Execute, out: &mut BytesMut) -> Result<(), SqlError> {
        let name = execute.name.clone().unwrap_or_default();
        // Taken out while it runs: a transaction statement clears the portals.
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        let (mut rows, tag) = match portal.pending.take() {
            Some(pending) => pending,
            None => match self.run(&portal, out)? {
                Some(begun) => begun,
                None => return Ok(()),
            },
        };
        let columns = &portal.prepared.shape.columns;
        let limit = match usize::try_from(execute.max_rows) {
            Ok(limit) if limit > 0 => limit,
            _ => usize::MAX,
        };
        for row in rows.by_ref().take(limit) {
            put_row(out, columns, &portal.formats, &row)?;
        }
        let suspended = rows.len() > 0;
        portal.pending = Some((rows, tag.clone()));
        self.portals.insert(name, portal);
        if suspended {
            put(out, &PortalSuspended::new())
        } else {
            complete(out, &tag)
        }
    }

    /// Runs a portal; `None` when it gives no rows and has been answered.
    #[expect(
        clippy::type_complexity,
        reason = "rows and tag, as in Portal::pending"
    )]
    fn run(
        &mut self,
        portal: &Portal,
        out: &mut BytesMut,
    ) -> Result<Option<(std::vec::IntoIter<Vec<Value>>, String)>, SqlError> {
        match &portal.prepared.statement {
            None => put(out, &EmptyQueryResponse::new()).map(|()| None),
            Some(Statement::Show(name)) => {
                let (_, row) = self.show(name)?;
                Ok(Some((vec![row].into_iter(), "SHOW".to_owned())))
            }
            Some(Statement::Data(data)) => {
                self.enter()?;
                let outcome = self.store.run(data, &portal.values)?;
                Ok(Some((outcome.rows.into_iter(), outcome.tag)))
            }
            Some(Statement::SetConfig(settings)) => {
                let row = self.set_config(settings, out)?;
                Ok(Some((vec![row].into_iter(), "SELECT 1".to_owned())))
            }
            Some(other) => self.session_statement(other, out).map(|()| None),
        }
    }

    /// The one column and row of SHOW.
    pub(super) fn show(&self, name: &str) -> Result<(Vec<Column>, Vec<Value>), SqlError> {
        self.refuse_if_failed()?;
        let (name, value) = self.settings.show(name)?;
        let column = Column {
            name: name.into_owned(),
            kind: PgType::Text,
        };
        Ok((vec![column], vec![Value::Text(value)]))
    }

    fn statement(&self, name: &str) -> Result<&Prepared, SqlError> {
        self.prepared.get(name).ok_or_else(|| {
            let text = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            SqlError::error("26000", text)
        })
    }
}

fn ends_transaction(statement: Option<&Statement>) -> bool {
    matches!(
        statement,
        Some(Statement::Commit | Statement::Rollback | Statement::RollbackTo(_))
    )
}

fn put_shape(out: &mut BytesMut, columns: &[Column], formats: &[Format]) -> Result<(), SqlError> {
    if columns.is_empty() {
        put(out, &NoData::new())
    } else {
        put_columns(out, columns, formats)
    }
}

fn decode(bytes: Option<&Bytes>, kind: PgType, format: Format) -> Result<Value, SqlError> {
    bytes.map_or(Ok(Value::Null), |bytes| kind.decode(bytes, format))
}

fn formats(codes: &[i16]) -> Result<Vec<Format>, SqlError> {
    codes.iter().map(|code| Format::from_code(*code)).collect()
}

fn no_portal(name: &str) -> SqlError {
    SqlError::error("34000", format!("portal \"{name}\" does not exist"))
}
