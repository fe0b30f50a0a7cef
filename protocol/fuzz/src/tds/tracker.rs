//! Any bytes from a client, then any bytes from a server, in any pieces.
//!
//! However they are cut, each side gets the same bytes, the same things happen, and no more is
//! waited for than is said.

use std::sync::Arc;

use entrapool_protocol::tds::packet::{HEADER, Header, Kind, LARGEST, header};
use entrapool_protocol::tds::statements::{Dictionary, Statements, Watch};
use entrapool_protocol::tds::token::Layout;
use entrapool_protocol::tds::tracker::{BUFFER, Event, SessionState, Setup, Tracker};

use super::super::input::{Input, pieces};

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
    packets_do_not_matter(&input, client, server);
    let whole = run(&input, &[client], &[server]);
    let mut parts = pieces(server, input.lengths());
    // Answers of ours need no byte of the server.
    parts.push(&[]);
    let cut = run(&input, &pieces(client, input.lengths()), &parts);
    match (&whole.violation, &cut.violation) {
        (None, None) => assert_eq!(whole, cut),
        (Some(one), Some(other)) => {
            assert_eq!(one, other);
            assert!(cut.to_server.starts_with(&whole.to_server));
            assert!(cut.to_client.starts_with(&whole.to_client));
        }
        _ => panic!("whole: {whole:?}\ncut: {cut:?}"),
    }
}

/// The server's bytes as the payload of one message: in one packet, or in many.
fn packets_do_not_matter(input: &Input<'_>, client: &[u8], server: &[u8]) {
    if server.is_empty() {
        return;
    }
    let one = run(input, &[client], &[&framed(&[server])]);
    let many = run(
        input,
        &[client],
        &[&framed(&pieces(server, input.lengths()))],
    );
    // What can't be read is looked at from the end of its last packet.
    let is_read = |course: &Course| course.violation.is_none() && !course.end.contains("opaque");
    if is_read(&one) || is_read(&many) {
        assert_eq!(payloads(&one.to_client), payloads(&many.to_client));
        assert_eq!(one.events, many.events);
        assert_eq!(one.end, many.end);
    }
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let status = u8::from(index + 1 == parts.len());
        let length = u16::try_from(HEADER + part.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&header(Kind::Answer, status, length, 0));
        bytes.extend_from_slice(part);
    }
    bytes
}

/// What packets carry, and where messages end.
fn payloads(mut bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut all, mut messages) = (Vec::new(), 0);
    while let Ok(Some(header)) = Header::read(bytes) {
        all.extend_from_slice(header.payload(bytes).expect("whole packets"));
        messages += usize::from(header.is_last());
        bytes = &bytes[header.total()..];
    }
    assert!(bytes.is_empty());
    (all, messages)
}

/// What came of it.
#[derive(Debug, PartialEq, Default)]
struct Course {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    events: Vec<String>,
    left: (usize, usize),
    end: String,
    violation: Option<String>,
}

fn run(input: &Input<'_>, client: &[&[u8]], server: &[&[u8]]) -> Course {
    let watch = match (input.flag(1), input.flag(2)) {
        (false, _) => Watch::Nothing,
        (true, false) => Watch::Texts,
        (true, true) => Watch::Strictly,
    };
    let mut tracker = Tracker::new(
        Arc::new(Dictionary::new(watch)),
        Setup {
            layout: Layout::default(),
            packet_size: 512,
            state: SessionState::new(Some(&[])),
        },
    );
    let mut names = input.flag(0).then(Statements::new);
    if input.flag(3) {
        tracker.reset_next();
    }
    let mut course = Course::default();
    let mut pending = Vec::new();
    for part in client {
        pending.extend_from_slice(part);
        match tracker.front(&pending, names.as_mut(), &mut course.to_server) {
            Ok(taken) => {
                pending.drain(..taken.bytes);
                assert!(taken.stalled || pending.len() <= BUFFER);
            }
            Err(violation) => {
                course.violation = Some(violation.to_string());
                return course;
            }
        }
    }
    course.left.0 = pending.len();
    pending.clear();
    for part in server {
        pending.extend_from_slice(part);
        if let Err(violation) = answer(&mut tracker, names.as_mut(), &mut pending, &mut course) {
            course.violation = Some(violation);
            return course;
        }
        assert!(pending.len() < LARGEST);
    }
    course.left.1 = pending.len();
    course.end = format!(
        "{:?} {} {} {} {:?} {:?}",
        tracker.boundary(),
        tracker.is_dying(),
        if tracker.is_opaque() { "opaque" } else { "" },
        tracker.prepared(),
        tracker.take_effects(),
        tracker.take_facts(),
    );
    course
}

fn answer(
    tracker: &mut Tracker,
    mut names: Option<&mut Statements>,
    pending: &mut Vec<u8>,
    course: &mut Course,
) -> Result<(), String> {
    loop {
        let step = tracker
            .back(pending, names.as_deref_mut())
            .map_err(|violation| violation.to_string())?;
        assert!(step.give <= step.take);
        course.to_client.extend_from_slice(&pending[..step.give]);
        pending.drain(..step.take);
        match step.event {
            Event::NeedMore => return Ok(()),
            Event::Next => {}
            Event::Insert(bytes) => course.to_client.extend_from_slice(&bytes),
            event => course.events.push(format!("{event:?}")),
        }
    }
}
