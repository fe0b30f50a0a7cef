//! How long values are: types and their layouts (MS-TDS 2.2.5.4, 2.2.5.5).

/// What was agreed on at the login that changes how tokens look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Always Encrypted is on: COLMETADATA has a table of keys.
    pub column_encryption: bool,
    /// The version of data classification: 0 if it is off.
    pub data_classification: u8,
    /// TDS 7.1: shorter counts.
    pub old: bool,
}

/// How the length of a value is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Value {
    /// It has always this many bytes.
    Fixed(u8),
    /// A byte says it; 0 is NULL.
    Short,
    /// Two bytes say it; 0xffff is NULL.
    Medium,
    /// Four bytes say it; 0 is NULL.
    Long,
    /// Four bytes say it; 0xffffffff is NULL.
    Data,
    /// A pointer and a timestamp come first; a pointer of 0 bytes is NULL.
    Text,
    /// In chunks (2.2.5.2.3).
    Plp,
    /// A table: its columns and rows (2.2.5.5.5.3).
    Table,
}

/// What a type is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Purpose {
    /// A column of the rows to come.
    Column,
    /// A value that follows at once.
    Single,
    /// What an encrypted column would be in clear.
    Hidden,
    /// A parameter of a client's call, whose value follows at once.
    Parameter,
}

/// What follows the byte of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) struct TypeInfo {
    /// Bytes of it: up to 9.
    pub(in crate::tds) length: u8,
    /// The value's layout, if the first two of those bytes are not 0xffff.
    pub(in crate::tds) value: Value,
    /// Whether 0xffff in them makes it [`Value::Plp`].
    pub(in crate::tds) may_be_max: bool,
    /// Names that follow.
    pub(in crate::tds) names: Names,
}

/// Names in a TYPE_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Names {
    None,
    /// XML: a schema, if the byte before says so.
    Schema,
    /// A type of the user's own.
    Udt,
    /// text, ntext, image: the table, in COLMETADATA.
    Table,
    /// A type of tables.
    TableType,
}

const INT: u8 = 0x38;
const INT_N: u8 = 0x26;

/// Whether the type is an integer of four bytes; `first` is the byte behind it.
pub(in crate::tds) fn is_int(kind: u8, first: u8) -> bool {
    kind == INT || (kind == INT_N && first == 4)
}

/// What follows the byte of this type; `None` for one that is not known.
pub(in crate::tds) fn type_info(kind: u8, purpose: Purpose) -> Option<TypeInfo> {
    let info = |length, value| TypeInfo {
        length,
        value,
        may_be_max: false,
        names: Names::None,
    };
    Some(match kind {
        0x1f => info(0, Value::Fixed(0)),
        0x30 | 0x32 => info(0, Value::Fixed(1)),
        0x34 => info(0, Value::Fixed(2)),
        INT | 0x3a | 0x3b | 0x7a => info(0, Value::Fixed(4)),
        0x3c | 0x3d | 0x3e | 0x7f => info(0, Value::Fixed(8)),
        // date: no scale.
        0x28 => info(0, Value::Short),
        0x24 | INT_N | 0x68 | 0x6d | 0x6e | 0x6f | 0x25 | 0x27 | 0x2d | 0x2f => {
            info(1, Value::Short)
        }
        // time, datetime2, datetimeoffset: the scale.
        0x29..=0x2b => info(1, Value::Short),
        // decimal, numeric: length, precision, scale.
        0x37 | 0x3f | 0x6a | 0x6c => info(3, Value::Short),
        0xad => info(2, Value::Medium),
        0xa5 => TypeInfo {
            may_be_max: true,
            ..info(2, Value::Medium)
        },
        // Characters: with a collation.
        0xaf | 0xef => info(7, Value::Medium),
        0xa7 | 0xe7 => TypeInfo {
            may_be_max: true,
            ..info(7, Value::Medium)
        },
        // A client sends no pointer with it.
        0x22 | 0x23 | 0x63 => {
            let length = if kind == 0x22 { 4 } else { 9 };
            match purpose {
                Purpose::Parameter => info(length, Value::Data),
                _ => TypeInfo {
                    names: Names::Table,
                    ..info(length, Value::Text)
                },
            }
        }
        0x62 => info(4, Value::Long),
        // A client leaves out the length (2.2.5.5.2).
        0xf0 => TypeInfo {
            names: Names::Udt,
            ..info(
                if purpose == Purpose::Parameter { 0 } else { 2 },
                Value::Plp,
            )
        },
        0xf1 => TypeInfo {
            names: Names::Schema,
            ..info(1, Value::Plp)
        },
        0xf3 => TypeInfo {
            names: Names::TableType,
            ..info(0, Value::Table)
        },
        0xf4 => info(0, Value::Plp),
        0xf5 => info(3, Value::Medium),
        _ => return None,
    })
}
