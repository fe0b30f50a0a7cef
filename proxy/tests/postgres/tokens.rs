//! Tokens that live for seconds, and a metadata service that goes away: clients never notice a
//! refresh, and are told plainly when there is no token any more.

use std::time::{Duration, Instant};

use entrapool_emulator::{LocalAzure, ServerChoice};

use crate::sidecar::{Sidecar, connect, count, refusal};

async fn azure_with_tokens_of(life: Duration) -> LocalAzure {
    let azure = LocalAzure::builder()
        .server(ServerChoice::Real)
        .token_life(life);
    azure.start().await.unwrap()
}

/// pgbench with tokens of 10 s and backends of 5 s: no error, and four tokens at least.
async fn pgbench_for(seconds: u32) {
    let azure = azure_with_tokens_of(Duration::from_secs(10)).await;
    let launch = Sidecar::on(&azure).transaction().pool(4);
    let proxy = launch.key("max_lifetime", "5s").start().await;
    proxy.program("pgbench", &["-i", "-q", "-s", "1"]).await;
    let seconds = seconds.to_string();
    let stay = ["-n", "-b", "simple-update", "-c", "4", "-T", &seconds];
    let reconnect = ["-n", "-S", "-c", "4", "-C", "-T", &seconds];
    let (stayed, reconnected) = tokio::join!(
        proxy.program("pgbench", &stay),
        proxy.program("pgbench", &reconnect)
    );
    for said in [stayed, reconnected] {
        assert!(said.contains("number of failed transactions: 0 "), "{said}");
    }
    let tokens = azure.logins().distinct_tokens();
    assert!(tokens >= 4, "only {tokens} tokens were used");
    assert_eq!(azure.logins().refused_in_all(), 0);
    let metrics = proxy.metrics().await;
    assert!(metrics.logins() >= 8.0, "backends live for 5 s");
    let failed = [("result", "failed")];
    assert_eq!(
        metrics.value("entrapool_token_refreshes_total", &failed),
        0.0
    );
    assert_eq!(metrics.value("entrapool_login_failures_total", &[]), 0.0);
    assert_eq!(proxy.stop().await, 0);
}

#[tokio::test]
async fn nobody_notices_a_refresh() {
    pgbench_for(20).await;
}

#[tokio::test]
#[ignore = "long: cargo xtask test --full"]
async fn nobody_notices_a_refresh_for_a_minute() {
    pgbench_for(60).await;
}

#[tokio::test]
async fn tokens_of_every_size() {
    let azure = azure_with_tokens_of(Duration::from_secs(3600)).await;
    // PostgreSQL takes passwords of up to 65,535 bytes with their length.
    for size in [1_500, 9_000, 30_000, 60_000] {
        azure.issuer().set_size(size);
        azure.identities().forget_tokens();
        let proxy = Sidecar::on(&azure).start().await;
        let said = proxy.program("psql", &["-XAtc", "select 'let in'"]).await;
        assert_eq!(said, "let in\n", "{size}");
    }
    assert_eq!(azure.logins().distinct_tokens(), 4);
    assert_eq!(azure.logins().refused_in_all(), 0);
}

#[tokio::test]
async fn without_a_metadata_service_until_there_is_no_token_and_back() {
    let life = Duration::from_secs(12);
    let azure = azure_with_tokens_of(life).await;
    let launch = Sidecar::on(&azure).transaction().pool(4);
    let proxy = launch.key("max_lifetime", "1s").start().await;
    let began = Instant::now();
    // A session that keeps its backend over all of it.
    let inside = proxy.client().await;
    inside.batch_execute("begin; select 1").await.unwrap();
    azure.imds().refuse_connections().await;
    // Refreshing fails, and nothing happens to anybody, new logins included.
    let failed = [("result", "failed")];
    proxy
        .until(|metrics| metrics.value("entrapool_token_refreshes_total", &failed) >= 1.0)
        .await;
    assert!(began.elapsed() > life / 3 && began.elapsed() < life * 2 / 3);
    let logins = proxy.logins().await;
    let client = proxy.client().await;
    assert_eq!(count(&client, "select 1::bigint").await, 1);
    assert!(proxy.logins().await > logins, "it was a new login");
    assert_eq!(proxy.get("/readiness").await.status, 200);
    // Past its expiry: the session goes on, new logins get the reason at once.
    let refused = loop {
        let mut config = proxy.config();
        // A database that nobody was greeted for yet needs a backend.
        config.dbname("postgres");
        match connect(&config).await {
            Ok(client) => drop(client),
            Err(error) => break error,
        }
        assert!(began.elapsed() < life * 2, "the token outlives its expiry");
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    let refused = refused.as_db_error().unwrap().clone();
    assert!(began.elapsed() > life * 8 / 10);
    assert_eq!(refused.code().code(), "28000", "{refused:?}");
    assert!(
        refused
            .hint()
            .unwrap()
            .contains("Sessions that are open go on")
    );
    assert!(refused.message().contains("expire"), "{refused:?}");
    let at_once = Instant::now();
    let mut config = proxy.config();
    assert_eq!(
        refusal(config.dbname("postgres")).await.code().code(),
        "28000"
    );
    assert!(at_once.elapsed() < Duration::from_secs(1));
    inside.batch_execute("select 2; commit").await.unwrap();
    proxy
        .until(|metrics| {
            metrics.value("entrapool_login_failures_total", &[("class", "token")]) >= 1.0
        })
        .await;
    // And back, without anybody's help.
    azure.imds().accept_connections().await.unwrap();
    let began = Instant::now();
    while connect(proxy.config().dbname("postgres")).await.is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{}",
            proxy.log().tail()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        azure.logins().refused_in_all(),
        0,
        "no bad token was ever sent"
    );
}
