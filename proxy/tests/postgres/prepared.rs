//! Transaction mode and the extended protocol: statements follow their client to any backend.

use std::collections::BTreeSet;

use crate::sidecar::raw::{bind, close, describe, execute, message, parse, sync, tags};
use crate::sidecar::{Message, Raw, Sidecar, shared};

/// The process id of the backend that serves the client now.
async fn backend_of(raw: &mut Raw) -> i32 {
    let answer = raw.query("select pg_backend_pid()").await;
    answer[1].column().parse().unwrap()
}

/// Holds a backend in a transaction, so that others get another one; returns its process id.
async fn hold(raw: &mut Raw) -> i32 {
    raw.query("begin").await;
    backend_of(raw).await
}

fn columns(messages: &[Message]) -> Vec<String> {
    let rows = messages.iter().filter(|message| message.tag == b'D');
    rows.map(Message::column).collect()
}

#[tokio::test]
async fn named_statements_on_every_backend() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(2).start().await;
    let (mut one, mut two) = (proxy.raw().await, proxy.raw().await);
    let mut blocker = proxy.raw().await;
    // The same name for two texts, as drivers number them.
    for (raw, sql) in [
        (&mut one, "select 1 + $1::int"),
        (&mut two, "select 100 + $1::int"),
    ] {
        raw.send(&[parse("s1", sql), describe(b'S', "s1"), sync()].concat())
            .await;
        assert_eq!(tags(&raw.until(b'Z').await), "1tTZ");
    }
    let mut backends = BTreeSet::new();
    for round in 0..4 {
        backends.insert(hold(&mut blocker).await);
        for (raw, wanted) in [(&mut one, "6"), (&mut two, "105")] {
            raw.send(&[bind("s1", &[b"5"]), execute(), sync()].concat())
                .await;
            let answer = raw.until(b'Z').await;
            assert_eq!(tags(&answer), "2DCZ", "round {round}");
            assert_eq!(columns(&answer), [wanted]);
            backends.insert(backend_of(raw).await);
        }
        // In the next round the blocker takes the backend that was used last.
        blocker.query("commit").await;
    }
    assert_eq!(backends.len(), 2);
    // A name that is taken, one that is not known, and one that was closed: PostgreSQL's words.
    for (bytes, code, text) in [
        (
            parse("s1", "select 2"),
            "42P05",
            "prepared statement \"s1\" already exists",
        ),
        (
            bind("s2", &[]),
            "26000",
            "prepared statement \"s2\" does not exist",
        ),
    ] {
        one.send(&[bytes, sync()].concat()).await;
        let answer = one.until(b'Z').await;
        let fields = answer[0].fields();
        assert_eq!((fields[&'C'].as_str(), fields[&'M'].as_str()), (code, text));
    }
    one.send(&[close(b'S', "s1"), bind("s1", &[b"5"]), sync()].concat())
        .await;
    let answer = one.until(b'Z').await;
    assert_eq!(tags(&answer), "3EZ");
    assert_eq!(answer[1].fields()[&'C'], "26000");
    // The other client's is still there.
    two.send(&[bind("s1", &[b"1"]), execute(), sync()].concat())
        .await;
    assert_eq!(columns(&two.until(b'Z').await), ["101"]);
}

#[tokio::test]
async fn a_flush_brings_answers_that_the_server_never_gives() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let flush = message(b'H', b"");
    for _ in 0..2 {
        let mut raw = proxy.raw().await;
        // The second client's Parse never reaches the server, nor does any Close.
        raw.send(&[parse("s", "select 1"), flush.clone()].concat())
            .await;
        assert_eq!(raw.next().await.unwrap().tag, b'1');
        raw.send(&[close(b'S', "s"), flush.clone()].concat()).await;
        assert_eq!(raw.next().await.unwrap().tag, b'3');
        raw.send(&sync()).await;
        assert_eq!(tags(&raw.until(b'Z').await), "Z");
    }
}

#[tokio::test]
async fn the_unnamed_statement_outlives_its_batch() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(2).start().await;
    let mut raw = proxy.raw().await;
    let (mut blocker, mut other) = (proxy.raw().await, proxy.raw().await);
    let mut backends = BTreeSet::new();
    for round in 0..4 {
        raw.send(&[parse("", "select $1::text"), describe(b'S', ""), sync()].concat())
            .await;
        assert_eq!(tags(&raw.until(b'Z').await), "1tTZ");
        // Somebody else's unnamed statement comes in between, on the same backend or not.
        other
            .send(
                &[
                    parse("", "select 'wrong'"),
                    bind("", &[]),
                    execute(),
                    sync(),
                ]
                .concat(),
            )
            .await;
        assert_eq!(columns(&other.until(b'Z').await), ["wrong"]);
        backends.insert(hold(&mut blocker).await);
        let text = format!("round {round}");
        raw.send(&[bind("", &[text.as_bytes()]), execute(), sync()].concat())
            .await;
        assert_eq!(columns(&raw.until(b'Z').await), [text]);
        backends.insert(backend_of(&mut raw).await);
        blocker.query("commit").await;
    }
    assert_eq!(backends.len(), 2);
    // A Query ends it, as it does without a pooler.
    raw.send(&[parse("", "select 1"), sync()].concat()).await;
    raw.until(b'Z').await;
    raw.query("select 2").await;
    raw.send(&[bind("", &[]), execute(), sync()].concat()).await;
    let answer = raw.until(b'Z').await;
    assert_eq!(answer[0].fields()[&'C'], "26000");
}

#[tokio::test]
async fn nothing_happens_between_an_error_and_its_sync() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let (mut raw, mut other) = (proxy.raw().await, proxy.raw().await);
    let batch = [
        parse("a", "select 1"),
        parse("bad", "select 1/0 from no_such_table"),
        parse("b", "select 2"),
        bind("b", &[]),
        execute(),
        close(b'S', "a"),
        sync(),
        parse("c", "select 3"),
        bind("c", &[]),
        execute(),
        sync(),
    ];
    raw.send(&batch.concat()).await;
    let first = raw.until(b'Z').await;
    assert_eq!(tags(&first), "1EZ");
    assert_eq!(first[1].fields()[&'C'], "42P01");
    let second = raw.until(b'Z').await;
    assert_eq!(
        (tags(&second).as_str(), columns(&second)),
        ("12DCZ", vec!["3".to_owned()])
    );
    // `a` was parsed and its Close skipped; `b` never was.
    raw.send(&[bind("a", &[]), execute(), sync()].concat())
        .await;
    assert_eq!(columns(&raw.until(b'Z').await), ["1"]);
    raw.send(&[bind("b", &[]), execute(), sync()].concat())
        .await;
    assert_eq!(raw.until(b'Z').await[0].fields()[&'C'], "26000");
    // An error without a Sync keeps the backend; nobody else gets in between.
    raw.send(&bind("nowhere", &[])).await;
    assert_eq!(raw.next().await.unwrap().tag, b'E');
    other.send(&crate::sidecar::raw::query("select 4")).await;
    raw.send(&[parse("x", "select 5"), bind("x", &[]), execute(), sync()].concat())
        .await;
    assert_eq!(tags(&raw.until(b'Z').await), "Z");
    assert_eq!(columns(&other.until(b'Z').await), ["4"]);
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn pipelines_of_thousands_do_not_lock_up() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut raw = proxy.raw().await;
    // Large both ways: neither the server nor the client can take it all before it is read.
    let wide = vec![b'x'; 2_000];
    let count = 20_000;
    let statement = [parse("echo", "select $1::text"), sync()].concat();
    raw.send(&statement).await;
    raw.until(b'Z').await;
    let one = [bind("echo", &[&wide]), execute()].concat();
    let mut stream = raw.stream;
    let (mut reader, mut writer) = stream.split();
    let write = async {
        use tokio::io::AsyncWriteExt;
        for _ in 0..count {
            writer.write_all(&one).await.unwrap();
        }
        writer.write_all(&sync()).await.unwrap();
    };
    // 2: 5 bytes; D: 7 + 4 + the value; C ("SELECT 1"): 14; Z: 6.
    let answer = count * (5 + 11 + wide.len() + 14) + 6;
    let read = async {
        use tokio::io::AsyncReadExt;
        let mut seen = 0;
        let mut buffer = vec![0; 64 * 1024];
        while seen < answer {
            let got = reader.read(&mut buffer).await.unwrap();
            assert!(got > 0, "closed after {seen} of {answer} bytes");
            seen += got;
        }
        assert_eq!(seen, answer);
        let end = buffer.iter().rposition(|&byte| byte == b'Z');
        assert!(end.is_some());
    };
    let both = async { tokio::join!(write, read) };
    let done = tokio::time::timeout(crate::sidecar::PATIENCE, both).await;
    assert!(done.is_ok(), "it locked up\n{}", proxy.log().tail());
}

#[tokio::test]
async fn statements_beyond_what_a_backend_holds() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut raw = proxy.raw().await;
    let number = |number: i32| format!("select {number}");
    for name in 0..700 {
        let name = number(name);
        raw.send(&[parse(&name, &name), sync()].concat()).await;
        assert_eq!(tags(&raw.until(b'Z').await), "1Z");
    }
    for wanted in (0..700).rev() {
        let name = number(wanted);
        raw.send(&[bind(&name, &[]), execute(), sync()].concat())
            .await;
        let answer = raw.until(b'Z').await;
        assert_eq!(tags(&answer), "2DCZ");
        assert_eq!(columns(&answer), [wanted.to_string()]);
    }
    let held = raw
        .query("select count(*) from pg_prepared_statements")
        .await;
    assert_eq!(columns(&held), ["500"]);
}

#[tokio::test]
async fn deallocate_and_discard_forget_the_clients_statements() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let (mut raw, mut other) = (proxy.raw().await, proxy.raw().await);
    for command in ["deallocate all", "discard all"] {
        for raw in [&mut raw, &mut other] {
            raw.send(&[parse("s", "select 7"), sync()].concat()).await;
            assert_eq!(tags(&raw.until(b'Z').await), "1Z", "{command}");
        }
        assert_eq!(tags(&raw.query(command).await), "CZ");
        raw.send(&[bind("s", &[]), sync()].concat()).await;
        assert_eq!(raw.until(b'Z').await[0].fields()[&'C'], "26000");
        // The other client is not told, and need not be.
        other
            .send(&[bind("s", &[]), execute(), close(b'S', "s"), sync()].concat())
            .await;
        assert_eq!(columns(&other.until(b'Z').await), ["7"]);
    }
}

#[tokio::test]
async fn what_a_text_means_is_the_sessions_own() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    // The date is read, and kept as read, when the statement is parsed.
    let sql = "select extract(month from date '01/02/2020')::int";
    for (style, month) in [("ISO, DMY", 2), ("ISO, MDY", 1), ("ISO, DMY", 2)] {
        let mut config = proxy.config();
        config.options(format!("-c DateStyle={}", style.replace(' ', "\\ ")));
        let client = proxy.client_with(&config).await;
        let statement = client.prepare(sql).await.unwrap();
        let row = client.query_one(&statement, &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), month, "{style}");
    }
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn a_result_of_another_type_is_refused_once_and_to_nobody_else() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let proxy = Sidecar::on(&azure)
        .database(&database)
        .pool(1)
        .start()
        .await;
    let (mut one, mut other) = (proxy.raw().await, proxy.raw().await);
    one.query("create table t (n int); insert into t values (1)")
        .await;
    let prepare = [parse("s", "select * from t"), describe(b'S', "s"), sync()].concat();
    let run = [bind("s", &[]), execute(), sync()].concat();
    for raw in [&mut one, &mut other] {
        raw.send(&prepare).await;
        assert_eq!(tags(&raw.until(b'Z').await), "1tTZ");
        raw.send(&run).await;
        assert_eq!(tags(&raw.until(b'Z').await), "2DCZ");
    }
    one.query("alter table t add column more text").await;
    // Both have been told what the result looks like, and each is told that it does not.
    for raw in [&mut one, &mut other] {
        raw.send(&run).await;
        let refused = raw.until(b'Z').await;
        assert_eq!(refused[0].fields()[&'C'], "0A000");
        raw.send(&run).await;
        assert_eq!(tags(&raw.until(b'Z').await), "2DCZ");
    }
    // Who prepares it now knows better, though the server had it in its old form.
    let mut third = proxy.raw().await;
    third.send(&prepare).await;
    assert_eq!(tags(&third.until(b'Z').await), "1tTZ");
    third.send(&run).await;
    assert_eq!(tags(&third.until(b'Z').await), "2DCZ");
}

#[tokio::test]
async fn a_statement_that_can_not_be_prepared_again_is_nobodys() {
    let azure = shared().await;
    for mode in ["auto", "transaction"] {
        let database = azure.new_database().await;
        let launch = Sidecar::on(&azure).database(&database);
        let proxy = launch.key("pool_mode", mode).pool(2).start().await;
        let (mut raw, mut blocker) = (proxy.raw().await, proxy.raw().await);
        raw.query("create table t as select 1 as n").await;
        raw.send(&[parse("s", "select n from t"), sync()].concat())
            .await;
        assert_eq!(tags(&raw.until(b'Z').await), "1Z");
        let run = [bind("s", &[]), execute(), sync()].concat();
        // On the backend that has never seen it, the table is not there any more.
        raw.query("drop table t").await;
        let first = hold(&mut blocker).await;
        for _ in 0..2 {
            raw.send(&run).await;
            let answer = raw.until(b'Z').await;
            assert_eq!(tags(&answer), "EZ", "the Parse of ours failed");
            assert_eq!(answer[0].fields()[&'C'], "42P01");
        }
        assert_ne!(backend_of(&mut raw).await, first);
        // Nor is it in a pipeline that goes on, where everything behind it is skipped.
        let more = [bind("s", &[]), execute(), parse("x", "select 2"), sync()].concat();
        raw.send(&[more, parse("x", "select 3"), sync()].concat())
            .await;
        assert_eq!(tags(&raw.until(b'Z').await), "EZ");
        assert_eq!(tags(&raw.until(b'Z').await), "1Z");
        // Once it can be prepared, it is.
        raw.query("create table t as select 2 as n").await;
        raw.send(&run).await;
        let answer = raw.until(b'Z').await;
        assert_eq!(tags(&answer), "2DCZ");
        assert_eq!(columns(&answer), ["2"]);
        blocker.query("commit").await;
    }
}

#[tokio::test]
async fn a_portal_lives_from_flush_to_flush() {
    let azure = shared().await;
    let flush = message(b'H', b"");
    let some_rows = message(b'E', b"p\0\0\0\0\x02");
    for mode in ["auto", "transaction"] {
        let launch = Sidecar::on(&azure).key("pool_mode", mode);
        let proxy = launch.pool(1).start().await;
        let (mut raw, mut other) = (proxy.raw().await, proxy.raw().await);
        let open = [
            parse("", "select generate_series(1, 5)"),
            message(b'B', b"p\0\0\0\0\0\0\0\0"),
            some_rows.clone(),
            flush.clone(),
        ];
        raw.send(&open.concat()).await;
        let answer = raw.until(b's').await;
        assert_eq!(tags(&answer), "12DDs");
        // Without a Sync the backend is not anybody else's.
        other.send(&crate::sidecar::raw::query("select 6")).await;
        let waiting = "entrapool_clients_waiting";
        proxy
            .until(|metrics| metrics.value(waiting, &[]) == 1.0)
            .await;
        raw.send(&[some_rows.clone(), flush.clone()].concat()).await;
        assert_eq!(columns(&raw.until(b's').await), ["3", "4"]);
        raw.send(&[some_rows.clone(), flush.clone()].concat()).await;
        assert_eq!(columns(&raw.until(b'C').await), ["5"]);
        assert_eq!(proxy.metrics().await.value(waiting, &[]), 1.0);
        raw.send(&sync()).await;
        assert_eq!(tags(&raw.until(b'Z').await), "Z");
        assert_eq!(columns(&other.until(b'Z').await), ["6"]);
        // In a transaction, answers come at a Flush as well, and no Sync is missed.
        raw.query("begin").await;
        for _ in 0..3 {
            let ask = [
                parse("", "select $1::int"),
                describe(b'S', ""),
                flush.clone(),
            ];
            raw.send(&ask.concat()).await;
            assert_eq!(tags(&raw.until(b'T').await), "1tT");
            raw.send(&[bind("", &[b"7"]), execute(), flush.clone()].concat())
                .await;
            assert_eq!(columns(&raw.until(b'C').await), ["7"]);
        }
        assert_eq!(tags(&raw.query("commit").await), "CZ");
        assert_eq!(proxy.logins().await, 1.0);
    }
}
