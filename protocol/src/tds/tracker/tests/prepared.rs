//! Prepared statements, on one backend and on another.

use super::*;
use crate::tds::message::all_headers;
use crate::tds::token::{RETURNSTATUS, RETURNVALUE, procedure};

fn calls(calls: &[Vec<u8>], size: usize) -> Vec<u8> {
    let mut body = Vec::new();
    all_headers(&mut body, 0);
    body.extend(calls.join(&0xff));
    let mut out = Vec::new();
    packet::split(&mut out, Kind::Rpc, 0, size, &body);
    out
}

fn head(number: u16) -> Vec<u8> {
    let mut call = vec![0xff, 0xff];
    call.extend(number.to_le_bytes());
    call.extend([0, 0]);
    call
}

fn nvarchar(value: &str) -> Vec<u8> {
    let value = text(value);
    let mut out = vec![0, 0, 0xe7, 0x40, 0x1f, 9, 4, 0xd0, 0, 0x34];
    out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    out.extend(value);
    out
}

fn handle(value: i32) -> Vec<u8> {
    let mut out = vec![0, 0, 0x26, 4, 4];
    out.extend(value.to_le_bytes());
    out
}

/// sp_prepexec of a statement, with the handle that the driver had before.
fn prepexec(sql: &str, before: Option<i32>) -> Vec<u8> {
    let handle = match before {
        Some(before) => handle(before),
        None => vec![0, 1, 0x26, 4, 0],
    };
    [
        head(procedure::PREPARE_AND_EXECUTE),
        handle,
        nvarchar("@a int"),
        nvarchar(sql),
        vec![0, 0, 0x26, 4, 4, 1, 0, 0, 0],
    ]
    .concat()
}

fn execute(number: i32) -> Vec<u8> {
    [
        head(procedure::EXECUTE),
        handle(number),
        vec![0, 0, 0x26, 4, 4, 1, 0, 0, 0],
    ]
    .concat()
}

fn unprepare(number: i32) -> Vec<u8> {
    [head(procedure::UNPREPARE), handle(number)].concat()
}

/// The end of a call that gives a handle.
fn given(number: i32) -> Vec<u8> {
    let mut tokens = vec![RETURNSTATUS, 0, 0, 0, 0, RETURNVALUE];
    tokens.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x26, 4, 4]);
    tokens.extend(number.to_le_bytes());
    done(&mut tokens, DONEPROC, 0, 0);
    tokens
}

fn called() -> Vec<u8> {
    let mut tokens = vec![RETURNSTATUS, 0, 0, 0, 0];
    done(&mut tokens, DONEPROC, 0, 0);
    tokens
}

/// A client that has prepared a statement, which its server calls 77.
fn prepared(world: &mut World) {
    let request = calls(&[prepexec("select @a", None)], 512);
    world.client(&request);
    assert_eq!(world.sent(), request);
    world.server(&given(77));
    assert_eq!(world.heard(), given(1));
    assert_eq!(world.ready(), Boundary::Idle);
    assert_eq!(world.tracker.prepared(), 1);
}

#[test]
fn handles_are_the_clients_on_one_side_and_the_servers_on_the_other() {
    let mut world = world(Watch::Texts);
    prepared(&mut world);
    world.client(&calls(&[execute(1), execute(1)], 512));
    assert_eq!(world.sent(), calls(&[execute(77), execute(77)], 512));
    world.server(&called());
    world.heard();
    // What the client has not prepared is nobody else's either.
    world.client(&calls(&[execute(77)], 512));
    assert_eq!(world.sent(), calls(&[execute(-1)], 512));
    world.server(&failed(8179));
}

#[test]
fn the_handle_of_the_answer_is_found_however_packets_cut_it() {
    let tokens = given(0x0a0b_0c0d);
    for cut in 0..=tokens.len() {
        let mut world = world(Watch::Texts);
        world.client(&calls(&[prepexec("select @a", None)], 512));
        world.server_bytes(in_two(&tokens, cut));
        assert_eq!(world.heard(), given(1), "cut at {cut}");
        world.sent();
        world.client(&calls(&[execute(1)], 512));
        assert_eq!(world.sent(), calls(&[execute(0x0a0b_0c0d)], 512));
    }
}

#[test]
fn another_backend_gets_the_statement_first() {
    let dictionary = Arc::new(Dictionary::new(Watch::Texts));
    let mut first = World::on(&dictionary);
    prepared(&mut first);
    let mut second = World::on(&dictionary);
    second.names = std::mem::take(&mut first.names);
    let request = calls(&[execute(1)], 512);
    let taken = second.try_client(&request).unwrap();
    assert_eq!((taken.bytes, taken.stalled), (0, true));
    let mut expected = Vec::new();
    let (parameters, sql) = (text("@a int"), text("select @a"));
    let prepare = Prepare {
        forget: &[],
        parameters: &parameters,
        text: &sql,
    };
    message::prepare(prepare, PLAIN, &mut expected);
    assert_eq!(second.sent(), expected);
    second.server(&given(5));
    assert_eq!(second.event(), Event::OwnAnswered);
    assert!(second.heard().is_empty());
    second.client(&request);
    assert_eq!(second.sent(), calls(&[execute(5)], 512));
    second.server(&called());
    assert_eq!(second.ready(), Boundary::Idle);
}

#[test]
fn a_statement_that_can_t_be_prepared_is_not_found() {
    let dictionary = Arc::new(Dictionary::new(Watch::Texts));
    let mut first = World::on(&dictionary);
    prepared(&mut first);
    let mut second = World::on(&dictionary);
    second.names = std::mem::take(&mut first.names);
    let request = calls(&[execute(1)], 512);
    assert!(second.try_client(&request).unwrap().stalled);
    second.server(&failed(208));
    assert_eq!(second.event(), Event::OwnAnswered);
    second.sent();
    second.client(&request);
    assert_eq!(second.sent(), calls(&[execute(-1)], 512));
    second.server(&failed(8179));
    assert_eq!(second.heard(), failed(8179));
    // The next time it is tried again.
    assert!(second.try_client(&request).unwrap().stalled);
}

#[test]
fn a_reset_takes_what_the_backend_holds() {
    let mut world = world(Watch::Texts);
    prepared(&mut world);
    world.tracker.reset_next();
    let request = calls(&[execute(1)], 512);
    assert!(world.try_client(&request).unwrap().stalled);
    assert_eq!(world.sent()[1], LAST | RESET);
    world.server(&[&WAS_RESET[..], &given(6)].concat());
    assert_eq!(world.event(), Event::OwnAnswered);
    assert!(world.heard().is_empty());
    world.client(&request);
    assert_eq!(world.sent(), calls(&[execute(6)], 512));
}

#[test]
fn the_backend_keeps_what_a_client_does_not_need() {
    let mut world = world(Watch::Texts);
    prepared(&mut world);
    world.client(&calls(&[unprepare(1)], 512));
    assert!(world.sent().is_empty());
    world.server_bytes(Vec::new());
    assert_eq!(world.heard(), called());
    assert!(world.names.is_empty());
    assert_eq!(world.tracker.prepared(), 1);
    // And again, as JDBC says it.
    prepared_again(&mut world);
    world.batch("EXEC sp_unprepare 2;");
    assert!(world.sent().is_empty());
    world.server_bytes(Vec::new());
    assert_eq!(world.heard(), called());
}

/// The same statement again: its handle is another, the old one goes when there is a chance.
fn prepared_again(world: &mut World) {
    world.client(&calls(&[prepexec("select @a", Some(1))], 512));
    assert_eq!(world.sent(), calls(&[prepexec("select @a", Some(-1))], 512));
    world.server(&given(78));
    assert_eq!(world.heard(), given(2));
    world.events.clear();
    assert_eq!(world.tracker.handles.stale, [77]);
}

#[test]
fn handles_that_nobody_needs_are_let_go_of() {
    let mut world = world(Watch::Texts);
    prepared(&mut world);
    world.tracker.handles.stale.extend(100..140);
    let request = calls(&[execute(1)], 512);
    assert!(world.try_client(&request).unwrap().stalled);
    let mut expected = Vec::new();
    let all: Vec<i32> = (100..140).collect();
    message::unprepare(&all, PLAIN, &mut expected);
    assert_eq!(world.sent(), expected);
    world.server(&called());
    assert_eq!(world.event(), Event::OwnAnswered);
    world.client(&request);
}

/// A batch of JDBC: thousands of calls in one message, in packets that cut handles.
#[test]
fn long_messages_of_calls_are_translated_wherever_they_are_cut() {
    let mut world = world(Watch::Texts);
    prepared(&mut world);
    let many = vec![execute(1); 5000];
    let request = calls(&many, 512);
    let expected = calls(&vec![execute(77); 5000], 512);
    let mut at = 0;
    for end in (100..request.len()).step_by(700).chain([request.len()]) {
        at += world.try_client(&request[at..end]).unwrap().bytes;
        assert!(end - at <= BUFFER);
    }
    assert_eq!(at, request.len());
    assert_eq!(world.sent(), expected);
}

#[test]
fn statements_too_long_to_be_kept_stay_on_their_backend() {
    let mut world = world(Watch::Texts);
    let long = format!("select @a -- {}", "x".repeat(40_000));
    let sql = text(&long);
    let mut call = [head(procedure::PREPARE), vec![0, 1, 0x26, 4, 0]].concat();
    call.extend(nvarchar("@a int"));
    call.extend([0, 0, 0xe7, 0xff, 0xff, 9, 4, 0xd0, 0, 0x34]);
    let length = u32::try_from(sql.len()).unwrap();
    call.extend(u64::from(length).to_le_bytes());
    call.extend(length.to_le_bytes());
    call.extend(sql);
    call.extend([0; 4]);
    let request = calls(&[call], 512);
    world.client(&request);
    assert_eq!(world.sent(), request);
    assert!(world.tracker.take_effects().any(Effects::PREPARED));
    world.server(&given(9));
    assert_eq!(world.heard(), given(1));
    assert_eq!(world.tracker.prepared(), 0);
    world.client(&calls(&[execute(1)], 512));
    assert_eq!(world.sent(), calls(&[execute(9)], 512));
}

#[test]
fn procedures_leave_what_their_names_say() {
    for (name, expected) in [
        ("mine", Effects::CODE | Effects::ADVANCE),
        ("[dbo].[sp_SetAppRole]", Effects::TAINTED),
        ("sys.sp_columns", Effects::default()),
        ("sp_getapplock", Effects::APP_LOCK),
    ] {
        let mut world = world(Watch::Texts);
        let mut call = u16::try_from(name.len()).unwrap().to_le_bytes().to_vec();
        call.extend(text(name));
        call.extend([0, 0]);
        world.client(&calls(&[call], 512));
        assert_eq!(world.tracker.take_effects(), expected, "{name}");
    }
    for (sql, expected) in [
        (
            "create table #t (a int); set nocount on",
            Effects::default(),
        ),
        ("insert into t values (@a)", Effects::ADVANCE),
        ("exec mine", Effects::CODE | Effects::ADVANCE),
    ] {
        let mut world = world(Watch::Texts);
        let call = [head(procedure::EXECUTE_SQL), nvarchar(sql)].concat();
        world.client(&calls(&[call], 512));
        assert_eq!(world.tracker.take_effects(), expected, "{sql}");
        let mut world = self::world(Watch::Texts);
        world.client(&calls(&[prepexec(sql, None)], 512));
        assert_eq!(world.tracker.take_effects(), expected, "{sql}");
    }
    let mut world = world(Watch::Texts);
    world.client(&calls(&[head(2)], 512));
    assert_eq!(world.tracker.take_effects(), Effects::CURSOR);
}

#[test]
fn without_names_everything_passes() {
    let mut world = world(Watch::Nothing);
    for request in [
        calls(&[prepexec("select @a", Some(3))], 512),
        calls(&[execute(77)], 512),
        calls(&[unprepare(77)], 512),
    ] {
        let taken = world.tracker.front(&request, None, &mut world.to_server);
        assert_eq!(taken.unwrap().bytes, request.len());
        assert_eq!(world.sent(), request);
        world.server(&given(9));
        assert_eq!(world.heard(), given(9));
    }
}
