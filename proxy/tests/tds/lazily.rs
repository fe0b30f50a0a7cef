//! Transactions that have done nothing yet take no backend.

use std::time::Duration;

use crate::scene::{Scene, Tiberius, run, try_run};

/// Autocommit off, as Python's drivers have it: a transaction begins right after the last one.
async fn begins(client: &mut Tiberius) {
    run(client, "BEGIN TRAN").await;
}

async fn two_share(scene: &Scene) {
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, "create table t (n int)").await;
    // The first of a pool shows what its server tells.
    begins(&mut one).await;
    run(&mut one, "ROLLBACK").await;
    begins(&mut one).await;
    begins(&mut other).await;
    for round in 0..5 {
        for client in [&mut one, &mut other] {
            run(client, &format!("insert into t values ({round})")).await;
            let trans = run(client, "select @@trancount").await;
            assert_eq!(trans.as_deref(), Some("1"));
            run(client, if round % 2 == 0 { "COMMIT" } else { "ROLLBACK" }).await;
            begins(client).await;
        }
        // Nothing was done in it.
        run(&mut other, "IF @@TRANCOUNT > 0 COMMIT TRAN").await;
        begins(&mut other).await;
    }
    let mut third = scene.client().await;
    let count = run(&mut third, "select count(*) from t").await;
    assert_eq!(count.as_deref(), Some("6"));
    let metrics = scene.proxy.metrics().await;
    assert!(metrics.value("entrapool_handovers_total", &[]) >= 10.0);
    assert_eq!(metrics.value("entrapool_sessions_pinned", &[]), 0.0);
    assert_eq!(scene.server.counters().logins(), 1);
}

#[tokio::test]
async fn clients_that_are_always_in_a_transaction_share() {
    two_share(&Scene::azure(|launch| launch.pool(1)).await).await;
}

#[tokio::test]
async fn on_a_server_that_says_nothing_too() {
    two_share(&Scene::bare(|launch| launch.pool(1)).await).await;
}

#[tokio::test]
async fn a_real_one_keeps_its_backend() {
    let scene = Scene::azure(|launch| launch.pool(1)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, "create table t (n int)").await;
    for _ in 0..3 {
        begins(&mut one).await;
        run(&mut one, "insert into t values (1)").await;
        let waiting = run(&mut other, "select count(*) from t");
        let waited = tokio::time::timeout(Duration::from_millis(100), waiting).await;
        assert!(
            waited.is_err(),
            "it was lent in the middle of a transaction"
        );
        run(&mut one, "rollback").await;
        other = scene.client().await;
        let count = run(&mut other, "select count(*) from t").await;
        assert_eq!(count.as_deref(), Some("0"));
        // An error in it does not end it.
        begins(&mut one).await;
        assert!(try_run(&mut one, "select * from nowhere").await.is_err());
        let count = run(&mut one, "select @@trancount").await;
        assert_eq!(count.as_deref(), Some("1"));
        run(&mut one, "commit").await;
    }
}
