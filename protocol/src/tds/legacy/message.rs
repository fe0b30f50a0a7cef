//! Tokens that carry neither rows nor values.

use super::Dialect;
use crate::tds::Violation;
use crate::tds::reader::{Reader, counted_u16};
use crate::tds::token::{Done, ENVCHANGE, ERROR, INFO, TABNAME};

/// Bytes of a DONE.
const DONE_LENGTH: usize = 13;
/// The first ENVCHANGE that 7.1 does not know.
const FIRST_NEW_CHANGE: u8 = 8;
/// ENVCHANGE 15: its length counts nothing but this byte.
const PROMOTED: u8 = 15;

/// Writes a DONE with additional bits. Returns its length; `None` while some of it is missing.
pub(super) fn done(
    dialect: Dialect,
    input: &[u8],
    status: u16,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let (&[token, low, high, a, b, ref rows @ ..], _) = input.split_first_chunk::<DONE_LENGTH>()?;
    let [low, high] = (u16::from_le_bytes([low, high]) | status).to_le_bytes();
    out.extend_from_slice(&[token, low, high, a, b]);
    if dialect.is_narrow() {
        let rows = u32::try_from(u64::from_le_bytes(*rows)).unwrap_or(u32::MAX);
        out.extend_from_slice(&rows.to_le_bytes());
    } else {
        out.extend_from_slice(rows);
    }
    Some(DONE_LENGTH)
}

/// The status of a statement that failed here.
pub(super) const FAILED: u16 = Done::ERROR;

/// Writes a token that begins with its length in two bytes. Returns its length here; `None` while
/// some of it is missing.
pub(super) fn counted(
    dialect: Dialect,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<usize>, Violation> {
    let mut reader = Reader::new(input);
    let (Some(token), Some(length)) = (reader.u8(), reader.u16()) else {
        return Ok(None);
    };
    let Some(body) = reader.bytes(usize::from(length)) else {
        return Ok(None);
    };
    let mut length = 3 + body.len();
    match token {
        ENVCHANGE => {
            if body == [PROMOTED] {
                match pass_promotion(&mut reader) {
                    Some(behind) => length += behind,
                    None => return Ok(None),
                }
            }
            let is_new = body
                .first()
                .is_none_or(|number| *number >= FIRST_NEW_CHANGE);
            if !(dialect.is_narrow() && is_new) {
                out.extend_from_slice(input.get(..length).unwrap_or_default());
            }
        }
        ERROR | INFO if dialect.is_narrow() => said(token, body, out)?,
        TABNAME if dialect == Dialect::V71 => tables(body, out)?,
        _ => out.extend_from_slice(input.get(..length).unwrap_or_default()),
    }
    Ok(Some(length))
}

/// What follows an ENVCHANGE 15: a new value, and an old one that is empty.
fn pass_promotion(reader: &mut Reader<'_>) -> Option<usize> {
    let length = usize::try_from(reader.u32()?).ok()?;
    reader.bytes(length)?;
    reader.u8()?;
    length.checked_add(5)
}

/// The number of a line has two bytes in 7.1.
fn said(token: u8, body: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
    let (text, line) = body
        .split_last_chunk::<4>()
        .ok_or_else(|| malformed("an error"))?;
    let line = u16::try_from(u32::from_le_bytes(*line)).unwrap_or(u16::MAX);
    out.push(token);
    counted_u16(out, |out| {
        out.extend_from_slice(text);
        out.extend_from_slice(&line.to_le_bytes());
    });
    Ok(())
}

/// Names of tables are not in parts in 7.1, before its revision.
fn tables(body: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
    let mut reader = Reader::new(body);
    let mut names = Vec::new();
    while !reader.rest().is_empty() {
        table(&mut reader, &mut names).ok_or_else(|| malformed("the names of tables"))?;
    }
    out.push(TABNAME);
    counted_u16(out, |out| out.extend_from_slice(&names));
    Ok(())
}

/// Writes the parts of a table's name as one, with dots. `None` while some of it is missing.
pub(super) fn table(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let parts = reader.u8()?;
    let mut name: Vec<u8> = Vec::new();
    for part in 0..parts {
        if part > 0 {
            name.extend_from_slice(&[b'.', 0]);
        }
        name.extend_from_slice(reader.us_text()?);
    }
    let units = u16::try_from(name.len() / 2).unwrap_or(u16::MAX);
    out.extend_from_slice(&units.to_le_bytes());
    out.extend_from_slice(name.get(..2 * usize::from(units)).unwrap_or_default());
    Some(())
}

pub(super) fn malformed(why: &'static str) -> Violation {
    Violation::Malformed {
        what: "an answer of the server, which a client of an old version waits for,",
        why,
    }
}
