//! Why a statement, and what is around it, does not go on.

use crate::tds::error::ServerError;

#[derive(Debug)]
pub(super) enum Stop {
    /// Not told to the client yet: a CATCH may want it.
    Raised(Box<ServerError>),
    /// Told; the rest of the batch is not run.
    Aborted,
    /// By an attention, or the client has gone.
    Cancelled,
    /// Told; the session ends.
    Ended,
}

impl From<ServerError> for Stop {
    fn from(error: ServerError) -> Self {
        Self::Raised(Box::new(error))
    }
}

/// An interrupted statement was interrupted by an attention: nothing else does that.
impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
            return Self::Cancelled;
        }
        Self::from(ServerError::from(error))
    }
}

/// What comes after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Next,
    Break,
    Continue,
    Return,
}
