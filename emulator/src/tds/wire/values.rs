//! Values on the wire (MS-TDS 2.2.5.2), between bytes and what the store keeps.
//!
//! In the store, exact numbers, dates and GUIDs are text in one form each (see `temporal` and
//! `exact`); everything else is what SQLite has for it.

use rusqlite::types::Value;

use super::bytes::{Malformed, Reader, put_utf16, utf16};
use super::kind::{Charset, Kind, Length};
use super::temporal::{DAY_1900, Moment, TICKS_PER_SECOND};
use super::text;
use super::type_info::{Frame, TypeInfo, for_client};
use super::version::Version;

/// A value may not make us hold more than this.
const MAX_VALUE: usize = 64 * 1024 * 1024;
const PLP_NULL: u64 = u64::MAX;

pub(in crate::tds) fn read(reader: &mut Reader<'_>, info: TypeInfo) -> Result<Value, Malformed> {
    let chunks;
    let bytes = match info.frame {
        Frame::Nothing => return Ok(Value::Null),
        Frame::Fixed(size) => reader.take(size)?,
        Frame::Byte | Frame::LegacyByte => match (reader.u8()?, info.frame) {
            (0, Frame::Byte) | (u8::MAX, _) => return Ok(Value::Null),
            (length, _) => reader.take(length.into())?,
        },
        Frame::Short => match reader.u16()? {
            u16::MAX => return Ok(Value::Null),
            length => reader.take(length.into())?,
        },
        Frame::Long => match reader.u32()? {
            u32::MAX => return Ok(Value::Null),
            length => reader.take(usize::try_from(length).map_err(|_| reader.malformed())?)?,
        },
        Frame::Plp => match plp(reader)? {
            None => return Ok(Value::Null),
            Some(whole) => {
                chunks = whole;
                &chunks
            }
        },
    };
    decode(info.kind, bytes).ok_or(Malformed("value of a parameter or a row"))
}

/// Partially length-prefixed bytes: a total, chunks, an empty chunk.
fn plp(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    if reader.u64()? == PLP_NULL {
        return Ok(None);
    }
    let mut whole = Vec::new();
    loop {
        let length = reader.length()?;
        if length == 0 {
            return Ok(Some(whole));
        }
        whole.extend(reader.take(length)?);
        if whole.len() > MAX_VALUE {
            return Err(reader.malformed());
        }
    }
}

fn decode(kind: Kind, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        Kind::Bit => Value::Integer((*bytes.first()? != 0).into()),
        Kind::TinyInt => Value::Integer((*bytes.first()?).into()),
        Kind::SmallInt => Value::Integer(i16::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::Int => Value::Integer(i32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::BigInt => Value::Integer(i64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Real => Value::Real(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        Kind::Float => Value::Real(f64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Decimal { scale, .. } => {
            let (sign, magnitude) = bytes.split_first()?;
            let sign = if *sign == 0 { -1 } else { 1 };
            Value::Text(exact::text(sign * little_endian(magnitude)?, scale))
        }
        Kind::SmallMoney => {
            let units = i32::from_le_bytes(bytes.try_into().ok()?);
            Value::Text(exact::text(units.into(), 4))
        }
        Kind::Money => {
            let (high, low) = bytes.split_first_chunk::<4>()?;
            let high = i64::from(i32::from_le_bytes(*high));
            let low = i64::from(u32::from_le_bytes(low.try_into().ok()?));
            Value::Text(exact::text((high << 32 | low).into(), 4))
        }
        Kind::Text(_, Charset::Unicode) => Value::Text(utf16(bytes)?),
        Kind::Text(_, Charset::Byte) => Value::Text(text::decode(bytes)),
        Kind::Binary(_) => Value::Blob(bytes.to_vec()),
        Kind::Guid => Value::Text(guid_text(bytes.try_into().ok()?)),
        Kind::Date
        | Kind::Time(_)
        | Kind::SmallDateTime
        | Kind::DateTime
        | Kind::DateTime2(_)
        | Kind::DateTimeOffset(_) => Value::Text(moment(kind, bytes)?.text(kind)?),
    })
}

fn little_endian(bytes: &[u8]) -> Option<i128> {
    (bytes.len() <= 16).then_some(())?;
    let sum = bytes
        .iter()
        .rev()
        .fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
    i128::try_from(sum).ok()
}

fn moment(kind: Kind, bytes: &[u8]) -> Option<Moment> {
    let at = |days: i32, ticks: u64| Moment {
        days,
        ticks,
        offset: 0,
    };
    let ticks = |bytes: &[u8], scale: u8| {
        let units = u64::try_from(little_endian(bytes)?).ok()?;
        units.checked_mul(10_u64.pow(7 - u32::from(scale)))
    };
    let days = |bytes: &[u8]| i32::try_from(little_endian(bytes)?).ok();
    match kind {
        Kind::Date => Some(at(days(bytes)?, 0)),
        Kind::Time(scale) => Some(at(DAY_1900, ticks(bytes, scale)?)),
        Kind::SmallDateTime => {
            let (days, minutes) = bytes.split_first_chunk::<2>()?;
            let days = i32::from(u16::from_le_bytes(*days)) + DAY_1900;
            let minutes = u64::from(u16::from_le_bytes(minutes.try_into().ok()?));
            Some(at(days, minutes * 60 * TICKS_PER_SECOND))
        }
        Kind::DateTime => {
            let (days, parts) = bytes.split_first_chunk::<4>()?;
            let days = i32::from_le_bytes(*days).checked_add(DAY_1900)?;
            let parts = u64::from(u32::from_le_bytes(parts.try_into().ok()?));
            Some(at(days, parts * TICKS_PER_SECOND / 300))
        }
        Kind::DateTime2(scale) => {
            let (time, date) = bytes.split_at_checked(bytes.len().checked_sub(3)?)?;
            Some(at(days(date)?, ticks(time, scale)?))
        }
        Kind::DateTimeOffset(scale) => {
            let (rest, offset) = bytes.split_last_chunk::<2>()?;
            let (time, date) = rest.split_at_checked(rest.len().checked_sub(3)?)?;
            let offset = i16::from_le_bytes(*offset);
            let utc = at(days(date)?, ticks(time, scale)?);
            let local = utc.plus(i128::from(offset) * 60 * i128::from(TICKS_PER_SECOND))?;
            Some(Moment { offset, ..local })
        }
        _ => None,
    }
}

/// Writes a value in the frame that `type_info::put` announced. `None`: it is not of this kind.
pub(in crate::tds) fn put(
    out: &mut Vec<u8>,
    kind: Kind,
    value: &Value,
    version: Version,
) -> Option<()> {
    let kind = for_client(kind, version);
    let is_long = matches!(kind, Kind::Text(Length::Max, _) | Kind::Binary(Length::Max));
    if *value == Value::Null {
        match kind {
            _ if is_long && version.is_wide() => out.extend(PLP_NULL.to_le_bytes()),
            Kind::Text(length, _) | Kind::Binary(length) if length != Length::Max => {
                out.extend(u16::MAX.to_le_bytes());
            }
            _ => out.push(0),
        }
        return Some(());
    }
    let bytes = encode(kind, value)?;
    match kind {
        _ if is_long && version.is_wide() => {
            out.extend(u64::try_from(bytes.len()).ok()?.to_le_bytes());
            if !bytes.is_empty() {
                out.extend(u32::try_from(bytes.len()).ok()?.to_le_bytes());
                out.extend(&bytes);
            }
            out.extend(0_u32.to_le_bytes());
        }
        // text, ntext and image of 7.1: a text pointer and a timestamp first.
        _ if is_long => {
            out.push(16);
            out.extend(*b"entrapool text  ");
            out.extend([0; 8]);
            out.extend(u32::try_from(bytes.len()).ok()?.to_le_bytes());
            out.extend(&bytes);
        }
        Kind::Text(..) | Kind::Binary(_) => {
            out.extend(u16::try_from(bytes.len()).ok()?.to_le_bytes());
            out.extend(&bytes);
        }
        _ => {
            out.push(u8::try_from(bytes.len()).ok()?);
            out.extend(&bytes);
        }
    }
    Some(())
}

fn encode(kind: Kind, value: &Value) -> Option<Vec<u8>> {
    Some(match (kind, value) {
        (Kind::Bit, Value::Integer(number)) => vec![u8::from(*number != 0)],
        (Kind::TinyInt, Value::Integer(number)) => vec![u8::try_from(*number).ok()?],
        (Kind::SmallInt, Value::Integer(number)) => {
            i16::try_from(*number).ok()?.to_le_bytes().to_vec()
        }
        (Kind::Int, Value::Integer(number)) => i32::try_from(*number).ok()?.to_le_bytes().to_vec(),
        (Kind::BigInt, Value::Integer(number)) => number.to_le_bytes().to_vec(),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "real is what was asked for"
        )]
        (Kind::Real, Value::Real(number)) => (*number as f32).to_le_bytes().to_vec(),
        (Kind::Float, Value::Real(number)) => number.to_le_bytes().to_vec(),
        (Kind::Decimal { scale, .. }, Value::Text(text)) => {
            let units = exact::units(text, scale)?;
            let mut bytes = vec![u8::from(units >= 0)];
            bytes.extend(units.unsigned_abs().to_le_bytes());
            bytes
        }
        (Kind::SmallMoney, Value::Text(text)) => i32::try_from(exact::units(text, 4)?)
            .ok()?
            .to_le_bytes()
            .to_vec(),
        (Kind::Money, Value::Text(text)) => {
            let units = i64::try_from(exact::units(text, 4)?).ok()?.to_le_bytes();
            let (low, high) = units.split_at(4);
            [high, low].concat()
        }
        (Kind::Text(_, Charset::Unicode), Value::Text(text)) => {
            let mut bytes = Vec::with_capacity(text.len() * 2);
            put_utf16(&mut bytes, text);
            bytes
        }
        (Kind::Text(_, Charset::Byte), Value::Text(text)) => text::encode(text),
        (Kind::Binary(_), Value::Blob(bytes)) => bytes.clone(),
        (Kind::Guid, Value::Text(text)) => guid_bytes(text)?.to_vec(),
        (kind, Value::Text(text)) => moment_bytes(kind, Moment::parse(text)?)?,
        _ => return None,
    })
}

fn moment_bytes(kind: Kind, moment: Moment) -> Option<Vec<u8>> {
    let date = |moment: Moment| Some(u32::try_from(moment.days).ok()?.to_le_bytes()[..3].to_vec());
    let time = |moment: Moment, scale: u8| {
        let units = moment.ticks / 10_u64.pow(7 - u32::from(scale));
        let width = match scale {
            0..=2 => 3,
            3 | 4 => 4,
            _ => 5,
        };
        units.to_le_bytes()[..width].to_vec()
    };
    Some(match kind {
        Kind::Date => date(moment)?,
        Kind::Time(scale) => time(moment, scale),
        Kind::SmallDateTime => {
            let days = u16::try_from(moment.days - DAY_1900).ok()?;
            let minutes = u16::try_from(moment.ticks / (60 * TICKS_PER_SECOND)).ok()?;
            [days.to_le_bytes(), minutes.to_le_bytes()].concat()
        }
        Kind::DateTime => {
            let days = moment.days - DAY_1900;
            let parts = (moment.ticks * 300 + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND;
            let parts = u32::try_from(parts).ok()?;
            [days.to_le_bytes(), parts.to_le_bytes()].concat()
        }
        Kind::DateTime2(scale) => [time(moment, scale), date(moment)?].concat(),
        Kind::DateTimeOffset(scale) => {
            let ahead = i128::from(moment.offset) * 60 * i128::from(TICKS_PER_SECOND);
            let utc = moment.plus(-ahead)?;
            let offset = moment.offset.to_le_bytes().to_vec();
            [time(utc, scale), date(utc)?, offset].concat()
        }
        _ => return None,
    })
}

/// The first three groups are little-endian on the wire.
pub(in crate::tds) fn guid_text(bytes: [u8; 16]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (at, from) in ORDER.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02X}", bytes[*from]));
    }
    text
}

pub(in crate::tds) fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let text = text.trim_start_matches('{').trim_end_matches('}');
    let is_formed = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_formed.then_some(())?;
    let digits = text.replace('-', "");
    let mut bytes = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Some(bytes)
}

/// Exact numbers as text and as counts of their smallest unit.
pub(in crate::tds) mod exact {
    /// `units` of 10^-scale, with all its digits.
    pub(in crate::tds) fn text(units: i128, scale: u8) -> String {
        let scale = usize::from(scale);
        let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if units < 0 { "-" } else { "" };
        let point = if scale == 0 { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }

    /// Rounded half away from zero. `None`: not a number, or too large.
    pub(in crate::tds) fn units(text: &str, scale: u8) -> Option<i128> {
        let text = text.trim();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if digits.contains(['e', 'E']) {
            return of_float(text.parse().ok()?, scale);
        }
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = !(whole.is_empty() && fraction.is_empty())
            && whole
                .chars()
                .chain(fraction.chars())
                .all(|c| c.is_ascii_digit());
        is_number.then_some(())?;
        let scale = usize::from(scale);
        let padded = format!("{fraction:0<scale$}");
        let kept = padded.get(..scale)?;
        let units: i128 = format!("0{whole}{kept}").parse().ok()?;
        let rounds_up = padded
            .as_bytes()
            .get(scale)
            .is_some_and(|next| *next >= b'5');
        let units = units + i128::from(rounds_up);
        Some(if negative { -units } else { units })
    }

    /// Of a floating-point number, by its shortest digits.
    pub(in crate::tds) fn of_float(number: f64, scale: u8) -> Option<i128> {
        (number.is_finite() && number.abs() < 1e36).then_some(())?;
        units(&format!("{number}"), scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let nvarchar = Kind::nvarchar(50);
        for (kind, value) in [
            (Kind::Bit, Value::Integer(1)),
            (Kind::TinyInt, Value::Integer(255)),
            (Kind::SmallInt, Value::Integer(-5)),
            (Kind::Int, Value::Integer(i32::MIN.into())),
            (Kind::BigInt, Value::Integer(i64::MAX)),
            (Kind::Real, Value::Real(0.5)),
            (Kind::Float, Value::Real(-1.25e300)),
            (Kind::Money, Value::Text("-922337203685477.5808".to_owned())),
            (Kind::SmallMoney, Value::Text("1.2300".to_owned())),
            (nvarchar, Value::Text("äß😀".to_owned())),
            (
                Kind::Text(Length::Max, Charset::Unicode),
                Value::Text("x".repeat(9_000)),
            ),
            (
                Kind::Text(Length::Varying(9), Charset::Byte),
                Value::Text("€ä".to_owned()),
            ),
            (Kind::Binary(Length::Varying(9)), Value::Blob(vec![0, 255])),
            (Kind::Binary(Length::Max), Value::Blob(Vec::new())),
            (Kind::Date, Value::Text("2024-02-29".to_owned())),
            (Kind::Time(7), Value::Text("23:59:59.9999999".to_owned())),
            (
                Kind::SmallDateTime,
                Value::Text("2024-02-29 10:11:00".to_owned()),
            ),
            (
                Kind::DateTime,
                Value::Text("1753-01-01 10:11:12.997".to_owned()),
            ),
            (
                Kind::DateTime2(3),
                Value::Text("0001-01-01 00:00:00.123".to_owned()),
            ),
            (
                Kind::DateTimeOffset(0),
                Value::Text("2024-02-29 23:00:00 -05:30".to_owned()),
            ),
            (
                Kind::Decimal {
                    precision: 38,
                    scale: 10,
                },
                Value::Text("-1234567890123456789012345678.0123456789".to_owned()),
            ),
            (
                Kind::Guid,
                Value::Text("01020304-0506-0708-090A-0B0C0D0E0F10".to_owned()),
            ),
            (Kind::Int, Value::Null),
            (nvarchar, Value::Null),
        ] {
            let version = Version::V74;
            let mut bytes = Vec::new();
            super::super::type_info::put(&mut bytes, kind, version);
            put(&mut bytes, kind, &value, version).unwrap();
            let mut reader = Reader::new(&bytes, "test");
            let info = super::super::type_info::read(&mut reader).unwrap();
            assert_eq!(read(&mut reader, info).unwrap(), value, "{kind}");
            assert!(reader.is_empty(), "{kind}");
        }
    }
}
