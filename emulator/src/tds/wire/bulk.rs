//! Bulk load data (MS-TDS 2.2.6.1): COLMETADATA, rows, DONE, from the client.

use rusqlite::types::Value;

use super::bytes::{Malformed, Reader};
use super::type_info::{self, Frame, TypeInfo};
use super::values;
use super::version::Version;

/// A table on its way in.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::tds) struct Bulk {
    pub(in crate::tds) columns: Vec<String>,
    pub(in crate::tds) rows: Vec<Vec<Value>>,
}

pub(in crate::tds) fn read(body: &[u8], version: Version) -> Result<Bulk, Malformed> {
    let mut reader = Reader::new(body, "bulk load");
    let mut columns: Vec<(String, TypeInfo)> = Vec::new();
    let mut rows = Vec::new();
    while !reader.is_empty() {
        match reader.u8()? {
            0x81 => columns = metadata(&mut reader, version)?,
            0xd1 => {
                let row: Result<_, _> = columns
                    .iter()
                    .map(|(_, info)| value(&mut reader, *info))
                    .collect();
                rows.push(row?);
            }
            0xd2 => rows.push(compressed_row(&mut reader, &columns)?),
            0xfd => break,
            _ => return Err(reader.malformed()),
        }
    }
    Ok(Bulk {
        columns: columns.into_iter().map(|(name, _)| name).collect(),
        rows,
    })
}

fn metadata(
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<Vec<(String, TypeInfo)>, Malformed> {
    let count = reader.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        reader.take(if version.is_wide() { 4 } else { 2 })?;
        reader.u16()?;
        let info = type_info::read(reader)?;
        if info.frame == Frame::Long {
            table_name(reader, version)?;
        }
        columns.push((reader.b_varchar()?, info));
    }
    Ok(columns)
}

fn table_name(reader: &mut Reader<'_>, version: Version) -> Result<(), Malformed> {
    let parts = if version.is_wide() { reader.u8()? } else { 1 };
    for _ in 0..parts {
        reader.us_varchar()?;
    }
    Ok(())
}

/// text, ntext and image have a text pointer and a timestamp in rows.
fn value(reader: &mut Reader<'_>, info: TypeInfo) -> Result<Value, Malformed> {
    if info.frame == Frame::Long {
        match reader.u8()? {
            0 => return Ok(Value::Null),
            pointer => reader.take(usize::from(pointer) + 8)?,
        };
    }
    values::read(reader, info)
}

/// NBCROW: a bit for each NULL first.
fn compressed_row(
    reader: &mut Reader<'_>,
    columns: &[(String, TypeInfo)],
) -> Result<Vec<Value>, Malformed> {
    let nulls = reader.take(columns.len().div_ceil(8))?.to_vec();
    let mut row = Vec::with_capacity(columns.len());
    for (at, (_, info)) in columns.iter().enumerate() {
        let bits = nulls.get(at / 8).copied().unwrap_or(0);
        row.push(if bits >> (at % 8) & 1 == 1 {
            Value::Null
        } else {
            value(reader, *info)?
        });
    }
    Ok(row)
}
