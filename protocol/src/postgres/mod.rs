//! PostgreSQL's frontend/backend protocol, version 3 (PostgreSQL documentation, chapter 55).

pub mod channels;
pub mod console;
pub mod discard;
pub mod effect;
pub mod error;
pub mod frame;
pub mod ledger;
pub mod login;
pub mod message;
pub mod probe;
pub mod refusal;
pub mod scan;
pub mod settings;
pub mod startup;
pub mod statements;
pub mod tracker;

/// The transaction status of ReadyForQuery (55.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `I`: not in a transaction block.
    Idle,
    /// `T`: in a transaction block.
    Transaction,
    /// `E`: in a transaction block that has failed.
    Failed,
}

impl Status {
    /// The status that the byte of ReadyForQuery stands for, if it stands for one.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Transaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The byte of ReadyForQuery.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Transaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// A peer broke the protocol; the connection can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A length word below 4 or above what PostgreSQL itself accepts.
    #[error("message {tag:?} has the impossible length {length}")]
    Length {
        /// The message's tag.
        tag: char,
        /// The length word as received.
        length: u32,
    },
    /// A tag that this side may not send.
    #[error("message type {tag:?} (0x{:02x}) is not known here", *tag as u32)]
    Tag {
        /// The message's tag.
        tag: char,
    },
    /// A reply that nothing asked for.
    #[error("reply {tag:?} came while {expected} was due")]
    OutOfSync {
        /// The reply's tag.
        tag: char,
        /// What the ledger expected.
        expected: &'static str,
    },
    /// A body that ends before its fields do, or has a value outside its range.
    #[error("message {tag:?} is malformed: {what}")]
    Malformed {
        /// The message's tag.
        tag: char,
        /// Which field.
        what: &'static str,
    },
    /// A message that must be seen whole is larger than we are ready to hold.
    #[error("message {tag:?} of {length} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The message's tag.
        tag: char,
        /// Its whole length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}
