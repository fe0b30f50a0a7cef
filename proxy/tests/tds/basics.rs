//! Logins, queries, sharing.

use crate::scene::{Scene, code, refused, run};
use crate::sidecar::Metrics;

fn handovers(metrics: &Metrics) -> f64 {
    metrics.value("entrapool_handovers_total", &[])
}

#[tokio::test]
async fn a_client_without_a_password_works_on_tokens() {
    let scene = Scene::azure(|launch| launch.pool(1)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    assert_eq!(run(&mut one, "select 1").await.as_deref(), Some("1"));
    run(
        &mut one,
        "create table t (n int); insert into t values (41)",
    )
    .await;
    let query = "select n + @P1 from t";
    let rows = other.query(query, &[&1_i32]).await.unwrap();
    let rows = rows.into_first_result().await.unwrap();
    assert_eq!(rows[0].get::<i32, _>(0), Some(42));
    assert_eq!(refused(&mut one, "select * from nowhere").await, 208);
    assert_eq!(
        run(&mut one, "select db_name()").await.as_deref(),
        Some("appdb")
    );
    let metrics = scene.proxy.metrics().await;
    assert!(handovers(&metrics) >= 2.0);
    assert_eq!(scene.server.counters().logins(), 1);
    assert_eq!(scene.server.counters().size_violations(), 0);
    assert_eq!(scene.server.counters().protocol_violations(), 0);
    let seen = scene.server.logins();
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_server_that_tells_little_is_enough() {
    let scene = Scene::bare(|launch| launch.pool(1)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, "create table t (n int); insert into t values (7)").await;
    assert_eq!(
        run(&mut other, "select n from t").await.as_deref(),
        Some("7")
    );
    run(&mut one, "begin transaction; update t set n = 8").await;
    // The transaction keeps the only backend: the other one waits until it is over.
    let waiting = tokio::time::timeout(
        std::time::Duration::from_millis(300),
        run(&mut other, "select n from t"),
    );
    assert!(waiting.await.is_err(), "it saw the transaction's backend");
    run(&mut one, "rollback transaction").await;
    let mut third = scene.client().await;
    assert_eq!(
        run(&mut third, "select n from t").await.as_deref(),
        Some("7")
    );
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let scene = Scene::azure(|launch| launch.key("databases", "appdb,nowhere")).await;
    let error = scene.try_client("otherdb").await.err().unwrap();
    assert_eq!(code(&error), 4060);
    assert!(
        error
            .to_string()
            .contains("databases= allows appdb, nowhere"),
        "{error}"
    );
    let error = scene.try_client("nowhere").await.err().unwrap();
    assert_eq!(code(&error), 4060);
    assert!(error.to_string().contains("Create the database"), "{error}");
}

#[tokio::test]
async fn a_client_that_rests_finds_everything_as_it_left_it() {
    let scene = Scene::azure(|launch| launch.pool(1)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, "set datefirst 3").await;
    for _ in 0..2 {
        scene.proxy.until_resting(2).await;
        let kept = run(&mut one, "select @@datefirst").await;
        assert_eq!(kept.as_deref(), Some("3"));
        assert_eq!(scene.proxy.resting(), 1, "one of them works");
        assert_eq!(run(&mut other, "select 1").await.as_deref(), Some("1"));
    }
    scene.proxy.until_resting(2).await;
    drop(one);
    scene.proxy.until(|metrics| metrics.clients() == 1.0).await;
    scene.proxy.terminate().await;
    // What it asks may still be answered, until it is told.
    let error = loop {
        if let Err(error) = crate::scene::try_run(&mut other, "select 1").await {
            break error;
        }
    };
    assert_eq!(code(&error), 40613, "{error}");
    assert_eq!(scene.proxy.exit().await, 0);
}
