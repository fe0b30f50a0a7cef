//! A batch, a procedure, or dynamic SQL while it runs: its variables, and what ends with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::types::Value;

use super::Session;
use super::options::Options;
use super::stop::Stop;
use crate::tds::error::ServerError;
use crate::tds::sql::convert;
use crate::tds::wire::kind::Kind;
use crate::tds::wire::tokens::DoneKind;

/// SQL Server's limit on calls in calls.
const MAX_FRAMES: usize = 32;

#[derive(Debug)]
pub(super) struct Frame {
    /// The text that tokens point into.
    pub(super) text: Arc<str>,
    pub(super) variables: BTreeMap<String, Variable>,
    /// RETURN's number.
    pub(super) status: i32,
    /// SCOPE_IDENTITY().
    pub(super) identity: Option<i64>,
    /// Name for errors; empty for a batch and dynamic SQL.
    pub(super) procedure: String,
    /// Temporary tables that end with it.
    pub(super) temporary: Vec<String>,
    /// TRY blocks open in here.
    pub(super) tries: usize,
    /// The errors of the CATCH blocks open in here.
    pub(super) caught: Vec<ServerError>,
    done: DoneKind,
    saved: Saved,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variable {
    pub(super) kind: Kind,
    pub(super) value: Value,
}

/// What is put back at its end.
#[derive(Debug)]
struct Saved {
    options: Options,
    database: String,
}

impl Session {
    /// The outermost frame: what it sets stays.
    pub(super) fn push_batch(&mut self, text: &str) -> Result<(), Stop> {
        self.push(text, DoneKind::Done)
    }

    /// A frame that ends again with [`Session::pop_module`].
    pub(super) fn push_module(&mut self, text: &str, procedure: &str) -> Result<(), Stop> {
        self.push(text, DoneKind::InProc)?;
        if let Some(frame) = self.frames.last_mut() {
            procedure.clone_into(&mut frame.procedure);
        }
        Ok(())
    }

    fn push(&mut self, text: &str, done: DoneKind) -> Result<(), Stop> {
        if self.frames.len() >= MAX_FRAMES {
            let text = "Maximum stored procedure, function, trigger, or view nesting level exceeded \
                        (limit 32).";
            return Err(ServerError::new(217, 16, text).into());
        }
        self.frames.push(Frame {
            text: text.into(),
            variables: BTreeMap::new(),
            status: 0,
            identity: None,
            procedure: String::new(),
            temporary: Vec::new(),
            tries: 0,
            caught: Vec::new(),
            done,
            saved: Saved {
                options: self.options.clone(),
                database: self.context.database.clone(),
            },
        });
        Ok(())
    }

    /// SET options, the database, temporary tables and EXECUTE AS end with a module.
    pub(super) fn pop_module(&mut self) -> Option<Frame> {
        let depth = self.frames.len();
        let frame = self.frames.pop()?;
        for table in &frame.temporary {
            self.drop_temporary(table);
        }
        self.options = frame.saved.options.clone();
        self.context.database.clone_from(&frame.saved.database);
        self.context
            .impersonations
            .retain(|impersonation| impersonation.frame < depth);
        self.cursors.end_of_frame(depth);
        Some(frame)
    }

    /// Of the outermost frame, only LOCAL cursors end with it; an error may have left others.
    pub(super) fn end_batch(&mut self) {
        while self.frames.len() > 1 {
            self.pop_module();
        }
        self.cursors.end_of_frame(self.frames.len());
        self.frames.clear();
    }

    pub(super) fn frame(&mut self) -> Result<&mut Frame, ServerError> {
        let frame = self.frames.last_mut();
        frame.ok_or_else(|| ServerError::new(40_000, 16, "No statement is running."))
    }

    /// Which DONE ends a statement here.
    pub(super) fn done_kind(&self) -> DoneKind {
        self.frames
            .last()
            .map_or(DoneKind::Done, |frame| frame.done)
    }

    pub(super) fn is_in_module(&self) -> bool {
        self.done_kind() == DoneKind::InProc
    }

    /// Whether an error goes to a CATCH, here or in a caller.
    pub(super) fn is_trying(&self) -> bool {
        self.frames.iter().any(|frame| frame.tries > 0)
    }

    pub(super) fn line_procedure(&self) -> String {
        let frame = self.frames.last();
        frame.map_or_else(String::new, |frame| frame.procedure.clone())
    }

    pub(super) fn declare(
        &mut self,
        name: &str,
        kind: Kind,
        value: Value,
    ) -> Result<(), ServerError> {
        let value = convert::cast(value, kind)?;
        let frame = self.frame()?;
        let variable = Variable { kind, value };
        match frame.variables.insert(name.to_owned(), variable) {
            None => Ok(()),
            Some(_) => {
                let text = format!(
                    "The variable name '{name}' has already been declared. Variable names must be \
                     unique within a query batch or stored procedure."
                );
                Err(ServerError::new(134, 15, text))
            }
        }
    }

    pub(super) fn assign_variable(&mut self, name: &str, value: Value) -> Result<(), ServerError> {
        let frame = self.frame()?;
        let variable = frame
            .variables
            .get_mut(name)
            .ok_or_else(|| undeclared(name))?;
        variable.value = convert::cast(value, variable.kind)?;
        Ok(())
    }

    /// For the translator.
    pub(in crate::tds) fn variable(&self, name: &str) -> Result<(Kind, Value), ServerError> {
        let frame = self.frames.last();
        let variable = frame.and_then(|frame| frame.variables.get(name));
        let variable = variable.ok_or_else(|| undeclared(name))?;
        Ok((variable.kind, variable.value.clone()))
    }
}

fn undeclared(name: &str) -> ServerError {
    let text = format!("Must declare the scalar variable \"{name}\".");
    ServerError::new(137, 15, text).with_state(2)
}
