//! Scripts: what several clients send, in one order.

use std::fmt;

use crate::sidecar::raw;

/// A client of a script.
pub(crate) type Who = usize;

/// What one client sends in one write, and how many ReadyForQuery that brings.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) who: Who,
    pub(crate) bytes: Vec<u8>,
    pub(crate) readies: usize,
    words: String,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.words)
    }
}

/// A Query.
pub(crate) fn query(who: Who, sql: &str) -> Step {
    Step {
        who,
        bytes: raw::query(sql),
        readies: 1,
        words: sql.to_owned(),
    }
}

/// Messages of any kind; each Sync, Query and FunctionCall among them brings a ReadyForQuery.
pub(crate) fn messages(who: Who, words: &str, messages: &[Vec<u8>]) -> Step {
    let readies = messages
        .iter()
        .filter(|message| matches!(message[0], b'S' | b'Q' | b'F'))
        .count();
    Step {
        who,
        bytes: messages.concat(),
        readies,
        words: words.to_owned(),
    }
}

/// A COPY in, with its data in the same write.
pub(crate) fn copy_in(who: Who, sql: &str, data: &str) -> Step {
    let bytes = [
        raw::query(sql),
        raw::message(b'd', data.as_bytes()),
        raw::message(b'c', b""),
    ];
    Step {
        who,
        bytes: bytes.concat(),
        readies: 1,
        words: format!("{sql} <- {data:?}"),
    }
}
