//! Backend messages of the embedded server, encoded by pgwire.

use bytes::{BufMut, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use super::sql_error::SqlError;
use super::types::{Format, PgType};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: PgType,
}

/// Appends a message.
pub(super) fn put(out: &mut BytesMut, message: &impl Message) -> Result<(), SqlError> {
    message
        .encode(out)
        .map_err(|error| SqlError::error("XX000", error.to_string()))
}

/// Appends an error.
pub(super) fn put_error(out: &mut BytesMut, error: &SqlError) {
    let message = ErrorResponse::new(fields(error));
    // Fails only above 2 GiB; the client then sees the connection end.
    let _too_long = message.encode(out);
}

/// Appends a warning.
pub(super) fn put_warning(out: &mut BytesMut, code: &'static str, text: &str) {
    let warning = SqlError {
        severity: "WARNING",
        code,
        message: text.to_owned(),
    };
    // See above.
    let _too_long = NoticeResponse::new(fields(&warning)).encode(out);
}

/// `formats` is empty (all text), one for all, or one each (PostgreSQL 55.7, Bind).
pub(super) fn put_columns(
    out: &mut BytesMut,
    columns: &[Column],
    formats: &[Format],
) -> Result<(), SqlError> {
    let fields = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            FieldDescription::new(
                column.name.clone(),
                0,
                0,
                column.kind.oid(),
                column.kind.size(),
                -1,
                Format::of(formats, at).code(),
            )
        })
        .collect();
    put(out, &RowDescription::new(fields))
}

/// Appends a row.
pub(super) fn put_row(
    out: &mut BytesMut,
    columns: &[Column],
    formats: &[Format],
    row: &[rusqlite::types::Value],
) -> Result<(), SqlError> {
    let mut data = BytesMut::new();
    for (at, (column, value)) in columns.iter().zip(row).enumerate() {
        match column.kind.encode(value, Format::of(formats, at))? {
            None => data.put_i32(-1),
            Some(bytes) => {
                let length = i32::try_from(bytes.len())
                    .map_err(|_| SqlError::error("54000", "a value is over 2 GiB"))?;
                data.put_i32(length);
                data.extend_from_slice(&bytes);
            }
        }
    }
    let count = i16::try_from(columns.len())
        .map_err(|_| SqlError::error("54011", "a row has too many columns"))?;
    put(out, &DataRow::new(data, count))
}

/// Field codes of PostgreSQL 55.8: severity, the same untranslated, SQLSTATE, message.
fn fields(error: &SqlError) -> Vec<(u8, String)> {
    vec![
        (b'S', error.severity.to_owned()),
        (b'V', error.severity.to_owned()),
        (b'C', error.code.to_owned()),
        // A NUL would end the field; SQLite quotes what the client sent.
        (b'M', error.message.replace('\0', " ")),
    ]
}
