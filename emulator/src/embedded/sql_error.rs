//! An error as PostgreSQL reports it: severity, SQLSTATE, message.

use rusqlite::ffi;

/// What goes into an ErrorResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqlError {
    pub(super) severity: &'static str,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl SqlError {
    /// The statement failed; the session goes on.
    pub(super) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: "ERROR",
            code,
            message: message.into(),
        }
    }

    /// The session ends.
    pub(super) fn fatal(code: &'static str, message: String) -> Self {
        Self {
            severity: "FATAL",
            code,
            message,
        }
    }

    /// Something that PostgreSQL has and this server has not.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::error(
            "0A000",
            format!("the embedded server does not support {what}; use a real PostgreSQL"),
        )
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        let message = match &error {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            other => other.to_string(),
        };
        let failure = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => Some(*failure),
            rusqlite::Error::SqlInputError { error, .. } => Some(*error),
            _ => None,
        };
        Self::error(sqlstate(failure, &message), message)
    }
}

/// SQLite's extended result codes where they say enough, else the words of its messages.
fn sqlstate(failure: Option<ffi::Error>, message: &str) -> &'static str {
    let known = failure.and_then(|failure| match failure.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => Some("23505"),
        ffi::SQLITE_CONSTRAINT_NOTNULL => Some("23502"),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Some("23503"),
        ffi::SQLITE_CONSTRAINT_CHECK => Some("23514"),
        ffi::SQLITE_BUSY => Some("55P03"),
        ffi::SQLITE_BUSY_SNAPSHOT => Some("40001"),
        ffi::SQLITE_FULL => Some("53100"),
        ffi::SQLITE_TOOBIG => Some("54000"),
        _ => None,
    });
    let worded = [
        ("no such table", "42P01"),
        ("no such column", "42703"),
        ("no such function", "42883"),
        ("no such savepoint", "3B001"),
        ("already exists", "42P07"),
        ("syntax error", "42601"),
        ("unrecognized token", "42601"),
        ("incomplete input", "42601"),
    ];
    known
        .or_else(|| {
            worded
                .iter()
                .find_map(|(words, code)| message.contains(words).then_some(*code))
        })
        .unwrap_or("XX000")
}
