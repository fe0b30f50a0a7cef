//! Clients of TDS 7.1, 7.2 and 7.3A, on servers that are spoken to in 7.4.
//!
//! A [`Translator`] belongs to one client. It stands between the client and the tracker, which
//! knows 7.4 only: [`Requests`] makes 7.4 of what the client sends, [`Answers`] makes the client's
//! version of what it is to get. Neither knows a backend. Newer clients have none.

mod answers;
mod bulk;
mod column;
mod message;
mod moment;
mod packets;
mod requests;
mod value;

pub use answers::{Answers, LARGEST_VALUE};
pub use requests::Requests;

use super::Violation;
use super::message::Report;

/// The descriptor in a translated request: that of the transaction under way, if there is one.
/// TDS 7.1 has none. No server gives this one out.
pub const PRESENT_TRANSACTION: u64 = u64::MAX;

/// A version before 7.3B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// SQL Server 2000.
    V71,
    /// SQL Server 2000, Service Pack 1: another TABNAME.
    V71Revised,
    /// SQL Server 2005: headers, long counts, (max).
    V72,
    /// SQL Server 2008, before NBCROW: dates.
    V73A,
}

impl Dialect {
    /// The version of a LOGIN7; `None` for one that is not translated.
    #[must_use]
    pub fn of(version: u32) -> Option<Self> {
        Some(match version {
            0x7100_0000 => Self::V71,
            0x7100_0001 => Self::V71Revised,
            0x7209_0002 => Self::V72,
            0x730a_0003 => Self::V73A,
            _ => return None,
        })
    }

    /// As whom a client is told that it is not served: also one that is too old for anything else.
    #[must_use]
    pub fn to_refuse(version: u32) -> Option<Self> {
        let too_old = || (version < 0x7209_0002).then_some(Self::V71);
        Self::of(version).or_else(too_old)
    }

    /// No ALL_HEADERS, short counts, no type without a limit but text, ntext and image.
    #[must_use]
    pub fn is_narrow(self) -> bool {
        self < Self::V72
    }

    /// It has date, time, datetime2 and datetimeoffset.
    fn has_dates(self) -> bool {
        self >= Self::V73A
    }
}

/// Between one client and the tracker.
#[derive(Debug)]
pub struct Translator {
    /// From the client.
    pub requests: Requests,
    /// To the client.
    pub answers: Answers,
}

impl Translator {
    /// For a client that has agreed on packets of `size` bytes.
    #[must_use]
    pub fn new(dialect: Dialect, size: usize) -> Self {
        Self {
            requests: Requests::new(dialect, size),
            answers: Answers::new(dialect, size),
        }
    }

    /// Gives back memory that only a burst needed.
    pub fn shrink(&mut self) {
        self.requests.shrink();
        self.answers.shrink();
    }
}

/// Appends a last message to a client of whatever version; `None` is one that is not translated.
///
/// # Errors
/// Never, for a report of ours.
pub fn tell(
    dialect: Option<Dialect>,
    report: &Report,
    size: usize,
    out: &mut Vec<u8>,
) -> Result<(), Violation> {
    let Some(dialect) = dialect else {
        report.encode(size, out);
        return Ok(());
    };
    let mut answer = Vec::new();
    report.encode(size, &mut answer);
    Answers::new(dialect, size).translate(&answer, out)
}

#[cfg(test)]
#[path = "legacy/tests.rs"]
mod tests;
