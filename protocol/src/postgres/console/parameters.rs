//! Settings that clients read or set without asking whether there is anything behind them.

use super::PGBOUNCER;
use super::columns::text;
use super::table::Column;
use crate::postgres::message::parameter_status;

/// A setting whose value never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// The one column of its answer, whose name is the setting's.
    pub(super) column: [Column; 1],
    /// Its value.
    pub value: &'static str,
}

impl Parameter {
    /// As it is written in a ParameterStatus.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let [column] = self.column;
        column.name
    }
}

/// What `SHOW` answers for settings of PostgreSQL.
pub const PARAMETERS: &[Parameter] = &[
    parameter("client_encoding", "UTF8"),
    parameter("server_encoding", "UTF8"),
    parameter("DateStyle", "ISO"),
    parameter("TimeZone", "GMT"),
    parameter("standard_conforming_strings", "on"),
    parameter("integer_datetimes", "on"),
    parameter("is_superuser", "on"),
    parameter("default_transaction_isolation", "read committed"),
    parameter("transaction_isolation", "read committed"),
    parameter("default_transaction_read_only", "off"),
];

/// How many of [`PARAMETERS`] a greeting tells.
const TOLD: usize = 7;

/// What drivers set when they connect; it is taken, and changes nothing.
const TAKEN: &[&str] = &[
    "application_name",
    "client_min_messages",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "search_path",
    "statement_timeout",
];

const fn parameter(name: &'static str, value: &'static str) -> Parameter {
    Parameter {
        column: [text(name)],
        value,
    }
}

/// Appends the ParameterStatus messages of a greeting.
pub fn greeting(out: &mut Vec<u8>) {
    let version = format!("{PGBOUNCER}/entrapool");
    parameter_status(out, b"server_version", version.as_bytes());
    for parameter in PARAMETERS.iter().take(TOLD) {
        parameter_status(out, parameter.name().as_bytes(), parameter.value.as_bytes());
    }
}

/// The setting of this name, in any case.
pub(super) fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS
        .iter()
        .find(|parameter| parameter.name().eq_ignore_ascii_case(name))
}

/// Whether `SET` may name it.
pub(super) fn is_taken(name: &str) -> bool {
    find(name).is_some() || TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name))
}
