//! sp_cursoropen, sp_cursorfetch, sp_cursorclose, sp_cursoroption: cursors of ODBC and OLE DB.
//!
//! All are static and read-only, and say so in their output parameters.

use rusqlite::types::Value;

use super::call::{Argument, Given, Returned};
use super::cursors::{Move, Rows};
use super::handles::{Form, Prepared};
use super::rows::{Heading, put_metadata, put_row};
use super::stop::Stop;
use super::system::{missing, number, text};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::lex;
use crate::tds::wire::kind::Kind;
use crate::tds::wire::tokens::{Done, DoneKind};

/// scrollopt: static; ccopt: read-only.
const STATIC: i64 = 0x0008;
const READ_ONLY: i64 = 0x0001;
/// The scrollopt bit that says that parameters follow.
const PARAMETERISED: i64 = 0x1000;
const MOST_CURSORS: usize = 1_000;

impl Session {
    pub(super) fn cursor_procedure(
        &mut self,
        name: &str,
        arguments: &[Argument],
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        match name {
            "sp_cursoropen" => self.sp_cursoropen(arguments, out),
            "sp_cursorfetch" => self.sp_cursorfetch(arguments, out),
            "sp_cursorclose" => {
                let handle = handle(arguments)?;
                let gone = self.cursors.by_handle.remove(&handle);
                gone.map(|_| Returned::default())
                    .ok_or_else(|| unknown(handle).into())
            }
            // The name of a cursor and its text mode change nothing here.
            "sp_cursoroption" => {
                let handle = handle(arguments)?;
                let known = self.cursors.by_handle.contains_key(&handle);
                known
                    .then(Returned::default)
                    .ok_or_else(|| unknown(handle).into())
            }
            other => Err(ServerError::unsupported(other).into()),
        }
    }

    /// (cursor out, statement, scrollopt in out, ccopt in out, rows out, declarations, values…).
    fn sp_cursoropen(
        &mut self,
        arguments: &[Argument],
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        let statement = text(arguments, 1).ok_or_else(|| missing("@stmt"))?;
        if self.cursors.by_handle.len() >= MOST_CURSORS {
            let text = "Too many cursors are open on this connection.";
            return Err(ServerError::new(40_000, 16, text).into());
        }
        let parameterised = number(arguments, 2).unwrap_or(0) & PARAMETERISED != 0;
        let prepared = Prepared {
            form: Form::Statements,
            parameters: if parameterised {
                text(arguments, 5).unwrap_or_default()
            } else {
                String::new()
            },
            text: statement,
        };
        let first = if parameterised { 6 } else { arguments.len() };
        let values = arguments.get(first..).unwrap_or_default();
        let mut rows = self.cursor_rows(&prepared, values)?;
        rows.headings.push(row_status());
        put_metadata(out, &rows.headings);
        let mut done = Done::new(DoneKind::InProc);
        done.rows = Some(0);
        out.done(done);
        let count = rows.len();
        let handle = self.cursors.add(rows);
        let given = |at: usize, number: i64| Given {
            at,
            kind: Kind::Int,
            value: Value::Integer(number),
        };
        Ok(Returned {
            status: 0,
            outputs: vec![
                given(0, handle.into()),
                given(2, STATIC),
                given(3, READ_ONLY),
                given(4, count),
            ],
        })
    }

    fn cursor_rows(&mut self, prepared: &Prepared, values: &[Argument]) -> Result<Rows, Stop> {
        let variables = self.prepared_variables(prepared, values)?;
        self.push_module(&prepared.text, "")?;
        let outcome = self.declare_and_read(prepared, &variables);
        self.pop_module();
        outcome
    }

    fn declare_and_read(
        &mut self,
        prepared: &Prepared,
        variables: &[(String, Kind, Value)],
    ) -> Result<Rows, Stop> {
        for (name, kind, value) in variables {
            self.declare(name, *kind, value.clone())?;
        }
        let lexed = lex(&prepared.text, self.options.is_on("quoted_identifier"))?;
        self.materialise(&lexed)
    }

    /// (cursor, fetchtype, rownum, nrows).
    fn sp_cursorfetch(
        &mut self,
        arguments: &[Argument],
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        const FETCH_INFO: i64 = 0x0100;
        let handle = handle(arguments)?;
        let kind = number(arguments, 1).unwrap_or(2);
        let place = number(arguments, 2).unwrap_or(0);
        let count = number(arguments, 3).unwrap_or(1).max(0);
        let rows = self.cursors.by_handle.get_mut(&handle);
        let rows = rows.ok_or_else(|| unknown(handle))?;
        if kind == FETCH_INFO {
            let given = |at: usize, number: i64| Given {
                at,
                kind: Kind::Int,
                value: Value::Integer(number),
            };
            return Ok(Returned {
                status: 0,
                outputs: vec![given(2, rows.place()), given(3, rows.len())],
            });
        }
        let to = match kind {
            0x0001 => Move::First,
            0x0002 => Move::Next,
            // A block before the one that ends here.
            0x0004 => Move::Relative(1 - 2 * count),
            0x0008 => Move::Absolute(-count),
            0x0010 => Move::Absolute(place),
            0x0020 => Move::Relative(place),
            0x0080 => Move::Relative(0),
            other => {
                let what = format!("sp_cursorfetch with fetch type {other}");
                return Err(ServerError::unsupported(&what).into());
            }
        };
        let mut block = Vec::new();
        let mut next = rows.go(to).cloned();
        while let Some(mut row) = next {
            row.push(Value::Integer(1));
            block.push(row);
            if i64::try_from(block.len()).unwrap_or(i64::MAX) >= count {
                break;
            }
            next = rows.go(Move::Next).cloned();
        }
        let headings = rows.headings.clone();
        put_metadata(out, &headings);
        let sent = u64::try_from(block.len()).unwrap_or(0);
        for row in block {
            put_row(out, &headings, row)?;
        }
        let mut done = Done::new(DoneKind::InProc);
        done.command = super::data::command::SELECT;
        done.rows = Some(sent);
        out.done(done);
        self.last.row_count = sent;
        Ok(Returned::default())
    }
}

/// The column that the cursors of the API have behind all others.
fn row_status() -> Heading {
    Heading {
        name: "ROWSTAT".to_owned(),
        kind: Kind::Int,
    }
}

fn handle(arguments: &[Argument]) -> Result<i32, ServerError> {
    let number = number(arguments, 0).and_then(|handle| i32::try_from(handle).ok());
    number.ok_or_else(|| missing("@cursor"))
}

fn unknown(handle: i32) -> ServerError {
    let text = format!("The cursor identifier value provided ({handle:x}) is not valid.");
    ServerError::new(16_909, 16, text)
}
