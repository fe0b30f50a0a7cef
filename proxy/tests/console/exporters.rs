//! A Prometheus exporter for PgBouncer, as people run it: its metrics carry data.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Instant;

use entrapool_emulator::probe::Probe;
use tokio::process::Command;

use crate::house;
use crate::programs::packages;
use crate::sidecar::{Metrics, PATIENCE, Sidecar, shared};

/// A port that was free a moment ago: the exporter can't tell which one it has taken itself.
fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn scrape(address: SocketAddr) -> Metrics {
    let began = Instant::now();
    loop {
        match Probe::get(address, "/metrics").limit(PATIENCE).send().await {
            Ok(reply) => {
                assert_eq!(reply.status, 200, "{}", reply.body);
                return Metrics::read(&reply.body);
            }
            Err(error) => assert!(began.elapsed() < PATIENCE, "no exporter: {error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn prometheus_pgbouncer_exporter() {
    let azure = shared().await;
    let (proxy, database) = house(&azure).await;
    let client = proxy.client().await;
    for _ in 0..7 {
        client.simple_query("select 1").await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");
    let address = free_port();
    let text = format!(
        "exporter_host: 127.0.0.1\nexporter_port: {}\npgbouncers:\n  - dsn: \"{}\"\n",
        address.port(),
        dsn(&proxy)
    );
    std::fs::write(&config, text).unwrap();
    let _exporter = Command::new(packages().join("python/bin/pgbouncer-exporter"))
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the exporter is there; `cargo xtask drivers` installs it");
    let metrics = scrape(address).await;
    let main = [("database", "main")];
    let pool = [("database", "main"), ("user", azure.role())];
    let named = [
        ("database", "main"),
        ("backend_database", database.as_str()),
    ];
    assert_eq!(
        metrics.value("pgbouncer_up", &[]),
        1.0,
        "{}",
        metrics.text()
    );
    let value = |name, labels: &[(&str, &str)]| metrics.value(name, labels);
    assert_eq!(value("pgbouncer_stats_queries_total", &main), 7.0);
    assert_eq!(value("pgbouncer_stats_transactions_total", &main), 7.0);
    assert!(value("pgbouncer_stats_queries_duration_microseconds_total", &main) > 100.0);
    assert!(value("pgbouncer_stats_received_bytes_total", &main) > 50.0);
    assert_eq!(
        value("pgbouncer_pools_client_active_connections", &pool),
        1.0
    );
    assert_eq!(value("pgbouncer_pools_server_idle_connections", &pool), 1.0);
    assert_eq!(value("pgbouncer_databases_database_pool_size", &named), 2.0);
    assert_eq!(
        value("pgbouncer_databases_database_current_connections", &named),
        1.0
    );
    assert_eq!(value("pgbouncer_config_max_client_conn", &[]), 10000.0);
}

fn dsn(proxy: &Sidecar) -> String {
    format!(
        "postgresql://pgbouncer:@127.0.0.1:{}/pgbouncer",
        proxy.port()
    )
}
