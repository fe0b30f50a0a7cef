//! Prepared statements: handles that live as long as the connection, or up to its reset.

use std::collections::BTreeMap;

use crate::tds::error::ServerError;

/// More than any driver keeps.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Handles {
    prepared: BTreeMap<i32, Prepared>,
    next: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prepared {
    /// As in sp_executesql.
    pub(super) parameters: String,
    pub(super) text: String,
    pub(super) form: Form,
}

/// What the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Statements,
    /// A procedure's name (sp_prepexecrpc).
    Procedure,
}

impl Handles {
    pub(super) fn len(&self) -> usize {
        self.prepared.len()
    }

    pub(super) fn add(&mut self, prepared: Prepared) -> Result<i32, ServerError> {
        if self.prepared.len() >= MOST {
            let text = "Too many prepared statements on this connection.";
            return Err(ServerError::new(40_000, 16, text));
        }
        self.next += 1;
        self.prepared.insert(self.next, prepared);
        Ok(self.next)
    }

    pub(super) fn get(&self, handle: i64) -> Result<Prepared, ServerError> {
        let found = i32::try_from(handle).ok();
        let found = found.and_then(|handle| self.prepared.get(&handle));
        found.cloned().ok_or_else(|| unknown(handle))
    }

    pub(super) fn remove(&mut self, handle: i64) -> Result<(), ServerError> {
        let found = i32::try_from(handle).ok();
        let found = found.and_then(|handle| self.prepared.remove(&handle));
        found.map(|_| ()).ok_or_else(|| unknown(handle))
    }

    /// The numbers go on: an old handle never means a new statement.
    pub(super) fn clear(&mut self) {
        self.prepared.clear();
    }
}

fn unknown(handle: i64) -> ServerError {
    let text = format!("Could not find prepared statement with handle {handle}.");
    ServerError::new(8179, 16, text)
}
