//! COPY both ways, failing and breaking off at any point; the backend is always whole after it.

use crate::sidecar::raw::{bind, cancel, cstr, execute, message, parse, query, sync, tags};
use crate::sidecar::{Raw, Sidecar, count, shared};

/// A proxy with one backend, and a table `t(n int, x text)` in a database of its own.
async fn with_table() -> (std::sync::Arc<crate::sidecar::Shared>, Sidecar, Raw) {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.transaction().pool(1).start().await;
    let mut raw = proxy.raw().await;
    raw.query("create table t(n int check (n >= 0), x text)")
        .await;
    (azure, proxy, raw)
}

fn data(text: &str) -> Vec<u8> {
    message(b'd', text.as_bytes())
}

fn done() -> Vec<u8> {
    message(b'c', b"")
}

fn fail(reason: &str) -> Vec<u8> {
    message(b'f', &cstr(reason))
}

/// The backend serves the next client, and it is the same one.
async fn check_backend(proxy: &Sidecar, rows: i64) {
    let client = proxy.client().await;
    assert_eq!(count(&client, "select count(*) from t").await, rows);
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn a_million_rows_in_and_out() {
    let (_azure, proxy, mut raw) = with_table().await;
    assert_eq!(tags_until(&mut raw, "copy t from stdin").await, "G");
    let line = "4711\tsome text that is not too short\n";
    let lines = line.repeat(1_000);
    for _ in 0..1_000 {
        raw.send(&data(&lines)).await;
    }
    raw.send(&done()).await;
    let end = raw.until(b'Z').await;
    assert_eq!(end[0].texts(), ["COPY 1000000"]);
    raw.send(&query("copy t to stdout")).await;
    let mut bytes = 0;
    let mut rows = 0;
    loop {
        let message = raw.next().await.unwrap();
        match message.tag {
            b'd' => {
                bytes += message.body.len();
                rows += 1;
            }
            b'C' => assert_eq!(message.texts(), ["COPY 1000000"]),
            b'Z' => break,
            tag => assert!(b"Hc".contains(&tag)),
        }
    }
    assert_eq!((rows, bytes), (1_000_000, 1_000_000 * line.len()));
    check_backend(&proxy, 1_000_000).await;
}

async fn tags_until(raw: &mut Raw, sql: &str) -> String {
    raw.send(&query(sql)).await;
    tags(&raw.until(b'G').await)
}

#[tokio::test]
async fn data_that_comes_after_the_error_is_ignored() {
    let (_azure, proxy, mut raw) = with_table().await;
    tags_until(&mut raw, "copy t from stdin").await;
    raw.send(&data("1\ta\n")).await;
    raw.send(&data("-1\tbad\n")).await;
    let failed = raw.until(b'Z').await;
    assert_eq!(tags(&failed), "EZ");
    assert_eq!(failed[0].fields()[&'C'], "23514");
    // Late data and its end, while somebody else has the backend.
    let mut other = proxy.raw().await;
    other.query("begin").await;
    raw.send(&data("2\tlate\n".repeat(1_000).as_str())).await;
    raw.send(&done()).await;
    other.query("commit").await;
    assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
    check_backend(&proxy, 0).await;
}

#[tokio::test]
async fn everything_sent_at_once() {
    let (_azure, proxy, mut raw) = with_table().await;
    let copy = query("copy t from stdin");
    let rows = data("1\ta\n2\tb\n");
    raw.send(&[&copy[..], &rows, &done(), &query("select count(*) from t")].concat())
        .await;
    assert_eq!(tags(&raw.until(b'Z').await), "GCZ");
    assert_eq!(raw.until(b'Z').await[1].column(), "2");
    // The client gives up.
    raw.send(&[&copy[..], &rows, &fail("not today")].concat())
        .await;
    let failed = raw.until(b'Z').await;
    assert_eq!(tags(&failed), "GEZ");
    assert!(failed[1].fields()[&'M'].contains("not today"));
    // A COPY that never begins swallows nothing.
    let never = query("copy nowhere from stdin");
    raw.send(&[&never[..], &rows, &done(), &query("select 5")].concat())
        .await;
    assert_eq!(tags(&raw.until(b'Z').await), "EZ");
    assert_eq!(raw.until(b'Z').await[1].column(), "5");
    check_backend(&proxy, 2).await;
}

#[tokio::test]
async fn in_the_extended_protocol() {
    let (_azure, proxy, mut raw) = with_table().await;
    let start = [parse("", "copy t from stdin"), bind("", &[]), execute()].concat();
    let rows = data("1\ta\n");
    // With a Sync in the middle, which the COPY ignores, and one at the end.
    raw.send(&[&start[..], &sync(), &rows, &sync(), &rows, &done(), &sync()].concat())
        .await;
    assert_eq!(tags(&raw.until(b'Z').await), "12GCZ");
    assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
    // Failing in the middle: all up to the Sync behind it is skipped.
    let bad = data("-1\tbad\n");
    raw.send(&[&start[..], &rows, &bad, &rows, &done(), &sync()].concat())
        .await;
    assert_eq!(tags(&raw.until(b'Z').await), "12GEZ");
    let start = [
        parse("", "copy t to stdout"),
        bind("", &[]),
        execute(),
        sync(),
    ]
    .concat();
    raw.send(&start).await;
    assert_eq!(tags(&raw.until(b'Z').await), "12HddcCZ");
    check_backend(&proxy, 2).await;
}

#[tokio::test]
async fn a_query_in_the_middle_of_a_copy_ends_the_servers_session() {
    let (_azure, proxy, mut raw) = with_table().await;
    tags_until(&mut raw, "copy t from stdin").await;
    raw.send(&[data("1\ta\n"), query("select 1")].concat())
        .await;
    let unexpected = raw.next().await.unwrap().fields();
    assert_eq!(
        (unexpected[&'C'].as_str(), unexpected[&'V'].as_str()),
        ("08P01", "ERROR")
    );
    assert_eq!(raw.last_words().await[&'V'], "FATAL");
    let client = proxy.client().await;
    assert_eq!(count(&client, "select count(*) from t").await, 0);
    let metrics = proxy.metrics().await;
    let closed = [("reason", "server")];
    assert_eq!(
        metrics.value("entrapool_upstream_closed_total", &closed),
        1.0
    );
}

#[tokio::test]
async fn a_client_that_dies_in_the_middle() {
    let (_azure, proxy, mut raw) = with_table().await;
    tags_until(&mut raw, "copy t from stdin").await;
    raw.send(&data("1\ta\n")).await;
    drop(raw);
    check_backend(&proxy, 0).await;
    // And while it is sent to: the socket is full, and then it is gone.
    let mut raw = proxy.raw().await;
    raw.query("insert into t select n, repeat('x', 1000) from generate_series(1, 20000) n")
        .await;
    raw.send(&query("copy t to stdout")).await;
    assert_eq!(raw.next().await.unwrap().tag, b'H');
    raw.reset();
    check_backend(&proxy, 20_000).await;
}

/// Asks for a cancel until the COPY has ended; the SQLSTATE that it ends with. A server that
/// waits for data looks at the request when more of it comes: `feed`.
async fn cancel_copy(proxy: &Sidecar, raw: &mut Raw, feed: &[u8]) -> String {
    let key = raw.key.clone();
    let asking = async {
        loop {
            let mut asking = proxy.dial().await;
            asking.send(&cancel(&key)).await;
            assert_eq!(asking.next().await, None);
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    let ending = async {
        loop {
            let pause = std::time::Duration::from_millis(100);
            let mut byte = [0];
            let answered = raw.stream.peek(&mut byte);
            if tokio::time::timeout(pause, answered).await.is_err() {
                raw.send(feed).await;
                continue;
            }
            let message = raw.next().await.expect("an answer");
            match message.tag {
                b'E' => return message.fields()[&'C'].clone(),
                b'd' => {}
                tag => panic!("{}", char::from(tag)),
            }
        }
    };
    tokio::select! {
        code = ending => code,
        () = asking => unreachable!(),
    }
}

#[tokio::test]
async fn a_cancel_in_the_middle() {
    let (_azure, proxy, mut raw) = with_table().await;
    tags_until(&mut raw, "copy t from stdin").await;
    let row = data("1\ta\n");
    assert_eq!(cancel_copy(&proxy, &mut raw, &row).await, "57014");
    assert_eq!(tags(&raw.until(b'Z').await), "Z");
    // The client may not have seen the end when it sent this.
    raw.send(&[data("2\tlate\n"), done(), query("select 1")].concat())
        .await;
    assert_eq!(tags(&raw.until(b'Z').await), "TDCZ");
    let endless =
        "copy (select n, repeat('x', 1000) from generate_series(1, 100000000) n) to stdout";
    raw.send(&query(endless)).await;
    assert_eq!(raw.next().await.unwrap().tag, b'H');
    assert_eq!(cancel_copy(&proxy, &mut raw, b"").await, "57014");
    assert_eq!(tags(&raw.until(b'Z').await), "Z");
    check_backend(&proxy, 0).await;
}
