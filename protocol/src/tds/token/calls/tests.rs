use super::*;
use crate::tds::reader::push_utf16;

const HEADERS: [u8; 22] = [
    22, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
];

fn nvarchar(text: &str) -> Vec<u8> {
    let mut out = vec![0, 0, 0xe7, 0x40, 0x1f, 9, 4, 0xd0, 0, 0x34];
    let length = u16::try_from(2 * text.len()).unwrap();
    out.extend(length.to_le_bytes());
    push_utf16(&mut out, text);
    out
}

fn max(text: &str) -> Vec<u8> {
    let mut out = vec![0, 0, 0xe7, 0xff, 0xff, 9, 4, 0xd0, 0, 0x34];
    let length = u32::try_from(2 * text.len()).unwrap();
    out.extend(u64::from(length).to_le_bytes());
    out.extend(length.to_le_bytes());
    push_utf16(&mut out, text);
    out.extend([0; 4]);
    out
}

fn ntext(text: &str) -> Vec<u8> {
    let mut out = vec![0, 0, 0x63, 0xff, 0xff, 0xff, 0x7f, 9, 4, 0xd0, 0, 0x34];
    let length = u32::try_from(2 * text.len()).unwrap();
    out.extend(length.to_le_bytes());
    push_utf16(&mut out, text);
    out
}

fn heard(pieces: &[&[u8]]) -> (Vec<String>, bool) {
    let mut calls = Calls::default();
    calls.begin();
    let mut all = Vec::new();
    let mut handle: Vec<u8> = Vec::new();
    for piece in pieces {
        let mut at = 0;
        loop {
            let (next, heard) = calls.next(piece, at);
            at = next;
            match heard {
                None => break,
                Some(Heard::Handle { at, from, count }) => {
                    assert_eq!(usize::from(from), handle.len());
                    handle.extend(&piece[at..at + usize::from(count)]);
                    if handle.len() == 4 {
                        all.push(format!("handle {handle:?}"));
                        handle.clear();
                    }
                }
                Some(Heard::Statement(text)) => {
                    all.push(format!(
                        "statement {:?}",
                        text.map(crate::tds::reader::utf16)
                    ));
                }
                Some(Heard::Parameters(text)) => {
                    all.push(format!(
                        "parameters {:?}",
                        text.map(crate::tds::reader::utf16)
                    ));
                }
                Some(Heard::Headers(headers)) => all.push(format!("headers {}", headers.len())),
                Some(heard) => all.push(format!("{heard:?}")),
            }
        }
        assert_eq!(at, piece.len());
    }
    (all, calls.is_complete())
}

fn however_cut(message: &[u8]) -> Vec<String> {
    let (expected, complete) = heard(&[message]);
    assert!(complete, "{expected:?}");
    for cut in 0..=message.len() {
        let (left, right) = message.split_at(cut);
        assert_eq!(
            heard(&[left, right]),
            (expected.clone(), true),
            "cut at {cut}"
        );
    }
    let bytes: Vec<&[u8]> = message.chunks(1).collect();
    assert_eq!(heard(&bytes), (expected.clone(), true));
    expected
}

/// As ODBC and JDBC send sp_prepexec: no handle, declaration, text, values.
#[test]
fn a_statement_is_prepared_and_executed() {
    let mut message = HEADERS.to_vec();
    message.extend([0xff, 0xff, 13, 0, 0, 0, 0, 1, 0x26, 4, 0]);
    message.extend(nvarchar("@a int"));
    message.extend(max("select @a"));
    message.extend([0, 0, 0x26, 4, 4, 7, 0, 0, 0]);
    message.push(0xff);
    message.extend([0xff, 0xff, 12, 0, 2, 0, 0, 0, 0x26, 4, 4, 9, 8, 7, 6]);
    message.extend([1, b'p', 0, 0, 0x38, 1, 2, 3, 4]);
    message.push(0xff);
    message.extend([0xff, 0xff, 15, 0, 0, 0, 0, 0, 0x38, 5, 0, 0, 0]);
    assert_eq!(
        however_cut(&message),
        [
            "headers 18",
            "Call(Call { name: Known(13), flags: 0 })",
            "parameters Some(\"@a int\")",
            "statement Some(\"select @a\")",
            "Call(Call { name: Known(12), flags: 2 })",
            "handle [9, 8, 7, 6]",
            "Call(Call { name: Known(15), flags: 0 })",
            "handle [5, 0, 0, 0]",
        ]
    );
}

/// As FreeTDS sends it: by name, with ntext.
#[test]
fn procedures_have_names_too() {
    let mut message = HEADERS.to_vec();
    for name in ["SP_ExecuteSQL", "[sys].sp_prepare", "dbo.mine"] {
        if message.len() > HEADERS.len() {
            message.push(0xff);
        }
        message.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        push_utf16(&mut message, name);
        message.extend([0, 0]);
        if name.contains("prepare") {
            message.extend([0, 1, 0x26, 4, 4, 3, 0, 0, 0]);
        }
        message.extend(ntext("select 1"));
        message.extend(ntext("@p int"));
    }
    let heard = however_cut(&message);
    assert_eq!(
        heard[..7],
        [
            "headers 18",
            "Call(Call { name: Known(10), flags: 0 })",
            "statement Some(\"select 1\")",
            "parameters Some(\"@p int\")",
            "Call(Call { name: Known(11), flags: 0 })",
            "handle [3, 0, 0, 0]",
            "parameters Some(\"select 1\")",
        ]
    );
    assert!(
        heard[8].starts_with("Call(Call { name: Text([100, 0"),
        "{heard:?}"
    );
    assert_eq!(heard.len(), 9);
}

#[test]
fn tables_are_passed_over() {
    let mut message = HEADERS.to_vec();
    message.extend([1, 0, b'p', 0, 0, 0]);
    // A table type with an int and a varchar(max); ordered; two rows.
    message.extend([0, 0, 0xf3, 0, 1, b's', 0, 1, b't', 0, 2, 0]);
    message.extend([0, 0, 0, 0, 0, 0, 0x26, 4, 0]);
    message.extend([0, 0, 0, 0, 0, 0, 0xa7, 0xff, 0xff, 9, 4, 0xd0, 0, 0x34, 0]);
    message.extend([0x10, 1, 0, 1, 0, 1, 0x11, 2, 0, 1, 0, 2, 0, 0]);
    message.extend([
        1, 4, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ]);
    message.extend([
        1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'x', 0, 0, 0, 0, 0,
    ]);
    // And one that is NULL.
    message.extend([0, 0, 0xf3, 0, 1, b's', 0, 1, b't', 0, 0xff, 0xff, 0, 0]);
    message.push(0xff);
    message.extend([0xff, 0xff, 10, 0, 0, 0]);
    assert_eq!(however_cut(&message).len(), 3);
}

#[test]
fn what_is_lost_is_told_once() {
    let mut message = HEADERS.to_vec();
    // A type that nobody knows, then what could be a parameter.
    message.extend([1, 0, b'p', 0, 0, 0, 0, 0, 0xcc]);
    message.extend([0, 0, 0x38, 1, 2, 3, 4]);
    for cut in HEADERS.len() + 9..message.len() {
        let (left, right) = message.split_at(cut);
        let (all, complete) = heard(&[left, right]);
        assert_eq!(
            all.iter().filter(|heard| **heard == "Lost").count(),
            1,
            "{all:?}"
        );
        assert!(!complete);
    }
}

#[test]
fn handles_that_are_none() {
    let mut message = HEADERS.to_vec();
    message.extend([0xff, 0xff, 12, 0, 0, 0]);
    message.extend(nvarchar("1"));
    let (heard_all, _) = heard(&[&message]);
    assert_eq!(heard_all.last().map(String::as_str), Some("NoHandle"));
    message.truncate(HEADERS.len());
    message.extend([0xff, 0xff, 12, 0, 0, 0, 0xff, 0xff, 0xff, 1, 0]);
    assert!(heard(&[&message]).0.contains(&"NoHandle".to_owned()));
    let long = "x".repeat(20_000);
    message.truncate(HEADERS.len());
    message.extend([0xff, 0xff, 10, 0, 0, 0]);
    message.extend(max(&long.repeat(2)));
    assert_eq!(heard(&[&message]).0.last().unwrap(), "statement None");
}
