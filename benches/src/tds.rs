//! Requests and answers of TDS in bytes. An encoder of its own, as [`conversation`] has one: a
//! change of the product's must not change what it is measured with.
//!
//! [`conversation`]: crate::conversation

use crate::conversation::Exchange;

/// Bytes of a packet, its header counted: what servers take unless they are asked for another.
pub const PACKET: usize = 4096;
/// Bytes of a packet's header.
pub const HEADER: usize = 8;
/// The bytes of the result that [`large_batch`] asks for, without what packets add.
pub const LARGE: usize = LARGE_ROWS * (ROW_OF_LARGE + 3);

/// The text of [`large_batch`].
pub const LARGE_TEXT: &str = "SELECT body FROM documents";

/// Types of packets (MS-TDS 2.2.3.1.1).
pub mod kind {
    /// SQLBatch.
    pub const BATCH: u8 = 1;
    /// RPC.
    pub const RPC: u8 = 3;
    /// Whatever a server says.
    pub const ANSWER: u8 = 4;
    /// Attention.
    pub const ATTENTION: u8 = 6;
    /// LOGIN7.
    pub const LOGIN: u8 = 0x10;
    /// PRELOGIN, and TLS handshakes.
    pub const PRELOGIN: u8 = 0x12;
}

/// Procedures that have numbers (2.2.6.6).
pub mod procedure {
    /// `sp_executesql`.
    pub const EXECUTE_SQL: u16 = 10;
    /// `sp_prepare`.
    pub const PREPARE: u16 = 11;
    /// `sp_execute`.
    pub const EXECUTE: u16 = 12;
    /// `sp_unprepare`.
    pub const UNPREPARE: u16 = 15;
}

const LARGE_ROWS: usize = 1_310;
const ROW_OF_LARGE: usize = 8_000;
/// Of a select.
const COMMAND: u16 = 0xc1;
/// There is a count of rows.
const COUNT: u16 = 0x10;
/// More results follow.
const MORE: u16 = 0x01;
const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];
/// What a server would say of the columns' types, and we don't look up.
const FLAGS: [u8; 6] = [0, 0, 0, 0, 9, 0];

/// `select ...` as a batch, and one row.
#[must_use]
pub fn simple_batch() -> Exchange {
    let text = "SELECT abalance FROM pgbench_accounts WHERE aid = 68123";
    Exchange {
        request: batch(text),
        answer: packets(kind::ANSWER, &one_row()),
    }
}

/// The same by `sp_executesql`, with a parameter.
#[must_use]
pub fn sql_call() -> Exchange {
    let mut body = call(procedure::EXECUTE_SQL);
    text_parameter(&mut body, STATEMENT);
    text_parameter(&mut body, DECLARATION);
    int_parameter(&mut body, 68_123);
    Exchange {
        request: packets(kind::RPC, &body),
        answer: packets(kind::ANSWER, &one_row_of_a_call()),
    }
}

/// `sp_prepare` of the statement that [`prepared_call`] runs; the server calls it `handle`.
#[must_use]
pub fn preparation(handle: i32) -> Exchange {
    let mut body = call(procedure::PREPARE);
    // The handle: an int to come back.
    body.extend_from_slice(&[0, 1, 0x26, 4, 0]);
    text_parameter(&mut body, DECLARATION);
    text_parameter(&mut body, STATEMENT);
    int_parameter(&mut body, 1);
    Exchange {
        request: packets(kind::RPC, &body),
        answer: packets(kind::ANSWER, &prepared(handle)),
    }
}

/// `sp_execute` of `handle`.
#[must_use]
pub fn prepared_call(handle: i32) -> Exchange {
    let mut body = call(procedure::EXECUTE);
    int_parameter(&mut body, handle);
    int_parameter(&mut body, 68_123);
    Exchange {
        request: packets(kind::RPC, &body),
        answer: packets(kind::ANSWER, &one_row_of_a_call()),
    }
}

/// A batch with a hundred rows of 200 bytes.
#[must_use]
pub fn hundred_rows() -> Exchange {
    Exchange {
        request: batch("SELECT TOP (100) body FROM documents"),
        answer: packets(kind::ANSWER, &rows(100, 200)),
    }
}

/// A batch with a result of [`LARGE`] bytes.
#[must_use]
pub fn large_batch() -> Exchange {
    Exchange {
        request: batch(LARGE_TEXT),
        answer: packets(kind::ANSWER, &rows(LARGE_ROWS, ROW_OF_LARGE)),
    }
}

const STATEMENT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = @P1";
const DECLARATION: &str = "@P1 int";

/// A payload in packets, the last of which ends the message.
#[must_use]
pub fn packets(kind: u8, payload: &[u8]) -> Vec<u8> {
    let most = PACKET - HEADER;
    let count = payload.len().div_ceil(most).max(1);
    let mut out = Vec::with_capacity(payload.len() + count * HEADER);
    for number in 0..count {
        let rest = payload.get(number * most..).unwrap_or_default();
        let part = rest.get(..most).unwrap_or(rest);
        let length = u16::try_from(part.len() + HEADER).unwrap_or(u16::MAX);
        let [high, low] = length.to_be_bytes();
        let id = u8::try_from((number + 1) % 256).unwrap_or_default();
        out.extend_from_slice(&[kind, u8::from(number + 1 == count), high, low, 0, 0, id, 0]);
        out.extend_from_slice(part);
    }
    out
}

/// A batch, in packets.
#[must_use]
pub fn batch(text: &str) -> Vec<u8> {
    let mut body = all_headers();
    body.extend(utf16(text));
    packets(kind::BATCH, &body)
}

/// COLMETADATA, a row, DONE.
#[must_use]
pub fn one_row() -> Vec<u8> {
    let mut tokens = int_row();
    done(&mut tokens, 0xfd, COUNT, 1);
    tokens
}

/// The same out of a procedure.
#[must_use]
pub fn one_row_of_a_call() -> Vec<u8> {
    let mut tokens = int_row();
    done(&mut tokens, 0xff, COUNT | MORE, 1);
    call_ends(&mut tokens, 0);
    tokens
}

/// The answer to `sp_prepare`.
#[must_use]
pub fn prepared(handle: i32) -> Vec<u8> {
    let mut tokens = Vec::new();
    tokens.extend_from_slice(&[0x79, 0, 0, 0, 0]);
    // RETURNVALUE (2.2.7.19).
    tokens.extend_from_slice(&[0xac, 0, 0, 0, 1]);
    tokens.extend_from_slice(&[0; 6]);
    tokens.extend_from_slice(&[0x26, 4, 4]);
    tokens.extend_from_slice(&handle.to_le_bytes());
    done(&mut tokens, 0xfe, 0, 0);
    tokens
}

/// The handle in the answer to `sp_prepare`.
#[must_use]
pub fn handle(tokens: &[u8]) -> Option<i32> {
    let (head, handle) = tokens.get(5..)?.split_at_checked(14)?;
    (head.first() == Some(&0xac)).then_some(())?;
    Some(i32::from_le_bytes(*handle.first_chunk()?))
}

/// RETURNSTATUS and DONEPROC; `more` is MORE if another call's answer follows.
pub fn call_ends(tokens: &mut Vec<u8>, more: u16) {
    tokens.extend_from_slice(&[0x79, 0, 0, 0, 0]);
    done(tokens, 0xfe, more, 0);
}

/// DONE, DONEPROC or DONEINPROC (2.2.7.6).
pub fn done(tokens: &mut Vec<u8>, token: u8, status: u16, rows: u64) {
    tokens.push(token);
    tokens.extend_from_slice(&status.to_le_bytes());
    let command = if rows > 0 { COMMAND } else { 0 };
    tokens.extend_from_slice(&command.to_le_bytes());
    tokens.extend_from_slice(&rows.to_le_bytes());
}

/// UTF-16 as TDS wants it.
pub fn utf16(text: &str) -> impl Iterator<Item = u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes)
}

/// Rows of one column of text, each with so many bytes.
fn rows(count: usize, bytes: usize) -> Vec<u8> {
    let mut tokens = vec![0x81, 1, 0];
    tokens.extend_from_slice(&FLAGS);
    tokens.push(0xe7);
    tokens.extend_from_slice(&8_000_u16.to_le_bytes());
    tokens.extend_from_slice(&COLLATION);
    named(&mut tokens, "body");
    let mut row = vec![0xd1];
    row.extend_from_slice(&u16::try_from(bytes).unwrap_or_default().to_le_bytes());
    row.extend([b'x', 0].iter().cycle().take(bytes));
    tokens.extend(row.repeat(count));
    done(&mut tokens, 0xfd, COUNT, count as u64);
    tokens
}

fn int_row() -> Vec<u8> {
    let mut tokens = vec![0x81, 1, 0];
    tokens.extend_from_slice(&FLAGS);
    tokens.extend_from_slice(&[0x26, 4]);
    named(&mut tokens, "abalance");
    tokens.extend_from_slice(&[0xd1, 4]);
    tokens.extend_from_slice(&(-1_234_i32).to_le_bytes());
    tokens
}

fn named(tokens: &mut Vec<u8>, name: &str) {
    tokens.push(u8::try_from(name.len()).unwrap_or_default());
    tokens.extend(utf16(name));
}

fn call(procedure: u16) -> Vec<u8> {
    let mut body = all_headers();
    body.extend_from_slice(&[0xff, 0xff]);
    body.extend_from_slice(&procedure.to_le_bytes());
    body.extend_from_slice(&[0, 0]);
    body
}

fn text_parameter(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&[0, 0, 0xe7]);
    body.extend_from_slice(&8_000_u16.to_le_bytes());
    body.extend_from_slice(&COLLATION);
    let length = u16::try_from(text.len() * 2).unwrap_or_default();
    body.extend_from_slice(&length.to_le_bytes());
    body.extend(utf16(text));
}

fn int_parameter(body: &mut Vec<u8>, value: i32) {
    body.extend_from_slice(&[0, 0, 0x26, 4, 4]);
    body.extend_from_slice(&value.to_le_bytes());
}

/// Without a transaction (2.2.5.3).
fn all_headers() -> Vec<u8> {
    let mut headers = Vec::new();
    headers.extend_from_slice(&22_u32.to_le_bytes());
    headers.extend_from_slice(&18_u32.to_le_bytes());
    headers.extend_from_slice(&2_u16.to_le_bytes());
    headers.extend_from_slice(&0_u64.to_le_bytes());
    headers.extend_from_slice(&1_u32.to_le_bytes());
    headers
}
