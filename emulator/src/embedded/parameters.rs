//! Types of parameters that the client left open.
//!
//! PostgreSQL infers them while it parses. Here a parameter takes the type of the column that it
//! is inserted into, assigned to or compared with; else it is text, PostgreSQL's own fallback.

use std::collections::HashMap;

use super::lexer::{Kind, Token};
use super::types::PgType;

/// Columns of the tables that a statement names.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Of all of them, by name in lower case.
    pub(super) by_name: HashMap<String, PgType>,
    /// Of the first, in order.
    pub(super) of_first: Vec<PgType>,
}

impl Columns {
    fn named(&self, name: &Token<'_>) -> Option<PgType> {
        self.by_name.get(&name.unquoted().to_lowercase()).copied()
    }
}

/// The tables that a statement names after FROM, JOIN, INTO and UPDATE.
pub(super) fn tables(tokens: &[Token<'_>]) -> Vec<String> {
    tokens
        .windows(2)
        .filter(|pair| {
            ["from", "join", "into", "update"]
                .iter()
                .any(|word| pair[0].is_word(word))
                && matches!(pair[1].kind, Kind::Word | Kind::Quoted)
        })
        .map(|pair| pair[1].unquoted())
        .collect()
}

/// The type of each parameter. `declared` is what the client said (`None`: left open), `casts`
/// what the statement says.
pub(super) fn infer(
    tokens: &[Token<'_>],
    count: usize,
    declared: &[Option<PgType>],
    casts: &[(usize, PgType)],
    columns: &Columns,
) -> Vec<PgType> {
    let inserted = inserted(tokens, columns);
    (1..=count)
        .map(|number| {
            let told = declared.get(number - 1).copied().flatten();
            let cast = casts.iter().find(|(cast, _)| *cast == number);
            told.or_else(|| cast.map(|(_, kind)| *kind))
                .or_else(|| inserted.get(&number).copied())
                .or_else(|| compared(tokens, number, columns))
                .unwrap_or(PgType::Text)
        })
        .collect()
}

/// The column next to an operator next to the parameter, or int8 after LIMIT and OFFSET.
fn compared(tokens: &[Token<'_>], number: usize, columns: &Columns) -> Option<PgType> {
    let at = tokens
        .iter()
        .position(|token| token.kind == Kind::Parameter(number))?;
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    if before.is_some_and(|word| word.is_word("limit") || word.is_word("offset")) {
        return Some(PgType::Int8);
    }
    let column = |token: Option<&Token<'_>>| {
        let token = token.filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted))?;
        columns.named(token)
    };
    let left = before
        .filter(|token| operates(token))
        .and_then(|_| column(tokens.get(at.checked_sub(2)?)));
    left.or_else(|| {
        tokens.get(at + 1).filter(|token| operates(token))?;
        // `$1 = t.c`: the column is after the dot.
        let qualified = tokens.get(at + 3).is_some_and(|dot| dot.is_symbol("."));
        let skip = if qualified { 4 } else { 2 };
        column(tokens.get(at + skip))
    })
}

fn operates(token: &Token<'_>) -> bool {
    [
        "=", "<", ">", "<=", ">=", "<>", "!=", "+", "-", "*", "/", "%",
    ]
    .iter()
    .any(|symbol| token.is_symbol(symbol))
        || token.is_word("like")
}

/// `INSERT INTO t [(a, b)] VALUES ($1, $2), (…)`: parameters that are whole values.
fn inserted(tokens: &[Token<'_>], columns: &Columns) -> HashMap<usize, PgType> {
    let mut found = HashMap::new();
    let Some(values) = tokens.iter().position(|token| token.is_word("values")) else {
        return found;
    };
    let named: Vec<PgType> = match &tokens[..values] {
        [insert, into, _table, open, names @ .., close]
            if insert.is_word("insert")
                && into.is_word("into")
                && open.is_symbol("(")
                && close.is_symbol(")") =>
        {
            names
                .iter()
                .filter(|token| !token.is_symbol(","))
                .map(|name| columns.named(name).unwrap_or(PgType::Text))
                .collect()
        }
        [insert, into, _table] if insert.is_word("insert") && into.is_word("into") => {
            columns.of_first.clone()
        }
        _ => return found,
    };
    let mut depth = 0;
    let mut place = 0;
    for token in &tokens[values + 1..] {
        match (token.text, token.kind) {
            ("(", Kind::Symbol) => {
                depth += 1;
                place = if depth == 1 { 0 } else { place };
            }
            (")", Kind::Symbol) => depth -= 1,
            (",", Kind::Symbol) if depth == 1 => place += 1,
            (_, Kind::Parameter(number)) if depth == 1 => {
                let kind = named.get(place).copied().unwrap_or(PgType::Text);
                found.entry(number).or_insert(kind);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::lexer::statements;
    use super::*;

    fn types(sql: &str, count: usize) -> Vec<PgType> {
        let columns = Columns {
            by_name: HashMap::from([
                ("id".to_owned(), PgType::Int4),
                ("ok".to_owned(), PgType::Bool),
            ]),
            of_first: vec![PgType::Int4, PgType::Bool],
        };
        let all = statements(sql).unwrap();
        infer(&all[0], count, &[], &[], &columns)
    }

    #[test]
    fn parameters_take_the_type_of_their_column() {
        let (int, boolean, text) = (PgType::Int4, PgType::Bool, PgType::Text);
        assert_eq!(
            types("insert into t values ($1, $2), ($3, $4)", 4),
            [int, boolean, int, boolean]
        );
        assert_eq!(
            types("insert into t (ok, id) values ($1, $2)", 2),
            [boolean, int]
        );
        assert_eq!(
            types("update t set ok = $2 where t.id = $1", 2),
            [int, boolean]
        );
        assert_eq!(
            types("select * from t where $1 = t.id and $2 < x", 2),
            [int, text]
        );
        assert_eq!(types("select * from t limit $1", 1), [PgType::Int8]);
        assert_eq!(types("select $1", 1), [text]);
    }

    #[test]
    fn what_the_client_declares_and_casts_come_first() {
        let all = statements("select $1, $2").unwrap();
        let found = infer(
            &all[0],
            2,
            &[Some(PgType::Int8), None],
            &[(1, PgType::Text), (2, PgType::Bool)],
            &Columns::default(),
        );
        assert_eq!(found, [PgType::Int8, PgType::Bool]);
    }

    #[test]
    fn tables_are_found_where_they_are_named() {
        let all =
            statements("select 1 from a join \"B\" on a.x = b.x where x in (select y from c)");
        assert_eq!(tables(&all.unwrap()[0]), ["a", "B", "c"]);
    }
}
