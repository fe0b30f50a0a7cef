//! Any bytes of a client of the console, in any pieces.
//!
//! The pieces make no difference, what is sent is whole messages, each request that owes a
//! ReadyForQuery gets one, and commands are answered before anything else is taken.

use entrapool_protocol::postgres::console::{Answer, Command, Conversation, Step, Table, Value};
use entrapool_protocol::postgres::message::Report;

use super::input::{Input, pieces};

/// Checks a conversation at once and in pieces.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let (at_once, ended) = converse([input.stream].into_iter(), &input);
    let pieces = pieces(input.stream, input.lengths());
    let (in_pieces, also) = converse(pieces.into_iter(), &input);
    assert_eq!(ended, also);
    assert_eq!(at_once, in_pieces);
    let mut rest = at_once.as_slice();
    while let Some((header, behind)) = rest.split_first_chunk::<5>() {
        let [tag, length @ ..] = *header;
        assert!(b"TDCZENI12n3ts".contains(&tag), "{}", char::from(tag));
        let length = u32::from_be_bytes(length) as usize - 4;
        rest = &behind[length..];
    }
    assert!(rest.is_empty());
}

/// What was sent, and whether the conversation has ended.
fn converse<'a>(pieces: impl Iterator<Item = &'a [u8]>, input: &Input<'_>) -> (Vec<u8>, bool) {
    let mut conversation = Conversation::default();
    let (mut out, mut kept) = (Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let Ok((step, taken)) = conversation.step(&kept, &mut out) else {
                return (out, true);
            };
            assert!(taken <= kept.len());
            kept.drain(..taken);
            match step {
                Step::Starved => break,
                Step::Taken => {}
                Step::Quit => return (out, true),
                Step::Run(command) => conversation.answer(answer(&command, input), &mut out),
            }
        }
    }
    (out, false)
}

fn answer(command: &Command, input: &Input<'_>) -> Answer {
    if input.flag(0) && command.columns().is_none() {
        return Answer::Refused(Report::error("55000", "refused"));
    }
    let Some(columns) = command.columns() else {
        return Answer::Done;
    };
    let row = |number: i64| columns.iter().map(|_| Value::Number(number)).collect();
    Answer::Rows(Table {
        rows: vec![row(i64::MIN), row(0), row(i64::MAX)],
    })
}
