//! What metrics and log say of a known workload, and what they never say.

use std::collections::BTreeSet;

use entrapool_metrics::{
    Blame, CancelResult, Cause, Closed, Direction, HttpStatus, Label, LoginFailure, Phase,
    PinReason, ProbeResult, Protocol, RefreshResult, State,
};

use crate::sidecar::raw::{bind, execute, parse, query, sync};
use crate::sidecar::{PASSWORD, PASSWORD_ROLE, Sidecar, connect, shared};

const QUERIES: &str = "entrapool_query_duration_seconds_count";
const TRANSACTIONS: &str = "entrapool_transaction_duration_seconds_count";

#[tokio::test]
async fn a_known_workload() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(2).start().await;
    let (mut one, mut two) = (proxy.raw().await, proxy.raw().await);
    for _ in 0..10 {
        one.query("select 1").await;
        two.send(&[parse("", "select 2"), bind("", &[]), execute(), sync()].concat())
            .await;
        two.until(b'Z').await;
    }
    for sql in ["begin", "select 3", "select 1/0", "rollback"] {
        one.query(sql).await;
    }
    // Two in one packet are two; what a client's own answer needs besides does not count.
    one.send(&[query("select 4"), query("select 5")].concat())
        .await;
    one.until(b'Z').await;
    one.until(b'Z').await;
    two.query("set TimeZone = 'Asia/Tokyo'").await;
    two.query("select 6").await;
    let queries = 10.0 + 10.0 + 4.0 + 2.0 + 2.0;
    let transactions = queries - 3.0;
    // A login may be under way that nobody needs any more.
    proxy
        .until(|metrics| {
            metrics.value(QUERIES, &[]) >= queries && metrics.backends("creating") == 0.0
        })
        .await;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.value(QUERIES, &[]), queries);
    assert_eq!(metrics.value(TRANSACTIONS, &[]), transactions);
    assert_eq!(metrics.clients(), 2.0);
    assert_eq!(metrics.value("entrapool_clients_total", &[]), 2.0);
    for direction in ["client_in", "client_out", "upstream_in", "upstream_out"] {
        let bytes = metrics.value("entrapool_bytes_total", &[("direction", direction)]);
        assert!(bytes > 500.0, "{direction}: {bytes}");
    }
    let logins = metrics.logins();
    assert!((1.0..=2.0).contains(&logins));
    for phase in ["dns", "tcp", "tls"] {
        let name = "entrapool_upstream_connect_seconds_count";
        assert_eq!(metrics.value(name, &[("phase", phase)]), logins, "{phase}");
    }
    // The last bucket of a histogram holds all, and the sum is of this world.
    let all = [("le", "+Inf")];
    let bucket = "entrapool_query_duration_seconds_bucket";
    assert_eq!(metrics.value(bucket, &all), queries);
    let sum = metrics.value("entrapool_query_duration_seconds_sum", &[]);
    assert!(sum > 0.0 && sum < 20.0, "{sum}");
    one.send(&crate::sidecar::raw::terminate()).await;
    drop(two);
    proxy.until(|metrics| metrics.clients() == 0.0).await;
    let metrics = proxy.metrics().await;
    assert_eq!((metrics.ended("quit"), metrics.ended("gone")), (1.0, 1.0));
    assert_eq!(metrics.backends("active"), 0.0);
}

fn closed<L: Label>() -> (&'static str, BTreeSet<&'static str>) {
    (L::NAME, L::ALL.iter().map(|value| value.value()).collect())
}

#[tokio::test]
async fn labels_have_no_other_values_than_the_reference_says() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().start().await;
    let client = proxy.client().await;
    client.simple_query("select 1").await.unwrap();
    let sets = [
        closed::<Blame>(),
        closed::<CancelResult>(),
        closed::<Cause>(),
        closed::<Closed>(),
        closed::<Direction>(),
        closed::<HttpStatus>(),
        closed::<LoginFailure>(),
        closed::<Phase>(),
        closed::<PinReason>(),
        closed::<ProbeResult>(),
        closed::<Protocol>(),
        closed::<RefreshResult>(),
        closed::<State>(),
    ];
    // `result` and `reason` are of several families; each has one of them.
    let fits = |label: &str, value: &str| {
        let mut sets = sets.iter().filter(|(name, _)| *name == label).peekable();
        sets.peek()
            .map(|_| ())
            .map(|()| sets.any(|(_, set)| set.contains(value)))
    };
    let open = ["route", "identity", "source", "audience", "version", "le"];
    let metrics = proxy.metrics().await;
    assert!(metrics.samples().len() > 100);
    for sample in metrics.samples() {
        for (label, value) in &sample.labels {
            match fits(label, value) {
                Some(true) => {}
                Some(false) => panic!("{label}={value} of {} is not in its set", sample.name),
                None => assert!(open.contains(&label.as_str()), "{label} of {}", sample.name),
            }
        }
    }
}

#[tokio::test]
async fn no_secret_no_user_and_no_sql_anywhere() {
    let azure = shared().await;
    let secret_sql = "select 'zanzibar-sql-marker'";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let with_token = Sidecar::on(&azure).transaction();
    let with_password = Sidecar::on(&azure)
        .user(PASSWORD_ROLE)
        .without("imds_endpoint")
        .key("identity", "password-file")
        .key("password_file", file.to_str().unwrap());
    for launch in [with_token, with_password] {
        // Everything that there is to log.
        let launch = launch.log_level("trace");
        let proxy = launch.start().await;
        let mut config = proxy.config();
        config
            .user("zanzibar-user")
            .application_name("zanzibar-app");
        let client = connect(&config).await.unwrap();
        client.simple_query(secret_sql).await.unwrap();
        client.query(secret_sql, &[]).await.unwrap();
        client
            .simple_query("select zanzibar_column")
            .await
            .unwrap_err();
        config.options("-c TimeZone=zanzibar-zone");
        assert!(connect(&config).await.is_err());
        drop(client);
        proxy.until(|metrics| metrics.clients() == 0.0).await;
        let page = proxy.metrics().await.text().to_owned();
        let log = proxy.log().clone();
        assert_eq!(proxy.stop().await, 0);
        let log = log.whole().await;
        assert!(log.contains("session ended"));
        // Every token of this issuer begins like any JWT.
        for secret in [
            "eyJ",
            PASSWORD,
            "zanzibar-sql",
            "zanzibar_column",
            "zanzibar-user",
        ] {
            assert!(!page.contains(secret), "{secret} is in the metrics");
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in the log");
        }
        assert!(!page.contains("my-vm") && !page.contains("zanzibar"));
    }
}
