//! Rows, as they are sent (55.7: RowDescription and DataRow).

use std::borrow::Cow;

use crate::postgres::message::{cstr, framed};

/// A column of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub kind: Kind,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `int4`.
    Int4,
    /// `int8`.
    Int8,
    /// `text`.
    Text,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// A number; in an `int4` column, the nearest that fits.
    Number(i64),
    /// Text, up to its first zero byte.
    Text(Cow<'static, str>),
}

/// Rows, each with a value per column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The rows in their order; what a row lacks is NULL.
    pub rows: Vec<Vec<Value>>,
}

/// How a column's values travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

impl Kind {
    /// The type's OID in pg_type.
    fn oid(self) -> u32 {
        match self {
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Text => 25,
        }
    }

    /// Bytes of a value; -1 where they vary.
    fn size(self) -> i16 {
        match self {
            Self::Int4 => 4,
            Self::Int8 => 8,
            Self::Text => -1,
        }
    }
}

impl Format {
    fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, T::into)
    }
}

/// Appends a RowDescription. `formats` are those of Bind; before it, all is said to be text.
pub(super) fn row_description(out: &mut Vec<u8>, columns: &[Column], formats: &Formats) {
    framed(out, b'T', |out| {
        out.extend_from_slice(&count(columns.len()).to_be_bytes());
        for (at, column) in columns.iter().enumerate() {
            cstr(out, column.name.as_bytes());
            // Of no table: its OID and the column's number there.
            out.extend_from_slice(&[0; 6]);
            out.extend_from_slice(&column.kind.oid().to_be_bytes());
            out.extend_from_slice(&column.kind.size().to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            out.extend_from_slice(&formats.of(at).code().to_be_bytes());
        }
    });
}

/// Appends a DataRow.
pub(super) fn data_row(out: &mut Vec<u8>, columns: &[Column], formats: &Formats, row: &[Value]) {
    framed(out, b'D', |out| {
        out.extend_from_slice(&count(columns.len()).to_be_bytes());
        for (at, column) in columns.iter().enumerate() {
            let value = row.get(at).unwrap_or(&Value::Null);
            field(out, column.kind, formats.of(at), value);
        }
    });
}

/// The formats that Bind asks for: none for all text, one for all, or one per column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Formats(pub(super) Vec<Format>);

impl Formats {
    fn of(&self, column: usize) -> Format {
        let format = match self.0.as_slice() {
            [all] => Some(all),
            each => each.get(column),
        };
        format.copied().unwrap_or(Format::Text)
    }
}

fn count(columns: usize) -> u16 {
    u16::try_from(columns).unwrap_or(u16::MAX)
}

fn field(out: &mut Vec<u8>, kind: Kind, format: Format, value: &Value) {
    let number = match (value, kind) {
        (Value::Null, _) => return out.extend_from_slice(&(-1_i32).to_be_bytes()),
        // PostgreSQL's text holds no zero.
        (Value::Text(text), _) => {
            let text = text.split('\0').next().unwrap_or_default();
            return bytes(out, text.as_bytes());
        }
        (Value::Number(number), Kind::Int4) => {
            (*number).clamp(i64::from(i32::MIN), i64::from(i32::MAX))
        }
        (Value::Number(number), Kind::Int8 | Kind::Text) => *number,
    };
    match (format, kind) {
        (Format::Binary, Kind::Int4) => {
            // It was clamped to fit.
            bytes(out, &i32::try_from(number).unwrap_or(0).to_be_bytes());
        }
        (Format::Binary, Kind::Int8) => bytes(out, &number.to_be_bytes()),
        (Format::Text, _) | (Format::Binary, Kind::Text) => {
            bytes(out, number.to_string().as_bytes());
        }
    }
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}
