//! Rows on their way out: COLMETADATA, ROW, NBCROW (MS-TDS 2.2.7.4, 2.2.7.13, 2.2.7.17).

use rusqlite::types::Value;

use super::Output;
use crate::tds::error::ServerError;
use crate::tds::sql::convert;
use crate::tds::sql::piece::Piece;
use crate::tds::wire::bytes::put_b_varchar;
use crate::tds::wire::kind::{Kind, Length};
use crate::tds::wire::version::Version;
use crate::tds::wire::{type_info, values};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// Columns whose type is not known take that of the first row.
pub(super) fn headings(columns: &[Piece], first: Option<&[Value]>) -> Vec<Heading> {
    let heading = |(at, column): (usize, &Piece)| Heading {
        name: column.name.clone().unwrap_or_default(),
        kind: column
            .kind
            .unwrap_or_else(|| guess(first.and_then(|row| row.get(at)))),
    };
    columns.iter().enumerate().map(heading).collect()
}

fn guess(value: Option<&Value>) -> Kind {
    match value {
        Some(Value::Integer(number)) if i32::try_from(*number).is_err() => Kind::BigInt,
        Some(Value::Real(_)) => Kind::Float,
        Some(Value::Text(text)) => Kind::unicode(text.encode_utf16().count().max(4_000)),
        Some(Value::Blob(_)) => Kind::Binary(Length::Max),
        // NULL alone is an int in T-SQL.
        Some(Value::Integer(_) | Value::Null) | None => Kind::Int,
    }
}

pub(super) fn put_metadata(out: &mut Output, headings: &[Heading]) {
    let version = out.version();
    out.put(|bytes| {
        bytes.push(0x81);
        let count = u16::try_from(headings.len()).unwrap_or(u16::MAX);
        bytes.extend(count.to_le_bytes());
        for heading in headings {
            put_heading(bytes, heading, version);
        }
    });
}

/// User type, flags, type, name: as in COLMETADATA and RETURNVALUE.
fn put_heading(bytes: &mut Vec<u8>, heading: &Heading, version: Version) {
    put_column(bytes, heading.kind, version);
    let is_long = matches!(
        heading.kind,
        Kind::Text(Length::Max, _) | Kind::Binary(Length::Max)
    );
    if is_long && !version.is_wide() {
        // text, ntext and image name their table; results of ours have none.
        bytes.extend([0, 0]);
    }
    put_b_varchar(bytes, &heading.name);
}

fn put_column(bytes: &mut Vec<u8>, kind: Kind, version: Version) {
    bytes.extend(if version.is_wide() {
        &[0; 4][..]
    } else {
        &[0; 2]
    });
    // fNullable, and usUpdateable: unknown.
    bytes.extend([0x09, 0x00]);
    type_info::put(bytes, kind, version);
}

pub(super) fn put_row(
    out: &mut Output,
    headings: &[Heading],
    row: Vec<Value>,
) -> Result<(), ServerError> {
    let version = out.version();
    let has_null = version >= Version::V73B && row.contains(&Value::Null);
    let mut bytes = Vec::with_capacity(64);
    if has_null {
        bytes.push(0xd2);
        let mut nulls = vec![0_u8; headings.len().div_ceil(8)];
        for (at, value) in row.iter().enumerate() {
            if *value == Value::Null
                && let Some(byte) = nulls.get_mut(at / 8)
            {
                *byte |= 1 << (at % 8);
            }
        }
        bytes.extend(nulls);
    } else {
        bytes.push(0xd1);
    }
    for (heading, value) in headings.iter().zip(row) {
        if has_null && value == Value::Null {
            continue;
        }
        put_value(&mut bytes, heading.kind, value, version)?;
    }
    out.put(|all| all.extend(bytes));
    Ok(())
}

fn put_value(
    bytes: &mut Vec<u8>,
    kind: Kind,
    value: Value,
    version: Version,
) -> Result<(), ServerError> {
    let value = convert::cast(value, kind)?;
    values::put(bytes, kind, &value, version).ok_or_else(|| {
        let text = format!("The emulator cannot send this value as {kind}.");
        ServerError::new(40_000, 16, text)
    })
}

/// RETURNVALUE (MS-TDS 2.2.7.18).
pub(super) fn put_return_value(
    out: &mut Output,
    ordinal: u16,
    heading: &Heading,
    value: Value,
) -> Result<(), ServerError> {
    let version = out.version();
    let mut bytes = vec![0xac];
    bytes.extend(ordinal.to_le_bytes());
    put_b_varchar(&mut bytes, &heading.name);
    bytes.push(0x01);
    put_column(&mut bytes, heading.kind, version);
    put_value(&mut bytes, heading.kind, value, version)?;
    out.put(|all| all.extend(bytes));
    Ok(())
}
