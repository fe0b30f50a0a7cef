//! Calls: T-SQL's functions in terms of SQLite's and ours.

use rusqlite::types::Value;

use super::operators::common;
use super::piece::Piece;
use super::primary::mixed;
use super::translator::{Translator, literal};
use super::type_numbers;
use crate::tds::error::ServerError;
use crate::tds::wire::kind::{Charset, Kind, Length};

const NTEXT: Kind = Kind::nvarchar(4_000);

impl Translator<'_> {
    /// Functions without parentheses.
    pub(super) fn bare_call(&mut self, name: &str) -> Result<Option<Piece>, ServerError> {
        let function = match name.to_ascii_lowercase().as_str() {
            "current_timestamp" => "getdate",
            "current_user" | "session_user" | "user" => "user_name",
            "system_user" => "suser_sname",
            _ => return Ok(None),
        };
        let (kind, value) = self.session.function(function, &[])?;
        Ok(Some(self.bind(Some(kind), value)))
    }

    pub(super) fn call(&mut self, names: &[String]) -> Result<Piece, ServerError> {
        let name = names
            .last()
            .map(|name| name.to_ascii_lowercase())
            .unwrap_or_default();
        match name.as_str() {
            "cast" | "try_cast" => return self.cast(&name),
            "convert" | "try_convert" => return self.convert(&name),
            "dateadd" | "datediff" | "datediff_big" | "datepart" | "datename" => {
                return self.date_call(&name);
            }
            "count" | "count_big" | "sum" | "avg" | "min" | "max" | "string_agg" | "stdev"
            | "row_number" | "rank" | "dense_rank" | "ntile" | "lag" | "lead" | "first_value"
            | "last_value" => return self.aggregate(&name),
            "iif" => return self.iif(),
            _ => {}
        }
        let arguments = self.arguments()?;
        if let Some(piece) = scalar(&name, &arguments) {
            return Ok(piece);
        }
        let values = self.constants(&arguments);
        if name == "object_id" && values.first() == Some(&Value::Null) {
            return self.object_id_of_each(&arguments);
        }
        let (kind, value) = self.session.function(&name, &values)?;
        Ok(self.bind(Some(kind), value))
    }

    pub(super) fn arguments(&mut self) -> Result<Vec<Piece>, ServerError> {
        self.tokens.expect_symbol("(")?;
        let mut arguments = Vec::new();
        if self.tokens.symbol(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if !self.tokens.symbol(",") {
                break;
            }
        }
        self.tokens.expect_symbol(")")?;
        Ok(arguments)
    }

    /// Arguments of functions about the session: literals and variables, known now.
    pub(super) fn constants(&self, arguments: &[Piece]) -> Vec<Value> {
        arguments
            .iter()
            .map(|piece| {
                let bound = piece
                    .sql
                    .strip_prefix('?')
                    .and_then(|number| number.parse::<usize>().ok())
                    .and_then(|number| self.bound.get(number.checked_sub(1)?));
                if let Some(value) = bound {
                    return value.clone();
                }
                if let Ok(number) = piece.sql.parse() {
                    return Value::Integer(number);
                }
                let quoted = piece.sql.strip_prefix('\'');
                match quoted.and_then(|text| text.strip_suffix('\'')) {
                    Some(text) => Value::Text(text.replace("''", "'")),
                    None => Value::Null,
                }
            })
            .collect()
    }

    /// OBJECT_ID of a name that is another one in each row.
    fn object_id_of_each(&self, arguments: &[Piece]) -> Result<Piece, ServerError> {
        let [name, ..] = arguments else {
            return Err(arity("object_id"));
        };
        let mut sql = format!("CASE lower({})", name.sql);
        let known = self.session.object_names()?;
        for (name, id) in &known {
            sql.push_str(&format!(" WHEN lower({}) THEN {id}", literal(name)));
        }
        if known.is_empty() {
            sql = "NULL".to_owned();
        } else {
            sql.push_str(" END");
        }
        Ok(Piece::new(sql, Kind::Int))
    }

    /// CAST (x AS type).
    fn cast(&mut self, name: &str) -> Result<Piece, ServerError> {
        self.tokens.expect_symbol("(")?;
        let piece = self.expression()?;
        self.tokens.expect("as")?;
        let kind = default_length(self.tokens.kind()?);
        self.tokens.expect_symbol(")")?;
        Ok(conversion(name, &piece, kind, "NULL"))
    }

    /// CONVERT (type, x, style).
    fn convert(&mut self, name: &str) -> Result<Piece, ServerError> {
        self.tokens.expect_symbol("(")?;
        let kind = default_length(self.tokens.kind()?);
        self.tokens.expect_symbol(",")?;
        let piece = self.expression()?;
        let style = if self.tokens.symbol(",") {
            self.expression()?.sql
        } else {
            "NULL".to_owned()
        };
        self.tokens.expect_symbol(")")?;
        Ok(conversion(name, &piece, kind, &style))
    }

    /// Functions whose first argument is a part of a date.
    fn date_call(&mut self, name: &str) -> Result<Piece, ServerError> {
        self.tokens.expect_symbol("(")?;
        let part = literal(&self.tokens.name()?.to_ascii_lowercase());
        let mut arguments = Vec::new();
        while self.tokens.symbol(",") {
            arguments.push(self.expression()?);
        }
        self.tokens.expect_symbol(")")?;
        match (name, arguments.as_slice()) {
            ("dateadd", [count, date]) => {
                let kind = match date.kind {
                    Some(kind) if !matches!(kind, Kind::Text(..)) => kind,
                    _ => Kind::DateTime,
                };
                let sql = format!("tsql_dateadd({part}, {}, {})", count.numeric(), date.sql);
                Ok(Piece::new(format!("tsql_cast({sql}, '{kind}')"), kind))
            }
            ("datediff" | "datediff_big", [from, to]) => {
                let kind = if name == "datediff" {
                    Kind::Int
                } else {
                    Kind::BigInt
                };
                let sql = format!("tsql_datediff({part}, {}, {})", from.sql, to.sql);
                Ok(Piece::new(sql, kind))
            }
            ("datepart", [date]) => {
                let sql = format!("tsql_datepart({part}, {})", date.sql);
                Ok(Piece::new(sql, Kind::Int))
            }
            ("datename", [date]) => {
                let sql = format!("tsql_datename({part}, {})", date.sql);
                Ok(Piece::new(sql, Kind::nvarchar(30)))
            }
            _ => Err(arity(name)),
        }
    }

    fn aggregate(&mut self, name: &str) -> Result<Piece, ServerError> {
        self.tokens.expect_symbol("(")?;
        let mut inside = Vec::new();
        let distinct = if self.tokens.take("distinct") {
            "DISTINCT "
        } else {
            ""
        };
        if self.tokens.symbol("*") {
            inside.push(Piece::new("*", None));
        } else if !self.tokens.is_symbol(")") {
            loop {
                inside.push(self.expression()?);
                if !self.tokens.symbol(",") {
                    break;
                }
            }
        }
        self.tokens.expect_symbol(")")?;
        let kind = inside.first().and_then(|piece| piece.kind);
        let items: Vec<String> = inside.iter().map(Piece::numeric).collect();
        let (function, kind) = match name {
            "count" => ("count", Some(Kind::Int)),
            "count_big" | "row_number" | "rank" | "dense_rank" | "ntile" => {
                let function = if name == "count_big" { "count" } else { name };
                (function, Some(Kind::BigInt))
            }
            "sum" | "avg" => (name, kind.map(summed)),
            "stdev" => return Err(ServerError::unsupported("STDEV")),
            "string_agg" => ("group_concat", Some(NTEXT)),
            _ => (name, kind),
        };
        let mut sql = format!("{function}({distinct}{})", items.join(", "));
        if self.tokens.take("over") {
            sql.push_str(&self.window()?);
        }
        // AVG of whole numbers is one.
        if name == "avg" && matches!(kind, Some(Kind::Int | Kind::BigInt)) {
            sql = format!("CAST({sql} AS INTEGER)");
        }
        Ok(Piece::new(sql, kind))
    }

    fn window(&mut self) -> Result<String, ServerError> {
        self.tokens.expect_symbol("(")?;
        let mut sql = " OVER (".to_owned();
        if self.tokens.take("partition") {
            self.tokens.expect("by")?;
            let mut items = Vec::new();
            loop {
                items.push(self.expression()?.sql);
                if !self.tokens.symbol(",") {
                    break;
                }
            }
            sql.push_str(&format!("PARTITION BY {} ", items.join(", ")));
        }
        if self.tokens.take("order") {
            self.tokens.expect("by")?;
            sql.push_str(&format!("ORDER BY {}", self.ordering()?));
        }
        if self.tokens.is_any(&["rows", "range"]) {
            return Err(ServerError::unsupported("window frames"));
        }
        self.tokens.expect_symbol(")")?;
        sql.push(')');
        Ok(sql)
    }

    fn iif(&mut self) -> Result<Piece, ServerError> {
        let arguments = self.arguments()?;
        let [condition, yes, no] = arguments.as_slice() else {
            return Err(arity("iif"));
        };
        let sql = format!(
            "CASE WHEN {} THEN {} ELSE {} END",
            condition.sql, yes.sql, no.sql
        );
        Ok(mixed(sql, &arguments[1..]))
    }
}

pub(super) fn arity(name: &str) -> ServerError {
    let text = format!("The {name} function requires another number of arguments.");
    ServerError::new(174, 15, text)
}

/// CAST AS varchar without a length means 30 characters.
fn default_length(kind: Kind) -> Kind {
    match kind {
        Kind::Text(Length::Varying(1), charset) => Kind::Text(Length::Varying(30), charset),
        Kind::Binary(Length::Varying(1)) => Kind::Binary(Length::Varying(30)),
        kind => kind,
    }
}

fn conversion(name: &str, piece: &Piece, kind: Kind, style: &str) -> Piece {
    let from = piece.kind.map_or_else(String::new, |kind| kind.to_string());
    let function = if name.starts_with("try") {
        "tsql_try_convert"
    } else {
        "tsql_convert"
    };
    let mut result = Piece::new(
        format!("{function}({}, '{kind}', '{from}', {style})", piece.sql),
        kind,
    );
    result.is_textual_number = kind.is_exact();
    result
}

fn summed(kind: Kind) -> Kind {
    match kind {
        Kind::BigInt | Kind::Float | Kind::Money => kind,
        Kind::SmallMoney => Kind::Money,
        Kind::Real => Kind::Float,
        Kind::Decimal { scale, .. } => Kind::Decimal {
            precision: 38,
            scale,
        },
        _ => Kind::Int,
    }
}

/// Functions of values alone.
fn scalar(name: &str, arguments: &[Piece]) -> Option<Piece> {
    let kinds = || common(arguments.iter().map(|piece| piece.kind));
    let first = arguments.first().and_then(|piece| piece.kind);
    let list: Vec<&str> = arguments.iter().map(|piece| piece.sql.as_str()).collect();
    let text = match first {
        Some(kind @ Kind::Text(..)) => kind,
        _ => NTEXT,
    };
    let made = |sql: String, kind: Kind| Some(Piece::new(sql, kind));
    match (name, list.as_slice()) {
        ("isnull", [a, b]) => {
            let mut piece = Piece::new(format!("ifnull({a}, {b})"), first.or_else(kinds));
            piece.is_textual_number = arguments.iter().any(|piece| piece.is_textual_number);
            Some(piece)
        }
        ("coalesce", [_, _, ..]) => {
            Some(mixed(format!("coalesce({})", list.join(", ")), arguments))
        }
        ("nullif", [a, b]) => Some(Piece::new(format!("nullif({a}, {b})"), first)),
        ("len", [a]) => made(format!("length(rtrim({a}, ' '))"), Kind::Int),
        ("datalength", [a]) => {
            let kind = first.map_or_else(String::new, |kind| kind.to_string());
            made(format!("tsql_datalength({a}, '{kind}')"), Kind::Int)
        }
        ("substring", [a, from, count]) => {
            let kind = first.unwrap_or(NTEXT);
            made(format!("substr({a}, {from}, {count})"), kind)
        }
        ("left", [a, count]) => made(format!("substr({a}, 1, {count})"), text),
        ("right", [a, count]) => made(
            format!("substr({a}, max(length({a}) - ({count}), 0) + 1)"),
            text,
        ),
        ("upper" | "lower", [a]) => made(format!("{name}({a})"), text),
        ("ltrim" | "rtrim" | "trim", [a]) => made(format!("{name}({a}, ' ')"), text),
        ("replace", [a, from, to]) => made(format!("replace({a}, {from}, {to})"), NTEXT),
        ("quotename", [a]) => {
            let sql = format!("('[' || replace({a}, ']', ']]') || ']')");
            made(sql, Kind::nvarchar(258))
        }
        ("reverse", [a]) => made(format!("tsql_reverse({a})"), text),
        ("charindex", [part, whole]) => {
            made(format!("instr(lower({whole}), lower({part}))"), Kind::Int)
        }
        ("concat", [_, _, ..]) => {
            let parts: Vec<String> = list.iter().map(|a| format!("ifnull({a}, '')")).collect();
            made(format!("({})", parts.join(" || ")), NTEXT)
        }
        ("replicate", [a, count]) => {
            let long = Kind::Text(Length::Max, Charset::Unicode);
            made(format!("tsql_replicate({a}, {count})"), long)
        }
        ("space", [count]) => made(format!("tsql_replicate(' ', {count})"), NTEXT),
        ("char" | "nchar", [code]) => made(format!("char({code})"), Kind::nvarchar(1)),
        ("ascii" | "unicode", [a]) => made(format!("unicode({a})"), Kind::Int),
        ("abs", [_]) => Some(Piece::new(
            format!("abs({})", arguments[0].numeric()),
            first,
        )),
        ("sign", [_]) => Some(Piece::new(
            format!("sign({})", arguments[0].numeric()),
            first,
        )),
        ("ceiling" | "floor" | "sqrt" | "exp" | "log" | "square", [_]) => {
            let kind = match name {
                "ceiling" | "floor" => first.unwrap_or(Kind::Float),
                _ => Kind::Float,
            };
            made(
                format!("tsql_math('{name}', {}, 0)", arguments[0].numeric()),
                kind,
            )
        }
        ("power" | "round", [_, b] | [_, b, _]) => {
            let kind = first.unwrap_or(Kind::Float);
            let sql = format!("tsql_math('{name}', {}, {b})", arguments[0].numeric());
            Some(Piece::new(format!("tsql_cast({sql}, '{kind}')"), kind))
        }
        ("year" | "month" | "day", [date]) => {
            made(format!("tsql_datepart('{name}', {date})"), Kind::Int)
        }
        ("isnumeric", [a]) => made(
            format!("(tsql_try_convert({a}, 'float', '', NULL) IS NOT NULL)"),
            Kind::Int,
        ),
        ("isdate", [a]) => made(
            format!("(tsql_try_convert({a}, 'datetime', '', NULL) IS NOT NULL)"),
            Kind::Int,
        ),
        ("type_name", [number]) => made(type_numbers::name_of(number), Kind::nvarchar(128)),
        ("newid", []) => made("tsql_newid()".to_owned(), Kind::Guid),
        ("rand", [] | [_]) => made(
            "abs(random() / 9223372036854775808.0)".to_owned(),
            Kind::Float,
        ),
        ("binary_checksum" | "checksum", _) => None,
        _ => None,
    }
}
