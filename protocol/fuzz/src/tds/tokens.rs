//! Any payload of a server, and any calls of a client, in any packets.
//!
//! However they are cut, they say the same.

use entrapool_protocol::tds::error::ServerError;
use entrapool_protocol::tds::token::{Calls, EnvChange, Heard, Layout, Token, Walker};

use super::super::input::{Input, pieces};

/// Compares the payload as a whole with the payload in pieces.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let parts = pieces(input.stream, input.lengths());
    assert_eq!(tokens(&input, &[input.stream]), tokens(&input, &parts));
    assert_eq!(calls(&[input.stream]), calls(&parts));
}

/// What was said, and whether the end was one.
type Said = (Vec<String>, bool);

fn tokens(input: &Input<'_>, parts: &[&[u8]]) -> Said {
    let mut walker = Walker::new(Layout {
        column_encryption: input.flag(0),
        data_classification: if input.flag(1) { 2 } else { 0 },
        old: input.flag(2),
    });
    let mut said = Vec::new();
    let mut int = Vec::new();
    for part in parts {
        walker.begin_packet();
        let mut at = 0;
        loop {
            let walked = walker.next(part, at);
            assert!(walked.at >= at && walked.at <= part.len());
            assert!(walked.begin.is_none_or(|begin| begin < walked.at));
            at = walked.at;
            match walked.token {
                None => break,
                Some(Token::Int {
                    ordinal,
                    at,
                    from,
                    count,
                }) => {
                    assert_eq!(usize::from(from), int.len());
                    int.extend_from_slice(&part[at..at + usize::from(count)]);
                    if int.len() == 4 {
                        said.push(format!("{ordinal}: {int:?}"));
                        int.clear();
                    }
                }
                Some(Token::EnvChange(body)) => said.push(format!("{:?}", EnvChange::read(body))),
                Some(Token::Error(body)) => said.push(ServerError::read(body).to_string()),
                Some(token) => said.push(format!("{token:?}")),
            }
        }
        assert_eq!(at, part.len());
    }
    (said, walker.end_message())
}

fn calls(parts: &[&[u8]]) -> Said {
    let mut calls = Calls::default();
    calls.begin();
    let mut said = Vec::new();
    let mut handle = Vec::new();
    for part in parts {
        let mut at = 0;
        loop {
            let (next, heard) = calls.next(part, at);
            assert!(next >= at && next <= part.len());
            at = next;
            match heard {
                None => break,
                Some(Heard::Handle { at, from, count }) => {
                    assert_eq!(usize::from(from), handle.len());
                    handle.extend_from_slice(&part[at..at + usize::from(count)]);
                    if handle.len() == 4 {
                        said.push(format!("{handle:?}"));
                        handle.clear();
                    }
                }
                Some(heard) => said.push(format!("{heard:?}")),
            }
        }
        assert_eq!(at, part.len());
    }
    (said, calls.is_complete())
}
