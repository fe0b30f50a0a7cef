//! Any bytes of an old client of TDS, and any payload of a server for one.
//!
//! However they are cut, they are translated in the same way; what leaves can be read as what it
//! is said to be.

use entrapool_protocol::tds::legacy::{Answers, Dialect, Translator};
use entrapool_protocol::tds::packet::{self, HEADER, Kind, LAST};
use entrapool_protocol::tds::token::{Layout, Token, Walker};

use super::input::{Input, pieces};

const SIZE: usize = 512;
/// A smaller one than in life, so that streams of this length reach it.
const LARGEST_VALUE: usize = 1000;
const DIALECTS: [Dialect; 4] = [
    Dialect::V71,
    Dialect::V71Revised,
    Dialect::V72,
    Dialect::V73A,
];

/// Compares the stream as a whole with the stream in pieces, in both directions.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let dialect = DIALECTS[usize::from(input.flags & 3)];
    let parts = pieces(input.stream, input.lengths());
    let whole = requests(dialect, &[input.stream]);
    assert_eq!(whole, requests(dialect, &parts));
    requests_are_full(&whole.1);
    if parts.is_empty() {
        return;
    }
    let whole = answers(dialect, &[input.stream]);
    let cut = answers(dialect, &parts);
    assert_eq!(whole, cut);
    if let Some(body) = whole {
        reads(dialect, &body);
    }
}

/// Whether it could be translated, and what left.
fn requests(dialect: Dialect, parts: &[&[u8]]) -> (bool, Vec<u8>) {
    let mut translator = Translator::new(dialect, SIZE);
    let mut out = Vec::new();
    let mut done = Ok(());
    for part in parts {
        done = translator.requests.translate(part, &mut out);
        if done.is_err() {
            break;
        }
    }
    (done.is_ok(), out)
}

/// All packets but the last of a message are full.
fn requests_are_full(mut packets: &[u8]) {
    while let Some(header) = packet::Header::read(packets).expect("packets") {
        let is_full = header.total() == SIZE || header.kind == Kind::Attention;
        assert!(header.is_last() || is_full);
        packets = packets.get(header.total()..).expect("whole packets");
    }
    assert!(packets.is_empty());
}

/// What the client gets of a message in these packets, if it could be translated.
fn answers(dialect: Dialect, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut answers: Answers = Translator::new(dialect, SIZE)
        .answers
        .with_limit(LARGEST_VALUE);
    let mut out = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let last = if at + 1 == parts.len() { LAST } else { 0 };
        let length = u16::try_from(part.len() + HEADER).expect("a short piece");
        let mut wire = packet::header(Kind::Answer, last, length, 1).to_vec();
        wire.extend_from_slice(part);
        answers.translate(&wire, &mut out).ok()?;
    }
    let message = packet::whole(&out, usize::MAX).expect("packets");
    Some(message.expect("an end").body)
}

fn reads(dialect: Dialect, body: &[u8]) {
    let mut walker = Walker::new(Layout {
        old: dialect.is_narrow(),
        ..Layout::default()
    });
    walker.begin_packet();
    let mut at = 0;
    // Also when nothing is left: an int is told of before its token is over.
    loop {
        let walked = walker.next(body, at);
        assert!(!matches!(walked.token, Some(Token::Unknown(_))));
        at = walked.at;
        if walked.token.is_none() {
            break;
        }
    }
    assert!(walker.end_message(), "it ends in the middle of a token");
}
