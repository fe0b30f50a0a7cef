//! Stored procedures: their text is kept, and read again at each call.

use rusqlite::types::Value;

use super::call::{Argument, Given, Returned, declared, matched};
use super::stop::Stop;
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, lex};
use crate::tds::sql::tokens::Tokens;
use crate::tds::sql::translator::quote;
use crate::tds::store::catalog;

/// The database (as the store names it), and the name.
type Place = (String, String);

impl Session {
    /// CREATE, ALTER, CREATE OR ALTER PROCEDURE.
    pub(super) fn create_procedure(&mut self, run: &[Lexed]) -> Result<(), Stop> {
        let text = std::sync::Arc::clone(&self.frame()?.text);
        let from = run.first().map_or(0, |lexed| lexed.from);
        let mut tokens = Tokens::new(run);
        let alters = tokens.take("alter");
        let mut replaces = alters;
        if !alters {
            tokens.expect("create")?;
            if tokens.take("or") {
                tokens.expect("alter")?;
                replaces = true;
            }
        }
        tokens.next();
        let (schema, name) = self.procedure_place(&tokens.names()?)?;
        // A header that cannot be read is an error now, not at the first call.
        header(&mut tokens, self)?;
        let body = text.get(from..).unwrap_or_default().to_owned();
        let table = format!("{}.tds_procedures", quote(&schema));
        let values = [Value::Text(name.clone()), Value::Text(body)];
        self.begin_writing()?;
        if replaces {
            let sql = format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2)");
            self.change(&sql, &values)?;
            return Ok(());
        }
        let sql = format!("INSERT OR IGNORE INTO {table} VALUES (?1, ?2)");
        if self.change(&sql, &values)? == 0 {
            let text = format!("There is already an object named '{name}' in the database.");
            return Err(ServerError::new(2714, 16, text).into());
        }
        Ok(())
    }

    pub(super) fn drop_procedure(&mut self, names: &[String], if_exists: bool) -> Result<(), Stop> {
        let (schema, name) = self.procedure_place(names)?;
        self.begin_writing()?;
        let sql = format!(
            "DELETE FROM {}.tds_procedures WHERE name = ?1",
            quote(&schema)
        );
        let gone = self.change(&sql, &[Value::Text(name.clone())])?;
        if gone == 0 && !if_exists {
            let text = format!(
                "Cannot drop the procedure '{name}', because it does not exist or you do not have \
                 permission."
            );
            return Err(ServerError::new(3701, 11, text).into());
        }
        Ok(())
    }

    /// The text of a procedure, if there is one.
    pub(super) fn stored_procedure(&self, names: &[String]) -> Result<Option<String>, ServerError> {
        let (schema, name) = self.procedure_place(names)?;
        Ok(catalog::procedure(&self.connection, &schema, &name)?)
    }

    fn procedure_place(&self, names: &[String]) -> Result<Place, ServerError> {
        let name = names.last().cloned().unwrap_or_default();
        if name.starts_with('#') {
            return Ok(("temp".to_owned(), name));
        }
        let database = match names {
            [database, _, _] => database,
            _ => &self.context.database,
        };
        let schema = self.server.databases.schema(database);
        let schema = schema.ok_or_else(|| not_found(&names.join(".")))?;
        Ok((schema, name))
    }

    pub(super) fn call_stored(
        &mut self,
        names: &[String],
        arguments: &[Argument],
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        let name = names.last().cloned().unwrap_or_default();
        let text = self
            .stored_procedure(names)?
            .ok_or_else(|| not_found(&name))?;
        let lexed = lex(&text, true)?;
        let mut tokens = Tokens::new(&lexed);
        tokens.take("create");
        tokens.take("alter");
        if tokens.take("or") {
            tokens.take("alter");
        }
        tokens.next();
        tokens.names()?;
        let parameters = header(&mut tokens, self)?;
        let places = matched(&name, &parameters, arguments)?;
        let mut variables = Vec::new();
        for (parameter, place) in parameters.iter().zip(&places) {
            let argument = place.and_then(|at| arguments.get(at));
            let given = argument.filter(|argument| !argument.is_default);
            let value = given.map(|argument| argument.value.clone());
            let value = value.or_else(|| parameter.default.clone()).ok_or_else(|| {
                let text = format!(
                    "Procedure or function '{name}' expects parameter '{}', which was not supplied.",
                    parameter.name
                );
                ServerError::new(201, 16, text)
            })?;
            variables.push((parameter.name.clone(), parameter.kind, value));
        }
        let from = tokens.rest().first().map_or(text.len(), |lexed| lexed.from);
        let body = text.get(from..).unwrap_or_default();
        let mut frame = self.run_module(body, &name, &variables, out)?;
        let mut outputs = Vec::new();
        for (parameter, place) in parameters.iter().zip(places) {
            let wanted = place.filter(|at| arguments.get(*at).is_some_and(|a| a.is_output));
            let variable = frame.variables.remove(&parameter.name);
            if let (Some(at), Some(variable), true) = (wanted, variable, parameter.is_output) {
                outputs.push(Given {
                    at,
                    kind: variable.kind,
                    value: variable.value,
                });
            }
        }
        Ok(Returned {
            status: frame.status,
            outputs,
        })
    }
}

/// Parameters and options, up to the first token behind AS.
fn header(tokens: &mut Tokens<'_>, session: &Session) -> Result<Vec<super::call::Declared>, Stop> {
    let in_parentheses = tokens.symbol("(");
    let parameters = declared(tokens, session)?;
    if in_parentheses {
        tokens.expect_symbol(")")?;
    }
    if tokens.take("with") {
        while !tokens.is_empty() && !tokens.is("as") {
            if tokens.take("execute") || tokens.take("exec") {
                return Err(ServerError::unsupported("WITH EXECUTE AS").into());
            }
            tokens.next();
        }
    }
    tokens.expect("as")?;
    Ok(parameters)
}

fn not_found(name: &str) -> ServerError {
    let text = format!("Could not find stored procedure '{name}'.");
    ServerError::new(2812, 16, text).with_state(62)
}
