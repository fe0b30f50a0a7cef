//! Any bytes from a server, in any pieces, after any requests of a client.
//!
//! However they are cut, the client gets the same bytes, the same things happen, and no more
//! than a small message is ever waited for.

use std::sync::Arc;

use entrapool_protocol::postgres::Violation;
use entrapool_protocol::postgres::frame::Header;
use entrapool_protocol::postgres::statements::Statements;
use entrapool_protocol::postgres::tracker::{Boundary, Event, Tracker};

use super::input::{Input, pieces};

/// Most bytes that may be waited for: the largest message that is looked into.
const MOST_WAITED: usize = 8 * 1024;

/// The stream is two bytes of a length, that much of the client, and the rest of the server.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let Some((&length, rest)) = input.stream.split_first_chunk::<2>() else {
        return;
    };
    let length = usize::from(u16::from_be_bytes(length)).min(rest.len());
    let (client, server) = rest.split_at(length);
    let whole = receive(&input, client, &[server]);
    let mut parts = pieces(server, input.lengths());
    // Answers of ours need no byte of the server.
    parts.push(&[]);
    let cut = receive(&input, client, &parts);
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
        (Err((whole, early)), Err((cut, late))) => {
            assert_eq!(whole, cut);
            assert!(late.starts_with(&early));
        }
        (whole, cut) => panic!("whole: {whole:?}\ncut: {cut:?}"),
    }
}

/// What came of a stream.
#[derive(Debug, PartialEq)]
struct Received {
    to_client: Vec<u8>,
    /// Everything that happened, but for the joints between pieces.
    events: Vec<String>,
    left: usize,
    boundary: Boundary,
    dying: bool,
    held: usize,
    named: usize,
}

fn receive(
    input: &Input<'_>,
    client: &[u8],
    parts: &[&[u8]],
) -> Result<Received, (Violation, Vec<u8>)> {
    let mut tracker = Tracker::new(Arc::default());
    let mut names = input.flag(0).then(|| Statements::new(1));
    if input.flag(1) {
        tracker.inject_query();
    }
    let mut sent = Vec::new();
    if tracker.front(client, names.as_mut(), &mut sent).is_err() {
        // Which requests of a refused batch are booked is nobody's business any more.
        return Err((Violation::Tag { tag: ' ' }, Vec::new()));
    }
    let mut received = Received {
        to_client: Vec::new(),
        events: Vec::new(),
        left: 0,
        boundary: Boundary::Idle,
        dying: false,
        held: 0,
        named: 0,
    };
    let mut pending = Vec::new();
    for part in parts {
        pending.extend_from_slice(part);
        let taken = match take(&mut tracker, names.as_mut(), &pending, &mut received) {
            Ok(taken) => taken,
            Err(violation) => return Err((violation, received.to_client)),
        };
        pending.drain(..taken);
        assert!(pending.len() <= MOST_WAITED, "{} waited for", pending.len());
    }
    received.left = pending.len();
    received.boundary = tracker.boundary();
    // An error too large to be waited for is judged by what has come of it.
    received.dying = tracker.is_dying() && ends_whole(&parts.concat());
    received.held = tracker.prepared();
    received.named = names.map_or(0, |names| names.len());
    Ok(received)
}

/// Whether a stream of messages does not end inside one.
fn ends_whole(mut stream: &[u8]) -> bool {
    while let Ok(Some(header)) = Header::read(stream) {
        match stream.get(header.total()..) {
            Some(rest) => stream = rest,
            None => return false,
        }
    }
    stream.is_empty()
}

fn take(
    tracker: &mut Tracker,
    mut names: Option<&mut Statements>,
    pending: &[u8],
    received: &mut Received,
) -> Result<usize, Violation> {
    let mut at = 0;
    loop {
        let rest = &pending[at..];
        let step = tracker.back(rest, names.as_deref_mut())?;
        if step.to_client {
            received.to_client.extend_from_slice(&rest[..step.take]);
        }
        at += step.take;
        match step.event {
            Event::NeedMore => return Ok(at),
            Event::Next => {}
            Event::Insert(bytes) => received.to_client.extend_from_slice(&bytes),
            event => received.events.push(format!("{event:?}")),
        }
    }
}
