//! The console: commands in PgBouncer's words, over PostgreSQL's protocol.
//!
//! [`Conversation`] takes a client's bytes behind the greeting and hands out [`Command`]s; whoever
//! runs it gives back an [`Answer`] to each. What a command's rows look like is known beforehand
//! ([`Show::columns`]), because a client may ask for that before it asks for the rows.

mod columns;
mod command;
mod conversation;
mod lexer;
mod parameters;
mod table;

pub use columns::HELP;
pub use command::{Command, LONGEST_TEXT, Show, Shutdown, parse};
pub use conversation::{Answer, Conversation, MOST_NAMES, Step};
pub use parameters::{PARAMETERS, greeting};
pub use table::{Column, Kind, Table, Value};

/// The version of PgBouncer whose console this is.
pub const PGBOUNCER: &str = "1.25.2";

#[cfg(test)]
mod tests;
