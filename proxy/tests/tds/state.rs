//! What a session leaves: carried, asked for, pinned, cleaned; and nobody else's.

use crate::scene::{Scene, refused, run};
use crate::sidecar::Metrics;

fn pinned(metrics: &Metrics, reason: &str) -> f64 {
    metrics.value("entrapool_sessions_pinned", &[("reason", reason)])
}

#[tokio::test]
async fn settings_go_along_to_another_backend() {
    for scene in [
        Scene::azure(|launch| launch.pool(1)).await,
        Scene::bare(|launch| launch.pool(1)).await,
    ] {
        let mut one = scene.client().await;
        let mut other = scene.client().await;
        run(
            &mut one,
            "SET DATEFIRST 3\nSET LOCK_TIMEOUT 1234\nUSE otherdb",
        )
        .await;
        let state = "select concat(@@datefirst, '|', @@lock_timeout, '|', db_name())";
        for _ in 0..4 {
            let own = run(&mut one, state).await;
            assert_eq!(own.as_deref(), Some("3|1234|otherdb"));
            let its = run(&mut other, state).await;
            assert_eq!(its.as_deref(), Some("7|-1|appdb"));
        }
        run(&mut other, "set datefirst 5").await;
        assert_eq!(
            run(&mut one, state).await.as_deref(),
            Some("3|1234|otherdb")
        );
        assert_eq!(run(&mut other, state).await.as_deref(), Some("5|-1|appdb"));
        let metrics = scene.proxy.metrics().await;
        assert!(metrics.value("entrapool_settings_carried_total", &[]) >= 4.0);
        assert_eq!(
            metrics.value("entrapool_pins_total", &[]),
            0.0,
            "{}",
            scene.proxy.log().text()
        );
        assert_eq!(scene.server.counters().logins(), 1);
    }
}

#[tokio::test]
async fn a_temporary_table_pins_while_it_is_there() {
    let scene = Scene::azure(|launch| launch.pool(2)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(
        &mut one,
        "create table #t (n int); insert into #t values (41)",
    )
    .await;
    scene
        .proxy
        .until(|metrics| pinned(metrics, "temp_table") == 1.0)
        .await;
    for _ in 0..3 {
        assert_eq!(refused(&mut other, "select n from #t").await, 208);
        let own = run(&mut one, "select n + 1 from #t").await;
        assert_eq!(own.as_deref(), Some("42"));
    }
    run(&mut one, "drop table #t").await;
    scene
        .proxy
        .until(|metrics| pinned(metrics, "temp_table") == 0.0)
        .await;
    // A client that ends leaves none behind.
    run(&mut one, "create table #t (n int)").await;
    drop(one);
    scene
        .proxy
        .until(|metrics| pinned(metrics, "temp_table") == 0.0)
        .await;
    for _ in 0..3 {
        assert_eq!(refused(&mut other, "select n from #t").await, 208);
    }
}

#[tokio::test]
async fn what_can_t_be_asked_for_pins_to_the_end() {
    let scene = Scene::azure(|launch| launch.pool(2)).await;
    let mut other = scene.client().await;
    for (reason, makes) in [
        ("setting", "select 1; set nocount on"),
        ("trace_flag", "dbcc traceon (1204)"),
        ("context", "set context_info 0x01020304"),
        (
            "advisory_lock",
            "exec sp_getapplock 'mine', 'Exclusive', 'Session'",
        ),
    ] {
        let mut one = scene.client().await;
        run(&mut one, makes).await;
        scene
            .proxy
            .until(|metrics| pinned(metrics, reason) == 1.0)
            .await;
        run(&mut other, "select 1").await;
        drop(one);
        scene
            .proxy
            .until(|metrics| pinned(metrics, reason) == 0.0)
            .await;
        run(&mut other, "select 1").await;
        let context = run(&mut other, "select context_info()").await;
        assert!(
            matches!(context.as_deref(), None | Some("NULL")),
            "{context:?}"
        );
    }
}

#[tokio::test]
async fn an_identity_is_never_anothers() {
    let scene = Scene::azure(|launch| launch.pool(1)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, "create table t (id int identity, n int)").await;
    run(&mut one, "insert into t (n) values (1)").await;
    // Nobody else was on the backend.
    let id = run(&mut one, "select cast(@@identity as int)").await;
    assert_eq!(id.as_deref(), Some("1"));
    run(&mut other, "insert into t (n) values (2)").await;
    scene
        .proxy
        .until(|metrics| pinned(metrics, "identity") == 1.0)
        .await;
    let id = run(&mut other, "select cast(@@identity as int)").await;
    assert_eq!(id.as_deref(), Some("2"));
    drop(other);
    assert_eq!(refused(&mut one, "select @@identity").await, 50_002);
    let both = "insert into t (n) values (3); select cast(scope_identity() as int)";
    assert_eq!(run(&mut one, both).await.as_deref(), Some("3"));
}

/// What a procedure leaves, no text shows. A server that tells of it pins; on another, the next
/// client begins with a reset.
#[tokio::test]
async fn procedures_leave_nothing_for_the_next() {
    let leaves = "create procedure leaves as set context_info 0x07";
    let scene = Scene::bare(|launch| launch.pool(1)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, leaves).await;
    run(&mut one, "exec leaves").await;
    let context = run(&mut other, "select context_info()").await;
    assert!(
        matches!(context.as_deref(), None | Some("NULL")),
        "{context:?}"
    );
    assert_eq!(scene.server.counters().resets(), 1);
    let scene = Scene::azure(|launch| launch.pool(2)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, leaves).await;
    run(&mut one, "exec leaves").await;
    let pinned = |metrics: &Metrics| metrics.value("entrapool_sessions_pinned", &[]);
    scene.proxy.until(|metrics| pinned(metrics) >= 1.0).await;
    let context = run(&mut other, "select context_info()").await;
    assert!(
        matches!(context.as_deref(), None | Some("NULL")),
        "{context:?}"
    );
    assert!(run(&mut one, "select context_info()").await.is_some());
}

#[tokio::test]
async fn strict_mode_refuses_what_would_pin() {
    let scene = Scene::azure(|launch| launch.key("pool_mode", "strict").pool(1)).await;
    let mut one = scene.client().await;
    assert_eq!(refused(&mut one, "create table #t (n int)").await, 50_001);
    assert_eq!(run(&mut one, "select 1").await.as_deref(), Some("1"));
    run(&mut one, "set datefirst 2").await;
    let mut other = scene.client().await;
    assert_eq!(
        run(&mut other, "select @@datefirst").await.as_deref(),
        Some("7")
    );
    assert_eq!(
        run(&mut one, "select @@datefirst").await.as_deref(),
        Some("2")
    );
}

#[tokio::test]
async fn session_mode_keeps_everything_and_leaves_nothing() {
    let scene = Scene::azure(|launch| launch.session().pool(1)).await;
    let mut one = scene.client().await;
    run(
        &mut one,
        "create table #t (n int); set nocount on; set datefirst 2",
    )
    .await;
    run(&mut one, "insert into #t values (5)").await;
    assert_eq!(
        run(&mut one, "select n from #t").await.as_deref(),
        Some("5")
    );
    drop(one);
    let mut other = scene.client().await;
    assert_eq!(refused(&mut other, "select n from #t").await, 208);
    assert_eq!(
        run(&mut other, "select @@datefirst").await.as_deref(),
        Some("7")
    );
    assert_eq!(scene.server.counters().logins(), 1);
}

#[tokio::test]
async fn transaction_mode_resets_for_the_next() {
    let scene = Scene::azure(|launch| launch.transaction().pool(1)).await;
    let mut one = scene.client().await;
    let mut other = scene.client().await;
    run(&mut one, "create table #t (n int)").await;
    assert_eq!(refused(&mut other, "select n from #t").await, 208);
    assert_eq!(refused(&mut one, "select n from #t").await, 208);
    let metrics = scene.proxy.metrics().await;
    assert_eq!(metrics.value("entrapool_pins_total", &[]), 0.0);
}
