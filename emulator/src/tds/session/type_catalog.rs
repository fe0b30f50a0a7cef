//! sp_datatype_info: the data types, as ODBC drivers ask for them when they connect.

use rusqlite::types::Value;

use super::call::Returned;
use super::rows::{Heading, put_metadata, put_row};
use super::stop::Stop;
use super::{Output, Session};
use crate::tds::wire::kind::Kind;
use crate::tds::wire::tokens::{Done, DoneKind};

/// Name, ODBC type, precision, prefix and suffix of literals, parameters, largest scale.
type Row = (
    &'static str,
    i64,
    i64,
    &'static str,
    &'static str,
    &'static str,
    i64,
);

const NONE: &str = "";
/// In the order of ODBC's numbers.
const TYPES: [Row; 24] = [
    ("uniqueidentifier", -11, 36, "'", "'", NONE, -1),
    ("ntext", -10, 1_073_741_823, "N'", "'", NONE, -1),
    ("nvarchar", -9, 4_000, "N'", "'", "max length", -1),
    ("nchar", -8, 4_000, "N'", "'", "length", -1),
    ("bit", -7, 1, NONE, NONE, NONE, 0),
    ("tinyint", -6, 3, NONE, NONE, NONE, 0),
    ("bigint", -5, 19, NONE, NONE, NONE, 0),
    ("image", -4, 2_147_483_647, "0x", NONE, NONE, -1),
    ("varbinary", -3, 8_000, "0x", NONE, "max length", -1),
    ("binary", -2, 8_000, "0x", NONE, "length", -1),
    ("text", -1, 2_147_483_647, "'", "'", NONE, -1),
    ("char", 1, 8_000, "'", "'", "length", -1),
    ("numeric", 2, 38, NONE, NONE, "precision,scale", 38),
    ("decimal", 3, 38, NONE, NONE, "precision,scale", 38),
    ("money", 3, 19, "$", NONE, NONE, 4),
    ("int", 4, 10, NONE, NONE, NONE, 0),
    ("smallint", 5, 5, NONE, NONE, NONE, 0),
    ("float", 6, 53, NONE, NONE, NONE, -1),
    ("real", 7, 24, NONE, NONE, NONE, -1),
    ("varchar", 12, 8_000, "'", "'", "max length", -1),
    ("date", 91, 10, "'", "'", NONE, -1),
    ("datetime2", 93, 27, "'", "'", "scale", 7),
    ("time", -154, 16, "'", "'", "scale", 7),
    ("datetimeoffset", -155, 34, "'", "'", "scale", 7),
];

impl Session {
    /// One row for each type; `wanted`: an ODBC type, 0 for all.
    pub(super) fn sp_datatype_info(
        &mut self,
        wanted: Option<i64>,
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        let headings = headings();
        put_metadata(out, &headings);
        let wanted = wanted.unwrap_or(0);
        let mut count = 0;
        for row in TYPES.iter().filter(|row| wanted == 0 || row.1 == wanted) {
            put_row(out, &headings, values(row))?;
            count += 1;
        }
        let mut done = Done::new(DoneKind::InProc);
        done.command = super::data::command::SELECT;
        done.rows = Some(count);
        out.done(done);
        self.last.row_count = count;
        Ok(Returned::default())
    }
}

fn headings() -> Vec<Heading> {
    let name = Kind::nvarchar(128);
    let short = Kind::nvarchar(32);
    [
        ("TYPE_NAME", name),
        ("DATA_TYPE", Kind::SmallInt),
        ("PRECISION", Kind::Int),
        ("LITERAL_PREFIX", short),
        ("LITERAL_SUFFIX", short),
        ("CREATE_PARAMS", short),
        ("NULLABLE", Kind::SmallInt),
        ("CASE_SENSITIVE", Kind::SmallInt),
        ("SEARCHABLE", Kind::SmallInt),
        ("UNSIGNED_ATTRIBUTE", Kind::SmallInt),
        ("MONEY", Kind::SmallInt),
        ("AUTO_INCREMENT", Kind::SmallInt),
        ("LOCAL_TYPE_NAME", name),
        ("MINIMUM_SCALE", Kind::SmallInt),
        ("MAXIMUM_SCALE", Kind::SmallInt),
        ("SQL_DATA_TYPE", Kind::SmallInt),
        ("SQL_DATETIME_SUB", Kind::SmallInt),
        ("NUM_PREC_RADIX", Kind::Int),
        ("INTERVAL_PRECISION", Kind::SmallInt),
        ("USERTYPE", Kind::SmallInt),
    ]
    .into_iter()
    .map(|(name, kind)| Heading {
        name: name.to_owned(),
        kind,
    })
    .collect()
}

fn values(row: &Row) -> Vec<Value> {
    let (name, kind, precision, prefix, suffix, parameters, scale) = *row;
    let text = |text: &str| match text {
        NONE => Value::Null,
        text => Value::Text(text.to_owned()),
    };
    let number = Value::Integer;
    let is_number = matches!(kind, -7..=-5 | 2..=7);
    let is_text = prefix.ends_with('\'') && kind < 90 && kind > -11;
    let scale_or_null = if scale < 0 {
        Value::Null
    } else {
        number(scale)
    };
    let least = if scale < 0 { Value::Null } else { number(0) };
    // ODBC's verbose type and subcode of dates.
    let (verbose, sub) = match kind {
        91 => (9, number(1)),
        93 => (9, number(3)),
        kind => (kind, Value::Null),
    };
    let radix = match kind {
        6 | 7 => number(2),
        _ if is_number => number(10),
        _ => Value::Null,
    };
    let only_number = |value: i64| {
        if is_number {
            number(value)
        } else {
            Value::Null
        }
    };
    vec![
        text(name),
        number(kind),
        number(precision),
        text(prefix),
        text(suffix),
        text(parameters),
        number(1),
        number(0),
        number(if is_text { 3 } else { 2 }),
        only_number(i64::from(kind == -6)),
        number(i64::from(name == "money")),
        only_number(0),
        text(name),
        least,
        scale_or_null,
        number(verbose),
        sub,
        radix,
        Value::Null,
        number(0),
    ]
}
