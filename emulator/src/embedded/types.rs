//! The types that the embedded server knows, and their text and binary forms.

use rusqlite::types::Value;

use super::sql_error::SqlError;

/// A PostgreSQL type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PgType {
    Bool,
    Bytea,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
}

/// The form of a value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

impl Format {
    pub(super) fn from_code(code: i16) -> Result<Self, SqlError> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            _ => Err(SqlError::error(
                "08P01",
                format!("unsupported format code: {code}"),
            )),
        }
    }

    pub(super) fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }

    /// The format of the value at a place: none given means text, one given is for all.
    pub(super) fn of(formats: &[Self], at: usize) -> Self {
        match formats {
            [] => Self::Text,
            [one] => *one,
            many => many.get(at).copied().unwrap_or(Self::Text),
        }
    }
}

impl PgType {
    /// The type of a name in SQL, with or without a length: `integer`, `varchar(20)`.
    /// Types without a form of their own here (dates, JSON, numeric) are text.
    pub(super) fn named(name: &str) -> Self {
        let name = name.split('(').next().unwrap_or(name).trim();
        match name.to_ascii_lowercase().as_str() {
            "bool" | "boolean" => Self::Bool,
            "bytea" | "blob" => Self::Bytea,
            "int2" | "smallint" => Self::Int2,
            "int" | "int4" | "integer" | "serial" => Self::Int4,
            "int8" | "bigint" | "bigserial" => Self::Int8,
            "real" | "float4" => Self::Float4,
            "float" | "float8" | "double" | "double precision" => Self::Float8,
            _ => Self::Text,
        }
    }

    /// The type of a parameter that the client declares by object id.
    pub(super) fn with_oid(oid: u32) -> Result<Self, SqlError> {
        Ok(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            700 => Self::Float4,
            701 => Self::Float8,
            // text, name, bpchar, varchar, unknown
            25 | 19 | 1042 | 1043 | 705 => Self::Text,
            _ => {
                return Err(SqlError::unsupported(&format!(
                    "parameters of the type with OID {oid}"
                )));
            }
        })
    }

    pub(super) fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Float4 => 700,
            Self::Float8 => 701,
        }
    }

    /// Bytes, or -1 for variable length.
    pub(super) fn size(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            Self::Int4 | Self::Float4 => 4,
            Self::Int8 | Self::Float8 => 8,
            Self::Bytea | Self::Text => -1,
        }
    }

    /// What SQLite stores a value of this type as, for `CAST`.
    pub(super) fn affinity(self) -> &'static str {
        match self {
            Self::Bool | Self::Int2 | Self::Int4 | Self::Int8 => "INTEGER",
            Self::Float4 | Self::Float8 => "REAL",
            Self::Bytea => "BLOB",
            Self::Text => "TEXT",
        }
    }

    /// A value that has this type and nothing else, to learn what an expression gives.
    pub(super) fn sample(self) -> Value {
        match self.affinity() {
            "INTEGER" => Value::Integer(1),
            "REAL" => Value::Real(1.0),
            "BLOB" => Value::Blob(Vec::new()),
            _ => Value::Text(String::new()),
        }
    }

    /// Reads a parameter.
    pub(super) fn decode(self, bytes: &[u8], format: Format) -> Result<Value, SqlError> {
        match format {
            Format::Binary => self.decode_binary(bytes),
            Format::Text => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| SqlError::error("22021", "invalid byte sequence for UTF8"))?;
                self.decode_text(text)
            }
        }
    }

    fn decode_text(self, text: &str) -> Result<Value, SqlError> {
        let invalid = || {
            let message = format!("invalid input syntax for type {}: \"{text}\"", self.name());
            SqlError::error("22P02", message)
        };
        let trimmed = text.trim();
        Ok(match self {
            Self::Bool => match trimmed.to_ascii_lowercase().as_str() {
                "t" | "true" | "1" | "on" | "yes" | "y" => Value::Integer(1),
                "f" | "false" | "0" | "off" | "no" | "n" => Value::Integer(0),
                _ => return Err(invalid()),
            },
            Self::Int2 => Value::Integer(trimmed.parse::<i16>().map_err(|_| invalid())?.into()),
            Self::Int4 => Value::Integer(trimmed.parse::<i32>().map_err(|_| invalid())?.into()),
            Self::Int8 => Value::Integer(trimmed.parse().map_err(|_| invalid())?),
            Self::Float4 | Self::Float8 => Value::Real(trimmed.parse().map_err(|_| invalid())?),
            Self::Text => Value::Text(text.to_owned()),
            Self::Bytea => {
                let digits = text.strip_prefix("\\x").ok_or_else(invalid)?;
                Value::Blob(unhex(digits).ok_or_else(invalid)?)
            }
        })
    }

    fn decode_binary(self, bytes: &[u8]) -> Result<Value, SqlError> {
        let value = match self {
            Self::Bool => match bytes {
                [byte] => Some(Value::Integer(i64::from(*byte != 0))),
                _ => None,
            },
            Self::Int2 => bytes
                .try_into()
                .ok()
                .map(|raw| Value::Integer(i16::from_be_bytes(raw).into())),
            Self::Int4 => bytes
                .try_into()
                .ok()
                .map(|raw| Value::Integer(i32::from_be_bytes(raw).into())),
            Self::Int8 => bytes
                .try_into()
                .ok()
                .map(|raw| Value::Integer(i64::from_be_bytes(raw))),
            Self::Float4 => bytes
                .try_into()
                .ok()
                .map(|raw| Value::Real(f32::from_be_bytes(raw).into())),
            Self::Float8 => bytes
                .try_into()
                .ok()
                .map(|raw| Value::Real(f64::from_be_bytes(raw))),
            Self::Bytea => Some(Value::Blob(bytes.to_vec())),
            Self::Text => return self.decode(bytes, Format::Text),
        };
        value.ok_or_else(|| {
            let message = format!("incorrect binary data format for type {}", self.name());
            SqlError::error("22P03", message)
        })
    }

    /// Writes a value; `None` is NULL.
    pub(super) fn encode(self, value: &Value, format: Format) -> Result<Option<Vec<u8>>, SqlError> {
        if matches!(value, Value::Null) {
            return Ok(None);
        }
        match format {
            Format::Text => Ok(Some(self.encode_text(value).into_bytes())),
            Format::Binary => self.encode_binary(value).map(Some),
        }
    }

    fn encode_text(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Null) => String::new(),
            (Self::Bool, Value::Integer(flag)) => if *flag == 0 { "f" } else { "t" }.to_owned(),
            (_, Value::Integer(number)) => number.to_string(),
            (_, Value::Real(number)) if number.is_infinite() => if *number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            }
            .to_owned(),
            (_, Value::Real(number)) => number.to_string(),
            (_, Value::Text(text)) => text.clone(),
            (_, Value::Blob(bytes)) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\x{digits}")
            }
        }
    }

    fn encode_binary(self, value: &Value) -> Result<Vec<u8>, SqlError> {
        let out_of_range = |_| SqlError::error("22003", format!("{} out of range", self.name()));
        Ok(match (self, value) {
            (Self::Bool, Value::Integer(flag)) => vec![u8::from(*flag != 0)],
            (Self::Int2, Value::Integer(number)) => i16::try_from(*number)
                .map_err(out_of_range)?
                .to_be_bytes()
                .to_vec(),
            (Self::Int4, Value::Integer(number)) => i32::try_from(*number)
                .map_err(out_of_range)?
                .to_be_bytes()
                .to_vec(),
            (Self::Int8, Value::Integer(number)) => number.to_be_bytes().to_vec(),
            #[expect(clippy::cast_possible_truncation, reason = "that is what float4 means")]
            (Self::Float4, Value::Real(number)) => (*number as f32).to_be_bytes().to_vec(),
            (Self::Float8, Value::Real(number)) => number.to_be_bytes().to_vec(),
            (Self::Bytea, Value::Blob(bytes)) => bytes.clone(),
            (Self::Text, _) => self.encode_text(value).into_bytes(),
            // SQLite's columns take any value; PostgreSQL's do not.
            _ => {
                let message = format!("a column of type {} holds another type", self.name());
                return Err(SqlError::error("XX000", message));
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Bytea => "bytea",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Text => "text",
        }
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_both_formats() {
        let cases = [
            (PgType::Bool, Value::Integer(1)),
            (PgType::Int2, Value::Integer(-3)),
            (PgType::Int4, Value::Integer(70_000)),
            (PgType::Int8, Value::Integer(i64::MIN)),
            (PgType::Float8, Value::Real(0.1)),
            (PgType::Text, Value::Text("hé".to_owned())),
            (PgType::Bytea, Value::Blob(vec![0, 255])),
        ];
        for (kind, value) in cases {
            for format in [Format::Text, Format::Binary] {
                let bytes = kind.encode(&value, format).unwrap().unwrap();
                assert_eq!(kind.decode(&bytes, format).unwrap(), value, "{kind:?}");
            }
        }
    }

    #[test]
    fn bad_input_has_postgresqls_codes() {
        let code = |outcome: Result<Value, SqlError>| outcome.unwrap_err().code;
        assert_eq!(code(PgType::Int4.decode(b"x", Format::Text)), "22P02");
        assert_eq!(code(PgType::Int4.decode(b"x", Format::Binary)), "22P03");
        assert_eq!(code(PgType::Text.decode(&[0xff], Format::Text)), "22021");
        assert_eq!(code(PgType::Bytea.decode(b"\\x1", Format::Text)), "22P02");
        let wide = Value::Integer(i64::MAX);
        assert_eq!(
            PgType::Int4.encode(&wide, Format::Binary).unwrap_err().code,
            "22003"
        );
    }
}
