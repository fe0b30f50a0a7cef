//! Prepared statements: what clients call them, what backends hold.

use super::*;

#[test]
fn statements_follow_their_client_to_another_backend() {
    let dictionary = Arc::<Dictionary>::default();
    let mut pair = Pair::with(Arc::clone(&dictionary), 1);
    assert_eq!(
        pair.client(&[prepare("s", "select 1"), empty(b'S')].concat()),
        "PS"
    );
    assert!(
        pair.to_server
            .windows(12)
            .any(|bytes| bytes == b"entrapool_1\0")
    );
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    // Another backend, the same client.
    pair.tracker = Tracker::new(dictionary);
    let batch = [bind("s"), execute(), empty(b'S')].concat();
    assert_eq!(pair.client(&batch), "PBES");
    let answer = [
        empty(b'1'),
        empty(b'2'),
        tagged("SELECT 1"),
        ready(Status::Idle),
    ]
    .concat();
    assert_eq!(pair.server(&answer), "2CZ");
    // It is there now; a second client's Parse of the same text is answered by us.
    assert_eq!(pair.client(&batch), "BES");
    assert_eq!(pair.server(&answer[5..]), "2CZ");
    pair.names = Statements::new(2);
    let batch = [
        prepare("other", "select 1"),
        about(b'D', b'S', "other"),
        empty(b'S'),
    ]
    .concat();
    assert_eq!(pair.client(&batch), "DS");
    assert_eq!(
        pair.server(&[empty(b't'), empty(b'n'), ready(Status::Idle)].concat()),
        "1tnZ"
    );
}

#[test]
fn close_is_answered_in_its_turn() {
    let mut pair = Pair::new();
    pair.client(&[prepare("s", "select 1"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    let batch = [
        bind("s"),
        about(b'C', b'S', "s"),
        about(b'C', b'P', ""),
        empty(b'S'),
    ]
    .concat();
    assert_eq!(pair.client(&batch), "BCS");
    assert_eq!(
        pair.server(&[empty(b'2'), empty(b'3'), ready(Status::Idle)].concat()),
        "233Z"
    );
    assert!(pair.names.is_empty());
}

#[test]
fn a_skipped_parse_never_happened() {
    let mut pair = Pair::new();
    let batch = [
        prepare("bad", "x"),
        prepare("good", "select 1"),
        empty(b'S'),
    ]
    .concat();
    pair.client(&batch);
    assert_eq!(pair.names.len(), 2);
    assert_eq!(
        pair.server(&[error("42601"), ready(Status::Idle)].concat()),
        "EZ"
    );
    assert!(pair.names.is_empty());
    assert_eq!(pair.tracker.prepared(), 0);
    // A Close that was skipped has closed nothing.
    pair.client(&[prepare("s", "select 1"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    pair.client(&[bind("missing"), about(b'C', b'S', "s"), empty(b'S')].concat());
    assert_eq!(
        pair.server(&[error("26000"), ready(Status::Idle)].concat()),
        "EZ"
    );
    assert!(pair.names.get(b"s").is_some());
}

#[test]
fn a_later_batch_does_not_lean_on_a_parse_that_may_be_skipped() {
    let mut pair = Pair::new();
    pair.client(&[prepare("s", "select 1"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    // Another backend. The first batch fails before the Parse that is put into it.
    pair.tracker = Tracker::new(Arc::default());
    let first = [bind("missing"), bind("s"), empty(b'S')].concat();
    assert_eq!(pair.client(&first), "BPBS");
    let run = [bind("s"), execute(), empty(b'S')].concat();
    assert!(pair.stalls(&run));
    let failed = [error("26000"), ready(Status::Idle)].concat();
    assert_eq!(pair.server(&failed), "EZ");
    // Now it is certain.
    assert_eq!(pair.client(&run), "PBES");
    let answer = [empty(b'2'), tagged("SELECT 1"), ready(Status::Idle)].concat();
    assert_eq!(pair.server(&[empty(b'1'), answer.clone()].concat()), "2CZ");
    assert_eq!(pair.client(&run), "BES");
    assert_eq!(pair.server(&answer), "2CZ");
    assert_eq!(pair.tracker.prepared(), 1);
}

#[test]
fn an_injected_parse_that_fails_answers_the_bind() {
    let mut pair = Pair::new();
    pair.client(&[prepare("s", "select * from gone"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    pair.tracker = Tracker::new(Arc::default());
    pair.client(&[bind("s"), execute(), empty(b'S')].concat());
    assert_eq!(
        pair.server(&[error("42P01"), ready(Status::Idle)].concat()),
        "EZ"
    );
    assert_eq!(pair.tracker.prepared(), 0);
    assert!(pair.names.get(b"s").is_some());
}

#[test]
fn a_name_in_use_and_one_like_ours() {
    let mut pair = Pair::new();
    pair.client(&[prepare("s", "select 1"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    // The server reads the new text, and refuses another name than the client's.
    assert_eq!(
        pair.client(&[prepare("s", "select 2"), empty(b'S')].concat()),
        "PPS"
    );
    let refused = [empty(b'1'), error("42P05"), ready(Status::Idle)].concat();
    assert_eq!(pair.server(&refused), "EZ");
    let text = String::from_utf8_lossy(&pair.to_client).into_owned();
    assert!(text.contains("42P05") && text.contains("\"s\""), "{text}");
    // It may have another reason.
    assert_eq!(
        pair.client(&[prepare("s", "broken"), empty(b'S')].concat()),
        "PS"
    );
    assert_eq!(
        pair.server(&[error("42601"), ready(Status::Idle)].concat()),
        "EZ"
    );
    assert_eq!(
        pair.to_client,
        [error("42601"), ready(Status::Idle)].concat()
    );
    pair.client(&[bind("entrapool_1"), empty(b'S')].concat());
    assert_eq!(
        pair.server(&[error("26000"), ready(Status::Idle)].concat()),
        "EZ"
    );
    let text = String::from_utf8_lossy(&pair.to_client).into_owned();
    assert!(text.contains("\"entrapool_1\""), "{text}");
    assert_eq!(pair.tracker.boundary(), Boundary::Idle);
}

#[test]
fn a_parse_in_a_failed_transaction_is_the_servers_to_refuse() {
    let mut pair = Pair::new();
    pair.client(&[prepare("a", "select 1"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    assert_eq!(
        pair.client(&[prepare("b", "select 1"), empty(b'S')].concat()),
        "S"
    );
    assert_eq!(pair.server(&ready(Status::Failed)), "1Z");
    assert_eq!(
        pair.client(&[prepare("c", "select 1"), empty(b'S')].concat()),
        "CPS"
    );
    let refused = [empty(b'3'), error("25P02"), ready(Status::Failed)].concat();
    assert_eq!(pair.server(&refused), "EZ");
    assert!(pair.names.get(b"c").is_none());
    // The Close was carried out.
    assert_eq!(pair.client(&[bind("a"), empty(b'S')].concat()), "PBS");
}

#[test]
fn the_unnamed_statement_is_its_clients_own() {
    let dictionary = Arc::<Dictionary>::default();
    let mut pair = Pair::with(Arc::clone(&dictionary), 1);
    let describe = [prepare("", "select 1"), about(b'D', b'S', ""), empty(b'S')].concat();
    assert_eq!(pair.client(&describe), "PDS");
    let answer = [empty(b'1'), empty(b't'), empty(b'T'), ready(Status::Idle)].concat();
    assert_eq!(pair.server(&answer), "1tTZ");
    // On the same backend nothing has to be done.
    let run = [bind(""), execute(), empty(b'S')].concat();
    assert_eq!(pair.client(&run), "BES");
    pair.server(&[empty(b'2'), tagged("SELECT 1"), ready(Status::Idle)].concat());
    // Somebody else used the backend meanwhile: it is parsed again.
    let mine = std::mem::replace(&mut pair.names, Statements::new(2));
    pair.client(&[prepare("", "select 2"), bind(""), execute(), empty(b'S')].concat());
    let answer = [
        empty(b'1'),
        empty(b'2'),
        tagged("SELECT 1"),
        ready(Status::Idle),
    ]
    .concat();
    assert_eq!(pair.server(&answer), "12CZ");
    let other = std::mem::replace(&mut pair.names, mine);
    assert_eq!(pair.client(&run), "PBES");
    assert!(pair.to_server.windows(8).any(|bytes| bytes == b"select 1"));
    assert_eq!(pair.server(&answer), "2CZ");
    // The other one's is still there, though it was bound; a third client has none.
    pair.names = other;
    assert_eq!(pair.client(&run), "PBES");
    assert!(pair.to_server.windows(8).any(|bytes| bytes == b"select 2"));
    assert_eq!(pair.server(&answer), "2CZ");
    pair.names = Statements::new(3);
    assert_eq!(pair.client(&run), "CBES");
    assert_eq!(
        pair.server(&[empty(b'3'), error("26000"), ready(Status::Idle)].concat()),
        "EZ"
    );
}

#[test]
fn the_unnamed_statement_survives_what_it_survives_on_a_server() {
    let dictionary = Arc::<Dictionary>::default();
    let mut pair = Pair::with(Arc::clone(&dictionary), 1);
    let call = build(|out| framed(out, b'F', |_| {}));
    pair.client(&[prepare("", "select 1"), call].concat());
    pair.server(&[empty(b'1'), empty(b'V'), ready(Status::Idle)].concat());
    // On another backend it is parsed again, and another Parse skipped, then a Close.
    pair.tracker = Tracker::new(Arc::clone(&dictionary));
    for skipped in [
        bind(""),
        prepare("", "select 2"),
        about(b'C', b'S', ""),
        simple("select 3"),
    ] {
        pair.client(&[bind("nobody"), skipped, empty(b'S')].concat());
        // Until that is known, nobody can say what the name means.
        assert!(pair.stalls(&bind("")) || pair.names.unnamed().starts_with(b"select 1"));
        pair.server(&[error("26000"), ready(Status::Idle)].concat());
        assert!(pair.names.unnamed().starts_with(b"select 1"));
    }
    assert_eq!(pair.client(&[bind(""), empty(b'S')].concat()), "PBS");
}

#[test]
fn a_backend_does_not_mistake_its_old_unnamed_statement_for_the_clients_new_one() {
    let dictionary = Arc::<Dictionary>::default();
    let mut pair = Pair::with(Arc::clone(&dictionary), 1);
    let mut other = Tracker::new(dictionary);
    pair.client(&[prepare("", "select 1"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    std::mem::swap(&mut pair.tracker, &mut other);
    pair.client(&[prepare("", "select 2"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    std::mem::swap(&mut pair.tracker, &mut other);
    assert_eq!(pair.client(&[bind(""), empty(b'S')].concat()), "PBS");
    assert!(pair.to_server.windows(8).any(|bytes| bytes == b"select 2"));
    pair.server(&[empty(b'1'), empty(b'2'), ready(Status::Idle)].concat());
    std::mem::swap(&mut pair.tracker, &mut other);
    pair.client(&simple("select 3"));
    pair.server(&[tagged("SELECT 1"), ready(Status::Idle)].concat());
    std::mem::swap(&mut pair.tracker, &mut other);
    assert_eq!(pair.client(&[bind(""), empty(b'S')].concat()), "CBS");
}

#[test]
fn what_a_later_query_ended_does_not_come_back_with_an_earlier_failure() {
    let mut pair = Pair::new();
    pair.client(&[prepare("", "select 0"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    // The server skips the first Query, but not the second.
    pair.client(&[bind("nobody"), simple("select 1"), empty(b'S')].concat());
    pair.client(&simple("select 2"));
    pair.server(&[error("26000"), ready(Status::Idle)].concat());
    assert!(pair.names.unnamed().is_empty());
    pair.server(&[tagged("SELECT 1"), ready(Status::Idle)].concat());
    assert!(pair.names.unnamed().is_empty());
}

#[test]
fn what_a_later_batch_parsed_outlives_an_earlier_failure() {
    let mut pair = Pair::new();
    pair.client(&[prepare("", "select 0"), empty(b'S')].concat());
    pair.server(&[empty(b'1'), ready(Status::Idle)].concat());
    pair.client(&[bind("nobody"), prepare("", "select 1"), empty(b'S')].concat());
    pair.client(&[bind("nobody"), prepare("", "select 2"), empty(b'S')].concat());
    pair.client(&[prepare("", "select 3"), empty(b'S')].concat());
    let failed = [error("26000"), ready(Status::Idle)].concat();
    pair.server(&failed);
    assert!(pair.names.unnamed().starts_with(b"select 3"));
    pair.server(&failed);
    assert!(pair.names.unnamed().starts_with(b"select 3"));
    // Its own failure leaves none.
    pair.server(&[error("42601"), ready(Status::Idle)].concat());
    assert!(pair.names.unnamed().is_empty());
}
