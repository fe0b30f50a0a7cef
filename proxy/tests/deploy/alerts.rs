//! Every alert fires when its cause is there, for whom it is there, and not before. Only `for` is
//! shorter than it is shipped, by the chart's own parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use entrapool_emulator::faults::Fault;
use entrapool_emulator::{LocalAzure, ServerChoice};
use serde_json::{Value, json};

use super::chart::{rendered, the};
use super::prometheus::{Prometheus, free_port};
use crate::sidecar::{Launch, Sidecar};

/// Refreshed at half of it, unless the source refuses.
const TOKEN_LIFE: Duration = Duration::from_secs(30);
/// How long an alert may take; retries of refreshes come less and less often.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(500);
/// A few scrapes and evaluations.
const WHILE: Duration = Duration::from_secs(4);

/// The sidecars, by the names of their routes; each has a port for HTTP before it runs.
const CAST: &[&str] = &[
    "healthy", "refused", "gone", "full", "small", "hasty", "restless",
];

struct Stage {
    azure: LocalAzure,
    ports: BTreeMap<&'static str, u16>,
    prometheus: Prometheus,
    rules: Value,
}

/// An alert, and the sidecar that it is about.
type Firing = (String, String);

fn firing(alert: &str, whose: &str) -> Firing {
    (alert.to_owned(), whose.to_owned())
}

impl Stage {
    async fn set() -> Self {
        let azure = LocalAzure::builder()
            .server(ServerChoice::Real)
            .token_life(TOKEN_LIFE);
        let azure = azure.start().await.expect("the local Azure starts");
        let values = json!({"prometheusRule": {"for": {"*": "1s"}}});
        let objects = rendered("entrapool-monitoring", &values);
        let rules = the(&objects, "PrometheusRule")["spec"].clone();
        let ports: BTreeMap<_, _> = CAST.iter().map(|name| (*name, free_port())).collect();
        let targets = ports.values().map(|port| ([127, 0, 0, 1], *port).into());
        let targets: Vec<_> = targets.collect();
        let prometheus = Prometheus::start(&targets, Some(&rules)).await;
        Self {
            azure,
            ports,
            prometheus,
            rules,
        }
    }

    fn launch(&self, name: &'static str) -> Launch {
        Sidecar::on(&self.azure)
            .key("name", name)
            .http(&format!("127.0.0.1:{}", self.ports[name]))
    }

    async fn firing(&self) -> BTreeSet<Firing> {
        let alerts = self.prometheus.firing().await;
        let whose = |labels: &BTreeMap<String, String>| {
            let port = labels
                .get("instance")?
                .rsplit(':')
                .next()?
                .parse::<u16>()
                .ok()?;
            let found = self.ports.iter().find(|(_, known)| **known == port);
            found.map(|(name, _)| (*name).to_owned())
        };
        alerts
            .iter()
            .map(|labels| {
                let whose = whose(labels).unwrap_or_else(|| panic!("whose is {labels:?}?"));
                (labels["alertname"].clone(), whose)
            })
            .collect()
    }

    /// Waits until the alerts satisfy `what`.
    async fn until(&self, what: &str, good: impl Fn(&BTreeSet<Firing>) -> bool) {
        let began = Instant::now();
        loop {
            let firing = self.firing().await;
            if good(&firing) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: not in time; firing: {firing:?}; rules: {:?}",
                self.prometheus.broken_rules().await
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until `alert` fires for `whose`, and for nobody else.
    async fn fires(&self, alert: &str, whose: &str) {
        let wanted = firing(alert, whose);
        self.until(&format!("{alert} for {whose}"), |now| now.contains(&wanted))
            .await;
        let others: Vec<_> = self
            .firing()
            .await
            .into_iter()
            .filter(|(name, who)| name == alert && who != whose)
            .collect();
        assert_eq!(others, [], "{alert} is about {whose} only");
    }
}

#[tokio::test]
#[ignore = "two minutes, and needs what `cargo xtask deploy` prepares"]
async fn every_alert_fires_when_its_cause_is_there() {
    let stage = Stage::set().await;
    let healthy = stage.launch("healthy").start().await;
    let client = healthy.client().await;
    client.simple_query("select 1").await.unwrap();
    while stage
        .prometheus
        .query("entrapool_clients > 0")
        .await
        .is_empty()
    {
        tokio::time::sleep(POLL).await;
    }
    tokio::time::sleep(WHILE).await;
    assert_eq!(stage.firing().await, BTreeSet::new(), "all is well");

    let _logins = logins(&stage).await;
    pools(&stage).await;
    restarts(&stage).await;
    let broken = stage.prometheus.broken_rules().await;
    assert_eq!(broken, Vec::<String>::new());
    tokens(&stage).await;

    let seen = stage
        .prometheus
        .query("count by (alertname) (max_over_time(ALERTS{alertstate=\"firing\"}[10m]))")
        .await;
    let seen: BTreeSet<_> = seen
        .iter()
        .map(|sample| sample.labels["alertname"].as_str())
        .collect();
    let groups = stage.rules["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    let all: BTreeSet<_> = rules.map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(seen, all, "each alert has fired");
    drop(healthy);
}

/// The role is unknown, the server is gone, the server is full.
async fn logins(stage: &Stage) -> Vec<Sidecar> {
    let refused = stage.launch("refused").user("nobody-here");
    let refused = refused.key("min_idle", "1").start().await;
    stage.fires("EntrapoolLoginRefused", "refused").await;

    let gone = stage
        .launch("gone")
        .server(&format!("127.0.0.1:{}", free_port()));
    let gone = gone.key("min_idle", "1").start().await;
    stage.fires("EntrapoolServerUnreachable", "gone").await;

    let postgres = stage.azure.real_postgres().expect("a real PostgreSQL");
    let admin = postgres.admin("postgres").await.expect("the superuser");
    let closed = "create database closed connection limit 0";
    admin.batch_execute(closed).await.unwrap();
    let full = stage.launch("full").database("closed");
    let full = full.key("min_idle", "1").start().await;
    stage.fires("EntrapoolServerFull", "full").await;
    vec![refused, gone, full]
}

/// One backend for two clients: the second waits, or gives up.
async fn pools(stage: &Stage) {
    let small = stage.launch("small").pool(1).start().await;
    let (holder, waiter) = (small.client().await, small.client().await);
    holder.batch_execute("begin; select 1").await.unwrap();
    let waiting = tokio::spawn(async move {
        waiter.simple_query("select 1").await.unwrap();
        waiter
    });
    stage.fires("EntrapoolPoolWaiting", "small").await;
    holder.batch_execute("commit").await.unwrap();
    let waiter = waiting.await.unwrap();
    // The wait was observed, and it was long.
    stage.fires("EntrapoolPoolSlow", "small").await;
    let over = firing("EntrapoolPoolWaiting", "small");
    stage
        .until("nobody waits any more", |now| !now.contains(&over))
        .await;
    drop((holder, waiter));

    let hasty = stage.launch("hasty").pool(1).key("wait_timeout", "500ms");
    let hasty = hasty.start().await;
    let (holder, waiter) = (hasty.client().await, hasty.client().await);
    holder.batch_execute("begin; select 1").await.unwrap();
    // The series must have been scraped before it grows.
    tokio::time::sleep(WHILE).await;
    assert!(waiter.simple_query("select 1").await.is_err());
    stage.fires("EntrapoolClientsTurnedAway", "hasty").await;
}

async fn restarts(stage: &Stage) {
    for _ in 0..4 {
        let restless = stage.launch("restless").start().await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(restless.stop().await, 0);
    }
    stage.fires("EntrapoolRestarting", "restless").await;
}

/// The source refuses: first the refreshes fail, then the token comes to its end. Both are over
/// when the source is back.
async fn tokens(stage: &Stage) {
    let failing = firing("EntrapoolTokenRefreshFailing", "healthy");
    let expiring = firing("EntrapoolTokenExpiresSoon", "healthy");
    let before = stage.firing().await;
    assert!(!before.contains(&failing) && !before.contains(&expiring));
    stage.azure.imds().faults().set(Fault::Status(400));
    stage
        .until("refreshes fail", |now| now.contains(&failing))
        .await;
    stage
        .until("the token expires", |now| now.contains(&expiring))
        .await;
    stage.azure.imds().faults().clear();
    stage
        .until("the source is back", |now| {
            !now.contains(&failing) && !now.contains(&expiring)
        })
        .await;
}
