//! Values in the client's layout.

use super::column::{NVARCHAR, Shape};
use super::message::malformed;
use super::moment::Moment;
use crate::tds::Violation;
use crate::tds::reader::{Reader, push_utf16};
use crate::tds::token::Value;

/// In front of text, ntext and image, a pointer and a timestamp, which say nothing: as servers
/// have them where there is no place to point to.
const POINTER: &[u8] = b"\x10dummy textptr\0\0\0dummyTS\0";
/// Bytes of it with the length behind it.
pub(super) const TEXT_HEAD: usize = POINTER.len() + 4;
/// The longest sql_variant with all that stands in front of it, in bytes.
const LONGEST_VARIANT: usize = 8192;

/// What became of the beginning of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// There is too little of it.
    Starved,
    /// It had so many bytes.
    Whole(usize),
    /// It had so many bytes, and has so many more that are passed on.
    Open(usize, u32),
    /// It comes in chunks; this was its length.
    Chunks(u64),
}

/// Bytes of the length of a value in chunks.
pub(super) const CHUNKS_HEAD: usize = 8;

/// Writes a value, or its beginning.
pub(super) fn begin(
    shape: Shape,
    collation: [u8; 5],
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<Begun, Violation> {
    let mut reader = Reader::new(input);
    let begun = match shape {
        Shape::Same(value) => same(value, &mut reader, out)?,
        Shape::Moment(moment) => match reader.b_bytes() {
            None => Begun::Starved,
            Some([]) => {
                null(shape, out)?;
                Begun::Whole(1)
            }
            Some(value) => {
                let text = moment_text(moment, value)?;
                let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&text);
                Begun::Whole(1 + value.len())
            }
        },
        Shape::Variant => variant(collation, &mut reader, out)?,
        Shape::Text(_) | Shape::Counted(_) | Shape::Chunks(_) => chunks(&mut reader),
    };
    Ok(begun)
}

fn chunks(reader: &mut Reader<'_>) -> Begun {
    match reader
        .bytes(CHUNKS_HEAD)
        .and_then(|head| head.first_chunk())
    {
        Some(length) => Begun::Chunks(u64::from_le_bytes(*length)),
        None => Begun::Starved,
    }
}

fn same(value: Value, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<Begun, Violation> {
    let input = reader.rest();
    let length = match value {
        Value::Plp => return Ok(chunks(reader)),
        Value::Table | Value::Data => return Err(malformed("a value's layout")),
        Value::Fixed(count) => Some(usize::from(count)),
        Value::Short => reader.u8().map(|count| 1 + usize::from(count)),
        Value::Medium => reader.u16().map(|count| match count {
            u16::MAX => 2,
            count => 2 + usize::from(count),
        }),
        Value::Long | Value::Text => return Ok(open(value, reader, out)),
    };
    let Some(bytes) = length.and_then(|length| input.get(..length)) else {
        return Ok(Begun::Starved);
    };
    out.extend_from_slice(bytes);
    Ok(Begun::Whole(bytes.len()))
}

/// Those that may be too long to be waited for.
fn open(value: Value, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Begun {
    let input = reader.rest();
    let head = |reader: &mut Reader<'_>| {
        if value == Value::Text {
            match reader.u8()? {
                0 => return Some(0),
                pointer => reader.bytes(usize::from(pointer) + 8)?,
            };
        }
        reader.u32()
    };
    let Some(left) = head(reader) else {
        return Begun::Starved;
    };
    let length = input.len() - reader.rest().len();
    out.extend_from_slice(input.get(..length).unwrap_or_default());
    Begun::Open(length, left)
}

/// A moment in a variant becomes an nvarchar in one (2.2.5.5.4).
fn variant(
    collation: [u8; 5],
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<Begun, Violation> {
    let input = reader.rest();
    let Some(length) = reader.u32() else {
        return Ok(Begun::Starved);
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LONGEST_VARIANT {
        return Err(malformed("a variant's length"));
    }
    let Some(body) = reader.bytes(length) else {
        return Ok(Begun::Starved);
    };
    let whole = Begun::Whole(4 + length);
    let &[kind, properties, ref value @ ..] = body else {
        out.extend_from_slice(input.get(..4 + length).unwrap_or_default());
        return Ok(whole);
    };
    if !Moment::is(kind) {
        out.extend_from_slice(input.get(..4 + length).unwrap_or_default());
        return Ok(whole);
    }
    let parts = value.split_at_checked(usize::from(properties));
    let (properties, value) = parts.ok_or_else(|| malformed("a variant"))?;
    let digits = properties.first().copied().unwrap_or_default();
    let moment = Moment::of(kind, digits).ok_or_else(|| malformed("a variant"))?;
    let text = moment_text(moment, value)?;
    let length = u32::try_from(9 + text.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[NVARCHAR, 7]);
    out.extend_from_slice(&collation);
    out.extend_from_slice(&moment.length().to_le_bytes());
    out.extend_from_slice(&text);
    Ok(whole)
}

fn moment_text(moment: Moment, value: &[u8]) -> Result<Vec<u8>, Violation> {
    let text = moment.text(value);
    let text = text.ok_or_else(|| malformed("a date or time out of its range"))?;
    let mut utf16 = Vec::with_capacity(2 * text.len());
    push_utf16(&mut utf16, &text);
    Ok(utf16)
}

/// Writes NULL.
pub(super) fn null(shape: Shape, out: &mut Vec<u8>) -> Result<(), Violation> {
    let bytes: &[u8] = match shape {
        Shape::Same(Value::Short | Value::Text) | Shape::Text(_) => &[0],
        Shape::Same(Value::Medium) | Shape::Moment(_) | Shape::Counted(_) => &[0xff; 2],
        Shape::Same(Value::Long) | Shape::Variant => &[0; 4],
        Shape::Same(Value::Plp) | Shape::Chunks(_) => &[0xff; 8],
        Shape::Same(Value::Fixed(0)) => &[],
        Shape::Same(Value::Fixed(_) | Value::Table | Value::Data) => {
            return Err(malformed("NULL of a type that has none"));
        }
    };
    out.extend_from_slice(bytes);
    Ok(())
}

/// Writes what stands in front of a text of so many bytes.
pub(super) fn text_head(length: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(POINTER);
    out.extend_from_slice(&length.to_le_bytes());
}
