//! The way to the server: redirects, passing failures, tokens, servers that go away.

use std::time::Duration;

use entrapool_emulator::LocalAzure;
use entrapool_emulator::tds::TdsServer;

use crate::scene::{Scene, code, run, try_run};

#[tokio::test]
async fn a_gateway_sends_us_on() {
    let target = TdsServer::builder()
        .database("appdb")
        .password("sa", "open-sesame")
        .routed_as("localhost", None);
    let target = target.start().await.unwrap();
    let port = target.addr().port();
    let scene = Scene::bare_with(
        |gateway| gateway.redirect_to("LOCALHOST", port),
        |launch| launch,
    );
    let scene = scene.await;
    let mut client = scene.client().await;
    assert_eq!(run(&mut client, "select 1").await.as_deref(), Some("1"));
    assert_eq!(scene.server.counters().redirects(), 1);
    assert_eq!(target.counters().logins(), 1);
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let scene = Scene::azure_with(|server| server.login_error(40_613, 2), |launch| launch).await;
    let mut client = scene.client().await;
    assert_eq!(run(&mut client, "select 1").await.as_deref(), Some("1"));
    assert_eq!(scene.server.counters().refused_logins(), 2);
}

#[tokio::test]
async fn what_does_not_pass_is_told_at_once() {
    let scene = Scene::azure_with(|server| server.login_error(40_615, 1), |launch| launch).await;
    let error = scene.try_client("appdb").await.err().unwrap();
    assert_eq!(code(&error), 40_615);
    assert!(error.to_string().contains("firewall"), "{error}");
}

#[tokio::test]
async fn a_backend_with_an_old_token_is_not_lent() {
    let azure = LocalAzure::builder().token_life(Duration::from_secs(4));
    let scene = Scene::on(azure, |server| server, |launch| launch).await;
    let mut client = scene.client().await;
    for _ in 0..12 {
        assert_eq!(run(&mut client, "select 1").await.as_deref(), Some("1"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let metrics = scene.proxy.metrics().await;
    let closed = metrics.value("entrapool_upstream_closed_total", &[("reason", "token")]);
    assert!(closed >= 1.0, "{}", metrics.text());
}

#[tokio::test]
async fn a_server_that_goes_away_is_told_and_comes_back() {
    let scene = Scene::azure(|launch| launch.pool(2)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, "create table t (n int)").await;
    run(&mut one, "begin transaction; insert into t values (1)").await;
    assert!(scene.server.kill_all() >= 1);
    let Err(error) = try_run(&mut one, "select 1").await else {
        panic!("its server has gone");
    };
    assert!(
        error.to_string().contains("40197") || error.code() == Some(40_197),
        "{error:?}"
    );
    // The other one had no backend, and notices nothing.
    let count = run(&mut other, "select count(*) from t").await;
    assert_eq!(count.as_deref(), Some("0"));
}

/// A client that dies in the middle of a query costs no login.
#[tokio::test]
async fn a_client_that_dies_leaves_a_whole_backend() {
    let scene = Scene::azure(|launch| launch.pool(1)).await;
    let mut other = scene.client().await;
    run(&mut other, "create table t (n int)").await;
    for sql in [
        "waitfor delay '00:00:30'",
        "begin transaction; insert into t values (1); waitfor delay '00:00:30'",
        "select * from sys.objects a, sys.objects b, sys.objects c",
    ] {
        let mut one = scene.client().await;
        let running = one.simple_query(sql);
        let _ = tokio::time::timeout(Duration::from_millis(100), running).await;
        drop(one);
        let count = run(&mut other, "select count(*) from t").await;
        assert_eq!(count.as_deref(), Some("0"));
    }
    let logins = scene.server.counters().logins();
    assert_eq!(logins, 1, "{}", scene.proxy.log().text());
}
