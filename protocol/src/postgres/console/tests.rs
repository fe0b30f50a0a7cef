use super::*;
use crate::postgres::message::{EXECUTE_ALL, Report, SYNC, TERMINATE, close, framed, query};

/// Feeds everything to a new conversation; each command is answered by `run`.
fn converse(input: &[u8], run: impl Fn(&Command) -> Answer) -> Vec<(u8, Vec<u8>)> {
    let mut conversation = Conversation::default();
    let mut out = Vec::new();
    feed(&mut conversation, input, run, &mut out);
    messages(&out)
}

/// Returns what was not taken.
fn feed(
    conversation: &mut Conversation,
    mut input: &[u8],
    run: impl Fn(&Command) -> Answer,
    out: &mut Vec<u8>,
) -> Step {
    loop {
        let (step, taken) = conversation.step(input, out).unwrap();
        input = &input[taken..];
        match step {
            Step::Run(command) => conversation.answer(run(&command), out),
            Step::Taken => {}
            Step::Starved | Step::Quit => {
                assert!(input.is_empty(), "{input:?} was left");
                return step;
            }
        }
    }
}

fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while let [tag, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        messages.push((*tag, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty());
    messages
}

fn tags(messages: &[(u8, Vec<u8>)]) -> String {
    messages.iter().map(|(tag, _)| char::from(*tag)).collect()
}

fn body(messages: &[(u8, Vec<u8>)], tag: u8) -> &[u8] {
    let found = messages.iter().find(|(found, _)| *found == tag);
    &found.expect("a message with this tag").1
}

/// A field of the first ErrorResponse.
fn error(messages: &[(u8, Vec<u8>)], field: u8) -> String {
    let body = body(messages, b'E');
    let mut fields = body.split(|&byte| byte == 0);
    let found = fields.find(|found| found.first() == Some(&field));
    String::from_utf8(found.expect("a field")[1..].to_vec()).unwrap()
}

fn simple(sql: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    query(&mut bytes, sql.as_bytes());
    bytes
}

fn parse_message(name: &str, sql: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    framed(&mut bytes, b'P', |out| {
        out.extend(format!("{name}\0{sql}\0\0\0").bytes());
    });
    bytes
}

fn bind(portal: &str, statement: &str, formats: &[i16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    framed(&mut bytes, b'B', |out| {
        out.extend(format!("{portal}\0{statement}\0\0\0\0\0").bytes());
        out.extend((formats.len() as u16).to_be_bytes());
        out.extend(formats.iter().flat_map(|format| format.to_be_bytes()));
    });
    bytes
}

fn describe(kind: char, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    framed(&mut bytes, b'D', |out| {
        out.extend(format!("{kind}{name}\0").bytes());
    });
    bytes
}

fn execute(portal: &str, limit: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    framed(&mut bytes, b'E', |out| {
        out.extend(format!("{portal}\0").bytes());
        out.extend(limit.to_be_bytes());
    });
    bytes
}

/// Three rows of `SHOW LISTS`, and nothing of everything else.
fn lists(command: &Command) -> Answer {
    match command {
        Command::Show(Show::Lists) => Answer::Rows(Table {
            rows: vec![
                vec!["databases".into(), Value::Number(7)],
                vec!["users".into(), Value::Number(1 << 40)],
                vec!["pools".into(), Value::Null],
            ],
        }),
        Command::Show(_) => Answer::Rows(Table::default()),
        Command::Reload => Answer::Refused(Report::error("0A000", "no")),
        _ => Answer::Done,
    }
}

#[test]
fn texts_and_what_they_mean() {
    let db = |name: &str| Some(name.to_owned());
    for (text, commands) in [
        ("", vec![]),
        (" ; ;; -- nothing\n/* at /* all */ */", vec![]),
        ("SHOW POOLS", vec![Command::Show(Show::Pools)]),
        ("show Pools;", vec![Command::Show(Show::Pools)]),
        (
            "/* by */ sHoW\n\tsTaTs_ToTaLs -- now",
            vec![Command::Show(Show::StatsTotals)],
        ),
        ("SELECT version", vec![Command::Show(Show::Version)]),
        ("SELECT 1;", vec![Command::Ping]),
        (
            "SHOW STATS; PAUSE ; RESUME",
            vec![
                Command::Show(Show::Stats),
                Command::Pause(None),
                Command::Resume(None),
            ],
        ),
        ("PAUSE myDb", vec![Command::Pause(db("myDb"))]),
        ("kill \"my-\"\"db;\"", vec![Command::Kill(db("my-\"db;"))]),
        ("RECONNECT x", vec![Command::Reconnect(db("x"))]),
        ("WAIT_CLOSE", vec![Command::WaitClose(None)]),
        ("KILL_CLIENT 0012", vec![Command::KillClient(12)]),
        ("shutdown", vec![Command::Shutdown(Shutdown::Drain)]),
        (
            "SHUTDOWN wait_for_servers",
            vec![Command::Shutdown(Shutdown::WaitForServers)],
        ),
        ("reload", vec![Command::Reload]),
        ("SET extra_float_digits = 3", vec![Command::Set]),
        ("SET client_encoding TO 'UTF8'", vec![Command::Set]),
        ("set session DateStyle = ISO, MDY", vec![Command::Set]),
        ("SET NAMES 'utf8'", vec![Command::Set]),
        ("SET TIME ZONE 'Europe/Berlin'", vec![Command::Set]),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            vec![Command::Set],
        ),
    ] {
        assert_eq!(parse(text.as_bytes()), Ok(commands), "{text}");
    }
    let parsed = parse(b"SHOW transaction isolation level; show TIMEZONE").unwrap();
    let values = parsed.iter().map(|command| match command {
        Command::Parameter(parameter) => (parameter.name(), parameter.value),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        values.collect::<Vec<_>>(),
        [
            ("transaction_isolation", "read committed"),
            ("TimeZone", "GMT")
        ]
    );
}

#[test]
fn texts_that_are_refused() {
    for (text, code, words) in [
        (
            "EXPLAIN x",
            "42601",
            "not a command of the console: EXPLAIN",
        ),
        ("SHOW", "42601", "SHOW what?"),
        ("SHOW BOATS", "42601", "there is no SHOW BOATS"),
        ("SHOW POOLS STATS", "42601", "SHOW takes one word"),
        ("SHOW 'POOLS'", "42601", "SHOW takes one word"),
        ("SHOW FDS", "0A000", "entrapool has no FDS"),
        ("DISABLE db", "0A000", "entrapool has no DISABLE"),
        ("SELECT 1 + 1", "42601", "runs no SQL"),
        ("SELECT 2", "42601", "runs no SQL"),
        ("BEGIN", "0A000", "no transactions"),
        ("SET stats_period = 5", "0A000", "stats_period can't be set"),
        ("SET = 5", "42601", "SET without a name"),
        ("PAUSE my-db", "42601", "one name is expected"),
        ("PAUSE a b", "42601", "one name is expected"),
        ("KILL_CLIENT", "42601", "expects a client's number"),
        ("KILL_CLIENT x", "42601", "expects a client's number"),
        (
            "KILL_CLIENT 99999999999999999999",
            "42601",
            "expects a client's number",
        ),
        ("RELOAD now", "42601", "nothing may follow"),
        ("SHUTDOWN later", "42601", "WAIT_FOR_SERVERS"),
        ("SHOW STATS; nonsense", "42601", "nonsense"),
        ("\"SHOW\" STATS", "42601", "does not begin with a word"),
        ("PAUSE \"db", "42601", "unterminated quoted name"),
        ("SET x = 'y", "42601", "unterminated string"),
        ("SHOW /* STATS", "42601", "unterminated comment"),
    ] {
        let report = parse(text.as_bytes()).expect_err(text);
        assert_eq!(report.code, code, "{text}");
        assert!(report.message.contains(words), "{text}: {}", report.message);
        assert!(report.hint.is_some() || text.contains("/*"), "{text}");
    }
    assert_eq!(parse(b"SHOW \xff").unwrap_err().code, "22021");
    assert_eq!(parse(&[b' '; LONGEST_TEXT + 1]).unwrap_err().code, "54000");
    assert_eq!(parse(&[b' '; LONGEST_TEXT]), Ok(vec![]));
    let long = format!("PAUSE {}", "x".repeat(513));
    assert_eq!(parse(long.as_bytes()).unwrap_err().code, "42622");
}

#[test]
fn what_exists_is_in_the_hint_and_in_the_help() {
    let hint = parse(b"SHOW BOATS").unwrap_err().hint.unwrap();
    let help: String = HELP
        .iter()
        .map(|(command, _)| format!("{command}\n"))
        .collect();
    for (word, show) in Show::WORDS {
        assert!(hint.contains(word), "{word}");
        assert!(help.contains(word), "{word}");
        assert_eq!(
            parse(format!("SHOW {word}").as_bytes()),
            Ok(vec![Command::Show(*show)])
        );
    }
    for (command, _) in HELP {
        let first = command
            .split([',', '['])
            .next()
            .unwrap()
            .replace(" id", " 1");
        parse(first.as_bytes()).expect(command);
    }
}

#[test]
fn a_simple_query_has_rows() {
    let answer = converse(&simple("SHOW LISTS;"), lists);
    assert_eq!(tags(&answer), "TDDDCZ");
    let columns = body(&answer, b'T');
    // list: text; items: int4; both of no table, and in text format.
    let expected = [
        &[0, 2][..],
        b"list\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
        b"items\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
    ]
    .concat();
    assert_eq!(columns, expected);
    assert_eq!(answer[1].1, b"\0\x02\0\0\0\x09databases\0\0\0\x017");
    // More than the type holds is the most that it holds.
    assert_eq!(answer[2].1, b"\0\x02\0\0\0\x05users\0\0\0\x0a2147483647");
    assert_eq!(answer[3].1, b"\0\x02\0\0\0\x05pools\xff\xff\xff\xff");
    assert_eq!(body(&answer, b'C'), b"SHOW\0");
    assert_eq!(body(&answer, b'Z'), b"I");
}

#[test]
fn several_commands_of_one_query() {
    let answer = converse(&simple("SHOW LISTS; SHOW POOLS; PAUSE"), lists);
    assert_eq!(tags(&answer), "TDDDCTCCZ");
    // What failed ends the query.
    let answer = converse(&simple("PAUSE; RELOAD; SHOW LISTS"), lists);
    assert_eq!(tags(&answer), "CEZ");
    // And one that can't be read is not begun.
    let answer = converse(&simple("PAUSE; PAWS"), |_| panic!("nothing runs"));
    assert_eq!(tags(&answer), "EZ");
    assert_eq!(error(&answer, b'C'), "42601");
    assert!(error(&answer, b'H').contains("SHOW HELP"));
    for empty in ["", ";", " -- x"] {
        assert_eq!(tags(&converse(&simple(empty), lists)), "IZ");
    }
}

#[test]
fn what_needs_no_knowledge_is_answered_at_once() {
    let nobody = |command: &Command| panic!("{command:?} is known");
    let answer = converse(
        &simple("select 1; show client_encoding; SET DateStyle = ISO"),
        nobody,
    );
    assert_eq!(tags(&answer), "TDCTDCNCZ");
    assert!(body(&answer, b'T').starts_with(b"\0\x01?column?\0"));
    assert_eq!(answer[4].1, b"\0\x01\0\0\0\x04UTF8");
    let help = converse(&simple("SHOW HELP"), nobody);
    assert_eq!(tags(&help).matches('D').count(), HELP.len());
}

#[test]
fn an_extended_query_has_the_formats_that_it_asks_for() {
    let whole = [
        parse_message("", "SHOW LISTS"),
        describe('S', ""),
        bind("", "", &[1]),
        describe('P', ""),
        EXECUTE_ALL.to_vec(),
        SYNC.to_vec(),
    ]
    .concat();
    let answer = converse(&whole, lists);
    assert_eq!(tags(&answer), "1tT2TDDDCZ");
    assert_eq!(body(&answer, b't'), [0, 0]);
    // Before Bind all is said to be text.
    assert!(answer[2].1.ends_with(&[0, 0]));
    assert!(answer[4].1.ends_with(&[0, 1]));
    assert_eq!(
        answer[5].1,
        b"\0\x02\0\0\0\x09databases\0\0\0\x04\0\0\0\x07"
    );
    let each = [
        parse_message("s", "SHOW TOTALS"),
        bind("p", "s", &[0, 1]),
        execute("p", 0),
        SYNC.to_vec(),
    ]
    .concat();
    let answer = converse(&each, |_| {
        Answer::Rows(Table {
            rows: vec![vec!["x".into(), Value::Number(-1)]],
        })
    });
    assert_eq!(tags(&answer), "12DCZ");
    assert_eq!(
        answer[2].1,
        [&b"\0\x02\0\0\0\x01x\0\0\0\x08"[..], &[0xff; 8]].concat()
    );
}

#[test]
fn a_statement_is_run_often_and_a_command_without_rows_says_so() {
    let whole = [
        parse_message("s", "PAUSE \"x\""),
        describe('S', "s"),
        SYNC.to_vec(),
        bind("", "s", &[]),
        EXECUTE_ALL.to_vec(),
        SYNC.to_vec(),
        bind("", "s", &[]),
        EXECUTE_ALL.to_vec(),
        SYNC.to_vec(),
    ]
    .concat();
    let answer = converse(&whole, |command| {
        assert_eq!(*command, Command::Pause(Some("x".into())));
        Answer::Done
    });
    assert_eq!(tags(&answer), "1tnZ2CZ2CZ");
    let empty = [
        parse_message("", " "),
        bind("", "", &[]),
        describe('P', ""),
        EXECUTE_ALL.to_vec(),
        SYNC.to_vec(),
    ]
    .concat();
    assert_eq!(tags(&converse(&empty, lists)), "12nIZ");
}

#[test]
fn a_limit_of_rows_suspends_a_portal() {
    let whole = [
        parse_message("", "SHOW LISTS"),
        bind("", "", &[]),
        execute("", 2),
        execute("", 2),
        execute("", 2),
        execute("", u32::MAX),
        SYNC.to_vec(),
    ]
    .concat();
    // The last one has ended: it goes on to have no rows.
    assert_eq!(tags(&converse(&whole, lists)), "12DDsDCCCZ");
    let again = [
        parse_message("", "PAUSE"),
        bind("", "", &[]),
        execute("", 0),
        execute("", 0),
        SYNC.to_vec(),
    ]
    .concat();
    let answer = converse(&again, lists);
    assert_eq!(tags(&answer), "12CEZ");
    assert_eq!(error(&answer, b'C'), "55000");
}

#[test]
fn after_an_error_nothing_counts_before_sync() {
    for (broken, code) in [
        (parse_message("", "SHOW BOATS"), "42601"),
        (parse_message("", "PAUSE; RESUME"), "42601"),
        (parse_message("s", "PAUSE"), "42P05"),
        (bind("", "nowhere", &[]), "26000"),
        (bind("", "s", &[0, 0, 0]), "08P01"),
        (bind("", "s", &[2]), "22023"),
        (describe('S', "nowhere"), "26000"),
        (describe('P', "nowhere"), "34000"),
        (execute("nowhere", 0), "34000"),
        ([bind("p", "s", &[]), bind("p", "s", &[])].concat(), "42P03"),
        (
            [
                parse_message("", "RELOAD"),
                bind("", "", &[]),
                execute("", 0),
            ]
            .concat(),
            "0A000",
        ),
        (parse_message(&"n".repeat(257), "PAUSE"), "54000"),
    ] {
        let mut conversation = Conversation::default();
        let mut out = Vec::new();
        let begin = [parse_message("s", "SHOW LISTS"), SYNC.to_vec()].concat();
        feed(&mut conversation, &begin, lists, &mut out);
        out.clear();
        let whole = [
            broken,
            execute("", 0),
            simple("SHOW LISTS"),
            parse_message("", "PAUSE"),
            SYNC.to_vec(),
            simple("PAUSE"),
        ]
        .concat();
        feed(&mut conversation, &whole, lists, &mut out);
        let answer = messages(&out);
        assert!(tags(&answer).ends_with("EZCZ"), "{code}: {}", tags(&answer));
        assert_eq!(error(&answer, b'C'), code);
    }
}

#[test]
fn parameters_are_refused() {
    let mut message = Vec::new();
    framed(&mut message, b'B', |out| {
        out.extend(b"\0\0\0\0\0\x02\xff\xff\xff\xff\0\0\0\x01x\0\0");
    });
    let whole = [parse_message("", "PAUSE"), message, SYNC.to_vec()].concat();
    let answer = converse(&whole, lists);
    assert_eq!(tags(&answer), "1EZ");
    assert_eq!(error(&answer, b'C'), "08P01");
    assert!(error(&answer, b'M').contains("2 parameters"));
    let answer = converse(&simple("PAUSE $1"), lists);
    assert_eq!(error(&answer, b'C'), "42601");
}

#[test]
fn portals_end_with_sync_and_unnamed_statements_with_a_query() {
    let whole = [
        parse_message("", "PAUSE"),
        bind("p", "", &[]),
        SYNC.to_vec(),
        execute("p", 0),
        SYNC.to_vec(),
        bind("", "", &[]),
        SYNC.to_vec(),
        simple(""),
        bind("", "", &[]),
        SYNC.to_vec(),
    ]
    .concat();
    assert_eq!(tags(&converse(&whole, lists)), "12ZEZ2ZIZEZ");
    let mut whole = parse_message("s", "PAUSE");
    close(&mut whole, b'S', b"s");
    close(&mut whole, b'P', b"never there");
    whole.extend(bind("", "s", &[]));
    whole.extend(SYNC);
    assert_eq!(tags(&converse(&whole, lists)), "133EZ");
}

#[test]
fn what_is_kept_is_bounded() {
    let mut whole = Vec::new();
    for number in 0..=MOST_NAMES {
        whole.extend(parse_message(&format!("s{number}"), "PAUSE"));
    }
    whole.extend(SYNC);
    let answer = converse(&whole, lists);
    assert_eq!(tags(&answer), format!("{}EZ", "1".repeat(MOST_NAMES)));
    assert_eq!(error(&answer, b'C'), "54000");
    let mut portals = parse_message("", "PAUSE");
    for number in 0..=MOST_NAMES {
        portals.extend(bind(&format!("p{number}"), "", &[]));
    }
    portals.extend(SYNC);
    let answer = converse(&portals, lists);
    assert_eq!(tags(&answer), format!("1{}EZ", "2".repeat(MOST_NAMES)));
}

#[test]
fn messages_that_break_the_protocol() {
    let refused = |bytes: &[u8]| {
        Conversation::default()
            .step(bytes, &mut Vec::new())
            .is_err()
    };
    assert!(refused(b"Q\0\0\0\x05x"), "no terminator");
    assert!(refused(b"Q\0\0\0\x03"), "length");
    assert!(
        refused(b"Q\0\x01\0\0"),
        "length beyond what can be a command"
    );
    assert!(refused(b"p\0\0\0\x05\0"), "a password");
    assert!(refused(b"P\0\0\0\x06\0\0"), "no number of types");
    assert!(refused(b"D\0\0\0\x06X\0"), "neither statement nor portal");
    assert!(
        refused(b"B\0\0\0\x0e\0\0\0\0\0\x01\0\0\0\x09"),
        "no parameter"
    );
    let mut out = Vec::new();
    let mut conversation = Conversation::default();
    let step = feed(&mut conversation, &TERMINATE, lists, &mut out);
    assert_eq!((step, out.len()), (Step::Quit, 0));
    let call = converse(b"F\0\0\0\x04", lists);
    assert_eq!(tags(&call), "EZ");
}

#[test]
fn cut_anywhere_it_is_the_same() {
    let whole = [
        simple("SHOW LISTS; SHOW BOATS"),
        simple("SHOW LISTS; RELOAD; PAUSE"),
        parse_message("s", "SHOW LISTS"),
        bind("", "s", &[1]),
        execute("", 1),
        SYNC.to_vec(),
    ]
    .concat();
    let at_once = converse(&whole, lists);
    let mut conversation = Conversation::default();
    let (mut out, mut kept) = (Vec::new(), Vec::new());
    for byte in whole {
        kept.push(byte);
        loop {
            let (step, taken) = conversation.step(&kept, &mut out).unwrap();
            kept.drain(..taken);
            match step {
                Step::Run(command) => conversation.answer(lists(&command), &mut out),
                Step::Taken => {}
                _ => break,
            }
        }
    }
    assert_eq!(messages(&out), at_once);
}

#[test]
fn a_greeting_tells_what_drivers_ask_for() {
    let mut out = Vec::new();
    greeting(&mut out);
    let told: Vec<_> = messages(&out).into_iter().map(|(_, body)| body).collect();
    for expected in [
        "server_version\x001.25.2/entrapool\0",
        "client_encoding\0UTF8\0",
        "standard_conforming_strings\0on\0",
        "integer_datetimes\0on\0",
    ] {
        assert!(
            told.iter().any(|body| body == expected.as_bytes()),
            "{expected}"
        );
    }
}
