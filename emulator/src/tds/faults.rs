//! Misbehaviour on demand: logins that fail, statements that fail.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::ServerError;

/// The script, shared with the connections.
#[derive(Debug, Default)]
pub(super) struct Faults {
    logins: Mutex<VecDeque<i32>>,
    statements: Mutex<VecDeque<i32>>,
}

impl Faults {
    pub(super) fn queue_logins(&self, number: i32, times: usize) {
        lock(&self.logins).extend(std::iter::repeat_n(number, times));
    }

    pub(super) fn queue_statement(&self, number: i32) {
        lock(&self.statements).push_back(number);
    }

    pub(super) fn next_login(&self) -> Option<ServerError> {
        lock(&self.logins).pop_front().map(known)
    }

    pub(super) fn next_statement(&self) -> Option<ServerError> {
        lock(&self.statements).pop_front().map(known)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The words and classes that Microsoft documents for these numbers.
fn known(number: i32) -> ServerError {
    let (class, text) = match number {
        916 => (
            14,
            "The server principal \"my-vm\" is not able to access the database \"appdb\" under the \
             current security context.",
        ),
        1205 => (
            13,
            "Transaction was deadlocked on lock resources with another process and has been \
             chosen as the deadlock victim. Rerun the transaction.",
        ),
        1222 => (16, "Lock request time out period exceeded."),
        4060 => (
            11,
            "Cannot open database requested by the login. The login failed.",
        ),
        4221 => (
            16,
            "Login to read-secondary failed due to long wait on 'HADR_DATABASE_WAIT_FOR_TRANSITION_TO_VERSIONING'.",
        ),
        10928 | 10929 => (
            16,
            "Resource ID: 1. The request limit for the database has been reached. See \
             'http://go.microsoft.com/fwlink/?LinkId=267637' for assistance.",
        ),
        18456 => (
            14,
            "Login failed for user '<token-identified principal>'. Token is expired.",
        ),
        40197 => (
            17,
            "The service has encountered an error processing your request. Please try again. \
             Error code 40166.",
        ),
        40501 => (
            20,
            "The service is currently busy. Retry the request after 10 seconds. Incident ID: 1. \
             Code: 1.",
        ),
        40532 => (
            20,
            "Cannot open server requested by the login. The login failed.",
        ),
        40613 => (
            17,
            "Database on server is not currently available. Please retry the connection later.",
        ),
        40615 => (
            14,
            "Cannot open server requested by the login. Client with IP address is not allowed to \
             access the server.",
        ),
        40914 => (
            14,
            "Cannot open server requested by the login. Client is not allowed to access the server.",
        ),
        47073 => (
            20,
            "An instance-specific error occurred while establishing a connection to SQL Server. \
             Connection was denied because Deny Public Network Access is set to Yes.",
        ),
        49918..=49920 => (
            16,
            "Cannot process request. Not enough resources to process request.",
        ),
        _ => (16, "An error that a test asked for."),
    };
    ServerError::new(number, class, text)
}
