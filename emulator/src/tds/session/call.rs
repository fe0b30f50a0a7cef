//! EXECUTE: procedures and dynamic SQL, with arguments by place and by name.

use rusqlite::types::Value;

use super::frame::Frame;
use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, Token, lex};
use crate::tds::sql::tokens::Tokens;
use crate::tds::wire::kind::Kind;
use crate::tds::wire::tokens::{Done, DoneKind, put_return_status};

/// An argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Argument {
    /// With its `@`, in small letters; empty when it goes by its place.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) value: Value,
    pub(super) is_output: bool,
    /// The variable that an output goes to.
    target: Option<String>,
    /// DEFAULT was said.
    pub(super) is_default: bool,
}

impl Argument {
    pub(super) fn new(name: &str, kind: Kind, value: Value, is_output: bool) -> Self {
        Self {
            name: name.to_lowercase(),
            kind,
            value,
            is_output,
            target: None,
            is_default: false,
        }
    }
}

/// What a call gives back.
#[derive(Debug, Default)]
pub(super) struct Returned {
    pub(super) status: i32,
    pub(super) outputs: Vec<Given>,
}

/// An output parameter's value.
#[derive(Debug)]
pub(super) struct Given {
    /// The place of its argument.
    pub(super) at: usize,
    pub(super) kind: Kind,
    pub(super) value: Value,
}

/// A parameter as `@p int = 1 OUTPUT` declares it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) default: Option<Value>,
    pub(super) is_output: bool,
}

impl Session {
    pub(super) fn execute_statement(
        &mut self,
        run: &[Lexed],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        tokens.next();
        if tokens.is_symbol("(") {
            return self.execute_text(&mut tokens, out);
        }
        if tokens.take("as") {
            return self.execute_as(&mut tokens);
        }
        let mut status_to = None;
        if matches!(tokens.peek_at(1), Some(Token::Symbol("="))) {
            status_to = Some(tokens.variable()?);
            tokens.next();
        }
        let names = match tokens.peek() {
            Some(Token::Variable(name)) => {
                tokens.next();
                match self.variable(name)?.1 {
                    Value::Text(text) => Tokens::new(&lex(&text, true)?).names()?,
                    _ => return Err(tokens.unexpected().into()),
                }
            }
            _ => tokens.names()?,
        };
        let arguments = self.arguments(&mut tokens)?;
        if tokens.take("with") {
            tokens.expect("recompile")?;
        }
        tokens.end()?;
        let returned = self.invoke(&names, &arguments, out)?;
        for given in returned.outputs {
            let target = arguments.get(given.at).and_then(|a| a.target.clone());
            if let Some(target) = target {
                self.assign_variable(&target, given.value)?;
            }
        }
        if let Some(name) = status_to {
            self.assign_variable(&name, Value::Integer(returned.status.into()))?;
        }
        out.put(|bytes| put_return_status(bytes, returned.status));
        out.done(Done::new(DoneKind::Proc));
        Ok(Step::Next)
    }

    /// EXECUTE ('text' + @more).
    fn execute_text(&mut self, tokens: &mut Tokens<'_>, out: &mut Output) -> Result<Step, Stop> {
        let inside = tokens.parenthesised()?;
        if tokens.is("at") {
            return Err(ServerError::unsupported("EXECUTE … AT").into());
        }
        tokens.end()?;
        let Value::Text(text) = self.evaluate(inside)?.1 else {
            return Ok(Step::Next);
        };
        self.run_module(&text, "", &[], out)?;
        Ok(Step::Next)
    }

    /// EXECUTE AS USER = 'name'; EXECUTE AS LOGIN and CALLER are not known.
    fn execute_as(&mut self, tokens: &mut Tokens<'_>) -> Result<Step, Stop> {
        if !tokens.take("user") {
            return Err(ServerError::unsupported("EXECUTE AS of anything but USER").into());
        }
        tokens.expect_symbol("=")?;
        let (value, taken) = self.leading_value(tokens.rest())?;
        tokens.go_to(tokens.at() + taken);
        tokens.end()?;
        let Value::Text(user) = value else {
            return Err(tokens.unexpected().into());
        };
        if !self.server.setup.access.is_user(&user) {
            let text = format!(
                "Cannot execute as the database principal because the principal \"{user}\" does \
                 not exist, this type of principal cannot be impersonated, or you do not have \
                 permission."
            );
            return Err(ServerError::new(15_517, 16, text).into());
        }
        let frame = if self.is_in_module() {
            self.frames.len()
        } else {
            0
        };
        let impersonation = super::context::Impersonation { user, frame };
        self.context.impersonations.push(impersonation);
        Ok(Step::Next)
    }

    fn arguments(&self, tokens: &mut Tokens<'_>) -> Result<Vec<Argument>, Stop> {
        let mut arguments = Vec::new();
        while !tokens.is_empty() && !tokens.is_symbol(";") && !tokens.is("with") {
            let mut name = String::new();
            if matches!(tokens.peek_at(1), Some(Token::Symbol("="))) {
                name = tokens.variable()?;
                tokens.next();
            }
            arguments.push(self.argument(name, tokens)?);
            if !tokens.symbol(",") {
                break;
            }
        }
        Ok(arguments)
    }

    fn argument(&self, name: String, tokens: &mut Tokens<'_>) -> Result<Argument, Stop> {
        if let Some(Token::Variable(variable)) = tokens.peek() {
            let (kind, value) = self.variable(variable)?;
            tokens.next();
            let is_output = tokens.take("output") || tokens.take("out");
            return Ok(Argument {
                name,
                kind,
                value,
                is_output,
                target: is_output.then(|| variable.clone()),
                is_default: false,
            });
        }
        let mut argument = Argument::new(&name, Kind::nvarchar(4_000), Value::Null, false);
        if tokens.take("default") {
            argument.is_default = true;
            return Ok(argument);
        }
        // A bare word is a text.
        let is_word = matches!(tokens.peek(), Some(Token::Word(_) | Token::Quoted(_)));
        if is_word && !tokens.is("null") {
            argument.value = Value::Text(tokens.name()?);
            return Ok(argument);
        }
        let from = tokens.at();
        let (value, taken) = self.leading_value(tokens.rest())?;
        let (kind, _) = self.evaluate(tokens.slice(from, from + taken))?;
        tokens.go_to(from + taken);
        argument.value = value;
        argument.kind = kind.unwrap_or(argument.kind);
        Ok(argument)
    }

    /// Calls a procedure, one of the system's or a stored one.
    pub(super) fn invoke(
        &mut self,
        names: &[String],
        arguments: &[Argument],
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        if let Some(returned) = self.system_procedure(names, arguments, out)? {
            return Ok(returned);
        }
        self.call_stored(names, arguments, out)
    }

    /// Runs a text in a frame of its own, with these variables.
    pub(super) fn run_module(
        &mut self,
        text: &str,
        procedure: &str,
        variables: &[(String, Kind, Value)],
        out: &mut Output,
    ) -> Result<Frame, Stop> {
        self.push_module(text, procedure)?;
        let outcome = self.run_declared(text, variables, out);
        let frame = self.pop_module();
        outcome?;
        frame.ok_or_else(|| ServerError::new(40_000, 16, "No statement is running.").into())
    }

    fn run_declared(
        &mut self,
        text: &str,
        variables: &[(String, Kind, Value)],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        for (name, kind, value) in variables {
            self.declare(name, *kind, value.clone())?;
        }
        self.run_text(text, out)
    }
}

/// `@a int, @b nvarchar(10) = 'x' OUTPUT`, up to what is no parameter.
pub(super) fn declared(tokens: &mut Tokens<'_>, session: &Session) -> Result<Vec<Declared>, Stop> {
    let mut all = Vec::new();
    while let Some(Token::Variable(name)) = tokens.peek() {
        tokens.next();
        tokens.take("as");
        let kind = tokens.kind()?;
        let default = if tokens.symbol("=") {
            let (value, taken) = session.leading_value(tokens.rest())?;
            tokens.go_to(tokens.at() + taken);
            Some(value)
        } else {
            None
        };
        let is_output = tokens.take("output") || tokens.take("out");
        tokens.take("readonly");
        all.push(Declared {
            name: name.clone(),
            kind,
            default,
            is_output,
        });
        if !tokens.symbol(",") {
            break;
        }
    }
    Ok(all)
}

/// Which argument each parameter gets.
pub(super) fn matched(
    procedure: &str,
    parameters: &[Declared],
    arguments: &[Argument],
) -> Result<Vec<Option<usize>>, ServerError> {
    let mut places = vec![None; parameters.len()];
    for (at, argument) in arguments.iter().enumerate() {
        let place = if argument.name.is_empty() {
            (at < parameters.len()).then_some(at)
        } else {
            parameters
                .iter()
                .position(|known| known.name == argument.name)
        };
        let slot = place.and_then(|place| places.get_mut(place));
        let Some(slot) = slot else {
            let text = if argument.name.is_empty() {
                format!("Procedure or function {procedure} has too many arguments specified.")
            } else {
                format!(
                    "{} is not a parameter for procedure {procedure}.",
                    argument.name
                )
            };
            return Err(ServerError::new(8144, 16, text));
        };
        *slot = Some(at);
    }
    Ok(places)
}
