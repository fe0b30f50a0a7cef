use super::*;
use crate::tds::Violation;
use crate::tds::error::ServerError;
use crate::tds::message::{batch, done};
use crate::tds::packet::{HEADER, Header, IGNORE, LAST, RESET};
use crate::tds::reader::{counted_u16, push_us_text, push_utf16};
use crate::tds::statements::{Statements, Watch};
use crate::tds::token::{COLMETADATA, DONE, DONEPROC, Done, ENVCHANGE, ERROR, ROW, SESSIONSTATE};

#[path = "tests/prepared.rs"]
mod prepared;
#[path = "tests/transactions.rs"]
mod transactions;

/// A client, a backend's books, and what each side has got.
struct World {
    tracker: Tracker,
    names: Statements,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    events: Vec<Event>,
}

fn world(watch: Watch) -> World {
    World::on(&Arc::new(Dictionary::new(watch)))
}

impl World {
    fn on(dictionary: &Arc<Dictionary>) -> Self {
        Self {
            tracker: Tracker::new(
                Arc::clone(dictionary),
                Setup {
                    layout: Layout::default(),
                    packet_size: 512,
                    state: SessionState::new(Some(&[])),
                },
            ),
            names: Statements::new(),
            to_server: Vec::new(),
            to_client: Vec::new(),
            events: Vec::new(),
        }
    }

    fn try_client(&mut self, bytes: &[u8]) -> Result<Taken, Violation> {
        self.tracker
            .front(bytes, Some(&mut self.names), &mut self.to_server)
    }

    /// The client sends what goes on as a whole.
    fn client(&mut self, bytes: &[u8]) {
        let taken = self.try_client(bytes).unwrap();
        let whole = Taken {
            bytes: bytes.len(),
            stalled: false,
        };
        assert_eq!(taken, whole);
    }

    fn batch(&mut self, text: &str) {
        self.client(&request(text));
    }

    /// The server sends bytes.
    fn server_bytes(&mut self, mut bytes: Vec<u8>) {
        let mut at = 0;
        loop {
            let input = &mut bytes[at..];
            let step = self.tracker.back(input, Some(&mut self.names)).unwrap();
            self.to_client.extend(&input[..step.give]);
            at += step.take;
            match step.event {
                Event::NeedMore => break,
                Event::Next => {}
                Event::Insert(bytes) => self.to_client.extend(bytes),
                event => self.events.push(event),
            }
        }
        assert_eq!(at, bytes.len());
    }

    /// The server answers with these tokens, in packets of 512 bytes.
    fn server(&mut self, tokens: &[u8]) {
        let mut bytes = Vec::new();
        packet::split(&mut bytes, Kind::Answer, 0, 512, tokens);
        self.server_bytes(bytes);
    }

    /// What the client has got since the last call, without headers.
    fn heard(&mut self) -> Vec<u8> {
        payloads(&std::mem::take(&mut self.to_client))
    }

    fn sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_server)
    }

    fn event(&mut self) -> Event {
        assert_eq!(self.events.len(), 1, "{:?}", self.events);
        self.events.remove(0)
    }

    fn ready(&mut self) -> Boundary {
        match self.event() {
            Event::Ready { boundary, .. } => boundary,
            event => panic!("{event:?}"),
        }
    }
}

/// What packets carry, one behind the other.
fn payloads(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(header) = Header::read(bytes).unwrap() {
        all.extend(header.payload(bytes).unwrap());
        bytes = &bytes[header.total()..];
    }
    assert!(bytes.is_empty());
    all
}

const PLAIN: Sending = Sending {
    descriptor: 0,
    status: 0,
    size: 512,
};

fn request(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    batch(text, PLAIN, &mut out);
    out
}

fn ok() -> Vec<u8> {
    let mut tokens = Vec::new();
    done(&mut tokens, DONE, 0, 0);
    tokens
}

fn failed(number: i32) -> Vec<u8> {
    let mut tokens = vec![ERROR];
    counted_u16(&mut tokens, |out| {
        out.extend(number.to_le_bytes());
        out.extend([1, 16]);
        push_us_text(out, "no", 100);
        out.extend([0, 0, 1, 0, 0, 0]);
    });
    done(&mut tokens, DONE, Done::ERROR, 0);
    tokens
}

fn heard_attention() -> Vec<u8> {
    let mut tokens = Vec::new();
    done(&mut tokens, DONE, Done::ATTENTION, 0);
    tokens
}

fn change(body: &[u8]) -> Vec<u8> {
    let mut tokens = vec![ENVCHANGE];
    counted_u16(&mut tokens, |out| out.extend(body));
    tokens
}

const BEGAN: [u8; 11] = [8, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
const COMMITTED: [u8; 11] = [9, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const WAS_RESET: [u8; 6] = [ENVCHANGE, 3, 0, 18, 0, 0];

#[test]
fn a_request_and_its_answer_pass_as_they_are() {
    let mut world = world(Watch::Texts);
    let request = request(&"select 1 ".repeat(200));
    assert_eq!(world.tracker.boundary(), Boundary::Idle);
    for cut in [1, HEADER, 511, 513, request.len() - 1] {
        let taken = world.try_client(&request[..cut]).unwrap();
        assert_eq!((taken.bytes, taken.stalled), (0, false));
    }
    world.client(&request);
    assert_eq!(world.sent(), request);
    assert_eq!(world.tracker.boundary(), Boundary::Busy);
    let mut tokens = vec![COLMETADATA, 1, 0, 0, 0, 0, 0, 9, 0, 0x38, 0];
    for _ in 0..500 {
        tokens.extend([ROW, 1, 2, 3, 4]);
    }
    tokens.extend(ok());
    world.server(&tokens);
    assert_eq!(world.heard(), tokens);
    assert_eq!(world.ready(), Boundary::Idle);
    assert!(world.tracker.take_effects().is_empty());
}

#[test]
fn transactions_are_the_servers_to_tell() {
    let mut world = world(Watch::Texts);
    world.batch("exec mine");
    world.server(&[change(&BEGAN), ok()].concat());
    assert_eq!(world.ready(), Boundary::InTransaction);
    assert!(world.tracker.take_effects().any(Effects::CODE));
    world.batch("rollback");
    world.server(&[change(&COMMITTED), ok()].concat());
    assert_eq!(world.ready(), Boundary::Idle);
    // It tells of all, so that a text that begins one and does not get there counts for nothing.
    world.batch("if 1 = 0 begin tran");
    world.server(&ok());
    assert_eq!(world.ready(), Boundary::Idle);
}

#[test]
fn where_the_server_says_nothing_the_text_does() {
    let mut world = world(Watch::Texts);
    for (text, boundary) in [
        ("begin tran", Boundary::InTransaction),
        ("update t set a = 1", Boundary::InTransaction),
        ("commit", Boundary::Idle),
        ("begin tran", Boundary::InTransaction),
    ] {
        world.batch(text);
        world.server(&ok());
        assert_eq!(world.ready(), boundary, "{text}");
    }
    world.tracker.no_transaction();
    assert_eq!(world.tracker.boundary(), Boundary::Idle);
}

/// A descriptor of a transaction that has ended means nothing to another backend.
#[test]
fn stale_descriptors_do_not_reach_the_server() {
    let mut world = world(Watch::Texts);
    let mut stale = Vec::new();
    let sending = Sending {
        descriptor: 77,
        ..PLAIN
    };
    batch("select 1", sending, &mut stale);
    world.client(&stale);
    assert_eq!(world.sent(), request("select 1"));
    world.server(&[change(&BEGAN), ok()].concat());
    world.client(&stale);
    assert_eq!(world.sent(), stale);
}

#[test]
fn session_state_is_for_us_alone_however_packets_cut_it() {
    let state = [SESSIONSTATE, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9, 1, 5];
    let tokens = [change(&[1, 1, b'a', 0, 0]), state.to_vec(), ok()].concat();
    let visible = [change(&[1, 1, b'a', 0, 0]), ok()].concat();
    for cut in 0..=tokens.len() {
        let mut world = world(Watch::Texts);
        world.batch("use a");
        world.server_bytes(in_two(&tokens, cut));
        assert_eq!(world.heard(), visible, "cut at {cut}");
        assert_eq!(world.ready(), Boundary::Idle);
        assert!(world.tracker.state().is_changed());
        assert!(world.tracker.state().is_recoverable());
        assert_eq!(
            world.tracker.take_facts().len(),
            2,
            "the database, and the settings"
        );
    }
}

/// A message in two packets.
fn in_two(tokens: &[u8], cut: usize) -> Vec<u8> {
    let (left, right) = tokens.split_at(cut);
    let mut bytes = Vec::new();
    for (status, part) in [(0, left), (LAST, right)] {
        let length = u16::try_from(part.len() + HEADER).unwrap();
        bytes.extend(packet::header(Kind::Answer, status, length, 1));
        bytes.extend(part);
    }
    bytes
}

#[test]
fn our_own_reset_is_hidden_however_packets_cut_it() {
    let visible = [change(&[1, 1, b'a', 0, 0]), ok()].concat();
    let tokens = [
        &WAS_RESET[..],
        &change(&[1, 1, b'a', 0, 0]),
        &WAS_RESET[..0],
        &ok(),
    ]
    .concat();
    for cut in 0..=tokens.len() {
        let mut world = world(Watch::Texts);
        world.tracker.reset_next();
        world.batch("select 1");
        let sent = world.sent();
        assert_eq!(sent[1], LAST | RESET);
        assert_eq!(sent[2..], request("select 1")[2..]);
        world.server_bytes(in_two(&tokens, cut));
        assert_eq!(world.heard(), visible, "cut at {cut}");
        assert_eq!(world.ready(), Boundary::Idle);
        let facts = world.tracker.take_facts();
        assert_eq!(facts[0], (Whose::Ours, Fact::Reset));
        assert!(!world.tracker.is_opaque());
        // Only that one request.
        world.batch("select 1");
        assert_eq!(world.sent(), request("select 1"));
    }
}

/// The beginning of another change is held back until it is known what it is.
#[test]
fn other_changes_are_not_hidden_with_it() {
    let tokens = [
        &change(&[1, 1, b'a', 0, 0])[..],
        &WAS_RESET,
        &change(&BEGAN),
        &ok(),
    ]
    .concat();
    let visible = [change(&[1, 1, b'a', 0, 0]), change(&BEGAN), ok()].concat();
    for cut in 0..=tokens.len() {
        let mut world = world(Watch::Texts);
        world.tracker.reset_next();
        world.batch("select 1");
        world.server_bytes(in_two(&tokens, cut));
        assert_eq!(world.heard(), visible, "cut at {cut}");
        assert_eq!(world.ready(), Boundary::InTransaction);
    }
}

#[test]
fn a_clients_own_reset_is_its_own() {
    let mut world = world(Watch::Texts);
    let mut reset = Vec::new();
    let sending = Sending {
        status: RESET,
        ..PLAIN
    };
    batch("select 1", sending, &mut reset);
    world.tracker.reset_next();
    world.client(&reset);
    assert_eq!(world.sent(), reset);
    let tokens = [&WAS_RESET[..], &ok()].concat();
    world.server(&tokens);
    assert_eq!(world.heard(), tokens);
    assert_eq!(world.ready(), Boundary::Idle);
    assert_eq!(world.tracker.take_facts(), [(Whose::Client, Fact::Reset)]);
}

#[test]
fn a_reset_without_an_answer_is_not_trusted() {
    let mut world = world(Watch::Texts);
    let mut out = Vec::new();
    assert!(world.tracker.inject_cleaning(&mut out));
    assert_eq!(out[1], LAST | RESET);
    assert!(!world.tracker.inject_batch("select 1", &mut out));
    world.server(&ok());
    assert!(matches!(world.event(), Event::OwnFailed(_)));
    assert!(world.tracker.is_opaque());
    let mut world = self::world(Watch::Texts);
    assert!(world.tracker.inject_cleaning(&mut out));
    world.server(&[&WAS_RESET[..], &ok()].concat());
    assert_eq!(world.event(), Event::OwnAnswered);
    assert!(world.heard().is_empty());
}

#[test]
fn one_request_at_a_time() {
    let mut world = world(Watch::Texts);
    let mut ours = Vec::new();
    assert!(world.tracker.inject_batch("set nocount on", &mut ours));
    let two = [request("select 1"), request("select 2")].concat();
    let nothing = Taken {
        bytes: 0,
        stalled: true,
    };
    assert_eq!(world.try_client(&two), Ok(nothing));
    world.server(&failed(911));
    let Event::OwnFailed(error) = world.event() else {
        panic!("a failure");
    };
    assert_eq!(*error, ServerError::read(&failed(911)[3..]));
    assert!(world.heard().is_empty());
    let one = Taken {
        bytes: request("select 1").len(),
        stalled: true,
    };
    assert_eq!(world.try_client(&two), Ok(one));
    assert_eq!(world.sent(), request("select 1"));
}

#[test]
fn attentions_are_waited_for() {
    for answers in [
        vec![heard_attention()],
        vec![ok(), heard_attention()],
        vec![[failed(3617), heard_attention()].concat()],
    ] {
        let mut world = world(Watch::Texts);
        world.client(&[request("waitfor delay '1:00'"), message::ATTENTION.to_vec()].concat());
        assert!(world.sent().ends_with(&message::ATTENTION));
        for (index, answer) in answers.iter().enumerate() {
            assert_eq!(world.tracker.boundary(), Boundary::Busy, "{index}");
            world.server(answer);
            assert_eq!(world.heard(), *answer);
        }
        assert_eq!(world.ready(), Boundary::Idle);
    }
}

#[test]
fn a_late_attention_is_answered_by_us() {
    let mut world = world(Watch::Texts);
    world.client(&message::ATTENTION);
    assert!(world.sent().is_empty());
    assert!(world.tracker.has_reply_due());
    let select = request("select 1");
    assert!(world.try_client(&select).unwrap().stalled);
    world.server_bytes(Vec::new());
    assert_eq!(world.heard(), heard_attention());
    assert_eq!(world.tracker.boundary(), Boundary::Idle);
    world.client(&select);
}

#[test]
fn a_late_attention_does_not_wait_for_what_we_asked() {
    let mut world = world(Watch::Texts);
    let mut out = Vec::new();
    assert!(world.tracker.inject_probe(&mut out));
    world.client(&message::ATTENTION);
    assert!(world.tracker.has_reply_due());
    world.server_bytes(Vec::new());
    assert_eq!(world.heard(), heard_attention());
    // Whoever comes for another reply now would come for ever.
    assert!(!world.tracker.has_reply_due());
    world.server(&ok());
    assert_eq!(world.event(), Event::Reported(ok()));
    assert_eq!(world.tracker.boundary(), Boundary::Idle);
}

#[test]
fn what_the_client_does_not_want_after_all() {
    let mut world = world(Watch::Texts);
    let mut ignored = request(&"select 1 ".repeat(100));
    let last = (ignored.len() - HEADER) / 512 * 512;
    ignored[last + 1] |= IGNORE;
    world.client(&ignored);
    assert!(world.sent().is_empty());
    world.server_bytes(Vec::new());
    let mut expected = Vec::new();
    done(&mut expected, DONE, Done::ERROR, 0);
    assert_eq!(world.heard(), expected);
}

#[test]
fn the_end_of_a_client_is_wound_up() {
    // In the middle of an answer.
    let mut world = world(Watch::Texts);
    world.batch("select 1");
    world.sent();
    let mut end = Vec::new();
    world.tracker.wind_up(&mut end);
    assert_eq!(end, message::ATTENTION);
    world.server(&ok());
    assert!(world.events.is_empty());
    assert_eq!(world.tracker.boundary(), Boundary::Busy);
    world.server(&heard_attention());
    assert_eq!(world.event(), Event::OwnAnswered);
    assert!(world.heard().is_empty());
    assert_eq!(world.tracker.boundary(), Boundary::Idle);
    // In the middle of a request.
    let long = request(&"x".repeat(40_000));
    let taken = world.try_client(&long[..512 * 100]).unwrap();
    assert_eq!(taken.bytes, 512 * 100);
    assert!(world.tracker.is_mid_message());
    end.clear();
    world.tracker.wind_up(&mut end);
    assert_eq!(end, [1, LAST | IGNORE, 0, 8, 0, 0, 0, 0]);
    world.server(&failed(1));
    assert_eq!(world.event(), Event::OwnAnswered);
    assert_eq!(world.tracker.boundary(), Boundary::Idle);
}

#[test]
fn bulk_loads_are_kept_together() {
    let mut world = world(Watch::Texts);
    world.batch("INSERT BULK t (a int)");
    world.server(&ok());
    assert_eq!(world.ready(), Boundary::Busy);
    let mut data = Vec::new();
    packet::split(&mut data, Kind::Bulk, 0, 512, &[7; 3000]);
    let taken = world.try_client(&data[..600]).unwrap();
    assert_eq!(taken.bytes, 512);
    world.client(&data[512..]);
    assert!(world.sent().ends_with(&data));
    world.server(&ok());
    assert_eq!(world.ready(), Boundary::Idle);
    // One that failed, or is followed by something else, is over.
    world.batch("insert bulk t (a int)");
    world.server(&failed(1));
    assert_eq!(world.ready(), Boundary::Idle);
}

#[test]
fn settings_are_told_when_they_are_made() {
    let mut world = world(Watch::Texts);
    world.batch("SET NOCOUNT ON; select 1");
    world.server(&ok());
    world.ready();
    let facts = world.tracker.take_facts();
    assert!(
        matches!(&facts[..], [(Whose::Client, Fact::Settings(changes))] if changes.len() == 1),
        "{facts:?}"
    );
    assert!(world.tracker.take_effects().is_empty());
    for (text, answer) in [
        ("set nocount on", failed(1)),
        ("select 1; set rowcount 1", ok()),
    ] {
        world.batch(text);
        world.server(&answer);
        world.ready();
        assert!(world.tracker.take_facts().is_empty(), "{text}");
        assert_eq!(world.tracker.take_effects(), Effects::SETTING, "{text}");
    }
}

#[test]
fn what_may_not_be_is_refused() {
    let mut world = world(Watch::Strictly);
    world.batch("create table #t (a int)");
    assert!(world.sent().is_empty());
    world.server_bytes(Vec::new());
    let answer = world.heard();
    assert_eq!(ServerError::read(&answer[3..]).number, 50_001);
    let mut world = self::world(Watch::Texts);
    world.tracker.set_values(Values::Foreign);
    world.batch("select scope_identity()");
    world.server_bytes(Vec::new());
    let answer = world.heard();
    assert_eq!(ServerError::read(&answer[3..]).number, 50_002);
    // After an INSERT of one's own they are one's own.
    world.batch("insert into t values (1)");
    world.server(&ok());
    world.batch("select scope_identity()");
    world.server(&ok());
    assert_eq!(world.heard(), [ok(), ok()].concat());
}

#[test]
fn what_is_not_known_ends_with_its_client() {
    let mut world = world(Watch::Texts);
    world.batch("select 1");
    let tokens = [&[0x01, 2, 3][..], &[9; 2000], &ok()].concat();
    world.server(&tokens);
    assert_eq!(world.heard(), tokens);
    world.ready();
    assert!(world.tracker.is_opaque());
    assert!(world.tracker.take_effects().any(Effects::UNKNOWN));
}

#[test]
fn questions_of_ours_are_answered_to_us() {
    let mut world = world(Watch::Texts);
    let mut out = Vec::new();
    assert!(world.tracker.inject_probe(&mut out));
    world.server(&ok());
    assert_eq!(world.event(), Event::Reported(ok()));
    assert!(world.tracker.inject_probe(&mut out));
    world.server(&failed(297));
    assert_eq!(world.event(), Event::Reported(Vec::new()));
    assert!(world.heard().is_empty());
}

#[test]
fn goodbyes_are_passed_on() {
    let mut world = world(Watch::Texts);
    world.server(&failed(6005));
    assert!(world.tracker.is_dying());
    assert_eq!(world.heard(), failed(6005));
}

#[test]
fn what_breaks_the_protocol() {
    let mut world = world(Watch::Texts);
    for bad in [
        vec![4, 1, 0, 8, 0, 0, 1, 0],
        vec![0x12, 1, 0, 8, 0, 0, 1, 0],
        vec![1, 1, 0, 7, 0, 0, 1, 0],
        vec![1, 1, 2, 1, 0, 0, 1, 0],
        vec![1, 1, 0, 9, 0, 0, 1, 0, 7],
        [&[3, 1, 0, 12, 0, 0, 1, 0][..], &200_u32.to_le_bytes()].concat(),
    ] {
        assert!(world.try_client(&bad).is_err(), "{bad:?}");
    }
    let long = request(&"x".repeat(40_000));
    world.try_client(&long[..512 * 100]).unwrap();
    assert!(world.try_client(&message::ATTENTION).is_err());
    let mut cut = vec![4, 1, 0, 9, 0, 0, 1, 0, DONEPROC];
    assert!(world.tracker.back(&mut cut, None).is_err());
    assert!(
        world
            .tracker
            .back(&mut [1, 1, 0, 8, 0, 0, 1, 0], None)
            .is_err()
    );
}

/// Requests to the transaction manager that make it a distributed one.
#[test]
fn distributed_transactions_are_noted() {
    let mut world = world(Watch::Texts);
    let mut begin = Vec::new();
    message::begin_transaction(PLAIN, &mut begin);
    world.client(&begin);
    world.server(&[change(&BEGAN), ok()].concat());
    assert!(world.tracker.take_effects().is_empty());
    assert_eq!(world.ready(), Boundary::InTransaction);
    begin[30] = 6;
    world.client(&begin);
    assert_eq!(world.tracker.take_effects(), Effects::DISTRIBUTED);
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_utf16(&mut out, text);
    out
}
