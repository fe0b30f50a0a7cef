//! CREATE and DROP of tables, indexes and procedures; SELECT … INTO.

use rusqlite::types::Value;

use super::data::{Access, command};
use super::rows::headings;
use super::stop::{Step, Stop};
use super::views::table_name;
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, Token};
use crate::tds::sql::query::Query;
use crate::tds::sql::tokens::Tokens;
use crate::tds::sql::translator::{Source, Translator, quote};
use crate::tds::store::{Column, catalog};
use crate::tds::wire::kind::Kind;

/// DEFAULT GETDATE() in the store's words.
const NOW: &str = "(strftime('%Y-%m-%d %H:%M:%f', 'now'))";

/// A table to be.
struct Definition {
    columns: Vec<Column>,
    /// The lines between the parentheses.
    lines: Vec<String>,
    /// The identity column has to be SQLite's row id; a key beside it becomes UNIQUE.
    has_identity: bool,
}

/// What a column says about itself.
#[derive(Default)]
struct Traits {
    not_null: bool,
    is_identity: bool,
    is_key: bool,
    /// UNIQUE, DEFAULT, CHECK, REFERENCES.
    rest: String,
}

impl Session {
    pub(super) fn definition(&mut self, run: &[Lexed], out: &mut Output) -> Result<(), Stop> {
        self.before_data(Access::Writes)?;
        self.open_implicit(out);
        let mut tokens = Tokens::new(run);
        let create = tokens.take("create");
        let drop = !create && tokens.take("drop");
        let procedure =
            |tokens: &Tokens<'_>, at| tokens.is_at(at, "proc") || tokens.is_at(at, "procedure");
        let alters = tokens.is("or") && procedure(&tokens, 2) || procedure(&tokens, 1);
        if !drop && (alters || create && procedure(&tokens, 0)) {
            return self.create_procedure(run);
        }
        if create && tokens.take("table") {
            return self.create_table(&mut tokens);
        }
        if create && (tokens.is("index") || tokens.is_any(&["unique", "clustered", "nonclustered"]))
        {
            return self.create_index(&mut tokens);
        }
        if drop {
            return self.drop_objects(&mut tokens);
        }
        let what: Vec<String> = run
            .iter()
            .take(2)
            .filter_map(|lexed| match &lexed.token {
                Token::Word(word) => Some(word.to_uppercase()),
                _ => None,
            })
            .collect();
        Err(ServerError::unsupported(&what.join(" ")).into())
    }

    fn create_table(&mut self, tokens: &mut Tokens<'_>) -> Result<(), Stop> {
        let names = tokens.names()?;
        let inside = tokens.parenthesised()?;
        if tokens.take("on") || tokens.take("textimage_on") {
            tokens.name()?;
        }
        if tokens.is("with") {
            tokens.next();
            tokens.parenthesised()?;
        }
        tokens.end()?;
        let definition = self.table_definition(inside)?;
        self.make_table(&names, &definition)
    }

    fn make_table(&mut self, names: &[String], definition: &Definition) -> Result<(), Stop> {
        let name = table_name(names);
        let schema = self.schema_of(names)?;
        if self.table(names).is_ok() {
            let text = format!("There is already an object named '{name}' in the database.");
            return Err(ServerError::new(2714, 16, text).with_state(6).into());
        }
        self.begin_writing()?;
        let sql = format!(
            "CREATE TABLE {}.{} ({})",
            quote(&schema),
            quote(&name),
            definition.lines.join(", ")
        );
        self.atomically(|session| {
            session.change(&sql, &[])?;
            for column in &definition.columns {
                catalog::add(&session.connection, &schema, &name, column)?;
            }
            Ok(())
        })?;
        if name.starts_with("##") {
            self.global_temporary.push(name);
        } else if name.starts_with('#') && self.is_in_module() {
            self.frame()?.temporary.push(name);
        }
        Ok(())
    }

    /// The store's name of the database that a table belongs to.
    fn schema_of(&self, names: &[String]) -> Result<String, ServerError> {
        let name = names.last().map_or("", String::as_str);
        if name.starts_with("##") {
            return Ok("tempdb".to_owned());
        }
        if name.starts_with('#') {
            return Ok("temp".to_owned());
        }
        let database = match names {
            [database, _, _] => database,
            _ => &self.context.database,
        };
        self.server.databases.schema(database).ok_or_else(|| {
            let text = format!("Database '{database}' does not exist.");
            ServerError::new(911, 16, text)
        })
    }

    fn table_definition(&self, inside: &[Lexed]) -> Result<Definition, Stop> {
        let mut definition = Definition {
            columns: Vec::new(),
            lines: Vec::new(),
            has_identity: inside.iter().any(|lexed| {
                matches!(&lexed.token, Token::Word(word) if word.eq_ignore_ascii_case("identity"))
            }),
        };
        let mut translator = Translator::new(self, inside);
        loop {
            let tokens = translator.tokens();
            let is_constraint =
                tokens.is_any(&["constraint", "primary", "unique", "foreign", "check"]);
            if is_constraint {
                let line = table_constraint(&mut translator, &definition)?;
                definition.lines.push(line);
            } else {
                self.column_definition(&mut translator, &mut definition)?;
            }
            if !translator.tokens().symbol(",") {
                break;
            }
        }
        translator.tokens().end()?;
        if !translator.into_bound().is_empty() {
            let what = "this function or literal in a table's definition";
            return Err(ServerError::unsupported(what).into());
        }
        Ok(definition)
    }

    fn column_definition(
        &self,
        translator: &mut Translator<'_>,
        definition: &mut Definition,
    ) -> Result<(), Stop> {
        let name = translator.tokens().name()?;
        if translator.tokens().is("as") {
            return Err(ServerError::unsupported("computed columns").into());
        }
        let kind = translator.tokens().kind()?;
        let known = Source {
            alias: String::new(),
            columns: vec![(name.clone(), Some(kind))],
        };
        translator.enter(vec![known]);
        let traits = column_traits(translator);
        translator.leave();
        let traits = traits?;
        let mut line = quote(&name);
        if traits.is_identity {
            line.push_str(" INTEGER PRIMARY KEY AUTOINCREMENT");
        } else {
            line.push_str(&format!(" {}", kind.storage()));
            if traits.not_null || traits.is_key {
                line.push_str(" NOT NULL");
            }
            if traits.is_key {
                let key = if definition.has_identity {
                    " UNIQUE"
                } else {
                    " PRIMARY KEY"
                };
                line.push_str(key);
            }
        }
        line.push_str(&traits.rest);
        definition.lines.push(line);
        definition.columns.push(Column {
            name,
            kind,
            is_identity: traits.is_identity,
            is_nullable: !(traits.not_null || traits.is_key || traits.is_identity),
        });
        Ok(())
    }

    /// `CREATE [UNIQUE] [CLUSTERED] INDEX name ON table (columns)`.
    fn create_index(&mut self, tokens: &mut Tokens<'_>) -> Result<(), Stop> {
        let unique = if tokens.take("unique") { "UNIQUE " } else { "" };
        let _kind = tokens.take("clustered") || tokens.take("nonclustered");
        tokens.expect("index")?;
        let name = tokens.name()?;
        tokens.expect("on")?;
        let table = self.table(&tokens.names()?)?;
        let columns = key_columns(tokens)?;
        if tokens.is_any(&["where", "include"]) {
            return Err(ServerError::unsupported("filtered and covering indexes").into());
        }
        tokens.end()?;
        self.begin_writing()?;
        let sql = format!(
            "CREATE {unique}INDEX {}.{} ON {} ({columns})",
            quote(&table.schema),
            quote(&format!("{}.{name}", table.name)),
            quote(&table.name)
        );
        self.change(&sql, &[])?;
        Ok(())
    }

    fn drop_objects(&mut self, tokens: &mut Tokens<'_>) -> Result<(), Stop> {
        let what = tokens.name()?.to_ascii_lowercase();
        let if_exists = tokens.take("if");
        if if_exists {
            tokens.expect("exists")?;
        }
        loop {
            let names = tokens.names()?;
            match what.as_str() {
                "table" => self.drop_table(&names, if_exists)?,
                "proc" | "procedure" => self.drop_procedure(&names, if_exists)?,
                "index" => {
                    tokens.expect("on")?;
                    let table = self.table(&tokens.names()?)?;
                    let name = format!("{}.{}", table.name, names.join("."));
                    let exists = if if_exists { "IF EXISTS " } else { "" };
                    self.begin_writing()?;
                    let schema = quote(&table.schema);
                    self.change(
                        &format!("DROP INDEX {exists}{schema}.{}", quote(&name)),
                        &[],
                    )?;
                }
                other => {
                    let what = format!("DROP {}", other.to_uppercase());
                    return Err(ServerError::unsupported(&what).into());
                }
            }
            if !tokens.symbol(",") {
                break;
            }
        }
        Ok(tokens.end()?)
    }

    fn drop_table(&mut self, names: &[String], if_exists: bool) -> Result<(), Stop> {
        let table = match self.table(names) {
            Ok(table) if !table.schema.is_empty() => table,
            _ if if_exists => return Ok(()),
            _ => {
                let text = format!(
                    "Cannot drop the table '{}', because it does not exist or you do not have \
                     permission.",
                    names.join(".")
                );
                return Err(ServerError::new(3701, 11, text).with_state(5).into());
            }
        };
        self.begin_writing()?;
        self.atomically(|session| {
            session.change(&format!("DROP TABLE {}", table.sql), &[])?;
            Ok(catalog::forget(
                &session.connection,
                &table.schema,
                &table.name,
            )?)
        })?;
        self.global_temporary.retain(|known| *known != table.name);
        Ok(())
    }

    /// SELECT … INTO new.
    pub(super) fn select_into(
        &mut self,
        query: &Query,
        bound: &[Value],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        self.open_implicit(out);
        let names = query.into.clone().unwrap_or_default();
        let rows = self.all_rows(&query.sql, bound)?;
        let headings = headings(&query.columns, rows.first().map(Vec::as_slice));
        let columns: Vec<Column> = headings
            .into_iter()
            .map(|heading| Column {
                name: heading.name,
                kind: heading.kind,
                is_identity: false,
                is_nullable: true,
            })
            .collect();
        if columns.iter().any(|column| column.name.is_empty()) {
            let text = "An object or column name is missing or empty. For SELECT INTO statements, \
                        verify each column has a name.";
            return Err(ServerError::new(1038, 15, text).into());
        }
        let lines = columns
            .iter()
            .map(|column| format!("{} {}", quote(&column.name), column.kind.storage()))
            .collect();
        let definition = Definition {
            columns,
            lines,
            has_identity: false,
        };
        self.make_table(&names, &definition)?;
        let table = self.table(&names)?;
        let places: Vec<String> = table
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| format!("tsql_assign(?{}, '{}')", at + 1, column.kind))
            .collect();
        let sql = format!("INSERT INTO {} VALUES ({})", table.sql, places.join(", "));
        let count = u64::try_from(rows.len()).unwrap_or(0);
        self.atomically(|session| {
            for row in &rows {
                session.change(&sql, row)?;
            }
            Ok(())
        })?;
        self.count_done(out, command::INSERT, count);
        Ok(Step::Next)
    }
}

fn column_traits(translator: &mut Translator<'_>) -> Result<Traits, ServerError> {
    let mut traits = Traits::default();
    loop {
        let tokens = translator.tokens();
        if tokens.take("constraint") || tokens.take("collate") {
            tokens.name()?;
        } else if tokens.take("null") {
            traits.not_null = false;
        } else if tokens.take("not") {
            tokens.expect("null")?;
            traits.not_null = true;
        } else if tokens.take("identity") {
            traits.is_identity = true;
            if tokens.is_symbol("(") {
                identity_of_one(tokens)?;
            }
        } else if tokens.take("primary") {
            tokens.expect("key")?;
            let _kind = tokens.take("clustered") || tokens.take("nonclustered");
            traits.is_key = true;
        } else if tokens.take("unique") {
            let _kind = tokens.take("clustered") || tokens.take("nonclustered");
            traits.rest.push_str(" UNIQUE");
        } else if tokens.take("default") {
            let default = default_value(translator)?;
            traits.rest.push_str(&format!(" DEFAULT {default}"));
        } else if tokens.take("check") {
            let check = translator.expression()?;
            traits.rest.push_str(&format!(" CHECK ({})", check.sql));
        } else if tokens.take("references") {
            let reference = references(tokens)?;
            traits.rest.push_str(&reference);
        } else {
            return Ok(traits);
        }
    }
}

/// SQLite counts from 1 by 1.
fn identity_of_one(tokens: &mut Tokens<'_>) -> Result<(), ServerError> {
    let inside = tokens.parenthesised()?;
    let is_one = |lexed: Option<&Lexed>| matches!(lexed.map(|lexed| &lexed.token), Some(Token::Number(number)) if number == "1");
    if is_one(inside.first()) && is_one(inside.get(2)) {
        return Ok(());
    }
    Err(ServerError::unsupported(
        "identity columns other than IDENTITY(1,1)",
    ))
}

fn default_value(translator: &mut Translator<'_>) -> Result<String, ServerError> {
    let here = translator.tokens().at();
    let open = translator.tokens().symbol("(");
    let is_now = [
        "getdate",
        "getutcdate",
        "sysdatetime",
        "sysutcdatetime",
        "current_timestamp",
    ]
    .iter()
    .any(|name| translator.tokens().take(name));
    if !is_now {
        translator.tokens().go_to(here);
        return Ok(format!("({})", translator.sum()?.sql));
    }
    if translator.tokens().symbol("(") {
        translator.tokens().expect_symbol(")")?;
    }
    if open {
        translator.tokens().expect_symbol(")")?;
    }
    Ok(NOW.to_owned())
}

/// REFERENCES table (columns): in SQLite always of the same database.
fn references(tokens: &mut Tokens<'_>) -> Result<String, ServerError> {
    let names = tokens.names()?;
    let mut sql = format!(" REFERENCES {}", quote(&table_name(&names)));
    if tokens.is_symbol("(") {
        sql.push_str(&format!(" ({})", key_columns(tokens)?));
    }
    while tokens.take("on") {
        let event = tokens.name()?;
        let action = tokens.name()?;
        let more = match action.to_ascii_lowercase().as_str() {
            "no" | "set" => tokens.name()?,
            _ => String::new(),
        };
        sql.push_str(&format!(" ON {event} {action} {more}"));
    }
    Ok(sql)
}

/// `(a ASC, b DESC)`.
fn key_columns(tokens: &mut Tokens<'_>) -> Result<String, ServerError> {
    tokens.expect_symbol("(")?;
    let mut columns = Vec::new();
    loop {
        columns.push(quote(&tokens.name()?));
        let _order = tokens.take("asc") || tokens.take("desc");
        if !tokens.symbol(",") {
            break;
        }
    }
    tokens.expect_symbol(")")?;
    Ok(columns.join(", "))
}

fn table_constraint(
    translator: &mut Translator<'_>,
    definition: &Definition,
) -> Result<String, ServerError> {
    let tokens = translator.tokens();
    if tokens.take("constraint") {
        tokens.name()?;
    }
    if tokens.take("primary") {
        tokens.expect("key")?;
        let _kind = tokens.take("clustered") || tokens.take("nonclustered");
        let columns = key_columns(tokens)?;
        let key = if definition.has_identity {
            "UNIQUE"
        } else {
            "PRIMARY KEY"
        };
        return Ok(format!("{key} ({columns})"));
    }
    if tokens.take("unique") {
        let _kind = tokens.take("clustered") || tokens.take("nonclustered");
        return Ok(format!("UNIQUE ({})", key_columns(tokens)?));
    }
    if tokens.take("foreign") {
        tokens.expect("key")?;
        let columns = key_columns(tokens)?;
        tokens.expect("references")?;
        return Ok(format!("FOREIGN KEY ({columns}){}", references(tokens)?));
    }
    tokens.expect("check")?;
    let columns: Vec<(String, Option<Kind>)> = definition
        .columns
        .iter()
        .map(|column| (column.name.clone(), Some(column.kind)))
        .collect();
    translator.enter(vec![Source {
        alias: String::new(),
        columns,
    }]);
    let check = translator.expression();
    translator.leave();
    Ok(format!("CHECK ({})", check?.sql))
}
