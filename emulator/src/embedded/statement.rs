//! What a statement is: one that the session answers itself, or one for SQLite.
//!
//! Also rewrites the latter from PostgreSQL's spelling to SQLite's. Only statements on a short
//! list get through; everything else is refused by name.

use super::lexer::{Kind, Token};
use super::sql_error::SqlError;
use super::types::PgType;
use rusqlite::types::Value;

/// A statement, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    Show(String),
    Set {
        name: String,
        value: String,
    },
    /// `SELECT set_config(name, value, false), …`: SET with a result.
    SetConfig(Vec<(String, String)>),
    /// SET x TO DEFAULT, RESET x.
    Reset(String),
    ResetAll,
    DiscardAll,
    Deallocate(String),
    DeallocateAll,
    Data(Data),
}

/// A statement for SQLite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) sql: String,
    pub(super) tag: Tag,
    /// The highest parameter number.
    pub(super) parameters: usize,
    /// Parameters whose type a cast tells.
    pub(super) casts: Vec<(usize, PgType)>,
}

/// The first words of CommandComplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    Select,
    Insert,
    Update,
    Delete,
    /// No count: `CREATE TABLE` and its like.
    Plain(String),
}

impl Tag {
    pub(super) fn with_count(&self, count: usize) -> String {
        match self {
            Self::Select => format!("SELECT {count}"),
            Self::Insert => format!("INSERT 0 {count}"),
            Self::Update => format!("UPDATE {count}"),
            Self::Delete => format!("DELETE {count}"),
            Self::Plain(tag) => tag.clone(),
        }
    }
}

/// Words that PostgreSQL treats as calls without parentheses.
const BARE_CALLS: [&str; 6] = [
    "current_catalog",
    "current_role",
    "current_schema",
    "current_user",
    "session_user",
    "user",
];

/// Understands one statement.
pub(super) fn understand(tokens: &[Token<'_>]) -> Result<Statement, SqlError> {
    let verb = tokens.first().map(Token::unquoted).unwrap_or_default();
    let rest = tokens.get(1..).unwrap_or_default();
    Ok(match verb.as_str() {
        "begin" => begin(rest, &["work", "transaction"])?,
        "start" => begin(rest, &["transaction"])?,
        "commit" | "end" => end(rest, Statement::Commit)?,
        "abort" => end(rest, Statement::Rollback)?,
        "rollback" => rollback(rest)?,
        "savepoint" => Statement::Savepoint(name(rest, "SAVEPOINT")?),
        "release" => Statement::Release(name(skip(rest, "savepoint"), "RELEASE")?),
        "show" => Statement::Show(setting_name(rest)?),
        "set" => set(rest)?,
        "reset" if rest.first().is_some_and(|word| word.is_word("all")) => Statement::ResetAll,
        "reset" => Statement::Reset(dotted(rest).ok_or_else(|| form("RESET"))?),
        "select" if is_set_config(rest) => set_config(rest)?,
        "discard" if rest.first().is_some_and(|word| word.is_word("all")) => Statement::DiscardAll,
        "deallocate" => match skip(rest, "prepare") {
            [all] if all.is_word("all") => Statement::DeallocateAll,
            rest => Statement::Deallocate(name(rest, "DEALLOCATE")?),
        },
        _ => Statement::Data(data(&verb, tokens)?),
    })
}

fn begin(rest: &[Token<'_>], noise: &[&str]) -> Result<Statement, SqlError> {
    match rest {
        [] => Ok(Statement::Begin),
        [word] if noise.iter().any(|noise| word.is_word(noise)) => Ok(Statement::Begin),
        _ => Err(SqlError::unsupported("transaction modes in BEGIN")),
    }
}

fn end(rest: &[Token<'_>], statement: Statement) -> Result<Statement, SqlError> {
    match rest {
        [] => Ok(statement),
        [word] if word.is_word("work") || word.is_word("transaction") => Ok(statement),
        _ => Err(SqlError::unsupported("this form of COMMIT or ROLLBACK")),
    }
}

fn rollback(rest: &[Token<'_>]) -> Result<Statement, SqlError> {
    let after = skip(skip(rest, "work"), "transaction");
    match after.split_first() {
        Some((to, after)) if to.is_word("to") => Ok(Statement::RollbackTo(name(
            skip(after, "savepoint"),
            "ROLLBACK TO",
        )?)),
        _ => end(rest, Statement::Rollback),
    }
}

/// `SHOW TIME ZONE` and `SHOW TRANSACTION ISOLATION LEVEL` are spelt apart.
fn setting_name(rest: &[Token<'_>]) -> Result<String, SqlError> {
    match rest {
        [time, zone] if time.is_word("time") && zone.is_word("zone") => Ok("TimeZone".to_owned()),
        [transaction, ..] if transaction.is_word("transaction") && rest.len() == 3 => {
            Ok("transaction_isolation".to_owned())
        }
        rest => dotted(rest).ok_or_else(|| form("SHOW")),
    }
}

fn set(rest: &[Token<'_>]) -> Result<Statement, SqlError> {
    let rest = skip(rest, "session");
    let (name, value) = match rest {
        [time, zone, value @ ..] if time.is_word("time") && zone.is_word("zone") => {
            ("TimeZone".to_owned(), value)
        }
        rest => {
            let at = rest
                .iter()
                .position(|token| token.is_word("to") || token.is_symbol("="))
                .ok_or_else(|| form("SET"))?;
            let name = dotted(&rest[..at]).ok_or_else(|| form("SET"))?;
            (name, &rest[at + 1..])
        }
    };
    if matches!(value, [word] if word.is_word("default")) {
        return Ok(Statement::Reset(name));
    }
    let value: Vec<String> = value
        .iter()
        .filter(|token| !token.is_symbol(","))
        .map(Token::unquoted)
        .collect();
    if value.is_empty() {
        return Err(SqlError::error("42601", "SET needs a value"));
    }
    Ok(Statement::Set {
        name,
        value: value.join(", "),
    })
}

fn skip<'a, 'b>(rest: &'b [Token<'a>], word: &str) -> &'b [Token<'a>] {
    match rest.split_first() {
        Some((first, after)) if first.is_word(word) => after,
        _ => rest,
    }
}

fn name(rest: &[Token<'_>], verb: &str) -> Result<String, SqlError> {
    match rest {
        [one] if matches!(one.kind, Kind::Word | Kind::Quoted) => Ok(one.unquoted()),
        _ => Err(form(verb)),
    }
}

fn form(verb: &str) -> SqlError {
    SqlError::unsupported(&format!("this form of {verb}"))
}

/// The name of a setting: one word, or several with dots between them.
fn dotted(tokens: &[Token<'_>]) -> Option<String> {
    let names: Option<Vec<String>> = tokens
        .split(|token| token.is_symbol("."))
        .map(|part| match part {
            [one] if matches!(one.kind, Kind::Word | Kind::Quoted) => Some(one.unquoted()),
            _ => None,
        })
        .collect();
    names.map(|names| names.join("."))
}

fn is_set_config(rest: &[Token<'_>]) -> bool {
    let rest = skip_schema(rest);
    rest.first().is_some_and(|word| word.is_word("set_config"))
}

fn skip_schema<'a, 'b>(rest: &'b [Token<'a>]) -> &'b [Token<'a>] {
    match rest {
        [schema, dot, after @ ..] if schema.is_word("pg_catalog") && dot.is_symbol(".") => after,
        _ => rest,
    }
}

/// A select list of nothing but calls with literals, for the session and not the transaction.
fn set_config(mut rest: &[Token<'_>]) -> Result<Statement, SqlError> {
    let mut settings = Vec::new();
    loop {
        let [
            function,
            open,
            name,
            comma,
            value,
            second,
            local,
            close,
            after @ ..,
        ] = skip_schema(rest)
        else {
            return Err(form("set_config"));
        };
        let literals = [name, value]
            .iter()
            .all(|token| matches!(token.kind, Kind::String | Kind::Escaped));
        let punctuated = open.is_symbol("(")
            && comma.is_symbol(",")
            && second.is_symbol(",")
            && close.is_symbol(")");
        if !function.is_word("set_config") || !literals || !punctuated || !local.is_word("false") {
            return Err(form("set_config"));
        }
        settings.push((name.unquoted(), value.unquoted()));
        match after {
            [] => return Ok(Statement::SetConfig(settings)),
            [comma, more @ ..] if comma.is_symbol(",") => rest = more,
            _ => return Err(form("set_config")),
        }
    }
}

fn data(verb: &str, tokens: &[Token<'_>]) -> Result<Data, SqlError> {
    let tag = match verb {
        "select" | "values" => Tag::Select,
        "insert" => Tag::Insert,
        "update" => Tag::Update,
        "delete" => Tag::Delete,
        "with" => after_with(tokens)?,
        "create" | "drop" | "alter" => Tag::Plain(definition(verb, tokens)?),
        _ => return Err(SqlError::unsupported(&verb.to_ascii_uppercase())),
    };
    let mut rewrite = Rewrite {
        pieces: Vec::new(),
        casts: Vec::new(),
        parameters: 0,
        in_definition: matches!(tag, Tag::Plain(_)),
    };
    rewrite.all(tokens)?;
    Ok(Data {
        sql: rewrite.pieces.join(" "),
        tag,
        parameters: rewrite.parameters,
        casts: rewrite.casts,
    })
}

/// The verb that a WITH is for: the first one outside parentheses.
fn after_with(tokens: &[Token<'_>]) -> Result<Tag, SqlError> {
    let mut depth = 0;
    for token in tokens {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ if depth > 0 => {}
            _ if token.is_word("select") || token.is_word("values") => return Ok(Tag::Select),
            _ if token.is_word("insert") => return Ok(Tag::Insert),
            _ if token.is_word("update") => return Ok(Tag::Update),
            _ if token.is_word("delete") => return Ok(Tag::Delete),
            _ => {}
        }
    }
    Err(SqlError::error("42601", "syntax error at end of input"))
}

/// `CREATE [UNIQUE] INDEX`, `CREATE [TEMP] TABLE`, `DROP VIEW`: tables, indexes and views.
fn definition(verb: &str, tokens: &[Token<'_>]) -> Result<String, SqlError> {
    let object = tokens
        .iter()
        .skip(1)
        .find(|token| {
            !["temp", "temporary", "unique"]
                .iter()
                .any(|noise| token.is_word(noise))
        })
        .map(Token::unquoted)
        .unwrap_or_default();
    if !matches!(object.as_str(), "table" | "index" | "view") {
        let what = format!("{verb} {object}").to_ascii_uppercase();
        return Err(SqlError::unsupported(&what));
    }
    let as_query =
        verb == "create" && object == "table" && tokens.iter().any(|token| token.is_word("as"));
    if as_query {
        return Err(SqlError::unsupported("CREATE TABLE AS"));
    }
    Ok(format!("{verb} {object}").to_ascii_uppercase())
}

/// A statement on its way from PostgreSQL's spelling to SQLite's.
struct Rewrite {
    pieces: Vec<String>,
    casts: Vec<(usize, PgType)>,
    parameters: usize,
    in_definition: bool,
}

impl Rewrite {
    fn all(&mut self, tokens: &[Token<'_>]) -> Result<(), SqlError> {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let next = tokens.get(at + 1);
            if token.is_symbol("::") {
                let (kind, length) = type_name(&tokens[at + 1..])?;
                let before = at.checked_sub(1).and_then(|before| tokens.get(before));
                self.cast(before, kind)?;
                at += length;
            } else {
                let piece = self.piece(token, at.checked_sub(1).map(|b| &tokens[b]), next);
                self.pieces.push(piece);
            }
            at += 1;
        }
        Ok(())
    }

    fn piece(
        &mut self,
        token: &Token<'_>,
        before: Option<&Token<'_>>,
        next: Option<&Token<'_>>,
    ) -> String {
        let called = next.is_some_and(|next| next.is_symbol("("));
        let qualified = before.is_some_and(|before| before.is_symbol("."));
        match token.kind {
            Kind::Parameter(number) => {
                self.parameters = self.parameters.max(number);
                format!("?{number}")
            }
            Kind::Escaped => spelled(&Value::Text(token.unquoted())),
            Kind::Word if self.in_definition => defined(token),
            Kind::Word
                if !called && !qualified && BARE_CALLS.iter().any(|call| token.is_word(call)) =>
            {
                format!("{}()", token.text)
            }
            _ => token.text.to_owned(),
        }
    }

    /// Only literals and parameters: SQLite's CAST is more lenient than PostgreSQL's with values
    /// that do not fit.
    fn cast(&mut self, before: Option<&Token<'_>>, kind: PgType) -> Result<(), SqlError> {
        let literal = match before {
            Some(token) if matches!(token.kind, Kind::String | Kind::Escaped | Kind::Number) => {
                token.unquoted()
            }
            Some(token) if matches!(token.kind, Kind::Parameter(_)) => {
                if let Kind::Parameter(number) = token.kind {
                    self.casts.push((number, kind));
                }
                if let Some(piece) = self.pieces.last_mut() {
                    *piece = format!("CAST({piece} AS {})", kind.affinity());
                }
                return Ok(());
            }
            Some(token) if token.is_word("null") => return Ok(()),
            _ => {
                return Err(SqlError::unsupported(
                    "casts of anything but literals and parameters",
                ));
            }
        };
        let value = kind.decode(literal.as_bytes(), super::types::Format::Text)?;
        if let Some(piece) = self.pieces.last_mut() {
            *piece = spelled(&value);
        }
        Ok(())
    }
}

/// SQLite makes `INTEGER PRIMARY KEY`, and nothing else, count by itself; that is `serial`.
fn defined(token: &Token<'_>) -> String {
    if token.is_word("serial") || token.is_word("bigserial") {
        "INTEGER".to_owned()
    } else if token.is_word("integer") {
        "INT".to_owned()
    } else {
        token.text.to_owned()
    }
}

/// The type after `::` and how many tokens it takes.
pub(super) fn type_name(tokens: &[Token<'_>]) -> Result<(PgType, usize), SqlError> {
    let Some(first) = tokens.first().filter(|token| token.kind == Kind::Word) else {
        return Err(SqlError::error("42601", "syntax error at or near \"::\""));
    };
    let known = [
        "bool", "boolean", "bytea", "int2", "smallint", "int", "int4", "integer", "int8", "bigint",
        "real", "float4", "float8", "text", "varchar", "name",
    ];
    if first.is_word("double")
        && tokens
            .get(1)
            .is_some_and(|token| token.is_word("precision"))
    {
        return Ok((PgType::Float8, 2));
    }
    if known.iter().any(|name| first.is_word(name)) {
        return Ok((PgType::named(first.text), 1));
    }
    let what = format!("casts to {}", first.text);
    Err(SqlError::unsupported(&what))
}

fn spelled(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:e}"),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("X'{digits}'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::statements;
    use super::*;

    fn one(sql: &str) -> Result<Statement, SqlError> {
        understand(&statements(sql).unwrap()[0])
    }

    #[test]
    fn session_statements_are_understood() {
        let set = |name: &str, value: &str| Statement::Set {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let name = "s".to_owned();
        for (sql, expected) in [
            ("BEGIN", Statement::Begin),
            ("start transaction", Statement::Begin),
            ("end work", Statement::Commit),
            ("ROLLBACK", Statement::Rollback),
            (
                "rollback to savepoint s",
                Statement::RollbackTo(name.clone()),
            ),
            ("release s", Statement::Release(name)),
            (
                "SHOW server_version",
                Statement::Show("server_version".to_owned()),
            ),
            (
                "set application_name = 'My App'",
                set("application_name", "My App"),
            ),
            ("SET TIME ZONE 'UTC'", set("TimeZone", "UTC")),
            ("set search_path to a, b", set("search_path", "a, b")),
            ("set app.user = 'me'", set("app.user", "me")),
            (
                r"select pg_catalog.set_config(E'app.user',E'o''b\\c',false),set_config('a','b',false)",
                Statement::SetConfig(vec![
                    ("app.user".to_owned(), r"o'b\c".to_owned()),
                    ("a".to_owned(), "b".to_owned()),
                ]),
            ),
            (
                r#"reset "app"."user""#,
                Statement::Reset("app.user".to_owned()),
            ),
            ("set x to default", Statement::Reset("x".to_owned())),
            ("reset all", Statement::ResetAll),
            ("DISCARD ALL", Statement::DiscardAll),
            ("deallocate all", Statement::DeallocateAll),
        ] {
            assert_eq!(one(sql).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn what_is_not_on_the_list_is_refused() {
        for sql in [
            "PRAGMA journal_mode",
            "ATTACH 'x' AS y",
            "VACUUM",
            "COPY t FROM STDIN",
            "LISTEN a",
            "SET LOCAL a = 1",
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
            "CREATE FUNCTION f()",
            "CREATE TABLE t AS SELECT 1",
            "SELECT a::int FROM t",
            "SELECT '1'::jsonb",
            "DISCARD TEMP",
            "SELECT set_config('a', 'b', true)",
            "SELECT set_config('a', 'b', false) FROM t",
            "SELECT set_config('a', $1, false)",
        ] {
            assert_eq!(one(sql).unwrap_err().code, "0A000", "{sql}");
        }
    }

    #[test]
    fn data_statements_are_respelled() {
        let Statement::Data(data) =
            one("select $2::int, '7'::int8, 't'::bool, current_user, t.user").unwrap()
        else {
            panic!("not data");
        };
        assert_eq!(
            data.sql,
            "select CAST(?2 AS INTEGER) , 7 , 1 , current_user() , t . user"
        );
        assert_eq!(data.parameters, 2);
        assert_eq!(data.casts, [(2, PgType::Int4)]);
        assert_eq!(one("select 'x'::int").unwrap_err().code, "22P02");
    }

    #[test]
    fn tags_name_the_command() {
        for (sql, tag) in [
            (
                "with a as (select 1) insert into t select * from a",
                "INSERT 0 2",
            ),
            ("create unique index i on t (a)", "CREATE INDEX"),
            ("create temp table t (a int)", "CREATE TABLE"),
            ("values (1)", "SELECT 2"),
        ] {
            let Statement::Data(data) = one(sql).unwrap() else {
                panic!("not data");
            };
            assert_eq!(data.tag.with_count(2), tag, "{sql}");
        }
    }
}
