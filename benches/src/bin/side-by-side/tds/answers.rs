//! What the bench's server says to requests.

use anyhow::{Context as _, bail};
use entrapool_benches::tds::{
    LARGE_TEXT, call_ends, done, kind, one_row, one_row_of_a_call, prepared, procedure, utf16,
};

/// MORE of DONE: another call's answer follows.
const MORE: u16 = 1;
/// ERROR of DONE.
const FAILED: u16 = 2;
/// ATTN of DONE.
const HEARD: u16 = 0x20;
/// The handle does not exist.
const NO_STATEMENT: i32 = 8_179;

/// What is to be sent.
pub(super) enum Request {
    /// The large result.
    Large,
    /// These tokens.
    Small(Vec<u8>),
}

/// The prepared statements of a connection.
pub(super) struct Handles {
    first: i32,
    next: i32,
}

impl Handles {
    /// None yet; the first gets this handle.
    pub(super) fn from(first: i32) -> Self {
        Self { first, next: first }
    }

    fn has(&self, handle: i32) -> bool {
        (self.first..self.next).contains(&handle)
    }
}

/// The answer to a request: its payload, from ALL_HEADERS on.
pub(super) fn answer(kind: u8, body: &[u8], handles: &mut Handles) -> anyhow::Result<Request> {
    if kind == kind::ATTENTION {
        // It comes when the answer is on its way already, and is heard behind that.
        let mut tokens = Vec::new();
        done(&mut tokens, 0xfd, HEARD, 0);
        return Ok(Request::Small(tokens));
    }
    let headers = body
        .first_chunk()
        .map_or(0, |length| u32::from_le_bytes(*length));
    let body = body.get(headers as usize..).context("ALL_HEADERS")?;
    match kind {
        kind::BATCH => Ok(batch(body)),
        kind::RPC => {
            let tokens = calls(body, handles).context("a call that this server can't read")?;
            Ok(Request::Small(tokens))
        }
        kind => bail!("this server has no answer to packets of type {kind}"),
    }
}

/// A row for whoever asks for something, nothing for the rest.
fn batch(text: &[u8]) -> Request {
    if text.iter().copied().eq(utf16(LARGE_TEXT)) {
        return Request::Large;
    }
    let asked = utf16("SELECT").zip(text).all(|(a, b)| a == *b);
    if asked && text.len() > "SELECT".len() * 2 {
        return Request::Small(one_row());
    }
    let mut tokens = Vec::new();
    done(&mut tokens, 0xfd, 0, 0);
    Request::Small(tokens)
}

/// Calls one after the other (2.2.6.6).
fn calls(body: &[u8], handles: &mut Handles) -> Option<Vec<u8>> {
    let mut tokens = Vec::new();
    let mut rest = body;
    loop {
        let call;
        (call, rest) = Call::read(rest)?;
        let more = match rest {
            [] => 0,
            _ => MORE,
        };
        match call.procedure {
            procedure::PREPARE => {
                tokens.extend(prepared(handles.next));
                handles.next += 1;
            }
            procedure::EXECUTE | procedure::UNPREPARE if !handles.has(call.first?) => {
                no_statement(&mut tokens, more);
            }
            procedure::EXECUTE | procedure::EXECUTE_SQL => tokens.extend(one_row_of_a_call()),
            procedure::UNPREPARE => call_ends(&mut tokens, more),
            _ => return None,
        }
        if more == 0 {
            return Some(tokens);
        }
    }
}

/// A call, as far as it matters.
struct Call {
    procedure: u16,
    /// The first parameter, if it is an int.
    first: Option<i32>,
}

impl Call {
    /// Reads a call by number, and what separates it from the next.
    fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let (&[0xff, 0xff, low, high, _, _], mut rest) = body.split_first_chunk()? else {
            return None;
        };
        let mut values = Vec::new();
        loop {
            match rest {
                [] => break,
                [0xff, next @ ..] => {
                    rest = next;
                    break;
                }
                _ => {
                    let value;
                    (value, rest) = parameter(rest)?;
                    values.push(value);
                }
            }
        }
        let first = values.first().and_then(|value| value.first_chunk());
        let call = Self {
            procedure: u16::from_le_bytes([low, high]),
            first: first.map(|value| i32::from_le_bytes(*value)),
        };
        Some((call, rest))
    }
}

/// The value of a parameter without a name, and what follows.
fn parameter(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [0, _, 0x26, _, length, rest @ ..] => rest.split_at_checked(usize::from(*length)),
        [0, _, 0x38, rest @ ..] => rest.split_at_checked(4),
        [0, _, 0xe7, _, _, _, _, _, _, _, low, high, rest @ ..] => {
            rest.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))
        }
        _ => None,
    }
}

/// ERROR and the end of the call.
fn no_statement(tokens: &mut Vec<u8>, more: u16) {
    let text = "Could not find prepared statement.";
    let mut body = NO_STATEMENT.to_le_bytes().to_vec();
    body.extend_from_slice(&[1, 16]);
    let length = u16::try_from(text.len()).unwrap_or_default();
    body.extend_from_slice(&length.to_le_bytes());
    body.extend(utf16(text));
    // No server, no procedure, the first line.
    body.extend_from_slice(&[0, 0, 1, 0, 0, 0]);
    tokens.push(0xaa);
    let length = u16::try_from(body.len()).unwrap_or_default();
    tokens.extend_from_slice(&length.to_le_bytes());
    tokens.extend(body);
    done(tokens, 0xfe, FAILED | more, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrapool_benches::tds::{HEADER, handle, large_batch, preparation, prepared_call};
    use entrapool_benches::tds::{simple_batch, sql_call};

    fn small(kind: u8, request: &[u8], handles: &mut Handles) -> Vec<u8> {
        match answer(kind, &request[HEADER..], handles).unwrap() {
            Request::Small(tokens) => tokens,
            Request::Large => panic!("the large result"),
        }
    }

    #[test]
    fn requests_of_the_bench_are_answered() {
        let mut handles = Handles::from(1_000);
        let told = small(kind::BATCH, &simple_batch().request, &mut handles);
        assert_eq!(told, one_row());
        let told = small(kind::RPC, &sql_call().request, &mut handles);
        assert_eq!(told, one_row_of_a_call());
        let told = small(kind::RPC, &preparation(0).request, &mut handles);
        assert_eq!(handle(&told), Some(1_000));
        let told = small(kind::RPC, &prepared_call(1_000).request, &mut handles);
        assert_eq!(told, one_row_of_a_call());
        let large = &large_batch().request[HEADER..];
        let told = answer(kind::BATCH, large, &mut handles).unwrap();
        assert!(matches!(told, Request::Large));
    }

    #[test]
    fn an_unknown_handle_is_an_error() {
        let mut handles = Handles::from(1_000);
        let told = small(kind::RPC, &prepared_call(1_000).request, &mut handles);
        assert_eq!(told.first(), Some(&0xaa));
    }

    #[test]
    fn what_can_t_be_read_is_refused() {
        let mut handles = Handles::from(1);
        assert!(answer(7, &[0; 30], &mut handles).is_err());
        assert!(answer(kind::RPC, &[4, 0, 0, 0, 9, 9], &mut handles).is_err());
    }
}
