use super::*;
use crate::tds::message::{ATTENTION, all_headers};
use crate::tds::packet::{self, HEADER, IGNORE, Kind, LAST, RESET};
use crate::tds::reader::push_us_text;
use crate::tds::token::{COLMETADATA, ROW};

/// What a client's bytes become, however they are cut.
fn requested(dialect: Dialect, wire: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut whole = Vec::new();
    let result = Requests::new(dialect, SIZE).translate(wire, &mut whole);
    for room in [1, 2, 5, 11, 100] {
        let (mut requests, mut cut) = (Requests::new(dialect, SIZE), Vec::new());
        let mut ended = Ok(());
        for part in wire.chunks(room) {
            ended = requests.translate(part, &mut cut);
            if ended.is_err() {
                break;
            }
        }
        assert_eq!((&ended, &cut), (&result, &whole), "in pieces of {room}");
    }
    result.map(|()| whole)
}

/// A message in packets with so many bytes each.
fn message(kind: Kind, status: u8, room: usize, body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let parts: Vec<_> = body.chunks(room).collect();
    for (at, part) in parts.iter().enumerate() {
        let first = if at == 0 { status } else { 0 };
        let last = if at + 1 == parts.len() { LAST } else { 0 };
        let length = u16::try_from(part.len() + HEADER).unwrap();
        wire.extend(packet::header(kind, first | last, length, 1));
        wire.extend(*part);
    }
    wire
}

fn with_headers(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    all_headers(&mut out, PRESENT_TRANSACTION);
    out.extend(body);
    out
}

#[test]
fn batches_of_7_1_get_headers_and_full_packets() {
    let text = utf16(&"select 1 ".repeat(100));
    let mut expected = Vec::new();
    packet::split(
        &mut expected,
        Kind::Batch,
        RESET,
        SIZE,
        &with_headers(&text),
    );
    for room in [37, 500, 4000] {
        let wire = message(Kind::Batch, RESET, room, &text);
        assert_eq!(requested(Dialect::V71, &wire).unwrap(), expected, "{room}");
    }
    // Those of 7.2 have their own.
    let mut same = Vec::new();
    packet::split(&mut same, Kind::Batch, 0, SIZE, &text);
    let wire = message(Kind::Batch, 0, 37, &text);
    assert_eq!(requested(Dialect::V72, &wire).unwrap(), same);
}

#[test]
fn calls_of_7_1_are_separated_as_later_ones() {
    // sp_execute with a handle and a text that has both separators in it.
    let call = |flags: u8| {
        parts(&[
            &[0xff, 0xff, 12, 0, flags, 0],
            &[0, 0, 0x26, 4, 4, 0x80, 0xff, 0x80, 0xff],
            &[0, 0, 0xe7, 0x40, 0x1f],
            &COLLATION,
            &[4, 0, 0x80, 0xff, 0xff, 0x80],
        ])
    };
    let name = utf16("dbo.p");
    let named = parts(&[&[5, 0], &name, &[0, 0]]);
    let old = parts(&[&call(2), &[0x80], &call(0), &[0x80], &named]);
    let new = parts(&[&call(0), &[0xff], &call(0), &[0xff], &named]);
    let mut expected = Vec::new();
    packet::split(&mut expected, Kind::Rpc, 0, SIZE, &with_headers(&new));
    for room in 1..=old.len() {
        let wire = message(Kind::Rpc, 0, room, &old);
        let out = requested(Dialect::V71Revised, &wire).unwrap();
        assert_eq!(out, expected, "{room}");
    }
    // A later client has headers and its own separators; it gets metadata, too.
    let mut own = Vec::new();
    all_headers(&mut own, 7);
    let old = parts(&[&own, &call(2), &[0xff], &named]);
    let new = parts(&[&own, &call(0), &[0xff], &named]);
    let wire = message(Kind::Rpc, 0, 50, &old);
    let mut expected = Vec::new();
    packet::split(&mut expected, Kind::Rpc, 0, SIZE, &new);
    assert_eq!(requested(Dialect::V73A, &wire).unwrap(), expected);
}

#[test]
fn flags_are_found_across_packets_of_ours() {
    // The flags of the second call stand astride the end of each packet once.
    for length in 380..480_u16 {
        let text = vec![b'x'; usize::from(length)];
        let call = |flags: u8| {
            parts(&[
                &[0xff, 0xff, 10, 0, flags, 0],
                &[0, 0, 0xe7, 0x40, 0x1f],
                &COLLATION,
                &length.to_le_bytes(),
                &text,
            ])
        };
        let old = parts(&[&call(2), &[0x80], &call(2)]);
        let new = parts(&[&call(0), &[0xff], &call(0)]);
        let mut expected = Vec::new();
        packet::split(&mut expected, Kind::Rpc, 0, SIZE, &with_headers(&new));
        let wire = message(Kind::Rpc, 0, 3, &old);
        let mut out = Vec::new();
        let mut requests = Requests::new(Dialect::V71, SIZE);
        requests.translate(&wire, &mut out).unwrap();
        assert_eq!(out, expected, "{length}");
    }
}

#[test]
fn bulk_loads_of_7_1_get_longer_user_types_and_counts() {
    let mut table = Vec::new();
    push_us_text(&mut table, "t", 10);
    let text = parts(&[&[0x23, 0xff, 0xff, 0xff, 0x7f], &COLLATION, &table]);
    let row = parts(&[&[ROW, 4, 7, 0, 0, 0], &text_value(&[0xfd; 700])]);
    let head = |user_type: &[u8]| {
        let column = |info: &[u8]| parts(&[user_type, &[9, 0], info, &[1, b'n', 0]]);
        parts(&[&[COLMETADATA, 2, 0], &column(INT), &column(&text)])
    };
    let old = parts(&[&head(&[0; 2]), &row, &row, &narrow_done(0, 2)]);
    let new = parts(&[&head(&[0; 4]), &row, &row, &wide_done(0, 2)]);
    let mut expected = Vec::new();
    packet::split(&mut expected, Kind::Bulk, 0, SIZE, &new);
    for room in [1, 2, 3, 17, 600, 5000] {
        let wire = message(Kind::Bulk, 0, room, &old);
        assert_eq!(requested(Dialect::V71, &wire).unwrap(), expected, "{room}");
    }
    for bad in [
        &[0x82, 0, 0][..],
        &[COLMETADATA, 1, 0],
        &[COLMETADATA, 0, 0, 0xd3],
    ] {
        let wire = message(Kind::Bulk, 0, 100, bad);
        assert!(requested(Dialect::V71, &wire).is_err(), "{bad:x?}");
    }
}

#[test]
fn attentions_and_dropped_messages_pass() {
    let mut wire = message(Kind::Batch, 0, 100, &utf16("select 1"));
    wire.extend(ATTENTION);
    let out = requested(Dialect::V71, &wire).unwrap();
    assert!(out.ends_with(&ATTENTION));
    let mut wire = packet::header(Kind::Batch, 0, 10, 1).to_vec();
    wire.extend([b'x', 0]);
    wire.extend(packet::header(Kind::Batch, LAST | IGNORE, 8, 2));
    let out = requested(Dialect::V71, &wire).unwrap();
    assert_eq!(out.get(1), Some(&(LAST | IGNORE)));
    for (kind, dialect) in [
        (Kind::Transaction, Dialect::V71),
        (Kind::Login, Dialect::V72),
        (Kind::Answer, Dialect::V73A),
    ] {
        let wire = message(kind, 0, 100, &[7, 0, 0, 0]);
        assert!(requested(dialect, &wire).is_err(), "{kind:?}");
    }
    let mut mixed = packet::header(Kind::Batch, 0, 8, 1).to_vec();
    mixed.extend(packet::header(Kind::Rpc, LAST, 8, 1));
    assert!(requested(Dialect::V71, &mixed).is_err());
}
