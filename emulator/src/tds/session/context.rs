//! Where and as whom a session is: database, context info, session context, EXECUTE AS.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;

use super::LoginFacts;
use crate::tds::wire::kind::Kind;

#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The current database, as it was made.
    pub(super) database: String,
    /// SET CONTEXT_INFO; empty when it was never set.
    pub(super) info: Vec<u8>,
    /// sp_set_session_context.
    pub(super) pairs: BTreeMap<String, Pair>,
    /// EXECUTE AS, the innermost last, with the frame that it was said in.
    pub(super) impersonations: Vec<Impersonation>,
    /// sp_setapprole: for the rest of the session, RESETCONNECTION included.
    pub(super) application_role: Option<String>,
    /// DBCC TRACEON.
    pub(super) trace_flags: BTreeSet<i64>,
}

/// One value of the session context.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) kind: Kind,
    pub(super) value: Value,
    pub(super) is_read_only: bool,
}

/// One EXECUTE AS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Impersonation {
    pub(super) user: String,
    /// Frames open when it was said: it ends with its procedure.
    pub(super) frame: usize,
}

impl Context {
    pub(super) fn at_login(facts: &LoginFacts) -> Self {
        Self {
            database: facts.database.clone(),
            info: Vec::new(),
            pairs: BTreeMap::new(),
            impersonations: Vec::new(),
            application_role: None,
            trace_flags: BTreeSet::new(),
        }
    }

    /// Back to the login, the application role apart.
    pub(super) fn reset(&mut self, facts: &LoginFacts) {
        let application_role = self.application_role.take();
        *self = Self {
            application_role,
            ..Self::at_login(facts)
        };
    }
}
