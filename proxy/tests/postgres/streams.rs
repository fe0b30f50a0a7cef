//! Much data through little memory, and messages cut anywhere.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::sidecar::raw::{bind, cstr, execute, message, parse, query, sync, tags};
use crate::sidecar::{PATIENCE, Sidecar, shared};

/// How much more memory the process may ever have used after a large transfer.
const SLACK_KIB: u64 = 20 * 1024;
const MEGABYTE: usize = 1_000_000;

/// The most memory that the process ever had, in KiB.
fn peak_memory(proxy: &Sidecar) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.unwrap().split_whitespace().next();
    words.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hundred_megabytes_of_result() {
    let azure = shared().await;
    for mode in ["auto", "transaction", "session"] {
        let launch = Sidecar::on(&azure).key("pool_mode", mode);
        let proxy = launch.pool(1).start().await;
        let mut raw = proxy.raw().await;
        raw.query("select repeat('x', 1000000)").await;
        let before = peak_memory(&proxy);
        // Rows of 1 kB, and rows of 10 MB; a reader that starts late.
        for (rows, size) in [(100_000, 1_000), (10, 10 * MEGABYTE)] {
            let sql = format!("select repeat('x', {size}) from generate_series(1, {rows})");
            raw.send(&query(&sql)).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            // T is of 35 bytes with the name `repeat`; C is `SELECT n`.
            let head = 1 + 4 + 2 + "repeat\0".len() + 18;
            let tail = 5 + format!("SELECT {rows}\0").len() + 6;
            let mut left = head + rows * (1 + 4 + 2 + 4 + size) + tail;
            let mut buffer = vec![0; 256 * 1024];
            while left > 0 {
                let some = buffer.len().min(left);
                let read = raw.stream.read(&mut buffer[..some]);
                let read = tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
                assert!(read > 0, "closed, {left} bytes too early");
                left -= read;
                buffer.rotate_left(read);
            }
            assert!(buffer.ends_with(b"Z\0\0\0\x05I"));
        }
        let grown = peak_memory(&proxy) - before;
        assert!(grown < SLACK_KIB, "{mode}: {grown} KiB more");
        assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
    }
}

#[tokio::test]
async fn fifty_megabytes_of_parameter() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut raw = proxy.raw().await;
    raw.send(&[parse("length", "select length($1::text)"), sync()].concat())
        .await;
    raw.until(b'Z').await;
    let before = peak_memory(&proxy);
    let value = vec![b'x'; 50 * MEGABYTE];
    raw.send(&[bind("length", &[&value]), execute(), sync()].concat())
        .await;
    let answer = raw.until(b'Z').await;
    assert_eq!(answer[1].column(), value.len().to_string());
    // The same as one literal of a simple query, and as a statement without a name.
    let literal = "x".repeat(50 * MEGABYTE);
    let sql = format!("select length('{literal}')");
    assert_eq!(raw.query(&sql).await[1].column(), literal.len().to_string());
    raw.send(&[parse("", &sql), bind("", &[]), execute(), sync()].concat())
        .await;
    assert_eq!(raw.until(b'Z').await[2].column(), literal.len().to_string());
    let grown = peak_memory(&proxy) - before;
    assert!(grown < SLACK_KIB, "{grown} KiB more");
}

#[tokio::test]
async fn a_named_statement_that_is_too_long_is_refused_in_words() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut raw = proxy.raw().await;
    let long = format!("select length('{}')", "x".repeat(17 * 1024 * 1024));
    let parse = parse("named", &long);
    // It may be refused before it is read to its end.
    let (mut reader, mut writer) = raw.stream.split();
    let write = async {
        let _may_be_cut_off = writer.write_all(&parse).await;
    };
    let read = async {
        let mut answer = Vec::new();
        let _may_be_reset = reader.read_to_end(&mut answer).await;
        answer
    };
    let ((), answer) = tokio::join!(write, read);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("C54000\0"), "{text}");
    let client = proxy.client().await;
    client.simple_query("select 1").await.unwrap();
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn a_conversation_cut_anywhere() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.transaction().pool(1).start().await;
    let mut raw = proxy.raw().await;
    raw.query("create table t(x text)").await;
    let wide = "y".repeat(3_000);
    let conversation = [
        query("select 1"),
        parse("wide", "select $1::text"),
        bind("wide", &[wide.as_bytes()]),
        execute(),
        sync(),
        query("copy t from stdin"),
        message(b'd', b"one\n"),
        message(b'd', b"two\n"),
        message(b'c', b""),
        query(&format!("select '{wide}'")),
        parse("", "select 1/0"),
        bind("", &[]),
        execute(),
        sync(),
        query("truncate t"),
        message(b'C', &[&b"S"[..], &cstr("wide")].concat()),
        sync(),
    ]
    .concat();
    let wanted = ["TDCZ", "12DCZ", "GCZ", "TDCZ", "1EZ", "CZ", "3Z"];
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..60 {
        // From byte by byte to a few large pieces.
        let longest = [1, 2, 5, 7, 64, 1_000, 4_000][round % 7];
        let mut rest = &conversation[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(random.usize(1..=longest).min(rest.len()));
            raw.stream.write_all(piece).await.unwrap();
            rest = later;
            tokio::task::yield_now().await;
        }
        for wanted in wanted {
            let answer = raw.until(b'Z').await;
            assert_eq!(tags(&answer), wanted, "round {round}, seed {seed}");
        }
    }
    assert_eq!(proxy.logins().await, 1.0);
}
