//! Names and types of result columns that SQLite does not tell: those of expressions.
//!
//! PostgreSQL knows them from its parser. Here they are read off the select list where that is
//! plain (calls, casts, literals); the store tries out what is left.

use super::lexer::{Kind, Token};
use super::statement::type_name;
use super::types::PgType;

/// What the text of one item of the select list tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Item {
    /// The alias, or the name that PostgreSQL gives to such an expression.
    pub(super) name: Option<String>,
    pub(super) kind: Option<PgType>,
    /// Its integers are of the size of a literal (int4), not of a count or sum (int8).
    pub(super) narrow: bool,
}

/// The items of the first select list; `None` when there is a `*` or no list at all.
pub(super) fn select_list(tokens: &[Token<'_>]) -> Option<Vec<Item>> {
    let (first, mut rest) = tokens.split_first()?;
    if !first.is_word("select") {
        return None;
    }
    if rest
        .first()
        .is_some_and(|word| word.is_word("distinct") || word.is_word("all"))
    {
        rest = &rest[1..];
    }
    let mut items = vec![Vec::new()];
    let mut depth = 0;
    for token in rest {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," if depth == 0 => {
                items.push(Vec::new());
                continue;
            }
            _ if depth == 0 && ends_list(token) => break,
            _ => {}
        }
        items.last_mut()?.push(*token);
    }
    items
        .iter()
        .map(|item| match item.last() {
            None => None,
            Some(last) if last.is_symbol("*") => None,
            Some(_) => Some(read(item)),
        })
        .collect()
}

fn ends_list(token: &Token<'_>) -> bool {
    [
        "from",
        "where",
        "group",
        "having",
        "order",
        "limit",
        "offset",
        "union",
        "except",
        "intersect",
    ]
    .iter()
    .any(|word| token.is_word(word))
}

fn read(item: &[Token<'_>]) -> Item {
    let (expression, alias) = match item {
        [before @ .., r#as, alias] if r#as.is_word("as") => (before, Some(alias.unquoted())),
        // `count(*) n`: a name right after the end of an operand.
        [before @ .., last, alias]
            if matches!(alias.kind, Kind::Word | Kind::Quoted)
                && (last.is_symbol(")") || matches!(last.kind, Kind::Number | Kind::String)) =>
        {
            (&item[..=before.len()], Some(alias.unquoted()))
        }
        _ => (item, None),
    };
    let (name, kind) = describe(expression);
    Item {
        name: alias.or(name),
        kind,
        narrow: is_narrow(expression),
    }
}

/// Only literals, parameters, and casts to types that are no wider than int4.
fn is_narrow(expression: &[Token<'_>]) -> bool {
    let mut cast = false;
    expression.iter().all(|token| {
        let named = matches!(token.kind, Kind::Word | Kind::Quoted);
        let narrow = !named || (cast && PgType::named(token.text) != PgType::Int8);
        cast = token.is_symbol("::");
        narrow
    })
}

/// Name and type of an expression, as far as its form tells.
fn describe(expression: &[Token<'_>]) -> (Option<String>, Option<PgType>) {
    if let [_, cast, after @ ..] = expression
        && cast.is_symbol("::")
        && let Ok((kind, length)) = type_name(after)
        && length == after.len()
    {
        return (Some(internal_name(kind).to_owned()), Some(kind));
    }
    let other = || Some("?column?".to_owned());
    match expression {
        [one] => match one.kind {
            Kind::String | Kind::Escaped => (other(), Some(PgType::Text)),
            Kind::Number if one.text.parse::<i32>().is_ok() => (other(), Some(PgType::Int4)),
            Kind::Number if one.text.parse::<i64>().is_ok() => (other(), Some(PgType::Int8)),
            Kind::Number => (other(), Some(PgType::Float8)),
            Kind::Word if one.is_word("true") || one.is_word("false") => {
                (Some("bool".to_owned()), Some(PgType::Bool))
            }
            Kind::Word if one.is_word("null") => (other(), Some(PgType::Text)),
            // A column keeps its own name and type; a bare call has those of a call.
            Kind::Word => (Some(one.unquoted()), called(&one.unquoted())),
            Kind::Quoted => (Some(one.unquoted()), None),
            Kind::Parameter(_) | Kind::Symbol => (other(), None),
        },
        [table, dot, column] if dot.is_symbol(".") && table.kind != Kind::Number => {
            (Some(column.unquoted()), None)
        }
        [function, open, middle @ .., close]
            if function.kind == Kind::Word
                && open.is_symbol("(")
                && close.is_symbol(")")
                && balanced(middle) =>
        {
            let name = function.unquoted();
            let kind = called(&name);
            (Some(name), kind)
        }
        _ => (other(), None),
    }
}

/// Whether no parenthesis in here closes one outside.
fn balanced(tokens: &[Token<'_>]) -> bool {
    let mut depth = 0;
    tokens.iter().all(|token| {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth >= 0
    })
}

/// The result type of the functions that have the same one always.
fn called(function: &str) -> Option<PgType> {
    Some(match function {
        "count" => PgType::Int8,
        "pg_backend_pid" | "length" => PgType::Int4,
        "exists" | "pg_is_in_recovery" => PgType::Bool,
        "version" | "current_database" | "current_schema" | "current_user" | "session_user"
        | "current_role" | "current_catalog" | "user" | "upper" | "lower" | "current_setting" => {
            PgType::Text
        }
        _ => return None,
    })
}

/// The name that PostgreSQL gives to a column cast to a type.
fn internal_name(kind: PgType) -> &'static str {
    match kind {
        PgType::Bool => "bool",
        PgType::Bytea => "bytea",
        PgType::Int2 => "int2",
        PgType::Int4 => "int4",
        PgType::Int8 => "int8",
        PgType::Float4 => "float4",
        PgType::Float8 => "float8",
        PgType::Text => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::statements;
    use super::*;

    fn items(sql: &str) -> Option<Vec<(String, Option<PgType>)>> {
        let all = statements(sql).unwrap();
        let list = select_list(&all[0])?;
        Some(
            list.into_iter()
                .map(|item| (item.name.unwrap_or_default(), item.kind))
                .collect(),
        )
    }

    #[test]
    fn expressions_are_named_as_postgresql_does() {
        let found = items(
            "select 1, 'a', count(*), max(a, (b)) m, t.c, \"D\", $1::int8 as x, 1+1, true from t",
        );
        let text = |name: &str, kind| (name.to_owned(), kind);
        assert_eq!(
            found.unwrap(),
            [
                text("?column?", Some(PgType::Int4)),
                text("?column?", Some(PgType::Text)),
                text("count", Some(PgType::Int8)),
                text("m", None),
                text("c", None),
                text("D", None),
                text("x", Some(PgType::Int8)),
                text("?column?", None),
                text("bool", Some(PgType::Bool)),
            ]
        );
    }

    #[test]
    fn sums_of_small_things_are_small() {
        let narrow = |sql: &str| {
            let all = statements(sql).unwrap();
            select_list(&all[0]).unwrap().iter().all(|item| item.narrow)
        };
        assert!(narrow("select 40 + $1::int, 1"));
        assert!(!narrow("select 40 + $1::int8"));
        assert!(!narrow("select 40 + a from t"));
    }

    #[test]
    fn a_star_makes_the_list_unknown() {
        assert_eq!(items("select a, * from t"), None);
        assert_eq!(items("select t.* from t"), None);
        assert_eq!(items("values (1)"), None);
        assert!(items("select count(*) from t").is_some());
    }
}
