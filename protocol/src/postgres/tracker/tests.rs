use super::*;
use crate::postgres::message::{framed, parse, query, ready_for_query};
use proptest::prelude::*;

#[path = "tests/alone.rs"]
mod alone;
#[path = "tests/statements.rs"]
mod statements;

/// One client and one backend, with the bytes that would have reached either.
struct Pair {
    tracker: Tracker,
    names: Statements,
    /// What the tracker has not taken yet.
    from_client: Vec<u8>,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    events: Vec<String>,
}

impl Pair {
    fn new() -> Self {
        Self::with(Arc::default(), 1)
    }

    fn with(dictionary: Arc<Dictionary>, owner: u64) -> Self {
        Self {
            tracker: Tracker::new(dictionary),
            names: Statements::new(owner),
            from_client: Vec::new(),
            to_server: Vec::new(),
            to_client: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The client sends; returns what the server gets, as tags.
    fn client(&mut self, input: &[u8]) -> String {
        self.to_server.clear();
        let stalled = self.client_bytes(input);
        assert_eq!(stalled, !self.from_client.is_empty());
        tags(&self.to_server)
    }

    /// Whether what the client sends has to wait for answers; if so, it is as if not sent.
    fn stalls(&mut self, input: &[u8]) -> bool {
        let stalled = self.client_bytes(input);
        self.from_client.clear();
        stalled
    }

    fn client_bytes(&mut self, input: &[u8]) -> bool {
        self.from_client.extend_from_slice(input);
        let taken = self
            .tracker
            .front(
                &self.from_client,
                Some(&mut self.names),
                &mut self.to_server,
            )
            .unwrap();
        self.from_client.drain(..taken.bytes);
        taken.stalled
    }

    /// The server sends; returns what the client gets, as tags.
    fn server(&mut self, input: &[u8]) -> String {
        self.to_client.clear();
        let left = self.server_bytes(input);
        assert_eq!(left, 0);
        tags(&self.to_client)
    }

    fn server_bytes(&mut self, mut input: &[u8]) -> usize {
        loop {
            let step = self.tracker.back(input, Some(&mut self.names)).unwrap();
            let (taken, rest) = input.split_at(step.take);
            if step.to_client {
                self.to_client.extend_from_slice(taken);
            }
            input = rest;
            match step.event {
                Event::NeedMore => return input.len(),
                Event::Next => {}
                Event::Insert(bytes) => self.to_client.extend_from_slice(&bytes),
                other => self.events.push(format!("{other:?}")),
            }
            if !self.from_client.is_empty() {
                self.client_bytes(&[]);
            }
        }
    }
}

/// The messages in `bytes`, which holds whole ones.
fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    use crate::postgres::frame::Header;
    let mut messages = Vec::new();
    while let Some(header) = Header::read(bytes).unwrap() {
        let (message, rest) = bytes.split_at(header.total());
        messages.push(message);
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a part of a message: {bytes:?}");
    messages
}

fn tags(bytes: &[u8]) -> String {
    split(bytes)
        .iter()
        .map(|message| char::from(message[0]))
        .collect()
}

fn simple(sql: &str) -> Vec<u8> {
    build(|out| query(out, sql.as_bytes()))
}

fn build(make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    make(&mut out);
    out
}

fn empty(tag: u8) -> Vec<u8> {
    build(|out| framed(out, tag, |_| {}))
}

fn tagged(tag: &str) -> Vec<u8> {
    build(|out| framed(out, b'C', |out| message::cstr(out, tag.as_bytes())))
}

fn ready(status: Status) -> Vec<u8> {
    build(|out| ready_for_query(out, status))
}

fn error(code: &str) -> Vec<u8> {
    build(|out| message::Report::error(code, "no").encode(out))
}

fn prepare(name: &str, sql: &str) -> Vec<u8> {
    build(|out| parse(out, name.as_bytes(), format!("{sql}\0\0\0").as_bytes()))
}

fn bind(name: &str) -> Vec<u8> {
    build(|out| {
        framed(out, b'B', |out| {
            message::cstr(out, b"");
            message::cstr(out, name.as_bytes());
            out.extend([0; 6]);
        });
    })
}

fn about(tag: u8, what: u8, name: &str) -> Vec<u8> {
    build(|out| {
        framed(out, tag, |out| {
            out.push(what);
            message::cstr(out, name.as_bytes());
        });
    })
}

fn execute() -> Vec<u8> {
    build(|out| framed(out, b'E', |out| out.extend([0; 5])))
}

fn copy_in_response() -> Vec<u8> {
    build(|out| framed(out, b'G', |out| out.extend([0; 3])))
}

#[test]
fn a_query_ends_at_ready() {
    let mut pair = Pair::new();
    assert_eq!(pair.client(&simple("select 1; select 2")), "Q");
    assert_eq!(pair.tracker.boundary(), Boundary::Busy);
    let answer = [
        empty(b'T'),
        empty(b'D'),
        tagged("SELECT 1"),
        empty(b'T'),
        tagged("SELECT 0"),
    ];
    assert_eq!(pair.server(&answer.concat()), "TDCTC");
    assert_eq!(pair.tracker.boundary(), Boundary::Busy);
    pair.server(&ready(Status::Idle));
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
    pair.client(&simple("begin"));
    pair.server(&[tagged("BEGIN"), ready(Status::Transaction)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::InTransaction);
    pair.client(&simple("x"));
    pair.server(&[error("42601"), ready(Status::Failed)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Failed);
}

#[test]
fn a_batch_is_open_until_sync() {
    let mut pair = Pair::new();
    pair.client(&[prepare("", "select 1"), empty(b'H')].concat());
    pair.server(&empty(b'1'));
    assert_eq!(pair.tracker.boundary(), Boundary::Busy);
    pair.client(&empty(b'S'));
    pair.server(&ready(Status::Idle));
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
}

#[test]
fn pipelined_queries_owe_a_ready_each() {
    let mut pair = Pair::new();
    pair.client(&[simple("a"), bind("x"), execute(), empty(b'S'), simple("b")].concat());
    pair.server(&[tagged("SELECT 1"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Busy);
    pair.server(&[empty(b'2'), tagged("SELECT 1"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Busy);
    pair.server(&[tagged("SELECT 1"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
}

#[test]
fn an_error_skips_to_sync_wherever_it_is() {
    let mut pair = Pair::new();
    // The Sync is here already: the Query in between is skipped, the one behind is not.
    pair.client(&[bind("x"), simple("skipped"), empty(b'S'), simple("run")].concat());
    pair.server(&[error("26000"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Busy);
    pair.server(&[tagged("SELECT 1"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
    // The Sync comes later: what comes before it need not travel.
    pair.client(&[bind("x"), empty(b'H')].concat());
    pair.server(&error("26000"));
    assert_eq!(pair.tracker.boundary(), Boundary::Busy);
    assert_eq!(
        pair.client(&[execute(), simple("skipped"), empty(b'd')].concat()),
        ""
    );
    assert_eq!(pair.client(&[empty(b'S'), simple("run")].concat()), "SQ");
    pair.server(&[ready(Status::Idle), tagged("SELECT 1"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
}

#[test]
fn copy_in_ignores_sync() {
    let mut pair = Pair::new();
    pair.client(&[bind("x"), execute(), empty(b'S')].concat());
    pair.server(&[empty(b'2'), copy_in_response()].concat());
    assert_eq!(
        pair.client(&[empty(b'd'), empty(b'S'), empty(b'c'), empty(b'S')].concat()),
        "dScS"
    );
    pair.server(&[tagged("COPY 1"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
    assert_eq!(
        pair.client(&[empty(b'd'), empty(b'c')].concat()),
        "",
        "late data goes nowhere"
    );
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
}

#[test]
fn copy_data_sent_ahead() {
    let mut pair = Pair::new();
    pair.client(
        &[
            simple("copy t from stdin"),
            empty(b'd'),
            empty(b'c'),
            simple("next"),
        ]
        .concat(),
    );
    pair.server(&[copy_in_response(), tagged("COPY 1"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Busy);
    pair.server(&[tagged("SELECT 1"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
}

#[test]
fn a_copy_that_fails_midway() {
    let mut pair = Pair::new();
    pair.client(&simple("copy t from stdin"));
    pair.server(&copy_in_response());
    assert_eq!(pair.client(&empty(b'd')), "d");
    pair.server(&[error("22P04"), ready(Status::Idle)].concat());
    assert_eq!(pair.client(&[empty(b'd'), empty(b'c')].concat()), "");
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
}

#[test]
fn a_long_error_is_judged_by_its_beginning_however_it_is_cut() {
    let mut long = message::Report::fatal("57P01", "x".repeat(20_000));
    long.detail = Some("y".repeat(20_000));
    let bytes = build(|out| long.encode(out));
    for size in [1, 7, 8_191, 8_192, 40_000] {
        let mut pair = Pair::new();
        let mut buffer = Vec::new();
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            let left = pair.server_bytes(&buffer);
            buffer.drain(..buffer.len() - left);
        }
        assert_eq!(pair.to_client, bytes);
        assert!(pair.tracker.is_dying(), "in pieces of {size}");
    }
}

#[test]
fn a_query_of_ours_is_not_the_clients() {
    let mut pair = Pair::new();
    pair.tracker.inject_query();
    pair.client(&simple("select 1"));
    let parameter = build(|out| message::parameter_status(out, b"TimeZone", b"UTC"));
    let ours = [
        empty(b'T'),
        empty(b'D'),
        parameter,
        tagged("SELECT 1"),
        ready(Status::Idle),
    ];
    assert_eq!(pair.server(&ours.concat()), "");
    assert_eq!(
        pair.events,
        [
            "Parameter { name: [84, 105, 109, 101, 90, 111, 110, 101], value: [85, 84, 67] }",
            "Ready(Busy)"
        ]
    );
    assert_eq!(
        pair.server(&[tagged("SELECT 1"), ready(Status::Idle)].concat()),
        "CZ"
    );
}

#[test]
fn a_dying_server_is_noticed() {
    let mut pair = Pair::new();
    let fatal = build(|out| message::Report::fatal("57P01", "shutdown").encode(out));
    assert_eq!(pair.server(&fatal), "E");
    assert!(pair.tracker.is_dying());
}

#[test]
fn replies_out_of_turn_are_violations() {
    for bytes in [
        empty(b'1'),
        empty(b'2'),
        empty(b'3'),
        tagged("SELECT 1"),
        ready(Status::Idle),
    ] {
        let mut tracker = Tracker::new(Arc::default());
        assert!(tracker.back(&bytes, None).is_err(), "{bytes:?}");
    }
    for bytes in [empty(b'p'), empty(b'R'), vec![b'Q', 0, 0, 0, 1]] {
        let mut tracker = Tracker::new(Arc::default());
        assert!(
            tracker.front(&bytes, None, &mut Vec::new()).is_err(),
            "{bytes:?}"
        );
    }
}

#[test]
fn absurd_lengths_take_no_memory() {
    let huge = [b'P', 0x3f, 0xff, 0xff, 0xff, b's'];
    let mut pair = Pair::new();
    let result = pair
        .tracker
        .front(&huge, Some(&mut pair.names), &mut pair.to_server);
    assert!(matches!(
        result,
        Err(crate::postgres::Violation::TooLarge { .. })
    ));
    let rows = [b'D', 0x3f, 0xff, 0xff, 0xff, 0, 0];
    let step = pair.tracker.back(&rows, None).unwrap();
    assert_eq!((step.take, step.to_client), (rows.len(), true));
}

#[test]
fn a_backend_left_behind_is_wound_up() {
    let mut pair = Pair::new();
    pair.client(&[bind("x"), execute()].concat());
    pair.server(&[empty(b'2'), copy_in_response()].concat());
    let mut out = Vec::new();
    pair.tracker.wind_up(&mut out);
    assert_eq!(tags(&out), "fDS");
    pair.server(&[error("57014"), ready(Status::Failed)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Failed);
}

#[test]
fn a_batch_left_behind_is_not_committed() {
    let mut pair = Pair::new();
    pair.client(&[prepare("", "insert"), bind(""), execute()].concat());
    pair.server(&[empty(b'1'), empty(b'2'), tagged("INSERT 0 1")].concat());
    let mut out = Vec::new();
    pair.tracker.wind_up(&mut out);
    assert_eq!(tags(&out), "DS");
    pair.server(&[error("26000"), ready(Status::Idle)].concat());
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
}

#[test]
fn a_reply_of_ours_waits_for_no_server() {
    let mut pair = Pair::new();
    pair.client(&[prepare("s", "select 1"), empty(b'S')].concat());
    assert!(!pair.tracker.has_reply_due());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    assert_eq!(pair.client(&about(b'C', b'S', "s")), "");
    assert!(pair.tracker.has_reply_due());
    assert_eq!(pair.server(b""), "3");
    assert!(!pair.tracker.has_reply_due());
    // The same text again, under another name: the backend holds it.
    assert_eq!(
        pair.client(&[prepare("t", "select 1"), empty(b'H')].concat()),
        "H"
    );
    assert!(pair.tracker.has_reply_due());
    assert_eq!(pair.server(b""), "1");
}

/// A conversation that touches every branch, as (who, bytes).
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let client = [
        simple("begin"),
        prepare("s", "select 1"),
        about(b'D', b'S', "s"),
        empty(b'S'),
        bind("s"),
        execute(),
        about(b'C', b'S', "s"),
        empty(b'S'),
        prepare("", "select 2"),
        bind(""),
        execute(),
        empty(b'H'),
        empty(b'S'),
    ];
    let server = [
        tagged("BEGIN"),
        ready(Status::Transaction),
        empty(b'1'),
        empty(b't'),
        empty(b'T'),
        ready(Status::Transaction),
        empty(b'2'),
        empty(b'D'),
        build(|out| message::parameter_status(out, b"a", b"b")),
        tagged("SELECT 1"),
        ready(Status::Transaction),
        empty(b'1'),
        error("42601"),
        ready(Status::Failed),
    ];
    (client.concat(), server.concat())
}

proptest! {
    #[test]
    fn cuts_change_nothing(cuts in proptest::collection::vec(1_usize..40, 1..60)) {
        let (client, server) = conversation();
        let mut whole = Pair::new();
        whole.client(&client);
        whole.server(&server);
        let mut cut = Pair::new();
        let mut at = 0;
        for size in cuts.iter().cycle() {
            let end = (at + size).min(client.len());
            cut.client_bytes(&client[at..end]);
            at = end;
            if at == client.len() { break; }
        }
        let (mut buffer, mut at) = (Vec::new(), 0);
        for size in cuts.iter().cycle() {
            let end = (at + size).min(server.len());
            buffer.extend_from_slice(&server[at..end]);
            let left = cut.server_bytes(&buffer);
            buffer.drain(..buffer.len() - left);
            at = end;
            if at == server.len() { break; }
        }
        prop_assert_eq!(buffer.len() + cut.from_client.len(), 0);
        prop_assert_eq!(&cut.to_server, &whole.to_server);
        prop_assert_eq!(&cut.to_client, &whole.to_client);
        prop_assert_eq!(&cut.events, &whole.events);
        prop_assert_eq!(cut.tracker.boundary(), whole.tracker.boundary());
    }

    #[test]
    fn garbage_never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut pair = Pair::new();
        let _ = pair.tracker.front(&input, Some(&mut pair.names), &mut pair.to_server);
        let mut rest = &input[..];
        while let Ok(step) = pair.tracker.back(rest, Some(&mut pair.names)) {
            rest = &rest[step.take..];
            if step.event == Event::NeedMore { break; }
        }
    }
}

#[test]
fn what_is_booked_before_a_violation_is_sent() {
    let mut tracker = Tracker::new(Arc::default());
    let mut good = Vec::new();
    query(&mut good, b"begin");
    for bad in [&b"!\0\0\0\x04"[..], b"Q\0\0\0\x01"] {
        let mut sent = Vec::new();
        let input = [&good, bad].concat();
        assert!(tracker.front(&input, None, &mut sent).is_err());
        assert_eq!(sent, good);
        assert!(tracker.owes());
    }
}
