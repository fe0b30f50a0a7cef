//! Scripts: what several clients send, in one order.

use std::fmt;
use std::time::Duration;

use crate::requests::{Call, Request};

/// A client of a script.
pub(crate) type Who = usize;

/// What one client sends before it waits for the answer.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) who: Who,
    pub(crate) request: Request,
    /// An attention follows, so long after it.
    pub(crate) attention: Option<Duration>,
    /// The next statement on data fails with this error.
    pub(crate) fault: Option<i32>,
    pub(crate) words: String,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.words)?;
        if self.request.bits != 0 {
            write!(f, " [bits {:#x}]", self.request.bits)?;
        }
        if let Some(after) = self.attention {
            write!(f, " [attention after {after:?}]")?;
        }
        if let Some(number) = self.fault {
            write!(f, " [fault {number}]")?;
        }
        Ok(())
    }
}

impl Step {
    fn new(who: Who, words: &str, request: Request) -> Self {
        Self {
            who,
            request,
            attention: None,
            fault: None,
            words: words.to_owned(),
        }
    }

    /// Bits of the status of its first packet.
    pub(crate) fn bits(mut self, bits: u8) -> Self {
        self.request = self.request.with(bits);
        self
    }

    pub(crate) fn attention(mut self, after: Duration) -> Self {
        self.attention = Some(after);
        self
    }

    pub(crate) fn fault(mut self, number: i32) -> Self {
        self.fault = Some(number);
        self
    }

    /// Taken back behind so many packets.
    pub(crate) fn withdrawn(mut self, packets: usize) -> Self {
        self.request = self.request.withdrawn(packets);
        self
    }

    /// Whether what is answered ends with the acknowledgement of an attention.
    pub(crate) fn awaits_attention(&self) -> bool {
        self.attention.is_some() || self.request.kind == crate::requests::kind::ATTENTION
    }
}

/// An SQLBatch.
pub(crate) fn batch(who: Who, sql: &str) -> Step {
    Step::new(who, sql, Request::batch(sql))
}

/// A batch of one client.
pub(crate) fn sql(sql: &str) -> Step {
    batch(0, sql)
}

/// One message of calls.
pub(crate) fn calls(who: Who, words: &str, calls: &[Call]) -> Step {
    Step::new(who, words, Request::calls(calls))
}

/// A Transaction Manager request.
pub(crate) fn manager(who: Who, words: &str, body: &[u8]) -> Step {
    Step::new(who, words, Request::transaction(body))
}

/// The data of a bulk load.
pub(crate) fn bulk(who: Who, words: &str, body: Vec<u8>) -> Step {
    Step::new(who, words, Request::bulk(body))
}

/// An attention of a client that waits for nothing.
pub(crate) fn attention(who: Who) -> Step {
    Step::new(who, "attention", Request::attention())
}
