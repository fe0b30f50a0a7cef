//! Functions that translated statements call: T-SQL's behaviour where SQLite's differs.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value;
use rusqlite::{Connection, Error, Result};

use super::catalog::parse_kind;
use super::dates;
use crate::tds::error::ServerError;
use crate::tds::sql::{convert, like};
use crate::tds::wire::kind::{Charset, Family, Kind};
use crate::tds::wire::values::guid_text;

/// A text may not grow beyond this by REPLICATE.
const MOST_TEXT: usize = 16 * 1024 * 1024;

type Function = fn(&Context<'_>) -> Result<Value>;

const FUNCTIONS: [(&str, i32, Function); 18] = [
    ("tsql_cast", 2, cast),
    ("tsql_assign", 2, assign),
    ("tsql_convert", 4, convert_with_style),
    ("tsql_try_convert", 4, try_convert),
    ("tsql_divide", 2, divide),
    ("tsql_modulo", 2, modulo),
    ("tsql_add", 2, add),
    ("tsql_join", 2, join),
    ("tsql_like", 3, is_like),
    ("tsql_datalength", 2, datalength),
    ("tsql_reverse", 1, reverse),
    ("tsql_replicate", 2, replicate),
    ("tsql_math", 3, math),
    ("tsql_dateadd", 3, dateadd),
    ("tsql_datediff", 3, datediff),
    ("tsql_datepart", 2, datepart),
    ("tsql_datename", 2, datename),
    ("tsql_newid", 0, newid),
];

pub(super) fn register(connection: &Connection) -> Result<()> {
    for (name, arguments, function) in FUNCTIONS {
        let mut flags = FunctionFlags::SQLITE_UTF8;
        if name != "tsql_newid" {
            flags |= FunctionFlags::SQLITE_DETERMINISTIC;
        }
        connection.create_scalar_function(name, arguments, flags, function)?;
    }
    Ok(())
}

/// An error of ours on its way through SQLite.
pub(super) fn raised(error: &ServerError) -> Error {
    Error::UserFunctionError(error.encode().into())
}

fn kind(context: &Context<'_>) -> Result<Kind> {
    Ok(parse_kind(&context.get::<String>(1)?))
}

fn cast(context: &Context<'_>) -> Result<Value> {
    convert::cast(context.get(0)?, kind(context)?).map_err(|error| raised(&error))
}

fn assign(context: &Context<'_>) -> Result<Value> {
    convert::assign(context.get(0)?, kind(context)?).map_err(|error| raised(&error))
}

fn convert_with_style(context: &Context<'_>) -> Result<Value> {
    styled(context).map_err(|error| match error {
        Ok(ours) => raised(&ours),
        Err(theirs) => theirs,
    })
}

fn try_convert(context: &Context<'_>) -> Result<Value> {
    match styled(context) {
        Ok(value) => Ok(value),
        Err(Ok(_)) => Ok(Value::Null),
        Err(Err(error)) => Err(error),
    }
}

/// value, to, from, style.
fn styled(
    context: &Context<'_>,
) -> std::result::Result<Value, std::result::Result<ServerError, Error>> {
    let value: Value = context.get(0).map_err(Err)?;
    let to = kind(context).map_err(Err)?;
    let from: String = context.get(2).map_err(Err)?;
    let style: Option<i64> = context.get(3).map_err(Err)?;
    let from = (!from.is_empty()).then(|| parse_kind(&from));
    if let (Some(from), Kind::Text(..), Value::Text(text)) = (from, to, &value)
        && from.family() == Family::Time
    {
        let shown = dates::shown(text, from, style).map_err(Ok)?;
        return convert::cast(Value::Text(shown), to).map_err(Ok);
    }
    if let (Some(style @ (1 | 2)), Value::Blob(bytes), Kind::Text(..)) = (style, &value, to) {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let prefix = if style == 1 { "0x" } else { "" };
        return convert::cast(Value::Text(format!("{prefix}{digits}")), to).map_err(Ok);
    }
    convert::cast(value, to).map_err(Ok)
}

fn zero() -> Error {
    raised(&ServerError::new(
        8134,
        16,
        "Divide by zero error encountered.",
    ))
}

fn numbers(context: &Context<'_>) -> Result<Option<(Value, Value)>> {
    let number = |at: usize| -> Result<Value> {
        match context.get(at)? {
            Value::Text(text) => {
                convert::cast(Value::Text(text), Kind::Float).map_err(|e| raised(&e))
            }
            value => Ok(value),
        }
    };
    match (number(0)?, number(1)?) {
        (Value::Null, _) | (_, Value::Null) => Ok(None),
        pair => Ok(Some(pair)),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "float is what mixed numbers become"
)]
fn real(value: &Value) -> f64 {
    match value {
        Value::Integer(number) => *number as f64,
        Value::Real(number) => *number,
        _ => 0.0,
    }
}

fn divide(context: &Context<'_>) -> Result<Value> {
    Ok(match numbers(context)? {
        None => Value::Null,
        Some((Value::Integer(_), Value::Integer(0))) => return Err(zero()),
        Some((Value::Integer(a), Value::Integer(b))) => Value::Integer(a.wrapping_div(b)),
        Some((_, b)) if real(&b) == 0.0 => return Err(zero()),
        Some((a, b)) => Value::Real(real(&a) / real(&b)),
    })
}

fn modulo(context: &Context<'_>) -> Result<Value> {
    Ok(match numbers(context)? {
        None => Value::Null,
        Some((Value::Integer(_), Value::Integer(0))) => return Err(zero()),
        Some((Value::Integer(a), Value::Integer(b))) => Value::Integer(a.wrapping_rem(b)),
        Some((_, b)) if real(&b) == 0.0 => return Err(zero()),
        Some((a, b)) => Value::Real(real(&a) % real(&b)),
    })
}

/// `+` where neither type was known.
fn add(context: &Context<'_>) -> Result<Value> {
    if let (Value::Text(a), Value::Text(b)) = (context.get(0)?, context.get(1)?) {
        return Ok(Value::Text(a + &b));
    }
    Ok(match numbers(context)? {
        None => Value::Null,
        Some((Value::Integer(a), Value::Integer(b))) => Value::Integer(a.wrapping_add(b)),
        Some((a, b)) => Value::Real(real(&a) + real(&b)),
    })
}

fn join(context: &Context<'_>) -> Result<Value> {
    Ok(match (context.get(0)?, context.get(1)?) {
        (Value::Blob(mut a), Value::Blob(b)) => {
            a.extend(b);
            Value::Blob(a)
        }
        _ => Value::Null,
    })
}

fn is_like(context: &Context<'_>) -> Result<Value> {
    let text = |at: usize| -> Result<Option<String>> {
        let value: Value = context.get(at)?;
        let text = convert::cast(
            value,
            Kind::Text(crate::tds::wire::kind::Length::Max, Charset::Unicode),
        );
        match text.map_err(|error| raised(&error))? {
            Value::Text(text) => Ok(Some(text)),
            _ => Ok(None),
        }
    };
    let (Some(whole), Some(pattern)) = (text(0)?, text(1)?) else {
        return Ok(Value::Null);
    };
    let escape = text(2)?.and_then(|escape| escape.chars().next());
    Ok(Value::Integer(
        like::matches(&whole, &pattern, escape).into(),
    ))
}

fn datalength(context: &Context<'_>) -> Result<Value> {
    let kind: String = context.get(1)?;
    let unit = match parse_kind(&kind) {
        Kind::Text(_, Charset::Byte) => 1,
        _ => 2,
    };
    let size = match context.get(0)? {
        Value::Null => return Ok(Value::Null),
        Value::Blob(bytes) => bytes.len(),
        Value::Text(text) => text.encode_utf16().count() * unit,
        Value::Integer(_) => match kind.as_str() {
            "bigint" => 8,
            "smallint" => 2,
            "tinyint" | "bit" => 1,
            _ => 4,
        },
        Value::Real(_) => 8,
    };
    Ok(Value::Integer(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn reverse(context: &Context<'_>) -> Result<Value> {
    let text: Option<String> = context.get(0)?;
    Ok(text.map_or(Value::Null, |text| {
        Value::Text(text.chars().rev().collect())
    }))
}

fn replicate(context: &Context<'_>) -> Result<Value> {
    let (text, count): (Option<String>, Option<i64>) = (context.get(0)?, context.get(1)?);
    let (Some(text), Some(count)) = (text, count) else {
        return Ok(Value::Null);
    };
    let most = MOST_TEXT / text.len().max(1);
    let count = usize::try_from(count).unwrap_or(0);
    if count > most {
        let error = ServerError::unsupported("REPLICATE of more than 16 MB");
        return Err(raised(&error));
    }
    Ok(Value::Text(text.repeat(count)))
}

fn math(context: &Context<'_>) -> Result<Value> {
    let name: String = context.get(0)?;
    let (a, b): (Value, Value) = (context.get(1)?, context.get(2)?);
    if a == Value::Null || b == Value::Null {
        return Ok(Value::Null);
    }
    if let (Value::Integer(_), "ceiling" | "floor") = (&a, name.as_str()) {
        return Ok(a);
    }
    let (x, y) = (real(&a), real(&b));
    let result = match name.as_str() {
        "ceiling" => x.ceil(),
        "floor" => x.floor(),
        "sqrt" => x.sqrt(),
        "exp" => x.exp(),
        "log" => x.ln(),
        "square" => x * x,
        "power" => x.powf(y),
        _ => {
            let unit = 10_f64.powf(y);
            (x * unit).round() / unit
        }
    };
    if result.is_finite() {
        return Ok(Value::Real(result));
    }
    let error = ServerError::new(3623, 16, "An invalid floating point operation occurred.");
    Err(raised(&error))
}

fn dateadd(context: &Context<'_>) -> Result<Value> {
    let (part, count): (String, Option<f64>) = (context.get(0)?, context.get(1)?);
    let date: Option<String> = context.get(2)?;
    let (Some(count), Some(date)) = (count, date) else {
        return Ok(Value::Null);
    };
    dates::add(&part, count, &date)
        .map(Value::Text)
        .map_err(|e| raised(&e))
}

fn datediff(context: &Context<'_>) -> Result<Value> {
    let part: String = context.get(0)?;
    let (from, to): (Option<String>, Option<String>) = (context.get(1)?, context.get(2)?);
    let (Some(from), Some(to)) = (from, to) else {
        return Ok(Value::Null);
    };
    dates::difference(&part, &from, &to)
        .map(Value::Integer)
        .map_err(|e| raised(&e))
}

fn datepart(context: &Context<'_>) -> Result<Value> {
    let (part, date): (String, Option<String>) = (context.get(0)?, context.get(1)?);
    let Some(date) = date else {
        return Ok(Value::Null);
    };
    dates::part(&part, &date)
        .map(Value::Integer)
        .map_err(|e| raised(&e))
}

fn datename(context: &Context<'_>) -> Result<Value> {
    let (part, date): (String, Option<String>) = (context.get(0)?, context.get(1)?);
    let Some(date) = date else {
        return Ok(Value::Null);
    };
    dates::name(&part, &date)
        .map(Value::Text)
        .map_err(|e| raised(&e))
}

fn newid(_context: &Context<'_>) -> Result<Value> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        raised(&ServerError::new(
            40_000,
            16,
            "No random numbers can be had.",
        ))
    })?;
    bytes[7] = bytes[7] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(Value::Text(guid_text(bytes)))
}
