//! SIGTERM: who idles is told at once, who is in a transaction may finish, and then it is over.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::sidecar::raw::{query, tags};
use crate::sidecar::{PATIENCE, Raw, Sidecar, connect, shared};

/// The client was told that entrapool stops.
async fn told(raw: &mut Raw) {
    let fields = raw.last_words().await;
    assert_eq!(
        (fields[&'C'].as_str(), fields[&'V'].as_str()),
        ("57P01", "FATAL")
    );
    assert!(
        fields[&'M'].contains("entrapool is shutting down"),
        "{fields:?}"
    );
}

#[tokio::test]
async fn transactions_may_finish() {
    // In session mode whoever has asked for anything holds a backend.
    for (mode, held) in [("transaction", 2.0), ("session", 3.0)] {
        let azure = shared().await;
        let database = azure.new_database().await;
        let launch = Sidecar::on(&azure).database(&database);
        let proxy = launch.key("pool_mode", mode).start().await;
        let (mut idle, mut fresh) = (proxy.raw().await, proxy.raw().await);
        let (mut inside, mut running) = (proxy.raw().await, proxy.raw().await);
        idle.query("create table t(n int)").await;
        inside.query("begin; insert into t values (1)").await;
        running.send(&query("select pg_sleep(0.5)")).await;
        proxy
            .until(|metrics| metrics.backends("active") == held)
            .await;
        let address = proxy.address();
        proxy.terminate().await;
        told(&mut idle).await;
        told(&mut fresh).await;
        // Not a new one: the listener has been closed.
        assert!(TcpStream::connect(address).await.is_err());
        let reply = proxy.get("/readiness").await;
        assert_eq!(reply.status, 503);
        assert!(reply.body.contains("draining"), "{}", reply.body);
        assert_eq!(proxy.get("/liveness").await.status, 200);
        // The query ends, and then its client is told.
        let answer = running.until(b'Z').await;
        assert_eq!(tags(&answer), "TDCZ");
        told(&mut running).await;
        assert_eq!(tags(&inside.query("insert into t values (2)").await), "CZ");
        assert_eq!(tags(&inside.query("commit").await), "CZ");
        told(&mut inside).await;
        assert_eq!(proxy.exit().await, 0);
        let admin = azure.admin(&database).await;
        assert_eq!(
            crate::sidecar::count(&admin, "select count(*) from t").await,
            2
        );
    }
}

#[tokio::test]
async fn but_not_for_ever() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).transaction().pool(1);
    let proxy = launch.set("drain.max_wait", "300ms").start().await;
    let mut inside = proxy.raw().await;
    inside.query("begin").await;
    let mut waiting = proxy.raw().await;
    waiting.send(&query("select 1")).await;
    proxy
        .until(|metrics| metrics.value("entrapool_clients_waiting", &[]) == 1.0)
        .await;
    let began = Instant::now();
    proxy.terminate().await;
    for raw in [&mut inside, &mut waiting] {
        let fields = raw.last_words().await;
        assert_eq!(fields[&'C'], "57P01");
        assert!(began.elapsed() >= Duration::from_millis(300));
    }
    let log = proxy.log().clone();
    assert_eq!(proxy.exit().await, 0);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(log.whole().await.contains("drain.max_wait is over"));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().start().await;
    let mut inside = proxy.raw().await;
    inside.query("begin").await;
    let began = Instant::now();
    proxy.terminate().await;
    proxy
        .log()
        .event("stopping; a second signal stops at once")
        .await;
    assert_eq!(proxy.stop().await, 0);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(inside.next().await, None);
}

#[tokio::test]
async fn clients_are_accepted_for_a_while() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).transaction();
    let proxy = launch.set("drain.accept_for", "2s").start().await;
    let mut before = proxy.raw().await;
    let began = Instant::now();
    proxy.terminate().await;
    proxy
        .log()
        .event("stopping; a second signal stops at once")
        .await;
    assert_eq!(proxy.get("/readiness").await.status, 503);
    // Load balancers need time to hear of it; until then everything goes on.
    let during = proxy.client().await;
    during.simple_query("select 1").await.unwrap();
    assert_eq!(tags(&before.query("select 1").await), "TDCZ");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "too slow to say anything"
    );
    told(&mut before).await;
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(connect(&proxy.config()).await.is_err());
    assert_eq!(proxy.exit().await, 0);
}

#[tokio::test]
async fn without_clients_it_ends_at_once_and_says_goodbye_to_the_server() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.transaction().start().await;
    let client = proxy.client().await;
    client.simple_query("select 1").await.unwrap();
    drop(client);
    let began = Instant::now();
    assert_eq!(proxy.stop().await, 0);
    assert!(began.elapsed() < Duration::from_secs(2));
    let admin = azure.admin("postgres").await;
    while crate::sidecar::backends(&admin, &database).await > 0 {
        assert!(began.elapsed() < PATIENCE, "the backend stayed");
        tokio::task::yield_now().await;
    }
    let log = azure.real_postgres().unwrap().server_log().unwrap();
    let lost = format!("my-vm@{database} LOG:  could not receive data from client");
    assert!(!log.contains(&lost), "the server got no goodbye");
}
