//! Waiting for it, draining it, ending it, and how much it logs.

use std::time::{Duration, Instant};

use crate::scene::{Place, run};
use crate::sidecar::raw::tags;
use crate::sidecar::{Sidecar, shared};

#[tokio::test]
async fn a_script_can_wait_until_it_serves() {
    let azure = shared().await;
    let place = Place::new();
    let nobody = place.ctl(&["wait", "--timeout", "300ms"]).await;
    assert_eq!((nobody.code, &*nobody.out), (6, ""));
    assert!(
        nobody.err.contains("is entrapool running"),
        "{}",
        nobody.err
    );
    let nobody = place.ctl(&["status"]).await;
    assert_eq!(nobody.code, 6, "{}", nobody.err);

    let begun = place.operated(Sidecar::on(&azure));
    let (said, proxy) = tokio::join!(place.ctl(&["wait"]), begun.start());
    assert_eq!((said.code, &*said.out), (0, "ready\n"), "{}", said.err);
    let _client = proxy.client().await;

    let imds = "http://127.0.0.1:1";
    let other = Place::new();
    let launch = Sidecar::on(&azure)
        .key("imds_endpoint", imds)
        .key("name", "lost");
    let _lost = other.operated(launch).begin().await;
    let said = other.ctl(&["wait", "--timeout", "1s"]).await;
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.err
            .starts_with("not ready after 1s: route lost: listener: not bound"),
        "{}",
        said.err
    );
    // Too early for a reload.
    let said = other.ctl(&["reload"]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("entrapool is starting"), "{}", said.err);
    assert_eq!(
        other.done(&["drain", "--wait"]).await,
        "draining 0 clients\n"
    );
}

#[tokio::test]
async fn a_drain_lets_transactions_finish() {
    let azure = shared().await;
    let place = Place::new();
    let proxy = place
        .operated(Sidecar::on(&azure).transaction())
        .start()
        .await;
    let mut inside = proxy.raw().await;
    inside.query("begin").await;
    assert_eq!(place.done(&["drain"]).await, "draining 1 clients\n");
    // The same again is no reason to hurry; nor is there anything to change any more.
    place.done(&["drain"]).await;
    let said = place.ctl(&["reload"]).await;
    assert!(said.err.contains("entrapool is stopping"), "{}", said.err);
    let status = place.json(&["status"]).await;
    assert_eq!(status["routes"][0]["state"], "draining");
    assert_eq!(tags(&inside.query("select 1").await), "TDCZ");
    assert_eq!(tags(&inside.query("commit").await), "CZ");
    assert_eq!(inside.last_words().await[&'C'], "57P01");
    assert_eq!(proxy.exit().await, 0);
    assert_eq!(place.ctl(&["status"]).await.code, 6);
    assert!(!place.socket().exists());
}

#[tokio::test]
async fn quit_waits_for_nobody() {
    let azure = shared().await;
    for drains in [false, true] {
        let place = Place::new();
        let launch = Sidecar::on(&azure).transaction();
        let proxy = place.operated(launch).start().await;
        let mut inside = proxy.raw().await;
        inside.query("begin").await;
        if drains {
            place.done(&["drain"]).await;
        }
        let began = Instant::now();
        assert_eq!(place.done(&["quit"]).await, "stopping at once\n");
        assert_eq!(proxy.exit().await, 0);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(inside.next().await, None);
    }
}

#[tokio::test]
async fn the_log_says_as_much_as_is_asked() {
    let azure = shared().await;
    let place = Place::new();
    let launch = Sidecar::on(&azure).log_level("info");
    let proxy = place.operated(launch).start().await;
    let ended = |proxy: &Sidecar| proxy.log().text().matches("session ended").count();
    assert_eq!(place.done(&["log-level"]).await, "info\n");
    drop(proxy.client().await);
    proxy.until(|metrics| metrics.ended("quit") == 1.0).await;
    assert_eq!(ended(&proxy), 0);
    let changed = place.done(&["log-level", "info,entrapool=debug"]).await;
    assert_eq!(changed, "info -> info,entrapool=debug\n");
    drop(proxy.client().await);
    proxy.log().event("session ended").await;
    let said = place.ctl(&["log-level", "loud"]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("\"loud\" is not a level"), "{}", said.err);
    assert_eq!(place.done(&["log-level"]).await, "info,entrapool=debug\n");
    place.done(&["log-level", "info"]).await;
    let before = ended(&proxy);
    drop(proxy.client().await);
    proxy.until(|metrics| metrics.ended("quit") == 3.0).await;
    assert_eq!(ended(&proxy), before);
}

#[tokio::test]
async fn what_can_t_be_is_told() {
    let mut command = tokio::process::Command::new(crate::scene::PROGRAM);
    let said = run(command.args(["ctl", "status", "--socket", "10.0.0.1:1"])).await;
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("10.0.0.1:1 is not loopback"),
        "{}",
        said.err
    );
}
