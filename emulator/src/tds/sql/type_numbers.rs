//! `system_type_id` of sys.types, and TYPE_NAME.

use crate::tds::wire::kind::Kind;

/// Numbers and names of sys.types.
const NUMBERS: [(u8, &str); 24] = [
    (36, "uniqueidentifier"),
    (40, "date"),
    (41, "time"),
    (42, "datetime2"),
    (43, "datetimeoffset"),
    (48, "tinyint"),
    (52, "smallint"),
    (56, "int"),
    (58, "smalldatetime"),
    (59, "real"),
    (60, "money"),
    (61, "datetime"),
    (62, "float"),
    (104, "bit"),
    (106, "decimal"),
    (108, "numeric"),
    (122, "smallmoney"),
    (127, "bigint"),
    (165, "varbinary"),
    (167, "varchar"),
    (173, "binary"),
    (175, "char"),
    (231, "nvarchar"),
    (239, "nchar"),
];

/// `None`: a type without a number here.
pub(in crate::tds) fn number(kind: Kind) -> Option<u8> {
    let name = kind.to_string();
    let bare = name.split('(').next().unwrap_or(&name);
    let mut all = NUMBERS.iter();
    all.find(|(_, known)| *known == bare).map(|(at, _)| *at)
}

/// TYPE_NAME of a number, in SQLite's SQL.
pub(super) fn name_of(number: &str) -> String {
    let cases: String = NUMBERS
        .iter()
        .map(|(at, name)| format!(" WHEN {at} THEN '{name}'"))
        .collect();
    format!("(CASE {number}{cases} END)")
}
