//! Clients that end in every way: what they had open is rolled back, and no login is lost.

use std::sync::Arc;

use tokio_postgres::Client;

use crate::sidecar::raw::{bind, execute, message, parse, query, sync, tags, terminate};
use crate::sidecar::{Shared, Sidecar, count, eventually, shared};

/// A proxy in this mode with one backend, a table `t(n int)`, and the superuser's view of it.
async fn with_table(mode: &str) -> (Arc<Shared>, Sidecar, Client) {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.key("pool_mode", mode).pool(1).start().await;
    let admin = azure.admin(&database).await;
    let create = "create table t(n int); grant all on t to public";
    admin.batch_execute(create).await.unwrap();
    (azure, proxy, admin)
}

const ROWS: &str = "select count(*) from t";

/// The next client is served by the same backend, and finds `rows` rows and no lock.
async fn check(proxy: &Sidecar, rows: i64) {
    let client = proxy.client().await;
    assert_eq!(count(&client, ROWS).await, rows, "{}", proxy.log().tail());
    client
        .batch_execute("begin; lock table t nowait; rollback; reset all")
        .await
        .expect("no lock is left");
    assert_eq!(proxy.logins().await, 1.0, "{}", proxy.log().tail());
}

#[tokio::test]
async fn in_the_middle_of_a_transaction() {
    for mode in ["auto", "transaction", "session"] {
        let (_azure, proxy, admin) = with_table(mode).await;
        for reset in [false, true] {
            let mut raw = proxy.raw().await;
            let held = raw
                .query("begin; insert into t values (1); lock table t")
                .await;
            assert_eq!(held.last().unwrap().body, b"T");
            if reset {
                raw.reset();
            } else {
                drop(raw);
            }
            check(&proxy, 0).await;
        }
        // And in one that has failed.
        let mut raw = proxy.raw().await;
        raw.query("begin; insert into t values (1); select 1/0")
            .await;
        drop(raw);
        check(&proxy, 0).await;
        assert_eq!(count(&admin, ROWS).await, 0);
        proxy.until(|metrics| metrics.clients() == 0.0).await;
        assert_eq!(proxy.metrics().await.ended("gone"), 3.0);
    }
}

#[tokio::test]
async fn while_idle() {
    for mode in ["auto", "transaction", "session"] {
        let (_azure, proxy, _admin) = with_table(mode).await;
        for _ in 0..3 {
            let mut raw = proxy.raw().await;
            raw.query("insert into t values (1)").await;
            drop(raw);
        }
        let never = proxy.dial().await;
        drop(never);
        check(&proxy, 3).await;
        proxy.until(|metrics| metrics.clients() == 0.0).await;
        assert_eq!(proxy.metrics().await.ended("no_startup"), 1.0);
    }
}

#[tokio::test]
async fn in_the_middle_of_a_result() {
    let (_azure, proxy, _admin) = with_table("transaction").await;
    let large = "select repeat('x', 1000) from generate_series(1, 20000)";
    let mut raw = proxy.raw().await;
    raw.send(&query(large)).await;
    assert_eq!(raw.next().await.unwrap().tag, b'T');
    raw.reset();
    check(&proxy, 0).await;
    // In a batch that lacks its Sync.
    let mut raw = proxy.raw().await;
    raw.send(&[parse("", large), bind("", &[]), execute()].concat())
        .await;
    assert_eq!(raw.next().await.unwrap().tag, b'1');
    raw.reset();
    check(&proxy, 0).await;
}

#[tokio::test]
async fn in_the_middle_of_a_batch() {
    let (_azure, proxy, _admin) = with_table("transaction").await;
    let flush = message(b'H', b"");
    let insert = [
        parse("", "insert into t values (1)"),
        bind("", &[]),
        execute(),
    ]
    .concat();
    for batch in [
        // Carried out, but not committed: that is what Sync would do (55.2.3).
        insert.clone(),
        [parse("", "select 1/0"), bind("", &[]), execute()].concat(),
        parse("named", "insert into t values (1)"),
        bind("unknown", &[]),
    ] {
        for goodbye in [vec![], terminate()] {
            let mut raw = proxy.raw().await;
            raw.send(&[&batch[..], &flush].concat()).await;
            raw.next().await.unwrap();
            raw.send(&goodbye).await;
            drop(raw);
            check(&proxy, 0).await;
        }
    }
    // All at once, so that nothing has been answered when the client goes.
    let mut raw = proxy.raw().await;
    raw.send(&[insert, terminate()].concat()).await;
    assert_eq!(raw.next().await, None);
    check(&proxy, 0).await;
}

#[tokio::test]
async fn in_the_middle_of_a_message() {
    let (_azure, proxy, _admin) = with_table("transaction").await;
    // Not yet sent on: the backend does not suffer.
    let mut raw = proxy.raw().await;
    raw.send(b"Q\0\0").await;
    drop(raw);
    check(&proxy, 0).await;
    // A part of a long one was sent on: the rest will not come.
    let mut raw = proxy.raw().await;
    let long = query(&format!(
        "insert into t values (1) -- {}",
        "x".repeat(200_000)
    ));
    raw.send(&long[..150_000]).await;
    proxy
        .until(|metrics| {
            let sent = [("direction", "upstream_out")];
            metrics.value("entrapool_bytes_total", &sent) > 100_000.0
        })
        .await;
    drop(raw);
    let client = proxy.client().await;
    assert_eq!(count(&client, ROWS).await, 0);
    assert_eq!(proxy.logins().await, 2.0);
}

#[tokio::test]
async fn right_behind_what_was_asked_for() {
    for mode in ["auto", "transaction", "session"] {
        let (_azure, proxy, admin) = with_table(mode).await;
        let insert = "insert into t values (1)";
        let simple = query(insert);
        let extended = [parse("", insert), bind("", &[]), execute(), sync()].concat();
        let slow = query("select pg_sleep(0.2); insert into t values (1)");
        for (number, ask) in [simple, extended, slow].into_iter().enumerate() {
            let mut raw = proxy.raw().await;
            raw.send(&[ask, terminate()].concat()).await;
            assert_eq!(raw.next().await, None);
            let wanted = i64::try_from(number).unwrap() + 1;
            eventually(async || (count(&admin, ROWS).await == wanted).then_some(())).await;
            check(&proxy, wanted).await;
        }
        // The same without a goodbye.
        let mut raw = proxy.raw().await;
        raw.send(&query(insert)).await;
        drop(raw);
        eventually(async || (count(&admin, ROWS).await == 4).then_some(())).await;
        check(&proxy, 4).await;
    }
}

#[tokio::test]
async fn while_waiting_for_a_backend() {
    let (_azure, proxy, _admin) = with_table("transaction").await;
    let mut busy = proxy.raw().await;
    busy.query("begin").await;
    let mut raw = proxy.raw().await;
    raw.send(&query("insert into t values (1)")).await;
    proxy
        .until(|metrics| metrics.value("entrapool_clients_waiting", &[]) == 1.0)
        .await;
    let mut polite = proxy.raw().await;
    polite.send(&terminate()).await;
    assert_eq!(polite.next().await, None, "a goodbye needs no backend");
    raw.reset();
    assert_eq!(tags(&busy.query("commit").await), "CZ");
    drop(busy);
    proxy.until(|metrics| metrics.clients() == 0.0).await;
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn with_a_goodbye_in_a_transaction() {
    for mode in ["auto", "transaction", "session"] {
        let (_azure, proxy, admin) = with_table(mode).await;
        for status in [b'T', b'E'] {
            let mut raw = proxy.raw().await;
            raw.query("begin; insert into t values (1); lock table t")
                .await;
            if status == b'E' {
                raw.query("select 1/0").await;
            }
            raw.send(&terminate()).await;
            assert_eq!(raw.next().await, None);
            check(&proxy, 0).await;
        }
        assert_eq!(count(&admin, ROWS).await, 0);
        proxy.until(|metrics| metrics.clients() == 0.0).await;
        // With those that looked.
        let metrics = proxy.metrics().await;
        assert_eq!((metrics.ended("quit"), metrics.ended("gone")), (4.0, 0.0));
    }
}

/// What it asked for is carried out, as if it had gone: no driver waits for an answer then.
#[tokio::test]
async fn half_closed() {
    use tokio::io::AsyncWriteExt;
    for mode in ["auto", "transaction", "session"] {
        let (_azure, proxy, admin) = with_table(mode).await;
        let insert = "insert into t values (1)";
        let simple = query("select pg_sleep(0.2); insert into t values (1)");
        let extended = [parse("", insert), bind("", &[]), execute(), sync()].concat();
        let inside = query("begin; insert into t values (1)");
        for (ask, rows) in [(simple, 1), (extended, 2), (inside, 2)] {
            let mut raw = proxy.raw().await;
            raw.send(&ask).await;
            raw.stream.shutdown().await.unwrap();
            while raw.next().await.is_some() {}
            eventually(async || (count(&admin, ROWS).await == rows).then_some(())).await;
            check(&proxy, rows).await;
        }
    }
}
