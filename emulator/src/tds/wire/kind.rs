//! Data types of T-SQL: names, families, precedence.

use std::fmt;

/// A data type with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Kind {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Real,
    Float,
    Decimal {
        precision: u8,
        scale: u8,
    },
    SmallMoney,
    Money,
    Text(Length, Charset),
    Binary(Length),
    Date,
    /// Digits of a second's fraction, 0 to 7.
    Time(u8),
    SmallDateTime,
    DateTime,
    DateTime2(u8),
    DateTimeOffset(u8),
    Guid,
}

/// How long a text or binary may be: in characters, or in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Length {
    Fixed(u16),
    Varying(u16),
    Max,
}

/// char or nchar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Charset {
    Byte,
    Unicode,
}

/// What matters for conversions and operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Family {
    Integer,
    /// Floating point, which includes decimals here (see [`Kind::is_exact`]).
    Number,
    Text,
    Binary,
    Time,
    Guid,
}

impl Kind {
    /// `nvarchar(4000)`, or `(max)` when it has to be.
    pub(in crate::tds) fn unicode(units: usize) -> Self {
        match u16::try_from(units) {
            Ok(units) if units <= 4_000 => {
                Self::Text(Length::Varying(units.max(1)), Charset::Unicode)
            }
            _ => Self::Text(Length::Max, Charset::Unicode),
        }
    }

    pub(in crate::tds) const fn nvarchar(units: u16) -> Self {
        Self::Text(Length::Varying(units), Charset::Unicode)
    }

    pub(in crate::tds) fn family(self) -> Family {
        match self {
            Self::Bit | Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt => {
                Family::Integer
            }
            Self::Real | Self::Float | Self::Decimal { .. } | Self::SmallMoney | Self::Money => {
                Family::Number
            }
            Self::Text(..) => Family::Text,
            Self::Binary(_) => Family::Binary,
            Self::Date
            | Self::Time(_)
            | Self::SmallDateTime
            | Self::DateTime
            | Self::DateTime2(_)
            | Self::DateTimeOffset(_) => Family::Time,
            Self::Guid => Family::Guid,
        }
    }

    pub(in crate::tds) fn is_numeric(self) -> bool {
        matches!(self.family(), Family::Integer | Family::Number)
    }

    /// Values of it are kept as text with a fixed number of digits.
    pub(in crate::tds) fn is_exact(self) -> bool {
        matches!(self, Self::Decimal { .. } | Self::SmallMoney | Self::Money)
    }

    /// Data type precedence of T-SQL: of two kinds the higher one wins.
    pub(in crate::tds) fn rank(self) -> u8 {
        match self {
            Self::Binary(_) => 1,
            Self::Text(_, Charset::Byte) => 2,
            Self::Text(_, Charset::Unicode) => 3,
            Self::Guid => 4,
            Self::Bit => 5,
            Self::TinyInt => 6,
            Self::SmallInt => 7,
            Self::Int => 8,
            Self::BigInt => 9,
            Self::SmallMoney => 10,
            Self::Money => 11,
            Self::Decimal { .. } => 12,
            Self::Real => 13,
            Self::Float => 14,
            Self::Time(_) => 15,
            Self::Date => 16,
            Self::SmallDateTime => 17,
            Self::DateTime => 18,
            Self::DateTime2(_) => 19,
            Self::DateTimeOffset(_) => 20,
        }
    }

    /// Digits behind the point of an exact number.
    pub(in crate::tds) fn scale(self) -> u8 {
        match self {
            Self::Decimal { scale, .. } => scale,
            Self::SmallMoney | Self::Money => 4,
            _ => 0,
        }
    }

    /// By name and parameters, as in `decimal(10, 2)`; `max` is `None` in the list.
    pub(in crate::tds) fn named(name: &str, sizes: &[Option<u16>]) -> Option<Self> {
        let small = |default: u8| match sizes.first() {
            Some(Some(size)) => u8::try_from(*size).unwrap_or(u8::MAX),
            _ => default,
        };
        let length = |fixed: bool, most: u16| match sizes.first() {
            Some(None) => Some(Length::Max),
            Some(Some(size)) if *size == 0 || *size > most => None,
            Some(Some(size)) if fixed => Some(Length::Fixed(*size)),
            Some(Some(size)) => Some(Length::Varying(*size)),
            None if fixed => Some(Length::Fixed(1)),
            None => Some(Length::Varying(1)),
        };
        Some(match name.to_ascii_lowercase().as_str() {
            "bit" => Self::Bit,
            "tinyint" => Self::TinyInt,
            "smallint" => Self::SmallInt,
            "int" | "integer" => Self::Int,
            "bigint" => Self::BigInt,
            "real" => Self::Real,
            "float" if small(53) <= 24 => Self::Real,
            "float" => Self::Float,
            "decimal" | "numeric" | "dec" => {
                let precision = small(18);
                let scale = match sizes.get(1) {
                    Some(Some(scale)) => u8::try_from(*scale).unwrap_or(u8::MAX),
                    _ => 0,
                };
                if precision == 0 || precision > 38 || scale > precision {
                    return None;
                }
                Self::Decimal { precision, scale }
            }
            "smallmoney" => Self::SmallMoney,
            "money" => Self::Money,
            "char" | "character" => Self::Text(length(true, 8_000)?, Charset::Byte),
            "varchar" => Self::Text(length(false, 8_000)?, Charset::Byte),
            "text" => Self::Text(Length::Max, Charset::Byte),
            "nchar" => Self::Text(length(true, 4_000)?, Charset::Unicode),
            "nvarchar" => Self::Text(length(false, 4_000)?, Charset::Unicode),
            "sysname" => Self::nvarchar(128),
            "ntext" | "xml" => Self::Text(Length::Max, Charset::Unicode),
            "binary" => Self::Binary(length(true, 8_000)?),
            "varbinary" => Self::Binary(length(false, 8_000)?),
            "timestamp" | "rowversion" => Self::Binary(Length::Fixed(8)),
            "image" => Self::Binary(Length::Max),
            "date" => Self::Date,
            "time" if small(7) <= 7 => Self::Time(small(7)),
            "smalldatetime" => Self::SmallDateTime,
            "datetime" => Self::DateTime,
            "datetime2" if small(7) <= 7 => Self::DateTime2(small(7)),
            "datetimeoffset" if small(7) <= 7 => Self::DateTimeOffset(small(7)),
            "uniqueidentifier" => Self::Guid,
            _ => return None,
        })
    }

    /// The affinity of a column of SQLite that holds it.
    pub(in crate::tds) fn storage(self) -> &'static str {
        match self.family() {
            Family::Integer => "INTEGER",
            Family::Number if self.is_exact() => "NUMERIC",
            Family::Number => "REAL",
            Family::Text => "TEXT COLLATE NOCASE",
            Family::Guid | Family::Time => "TEXT",
            Family::Binary => "BLOB",
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) | Self::Varying(length) => write!(f, "{length}"),
            Self::Max => f.write_str("max"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit => f.write_str("bit"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Real => f.write_str("real"),
            Self::Float => f.write_str("float"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::SmallMoney => f.write_str("smallmoney"),
            Self::Money => f.write_str("money"),
            Self::Text(length, charset) => {
                let n = match charset {
                    Charset::Unicode => "n",
                    Charset::Byte => "",
                };
                let var = match length {
                    Length::Fixed(_) => "",
                    Length::Varying(_) | Length::Max => "var",
                };
                write!(f, "{n}{var}char({length})")
            }
            Self::Binary(length @ Length::Fixed(_)) => write!(f, "binary({length})"),
            Self::Binary(length) => write!(f, "varbinary({length})"),
            Self::Date => f.write_str("date"),
            Self::Time(scale) => write!(f, "time({scale})"),
            Self::SmallDateTime => f.write_str("smalldatetime"),
            Self::DateTime => f.write_str("datetime"),
            Self::DateTime2(scale) => write!(f, "datetime2({scale})"),
            Self::DateTimeOffset(scale) => write!(f, "datetimeoffset({scale})"),
            Self::Guid => f.write_str("uniqueidentifier"),
        }
    }
}
