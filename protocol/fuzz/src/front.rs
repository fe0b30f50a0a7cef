//! Any bytes from a client, in any pieces.
//!
//! However they are cut, the server gets the same bytes. And whether the client speaks to a
//! server directly, or through trackers that take turns with it at every boundary, it gets the
//! same answers.

use std::sync::Arc;

use entrapool_protocol::postgres::Violation;
use entrapool_protocol::postgres::frame::Header;
use entrapool_protocol::postgres::statements::{Dictionary, MOST_PER_BACKEND, Statements, Watch};
use entrapool_protocol::postgres::tracker::{Boundary, Event, Tracker};

use super::input::{Input, pieces};
use super::server::{Server, summary};

/// Runs both comparisons.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    cuts_do_not_matter(&input);
    // The model server does not read SQL.
    let text = input.stream.to_ascii_lowercase();
    if !text.windows(10).any(|word| word == b"deallocate") {
        nobody_is_in_between(&input);
    }
}

fn dictionary(input: &Input<'_>) -> Arc<Dictionary> {
    let watch = if input.flag(3) {
        Watch::Texts
    } else {
        Watch::Tags
    };
    Arc::new(Dictionary::new(watch))
}

fn names_of(input: &Input<'_>) -> Option<Statements> {
    input.flag(0).then(|| Statements::new(1))
}

/// What came of a stream that nobody answers.
#[derive(Debug, PartialEq)]
struct Sent {
    to_server: Vec<u8>,
    left: usize,
    stalled: bool,
    terminated: bool,
    boundary: Boundary,
}

fn send(input: &Input<'_>, parts: &[&[u8]]) -> Result<Sent, (Violation, Vec<u8>)> {
    let mut tracker = Tracker::new(dictionary(input));
    let mut names = names_of(input);
    let mut pending = Vec::new();
    let mut to_server = Vec::new();
    let (mut stalled, mut terminated) = (false, false);
    for part in parts {
        if terminated {
            break;
        }
        pending.extend_from_slice(part);
        match tracker.front(&pending, names.as_mut(), &mut to_server) {
            Ok(taken) => {
                pending.drain(..taken.bytes);
                (stalled, terminated) = (taken.stalled, taken.terminate);
            }
            Err(violation) => return Err((violation, to_server)),
        }
    }
    Ok(Sent {
        to_server,
        // Behind a Terminate nothing counts.
        left: if terminated { 0 } else { pending.len() },
        stalled,
        terminated,
        boundary: tracker.boundary(),
    })
}

fn cuts_do_not_matter(input: &Input<'_>) {
    let whole = send(input, &[input.stream]);
    let cut = send(input, &pieces(input.stream, input.lengths()));
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
        (Err((whole, early)), Err((cut, late))) => {
            assert_eq!(whole, cut);
            assert!(late.starts_with(&early));
        }
        (whole, cut) => panic!("whole: {whole:?}\ncut: {cut:?}"),
    }
}

/// A backend and its books.
struct Backend {
    tracker: Tracker,
    server: Server,
    /// What the server has said and the tracker has not taken yet.
    answers: Vec<u8>,
}

struct Pooled {
    backends: Vec<Backend>,
    current: usize,
    names: Option<Statements>,
    pending: Vec<u8>,
    to_client: Vec<u8>,
    /// What is pending waits for answers.
    stalled: bool,
    /// The session ended: by a violation, or a Terminate.
    violated: bool,
    terminated: bool,
}

fn nobody_is_in_between(input: &Input<'_>) {
    let mut direct = Server::default();
    let mut answers = Vec::new();
    direct.receive(input.stream, &mut answers);
    let direct_says = summary(&answers);
    let pooled = converse(input);
    let pooled_says = summary(&pooled.to_client);
    if pooled.violated {
        let at_most = &direct_says[..pooled_says.len().min(direct_says.len())];
        assert_eq!(pooled_says, at_most, "before a violation");
    } else {
        assert_eq!(pooled_says, direct_says);
        // What ends a conversation is passed on, or still waited for.
        let ended = pooled.terminated || !pooled.pending.is_empty();
        assert!(ended || !direct.ended, "the end went unseen");
        let backend = &pooled.backends[pooled.current];
        if !direct.is_mid_message() && !direct.ended {
            assert!(!backend.tracker.owes(), "owed, and all is answered");
        }
    }
}

fn converse(input: &Input<'_>) -> Pooled {
    let dictionary = dictionary(input);
    let backend = || Backend {
        tracker: Tracker::new(Arc::clone(&dictionary)),
        server: Server::default(),
        answers: Vec::new(),
    };
    let changes = input.flag(0) && input.flag(1);
    let mut pooled = Pooled {
        backends: (0..if changes { 3 } else { 1 })
            .map(|_| backend())
            .collect(),
        current: 0,
        names: names_of(input),
        pending: Vec::new(),
        to_client: Vec::new(),
        stalled: false,
        violated: false,
        terminated: false,
    };
    let mut lengths = input.lengths();
    let parts = if input.flag(2) {
        batches(input.stream)
    } else {
        pieces(input.stream, input.lengths())
    };
    for part in parts {
        pooled.ask(part);
        if pooled.violated || pooled.terminated {
            break;
        }
        // To who does not wait for them, answers come late, and in parts of their own.
        let some = lengths.next().unwrap_or(1);
        pooled.answer(if input.flag(2) { usize::MAX } else { some });
        pooled.change();
    }
    loop {
        pooled.answer(usize::MAX);
        let left = pooled.pending.len();
        if !pooled.stalled || pooled.violated || pooled.terminated {
            return pooled;
        }
        pooled.ask(&[]);
        let moved = pooled.violated || pooled.pending.len() < left;
        assert!(moved, "stalled, and all is answered");
    }
}

/// The stream in parts that end where a client waits for answers.
fn batches(stream: &[u8]) -> Vec<&[u8]> {
    let mut batches = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Ok(Some(header)) = Header::read(&stream[at..]) {
        at += header.total();
        if at > stream.len() {
            break;
        }
        if matches!(header.tag, b'S' | b'Q' | b'F') {
            batches.push(&stream[begin..at]);
            begin = at;
        }
    }
    batches.push(&stream[begin..]);
    batches
}

impl Pooled {
    fn ask(&mut self, part: &[u8]) {
        let backend = &mut self.backends[self.current];
        self.pending.extend_from_slice(part);
        let mut to_server = Vec::new();
        let names = self.names.as_mut();
        match backend.tracker.front(&self.pending, names, &mut to_server) {
            Ok(taken) => {
                self.pending.drain(..taken.bytes);
                self.terminated = taken.terminate;
                self.stalled = taken.stalled;
            }
            Err(_) => self.violated = true,
        }
        backend.server.receive(&to_server, &mut backend.answers);
        assert!(backend.tracker.prepared() <= MOST_PER_BACKEND);
        // With the tracker's names, what is malformed does not get as far as the server.
        self.violated |= backend.server.ended;
    }

    /// The tracker gets at most `some` more bytes of the answers.
    fn answer(&mut self, some: usize) {
        let backend = &mut self.backends[self.current];
        let mut at = 0;
        let end = some.min(backend.answers.len());
        loop {
            let input = &backend.answers[at..end];
            let step = backend
                .tracker
                .back(input, self.names.as_mut())
                .expect("a server that keeps the protocol");
            if step.to_client {
                self.to_client.extend_from_slice(&input[..step.take]);
            }
            at += step.take;
            match step.event {
                Event::NeedMore => break,
                Event::Insert(bytes) => self.to_client.extend_from_slice(&bytes),
                Event::Next | Event::Ready(_) | Event::Parameter { .. } => {}
                Event::OwnQueryFailed(error) | Event::ReportFailed(error) => {
                    panic!("we asked nothing: {error}")
                }
                Event::Row(_) | Event::Reported | Event::Marked => panic!("we asked nothing"),
            }
        }
        backend.answers.drain(..at);
    }

    /// Another backend's turn, if this one could go.
    fn change(&mut self) {
        let backend = &mut self.backends[self.current];
        let quiet = self.pending.is_empty() && backend.answers.is_empty();
        if quiet && backend.tracker.boundary() == Boundary::Idle {
            backend.tracker.shrink();
            self.current = (self.current + 1) % self.backends.len();
        }
    }
}
