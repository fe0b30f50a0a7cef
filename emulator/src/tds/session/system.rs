//! System procedures.

use rusqlite::types::Value;

use super::call::{Argument, Declared, Given, Returned, declared, matched};
use super::context::Pair;
use super::handles::{Form, Prepared};
use super::locks::{Mode, Owner};
use super::reset::Reset;
use super::stop::Stop;
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::convert;
use crate::tds::sql::lexer::lex;
use crate::tds::sql::parser::parse;
use crate::tds::sql::tokens::Tokens;
use crate::tds::wire::kind::Kind;

impl Session {
    /// `None`: it is none of the system's.
    pub(super) fn system_procedure(
        &mut self,
        names: &[String],
        arguments: &[Argument],
        out: &mut Output,
    ) -> Result<Option<Returned>, Stop> {
        let name = names
            .last()
            .map(|name| name.to_ascii_lowercase())
            .unwrap_or_default();
        let returned = match name.as_str() {
            "sp_executesql" => self.sp_executesql(arguments, out)?,
            "sp_prepare" => self.sp_prepare(arguments)?,
            "sp_execute" => self.sp_execute(arguments, out)?,
            "sp_prepexec" => self.sp_prepexec(arguments, out)?,
            "sp_prepexecrpc" => self.sp_prepexecrpc(arguments, out)?,
            "sp_datatype_info" | "sp_datatype_info_90" | "sp_datatype_info_100" => {
                self.sp_datatype_info(number(arguments, 0), out)?
            }
            "sp_unprepare" => {
                self.handles.remove(number(arguments, 0).unwrap_or(0))?;
                Returned::default()
            }
            "sp_reset_connection" => {
                self.reset(Reset::Everything, out)?;
                Returned::default()
            }
            "sp_set_session_context" => self.sp_set_session_context(arguments)?,
            "sp_getapplock" => self.sp_getapplock(arguments)?,
            "sp_releaseapplock" => self.sp_releaseapplock(arguments)?,
            "sp_setapprole" => self.sp_setapprole(arguments)?,
            name if name.starts_with("sp_cursor") => self.cursor_procedure(name, arguments, out)?,
            _ => return Ok(None),
        };
        Ok(Some(returned))
    }

    /// (statement, declarations, values…).
    fn sp_executesql(
        &mut self,
        arguments: &[Argument],
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        let text = text(arguments, 0).ok_or_else(|| missing("@statement"))?;
        let parameters = text_or_empty(arguments, 1);
        let prepared = Prepared {
            parameters,
            text,
            form: Form::Statements,
        };
        self.run_prepared(&prepared, arguments, 2, out)
    }

    /// (handle out, declarations, statement, options).
    fn sp_prepare(&mut self, arguments: &[Argument]) -> Result<Returned, Stop> {
        let handle = self.prepare(arguments)?;
        Ok(with_handle(handle))
    }

    fn prepare(&mut self, arguments: &[Argument]) -> Result<i32, Stop> {
        let text = text(arguments, 2).ok_or_else(|| missing("@stmt"))?;
        // An error of the syntax is an error now.
        parse(&lex(&text, self.options.is_on("quoted_identifier"))?)?;
        let parameters = text_or_empty(arguments, 1);
        self.server.counters.prepares.add();
        // A handle that comes in is given up for the new one.
        if let Some(old) = number(arguments, 0) {
            let _unknown_is_fine = self.handles.remove(old);
        }
        let prepared = Prepared {
            parameters,
            text,
            form: Form::Statements,
        };
        Ok(self.handles.add(prepared)?)
    }

    /// (handle, values…).
    fn sp_execute(&mut self, arguments: &[Argument], out: &mut Output) -> Result<Returned, Stop> {
        let prepared = self.handles.get(number(arguments, 0).unwrap_or(0))?;
        self.run_prepared(&prepared, arguments, 1, out)
    }

    /// (handle out, declarations, statement, values…).
    fn sp_prepexec(&mut self, arguments: &[Argument], out: &mut Output) -> Result<Returned, Stop> {
        let handle = self.prepare(arguments)?;
        let prepared = self.handles.get(handle.into())?;
        let mut returned = self.run_prepared(&prepared, arguments, 3, out)?;
        returned.outputs.insert(0, given_handle(handle));
        Ok(returned)
    }

    /// (handle out, procedure, values…).
    fn sp_prepexecrpc(
        &mut self,
        arguments: &[Argument],
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        let text = text(arguments, 1).ok_or_else(|| missing("@procname"))?;
        self.server.counters.prepares.add();
        if let Some(old) = number(arguments, 0) {
            let _unknown_is_fine = self.handles.remove(old);
        }
        let prepared = Prepared {
            parameters: String::new(),
            text,
            form: Form::Procedure,
        };
        let handle = self.handles.add(prepared.clone())?;
        let mut returned = self.run_prepared(&prepared, arguments, 2, out)?;
        returned.outputs.insert(0, given_handle(handle));
        Ok(returned)
    }

    fn run_procedure(
        &mut self,
        name: &str,
        values: &[Argument],
        first: usize,
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        let lexed = lex(name, true)?;
        let names = Tokens::new(&lexed).names()?;
        let mut returned = self.invoke(&names, values, out)?;
        for given in &mut returned.outputs {
            given.at += first;
        }
        Ok(returned)
    }

    /// Runs a statement with the arguments from `first` on.
    pub(super) fn run_prepared(
        &mut self,
        prepared: &Prepared,
        arguments: &[Argument],
        first: usize,
        out: &mut Output,
    ) -> Result<Returned, Stop> {
        let values = arguments.get(first..).unwrap_or_default();
        if prepared.form == Form::Procedure {
            return self.run_procedure(&prepared.text, values, first, out);
        }
        let variables = self.prepared_variables(prepared, values)?;
        let parameters = self.declarations(&prepared.parameters)?;
        let places = matched("sp_executesql", &parameters, values)?;
        let mut frame = self.run_module(&prepared.text, "", &variables, out)?;
        let mut outputs = Vec::new();
        for (parameter, place) in parameters.iter().zip(places) {
            let wanted = place.filter(|at| values.get(*at).is_some_and(|a| a.is_output));
            let variable = frame.variables.remove(&parameter.name);
            if let (Some(at), Some(variable), true) = (wanted, variable, parameter.is_output) {
                outputs.push(Given {
                    at: first + at,
                    kind: variable.kind,
                    value: variable.value,
                });
            }
        }
        Ok(Returned { status: 0, outputs })
    }

    /// The parameters of a prepared statement with the values of this call.
    pub(super) fn prepared_variables(
        &self,
        prepared: &Prepared,
        values: &[Argument],
    ) -> Result<Vec<(String, Kind, Value)>, Stop> {
        let parameters = self.declarations(&prepared.parameters)?;
        let places = matched("sp_executesql", &parameters, values)?;
        let mut variables = Vec::new();
        for (parameter, place) in parameters.iter().zip(&places) {
            let value = place.and_then(|at| values.get(at)).map(|a| a.value.clone());
            let value = value.or_else(|| parameter.default.clone()).ok_or_else(|| {
                let text = format!(
                    "The parameterized query '({})' expects the parameter '{}', which was not \
                     supplied.",
                    prepared.parameters, parameter.name
                );
                ServerError::new(8178, 16, text)
            })?;
            variables.push((parameter.name.clone(), parameter.kind, value));
        }
        Ok(variables)
    }

    fn declarations(&self, text: &str) -> Result<Vec<Declared>, Stop> {
        let lexed = lex(text, true)?;
        let mut tokens = Tokens::new(&lexed);
        let parameters = declared(&mut tokens, self)?;
        tokens.end()?;
        Ok(parameters)
    }

    /// (key, value, read_only).
    fn sp_set_session_context(&mut self, arguments: &[Argument]) -> Result<Returned, Stop> {
        let [key, value, read_only] = placed(arguments, ["@key", "@value", "@read_only"]);
        let key = key.and_then(as_text).ok_or_else(|| missing("@key"))?;
        let is_read_only = read_only.is_some_and(|a| a.value == Value::Integer(1));
        let key = key.to_lowercase();
        if self
            .context
            .pairs
            .get(&key)
            .is_some_and(|pair| pair.is_read_only)
        {
            let text = format!(
                "Cannot set key '{key}' in the session context. The key has been set as read_only \
                 for this session."
            );
            return Err(ServerError::new(15_664, 16, text).into());
        }
        match value {
            Some(argument) if argument.value != Value::Null => {
                let pair = Pair {
                    kind: argument.kind,
                    value: argument.value.clone(),
                    is_read_only,
                };
                self.context.pairs.insert(key, pair);
            }
            _ => {
                self.context.pairs.remove(&key);
            }
        }
        Ok(Returned::default())
    }

    /// (resource, mode, owner, timeout, principal): 0 and 1 are success, -1 is the time-out.
    fn sp_getapplock(&self, arguments: &[Argument]) -> Result<Returned, Stop> {
        let [resource, mode, owner, timeout] = placed(
            arguments,
            ["@resource", "@lockmode", "@lockowner", "@locktimeout"],
        );
        let resource = resource
            .and_then(as_text)
            .ok_or_else(|| missing("@Resource"))?;
        let mode = mode.and_then(as_text).ok_or_else(|| missing("@LockMode"))?;
        let Some(mode) = Mode::named(&mode) else {
            return Ok(status(-999));
        };
        let owner = self.lock_owner(owner)?;
        let most = match timeout.map(|argument| &argument.value) {
            Some(Value::Integer(milliseconds)) => *milliseconds,
            _ => self.options.lock_timeout,
        };
        let database = self.context.database.clone();
        let start = std::time::Instant::now();
        let mut has_waited = false;
        loop {
            let locks = &self.server.locks;
            if locks.acquire(&database, &resource, self.spid, (mode, owner)) {
                return Ok(status(i32::from(has_waited)));
            }
            has_waited = true;
            if let Ok(most) = u64::try_from(most)
                && start.elapsed() >= std::time::Duration::from_millis(most)
            {
                return Ok(status(-1));
            }
            if !self.cancel.rest() {
                return Err(Stop::Cancelled);
            }
        }
    }

    fn lock_owner(&self, owner: Option<&Argument>) -> Result<Owner, ServerError> {
        let owner = owner
            .and_then(as_text)
            .unwrap_or_else(|| "Transaction".to_owned());
        if owner.eq_ignore_ascii_case("session") {
            return Ok(Owner::Session);
        }
        if self.transaction.count() == 0 {
            let text = "The application lock must be owned by a transaction, but there is none.";
            return Err(ServerError::new(1232, 16, text));
        }
        Ok(Owner::Transaction)
    }

    /// (resource, owner).
    fn sp_releaseapplock(&self, arguments: &[Argument]) -> Result<Returned, Stop> {
        let [resource, owner] = placed(arguments, ["@resource", "@lockowner"]);
        let resource = resource
            .and_then(as_text)
            .ok_or_else(|| missing("@Resource"))?;
        let owner = self.lock_owner(owner)?;
        let database = &self.context.database;
        if self
            .server
            .locks
            .release(database, &resource, self.spid, owner)
        {
            return Ok(Returned::default());
        }
        let text = format!(
            "Cannot release the application lock (Database Principal: 'public', Resource: \
             '{resource}') because it is not currently held."
        );
        Err(ServerError::new(1223, 16, text).into())
    }

    pub(super) fn application_lock_mode(&self, resource: &str, owner: &str) -> &'static str {
        let owner = if owner.eq_ignore_ascii_case("session") {
            Owner::Session
        } else {
            Owner::Transaction
        };
        let database = &self.context.database;
        let mode = self.server.locks.mode(database, resource, self.spid, owner);
        mode.map_or("NoLock", Mode::name)
    }

    /// (role, password).
    fn sp_setapprole(&mut self, arguments: &[Argument]) -> Result<Returned, Stop> {
        let [role, password] = placed(arguments, ["@rolename", "@password"]);
        let role = role.and_then(as_text).ok_or_else(|| missing("@rolename"))?;
        let password = password.and_then(as_text).unwrap_or_default();
        let mut roles = self.server.setup.application_roles.iter();
        if !roles.any(|(name, secret)| *name == role && *secret == password) {
            let text = format!(
                "Cannot set application role '{role}' because it does not exist or the password is \
                 incorrect."
            );
            return Err(ServerError::new(2762, 16, text).into());
        }
        self.context.application_role = Some(role);
        Ok(Returned::default())
    }
}

fn status(status: i32) -> Returned {
    Returned {
        status,
        outputs: Vec::new(),
    }
}

fn given_handle(handle: i32) -> Given {
    Given {
        at: 0,
        kind: Kind::Int,
        value: Value::Integer(handle.into()),
    }
}

fn with_handle(handle: i32) -> Returned {
    Returned {
        status: 0,
        outputs: vec![given_handle(handle)],
    }
}

/// Arguments by name, or by place.
fn placed<'a, const N: usize>(
    arguments: &'a [Argument],
    names: [&str; N],
) -> [Option<&'a Argument>; N] {
    let mut places = [None; N];
    for (at, argument) in arguments.iter().enumerate() {
        let place = if argument.name.is_empty() {
            Some(at)
        } else {
            names.iter().position(|name| *name == argument.name)
        };
        if let Some(place) = place.and_then(|place| places.get_mut(place)) {
            *place = Some(argument);
        }
    }
    places
}

fn as_text(argument: &Argument) -> Option<String> {
    match convert::cast(argument.value.clone(), Kind::nvarchar(4_000)) {
        Ok(Value::Text(text)) => Some(text),
        _ => None,
    }
}

pub(super) fn text(arguments: &[Argument], at: usize) -> Option<String> {
    match arguments.get(at).map(|argument| &argument.value) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

fn text_or_empty(arguments: &[Argument], at: usize) -> String {
    text(arguments, at).unwrap_or_default()
}

pub(super) fn number(arguments: &[Argument], at: usize) -> Option<i64> {
    match arguments.get(at).map(|argument| &argument.value) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    }
}

pub(super) fn missing(name: &str) -> ServerError {
    let text = format!("Procedure or function expects parameter '{name}', which was not supplied.");
    ServerError::new(201, 16, text)
}
