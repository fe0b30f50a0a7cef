use super::*;
use crate::tds::message::done;
use crate::tds::reader::push_utf16;
use crate::tds::token::{DONE, Done};

#[path = "tests/answers.rs"]
mod answers;
#[path = "tests/requests.rs"]
mod requests;

const SIZE: usize = 512;
const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];
const POINTER: &[u8] = b"\x10dummy textptr\0\0\0dummyTS\0";

fn utf16(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_utf16(&mut out, text);
    out
}

fn parts(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn wide_done(status: u16, rows: u64) -> Vec<u8> {
    let mut out = Vec::new();
    done(&mut out, DONE, status, rows);
    out
}

fn narrow_done(status: u16, rows: u32) -> Vec<u8> {
    let mut out = wide_done(status, rows.into());
    out.truncate(9);
    out
}

const INT: &[u8] = &[0x26, 4];
fn text_value(data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_le_bytes();
    parts(&[POINTER, &length, data])
}

#[test]
fn versions_are_those_of_the_specification() {
    for (version, dialect) in [
        (0x7000_0000, None),
        (0x7100_0000, Some(Dialect::V71)),
        (0x7100_0001, Some(Dialect::V71Revised)),
        (0x7209_0002, Some(Dialect::V72)),
        (0x730a_0003, Some(Dialect::V73A)),
        (0x730b_0003, None),
        (0x7400_0004, None),
    ] {
        assert_eq!(Dialect::of(version), dialect, "{version:x}");
    }
}
