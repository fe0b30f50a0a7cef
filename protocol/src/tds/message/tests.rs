use super::*;
use crate::tds::error::ServerError;
use crate::tds::packet::Header;
use crate::tds::token::{Calls, EnvChange, Heard, Layout, Token, Walker};

const SENDING: Sending = Sending {
    descriptor: 0x0102,
    status: packet::RESET,
    size: 4096,
};

/// What the tokens of one packet say.
fn facts(message: &[u8]) -> Vec<String> {
    let header = Header::read(message).unwrap().unwrap();
    assert_eq!((header.kind, header.total()), (Kind::Answer, message.len()));
    let payload = header.payload(message).unwrap();
    let mut walker = Walker::new(Layout::default());
    let (mut facts, mut at) = (Vec::new(), 0);
    loop {
        let walked = walker.next(payload, at);
        at = walked.at;
        match walked.token {
            None => break,
            Some(Token::EnvChange(body)) => facts.push(format!("{:?}", EnvChange::read(body))),
            Some(Token::Error(body)) => facts.push(ServerError::read(body).to_string()),
            Some(Token::Done(done)) => {
                facts.push(format!("done {:02x} {:x}", done.token, done.status));
            }
            Some(token) => facts.push(format!("{token:?}")),
        }
    }
    assert!(walker.end_message());
    facts
}

#[test]
fn reports_are_errors() {
    let mut out = Vec::new();
    Report::login(18456, "no")
        .hint("Try that.")
        .encode(512, &mut out);
    assert_eq!(
        facts(&out),
        ["no Try that. (error 18456, state 1, class 14)", "done fd 2"]
    );
    out.clear();
    Report::error(OWN, "x".repeat(5000)).encode(512, &mut out);
    let message = packet::whole(&out, 100_000).unwrap().unwrap();
    assert_eq!(message.taken, out.len());
    assert!(message.body.len() < 4200);
}

#[test]
fn answers_of_ours_are_whole() {
    let mut out = Vec::new();
    attention_heard(&mut out);
    assert_eq!(facts(&out), ["done fd 20"]);
    out.clear();
    unprepared(2, Done::MORE | Done::IN_BATCH, 4096, &mut out);
    assert_eq!(
        facts(&out),
        [
            "ReturnStatus(0)",
            "done fe 81",
            "ReturnStatus(0)",
            "done fe 0"
        ]
    );
    out.clear();
    transaction_began(5, &mut out);
    assert_eq!(facts(&out), ["Some(Began(5))", "done fd 0"]);
    out.clear();
    transaction_ended(Ended::Committed, 5, &mut out);
    assert_eq!(facts(&out), ["Some(Ended)", "done fd 0"]);
}

#[test]
fn batches_have_their_headers() {
    let mut out = Vec::new();
    batch("ab", SENDING, &mut out);
    #[rustfmt::skip]
    assert_eq!(out, [
        1, 9, 0, 34, 0, 0, 1, 0,
        22, 0, 0, 0, 18, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
        b'a', 0, b'b', 0,
    ]);
    out.clear();
    begin_transaction(SENDING, &mut out);
    assert_eq!((out[0], &out[30..]), (14, &[5, 0, 0, 0][..]));
}

#[test]
fn calls_of_ours_can_be_read() {
    let long: Vec<u8> = b"x\0".repeat(5000);
    for text in [&b"s\0"[..], &long] {
        let mut out = Vec::new();
        let request = Prepare {
            forget: &[3, 4],
            parameters: b"@\0",
            text,
        };
        prepare(request, SENDING, &mut out);
        let body = packet::whole(&out, 100_000).unwrap().unwrap().body;
        let mut calls = Calls::default();
        calls.begin();
        let (mut at, mut procedures, mut handles) = (0, Vec::new(), Vec::new());
        loop {
            let (next, heard) = calls.next(&body, at);
            at = next;
            match heard {
                None => break,
                Some(Heard::Call(call)) => procedures.push(format!("{:?}", call.name)),
                Some(Heard::Handle { at, .. }) => handles.push(body[at]),
                Some(Heard::Statement(statement)) => assert_eq!(statement, Some(text)),
                Some(Heard::Parameters(text)) => assert_eq!(text, Some(&b"@\0"[..])),
                Some(Heard::Headers(_)) => {}
                Some(heard) => panic!("{heard:?}"),
            }
        }
        assert!(calls.is_complete());
        assert_eq!(procedures, ["Known(15)", "Known(15)", "Known(11)"]);
        assert_eq!(handles, [3, 4]);
    }
    let mut out = Vec::new();
    unprepare(&[7], SENDING, &mut out);
    assert_eq!(
        out[30..],
        [0xff, 0xff, 15, 0, 0, 0, 0, 0, 0x26, 4, 4, 7, 0, 0, 0]
    );
}
