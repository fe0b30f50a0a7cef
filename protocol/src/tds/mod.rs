//! TDS 7.3 and 7.4, the protocol of SQL Server (MS-TDS, version 39); older clients are translated.

pub mod effect;
pub mod error;
pub mod lazy;
pub mod legacy;
pub mod login;
pub mod login7;
pub mod message;
pub mod packet;
pub mod prelogin;
pub mod probe;
mod reader;
pub mod refusal;
pub mod scan;
pub mod settings;
pub mod statements;
pub mod token;
pub mod tracker;

/// A peer broke the protocol; the connection can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A packet length below 8 or above 32767.
    #[error("a packet of type {kind} has the impossible length {length}")]
    Length {
        /// The packet's type.
        kind: u8,
        /// The length as received.
        length: u16,
    },
    /// A packet type that this side may not send, or not now.
    #[error("packet type {kind} is not known here")]
    Kind {
        /// The packet's type.
        kind: u8,
    },
    /// A packet where another was due.
    #[error("a packet of type {kind} came while {expected} was due")]
    OutOfSync {
        /// The packet's type.
        kind: u8,
        /// What was expected.
        expected: &'static str,
    },
    /// Fields that don't end, or have a value outside their range.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// Which message or token.
        what: &'static str,
        /// Which field.
        why: &'static str,
    },
    /// What must be seen whole is larger than we are ready to hold.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}
