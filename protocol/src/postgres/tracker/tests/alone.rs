//! Transactions that are one `SET` and nothing else.

use super::*;
use crate::postgres::statements::Watch;

fn pair() -> Pair {
    Pair::with(Arc::new(Dictionary::new(Watch::Texts)), 1)
}

/// What the session does at each boundary. Returns the text, if there is one.
fn alone(pair: &mut Pair) -> Option<String> {
    let text = pair.tracker.lone_set();
    let text = text.map(|text| String::from_utf8(text.to_vec()).unwrap());
    pair.tracker.take_effects();
    text
}

/// The server carries out what has these command tags, and is ready.
fn done(pair: &mut Pair, tags: &[&str], status: Status) {
    let answers = tags.iter().map(|tag| tagged(tag)).collect::<Vec<_>>();
    pair.server(&[answers.concat(), ready(status)].concat());
}

#[test]
fn a_query_that_is_one_set_is_alone() {
    let mut pair = pair();
    for text in ["SET a TO 'b'", "set timezone = 'UTC';"] {
        pair.client(&simple(text));
        assert_eq!(pair.tracker.lone_set(), None, "not answered yet");
        done(&mut pair, &["SET"], Status::Idle);
        assert_eq!(alone(&mut pair).as_deref(), Some(text));
        pair.client(&simple("select 1"));
        done(&mut pair, &["SELECT 1"], Status::Idle);
        assert_eq!(alone(&mut pair), None);
    }
}

#[test]
fn prepared_or_not_it_is_alone() {
    let mut pair = pair();
    let text = "set a to 'b'";
    for name in ["", "s", "s"] {
        if pair.names.get(name.as_bytes()).is_none() {
            pair.client(&prepare(name, text));
        }
        pair.client(&[bind(name), execute(), empty(b'S')].concat());
        while let Some(owed) = pair.tracker.ledger.front() {
            pair.server(&match owed.kind {
                Kind::Parse => empty(b'1'),
                Kind::Bind => empty(b'2'),
                Kind::Execute => tagged("SET"),
                _ => break,
            });
        }
        pair.server(&ready(Status::Idle));
        assert_eq!(alone(&mut pair).as_deref(), Some(text), "{name:?}");
    }
}

#[test]
fn with_anything_else_it_is_not() {
    for (sent, tags, status) in [
        // In a block, it may be rolled back.
        (
            &["begin", "set a to 'b'"][..],
            &["BEGIN", "SET"][..],
            Status::Transaction,
        ),
        // Twice in one transaction, or with more behind it.
        (
            &["set a to 'b'; set a to 'c'"],
            &["SET", "SET"],
            Status::Idle,
        ),
        (
            &["set a to 'b'; select 1"],
            &["SET", "SELECT 1"],
            Status::Idle,
        ),
        // It is not known which of two was first.
        (
            &["set a to 'b'", "set a to 'c'"],
            &["SET", "SET"],
            Status::Idle,
        ),
        // It sets nothing for the session, or what cannot be known.
        (&["set local a to 'b'"], &["SET"], Status::Idle),
        (&["set seed to 0.5"], &["SET"], Status::Idle),
    ] {
        let mut pair = pair();
        let queries = sent.iter().map(|text| simple(text)).collect::<Vec<_>>();
        pair.client(&queries.concat());
        if sent.len() == 1 {
            done(&mut pair, tags, status);
        } else {
            for tag in tags {
                done(&mut pair, &[tag], status);
            }
        }
        assert_eq!(alone(&mut pair), None, "{sent:?}");
    }
    let mut pair = pair();
    pair.client(&simple("set a to 'b'"));
    pair.server(&[error("22023"), ready(Status::Idle)].concat());
    assert_eq!(alone(&mut pair), None, "it has failed");
    let long = format!("set a to '{}'", "x".repeat(300));
    pair.client(&simple(&long));
    done(&mut pair, &["SET"], Status::Idle);
    assert_eq!(alone(&mut pair), None, "it is long");
}

#[test]
fn in_a_batch_it_is_not_alone_with_others() {
    let mut pair = pair();
    let mut batch = Vec::new();
    for text in ["set a to 'b'", "rollback"] {
        batch.extend([prepare("", text), bind(""), execute()].concat());
    }
    pair.client(&[batch, empty(b'S')].concat());
    let step = |tag: &str| [empty(b'1'), empty(b'2'), tagged(tag)].concat();
    pair.server(&[step("SET"), step("ROLLBACK"), ready(Status::Idle)].concat());
    assert_eq!(alone(&mut pair), None);
    // Bound, and never executed.
    pair.client(&[prepare("", "set a to 'b'"), bind(""), empty(b'S')].concat());
    pair.server(&[empty(b'1'), empty(b'2'), ready(Status::Idle)].concat());
    assert_eq!(alone(&mut pair), None);
    // Executed twice: the second time an error would have undone the first.
    let twice = [
        prepare("", "set a to 'b'"),
        bind(""),
        execute(),
        bind(""),
        execute(),
    ];
    pair.client(&[twice.concat(), empty(b'S')].concat());
    let again = [empty(b'2'), tagged("SET")].concat();
    pair.server(&[step("SET"), again, ready(Status::Idle)].concat());
    assert_eq!(alone(&mut pair), None);
}
