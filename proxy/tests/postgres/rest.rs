//! Clients that have been silent for a while rest: they have no task, and notice nothing of it.

use std::time::Duration;

use crate::sidecar::raw::{cancel, tags};
use crate::sidecar::{Raw, Sidecar, shared};

/// Whether a backend answers the client as it should.
async fn works(raw: &mut Raw) {
    let answer = raw.query("select 40 + 2").await;
    assert_eq!(tags(&answer), "TDCZ");
    assert_eq!(answer[1].column(), "42");
}

#[tokio::test]
async fn a_client_that_rests_finds_everything_as_it_left_it() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).pool(1).start().await;
    let (mut raw, mut other) = (proxy.raw().await, proxy.raw().await);
    assert_eq!(proxy.resting(), 0);
    raw.query("set app.mine = 'yes'").await;
    for _ in 0..2 {
        proxy.until_resting(2).await;
        let mine = "select current_setting('app.mine', true)";
        assert_eq!(raw.query(mine).await[1].column(), "yes");
        assert_eq!(proxy.resting(), 1, "one of them works");
        works(&mut other).await;
    }
    assert_eq!(proxy.metrics().await.clients(), 2.0);
    // Whoever leaves is gone at once.
    proxy.until_resting(2).await;
    drop(raw);
    proxy.until(|metrics| metrics.clients() == 1.0).await;
    assert_eq!(proxy.resting(), 1);
}

#[tokio::test]
async fn who_holds_a_backend_or_listens_does_not_rest() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).pool(2).start().await;
    let (mut inside, mut listens) = (proxy.raw().await, proxy.raw().await);
    inside.query("begin").await;
    listens.query("listen news").await;
    let mut idle = proxy.raw().await;
    proxy.until_resting(1).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(proxy.resting(), 1);
    idle.query("notify news, 'late'").await;
    assert_eq!(listens.until(b'A').await.len(), 1);
    assert_eq!(tags(&inside.query("commit").await), "CZ");
}

#[tokio::test]
async fn who_is_called_is_there() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    let (mut raw, mut killed) = (proxy.raw().await, proxy.raw().await);
    proxy.until_resting(2).await;
    let mut request = proxy.dial().await;
    request.send(&cancel(&raw.key)).await;
    assert_eq!(request.next().await, None);
    proxy.until(|metrics| metrics.cancels("stale") == 1.0).await;
    works(&mut raw).await;
    proxy.until_resting(2).await;
    proxy.terminate().await;
    for client in [&mut raw, &mut killed] {
        assert_eq!(client.last_words().await[&'C'], "57P01");
    }
    assert_eq!(proxy.exit().await, 0);
}

#[tokio::test]
async fn a_crowd_rests_soon_and_all_come_back() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    let mut clients = Vec::new();
    for _ in 0..700 {
        clients.push(proxy.raw().await);
    }
    proxy.until_resting(clients.len()).await;
    for client in &mut clients {
        client.send(&crate::sidecar::raw::query("select 1")).await;
    }
    for client in &mut clients {
        assert_eq!(tags(&client.until(b'Z').await), "TDCZ");
    }
    drop(clients);
    proxy.until(|metrics| metrics.clients() == 0.0).await;
}
