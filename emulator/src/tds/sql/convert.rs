//! Conversions between data types, as CAST and assignments do them.

use rusqlite::types::Value;

use crate::tds::error::ServerError;
use crate::tds::wire::kind::{Charset, Family, Kind, Length};
use crate::tds::wire::temporal::{DAY_1900, Moment, TICKS_PER_SECOND};
use crate::tds::wire::values::{exact, guid_bytes, guid_text};

/// A value of this kind, in the form of the store. Text that is too long is cut.
pub(in crate::tds) fn cast(value: Value, to: Kind) -> Result<Value, ServerError> {
    if value == Value::Null {
        return Ok(value);
    }
    match to.family() {
        Family::Integer => integer(&value, to).map(Value::Integer),
        Family::Number if to.is_exact() => exact_number(&value, to).map(Value::Text),
        Family::Number => float(&value, to).map(Value::Real),
        Family::Text => text(value, to).map(Value::Text),
        Family::Binary => binary(value, to).map(Value::Blob),
        Family::Time => time(&value, to).map(Value::Text),
        Family::Guid => guid(&value).map(Value::Text),
    }
}

/// The same for a column: text that is too long is an error.
pub(in crate::tds) fn assign(value: Value, to: Kind) -> Result<Value, ServerError> {
    let fits = match (&value, to) {
        (Value::Text(text), Kind::Text(Length::Fixed(most) | Length::Varying(most), _)) => {
            text.trim_end_matches(' ').encode_utf16().count() <= most.into()
        }
        (Value::Blob(bytes), Kind::Binary(Length::Fixed(most) | Length::Varying(most))) => {
            bytes.len() <= most.into()
        }
        _ => true,
    };
    if let (Value::Text(_), Kind::Binary(_)) = (&value, to) {
        let text = format!(
            "Implicit conversion from data type nvarchar to {to} is not allowed. Use the CONVERT \
             function to run this query."
        );
        return Err(ServerError::new(257, 16, text));
    }
    if !fits {
        let text = "String or binary data would be truncated.";
        return Err(ServerError::new(2628, 16, text));
    }
    cast(value, to)
}

/// What a value is called in errors, and what it looks like there.
fn described(value: &Value) -> (&'static str, String) {
    match value {
        Value::Null => ("null", String::new()),
        Value::Integer(number) => ("int", number.to_string()),
        Value::Real(number) => ("float", number.to_string()),
        Value::Text(text) => ("nvarchar", text.chars().take(100).collect()),
        Value::Blob(_) => ("varbinary", String::new()),
    }
}

fn failed(value: &Value, to: Kind) -> ServerError {
    let (from, shown) = described(value);
    match to.family() {
        Family::Time => ServerError::new(
            241,
            16,
            "Conversion failed when converting date and/or time from character string.",
        ),
        Family::Guid => ServerError::new(
            8169,
            16,
            "Conversion failed when converting from a character string to uniqueidentifier.",
        ),
        Family::Number => ServerError::new(
            8114,
            16,
            format!("Error converting data type {from} to {to}."),
        ),
        _ => ServerError::conversion(&shown, from, &to.to_string()),
    }
}

fn overflow(to: Kind) -> ServerError {
    let text = format!("Arithmetic overflow error converting expression to data type {to}.");
    ServerError::new(8115, 16, text)
}

fn integer(value: &Value, to: Kind) -> Result<i64, ServerError> {
    let number = match value {
        Value::Integer(number) => *number,
        Value::Real(number) if number.abs() < 9.3e18 => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "CAST cuts the fraction off"
            )]
            let whole = number.trunc() as i64;
            whole
        }
        Value::Real(_) => return Err(overflow(to)),
        Value::Text(text) => of_text(text, to).ok_or_else(|| failed(value, to))?,
        Value::Blob(bytes) => bytes
            .iter()
            .rev()
            .take(8)
            .rev()
            .fold(0, |sum, byte| sum << 8 | i64::from(*byte)),
        Value::Null => return Err(failed(value, to)),
    };
    let range = match to {
        Kind::Bit => return Ok(i64::from(number != 0)),
        Kind::TinyInt => 0..=i64::from(u8::MAX),
        Kind::SmallInt => i64::from(i16::MIN)..=i64::from(i16::MAX),
        Kind::Int => i64::from(i32::MIN)..=i64::from(i32::MAX),
        _ => i64::MIN..=i64::MAX,
    };
    range
        .contains(&number)
        .then_some(number)
        .ok_or_else(|| overflow(to))
}

fn of_text(text: &str, to: Kind) -> Option<i64> {
    let text = text.trim();
    if to == Kind::Bit {
        if text.eq_ignore_ascii_case("true") {
            return Some(1);
        }
        if text.eq_ignore_ascii_case("false") {
            return Some(0);
        }
    }
    if text.is_empty() {
        return Some(0);
    }
    // Texts of ours for exact numbers have a point; those of users fail on SQL Server, but the
    // store cannot tell them apart.
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            let (whole, fraction) = text.split_once('.')?;
            let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
            (digits && !fraction.is_empty()).then(|| whole.parse().ok())?
        }
    }
}

fn exact_number(value: &Value, to: Kind) -> Result<String, ServerError> {
    let scale = to.scale();
    let units = match value {
        Value::Integer(number) => 10_i128
            .checked_pow(scale.into())
            .and_then(|unit| unit.checked_mul((*number).into())),
        Value::Real(number) => exact::of_float(*number, scale),
        Value::Text(text) => {
            let text = text.trim();
            let number = if matches!(to, Kind::Money | Kind::SmallMoney) {
                text.trim_start_matches('$').replace(',', "")
            } else {
                text.to_owned()
            };
            Some(exact::units(&number, scale).ok_or_else(|| failed(value, to))?)
        }
        Value::Blob(_) | Value::Null => return Err(failed(value, to)),
    };
    let units = units.ok_or_else(|| overflow(to))?;
    let most: i128 = match to {
        Kind::Decimal { precision, .. } => 10_i128.pow(u32::from(precision)) - 1,
        Kind::SmallMoney => i32::MAX.into(),
        _ => i64::MAX.into(),
    };
    if units.abs() > most + i128::from(!matches!(to, Kind::Decimal { .. })) {
        return Err(overflow(to));
    }
    Ok(exact::text(units, scale))
}

fn float(value: &Value, to: Kind) -> Result<f64, ServerError> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "float is what was asked for")]
        Value::Integer(number) => Ok(*number as f64),
        Value::Real(number) => Ok(*number),
        Value::Text(text) => text.trim().parse().map_err(|_| failed(value, to)),
        Value::Blob(_) | Value::Null => Err(failed(value, to)),
    }
}

fn text(value: Value, to: Kind) -> Result<String, ServerError> {
    let text = match value {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Blob(bytes) => match to {
            Kind::Text(_, Charset::Unicode) => {
                crate::tds::wire::bytes::utf16(&bytes).unwrap_or_default()
            }
            _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
        },
        Value::Null => return Err(failed(&value, to)),
    };
    Ok(match to {
        Kind::Text(Length::Varying(most), _) => cut(text, most.into()),
        Kind::Text(Length::Fixed(most), _) => {
            let text = cut(text, most.into());
            let missing = usize::from(most).saturating_sub(text.encode_utf16().count());
            text + &" ".repeat(missing)
        }
        _ => text,
    })
}

fn cut(text: String, units: usize) -> String {
    if text.len() <= units {
        return text;
    }
    let mut left = units;
    text.chars()
        .take_while(|c| {
            let fits = left >= c.len_utf16();
            left = left.saturating_sub(c.len_utf16());
            fits
        })
        .collect()
}

fn binary(value: Value, to: Kind) -> Result<Vec<u8>, ServerError> {
    let mut bytes = match value {
        Value::Blob(bytes) => bytes,
        Value::Text(text) => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Value::Integer(number) => match i32::try_from(number) {
            Ok(number) => number.to_be_bytes().to_vec(),
            Err(_) => number.to_be_bytes().to_vec(),
        },
        Value::Real(_) | Value::Null => return Err(failed(&value, to)),
    };
    match to {
        Kind::Binary(Length::Varying(most)) => bytes.truncate(most.into()),
        Kind::Binary(Length::Fixed(size)) => bytes.resize(size.into(), 0),
        _ => {}
    }
    Ok(bytes)
}

fn time(value: &Value, to: Kind) -> Result<String, ServerError> {
    let moment = match value {
        Value::Text(text) => Moment::parse(text),
        // Days since 1900, for datetime only.
        Value::Integer(days) => i32::try_from(*days).ok().map(|days| Moment {
            days: days.saturating_add(DAY_1900),
            ticks: 0,
            offset: 0,
        }),
        Value::Real(days) => {
            let start = Moment {
                days: DAY_1900,
                ticks: 0,
                offset: 0,
            };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "in range, or out of the years"
            )]
            let ticks = (days * 86_400.0) as i128 * i128::from(TICKS_PER_SECOND);
            start.plus(ticks)
        }
        Value::Blob(_) | Value::Null => None,
    };
    let moment = moment.ok_or_else(|| failed(value, to))?;
    moment.text(to).ok_or_else(|| {
        let text = "The conversion of a date type resulted in an out-of-range value.";
        ServerError::new(242, 16, text)
    })
}

fn guid(value: &Value) -> Result<String, ServerError> {
    let found = match value {
        Value::Text(text) => guid_bytes(text.trim()).map(guid_text),
        Value::Blob(bytes) => bytes.as_slice().try_into().ok().map(guid_text),
        _ => None,
    };
    found.ok_or_else(|| failed(value, Kind::Guid))
}
