//! Cancel requests hit the query that was meant, or nothing.

use std::time::{Duration, Instant};

use crate::sidecar::raw::{cancel, query, tags};
use crate::sidecar::{Message, Raw, Sidecar, shared};

/// Asks for a cancel with this BackendKeyData and waits until the proxy has dealt with it.
async fn ask(proxy: &Sidecar, key: &[u8]) {
    let mut raw = proxy.dial().await;
    raw.send(&cancel(key)).await;
    assert_eq!(raw.next().await, None, "a cancel request is never answered");
}

/// Cancels until the client's query ends; its answer. The query may not have begun the first
/// time: as with a server, the client asks again then.
async fn stop(proxy: &Sidecar, raw: &mut Raw) -> Vec<Message> {
    let began = Instant::now();
    let key = raw.key.clone();
    let mut answer = Vec::new();
    loop {
        ask(proxy, &key).await;
        let rest = tokio::time::timeout(Duration::from_millis(500), raw.next());
        if let Ok(message) = rest.await {
            answer.push(message.unwrap());
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    answer.extend(raw.until(b'Z').await);
    answer
}

#[tokio::test]
async fn a_running_query_is_stopped() {
    for mode in ["transaction", "session"] {
        let azure = shared().await;
        let launch = Sidecar::on(&azure).key("pool_mode", mode);
        let proxy = launch.pool(1).start().await;
        let mut raw = proxy.raw().await;
        for _ in 0..3 {
            raw.send(&query("select pg_sleep(60)")).await;
            proxy
                .until(|metrics| metrics.backends("active") == 1.0)
                .await;
            let stopped = stop(&proxy, &mut raw).await;
            let error = stopped.iter().find(|message| message.tag == b'E').unwrap();
            assert_eq!(error.fields()[&'C'], "57014");
            assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
        }
        proxy.until(|metrics| metrics.cancels("sent") >= 3.0).await;
        assert_eq!(proxy.logins().await, 1.0);
    }
}

#[tokio::test]
async fn libpq_and_tokio_postgres_can_cancel() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().start().await;
    let client = proxy.client().await;
    let token = client.cancel_token();
    let sleep = client.simple_query("select pg_sleep(60)");
    let stop = async {
        proxy
            .until(|metrics| metrics.backends("active") == 1.0)
            .await;
        let mut stop = tokio::time::interval(Duration::from_millis(300));
        loop {
            stop.tick().await;
            token.cancel_query(tokio_postgres::NoTls).await.unwrap();
        }
    };
    let result = tokio::select! {
        result = sleep => result,
        () = stop => unreachable!(),
    };
    let error = crate::sidecar::said(result);
    assert_eq!(error.code().code(), "57014");
}

#[tokio::test]
async fn a_stale_key_hits_nothing() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut ended = proxy.raw().await;
    ended.query("select 1").await;
    let stale = ended.key.clone();
    drop(ended);
    proxy.until(|metrics| metrics.clients() == 0.0).await;
    let mut raw = proxy.raw().await;
    let mut wrong = raw.key.clone();
    wrong[7] ^= 1;
    let mut long = raw.key.clone();
    long.push(0);
    raw.send(&query("select pg_sleep(1)")).await;
    proxy
        .until(|metrics| metrics.backends("active") == 1.0)
        .await;
    for key in [&stale, &wrong, &long] {
        ask(&proxy, key).await;
    }
    assert_eq!(tags(&raw.until(b'Z').await), "TDCZ");
    let metrics = proxy.metrics().await;
    assert_eq!(
        (metrics.cancels("stale"), metrics.cancels("sent")),
        (3.0, 0.0)
    );
}

#[tokio::test]
async fn a_late_cancel_never_hits_the_next_client() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let (mut one, mut two) = (proxy.raw().await, proxy.raw().await);
    let key = one.key.clone();
    let mut hits = 0;
    for round in 0..300_u64 {
        // The end of the first query and the cancel request race, at many distances.
        let micros = (round % 30) * 100;
        let mut asking = proxy.dial().await;
        one.send(&query(&format!("select pg_sleep({micros} / 1e6)")))
            .await;
        two.send(&query("select pg_sleep(0.002)")).await;
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
        asking.send(&cancel(&key)).await;
        let first = tags(&one.until(b'Z').await);
        assert!(["TDCZ", "EZ", "TEZ"].contains(&first.as_str()), "{first}");
        hits += i32::from(first.contains('E'));
        assert_eq!(tags(&two.until(b'Z').await), "TDCZ", "round {round}");
    }
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.logins(), 1.0);
    assert_eq!(metrics.cancels("failed"), 0.0);
    assert!(
        metrics.cancels("sent") > 0.0 && hits > 0,
        "the race was never close"
    );
}
