//! Work over both protocols that leaves a mark in every family of metrics.

use std::time::Duration;

use entrapool_emulator::LocalAzure;
use entrapool_emulator::tds::TdsServer;
use tiberius::{AuthMethod, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;
use tokio_util::compat::TokioAsyncWriteCompatExt as _;

use super::prometheus::free_port;
use crate::sidecar::{PATIENCE, Sidecar, connect};

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(20);

/// One entrapool with a route of each protocol, and clients that do not stop.
pub(crate) struct Load {
    pub(crate) proxy: Sidecar,
    clients: JoinSet<()>,
    _server: TdsServer,
}

impl Load {
    pub(crate) async fn on(azure: &LocalAzure) -> Self {
        let server = azure.sql_server().expect("a certificate").start().await;
        let server = server.expect("the TDS server starts");
        let tds = format!("127.0.0.1:{}", free_port());
        let other = Sidecar::on_sql_server(azure, &server)
            .key("listen", &tds)
            .key("name", "azure-sql");
        let launch = Sidecar::on(azure).key("name", "postgres").pool(2);
        let proxy = launch.and(&other).start().await;
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            clients.spawn(transactions(proxy.config()));
        }
        clients.spawn(state(proxy.config()));
        clients.spawn(notifications(proxy.config()));
        clients.spawn(cancels(proxy.config()));
        clients.spawn(refused(proxy.config()));
        clients.spawn(batches(tds.clone()));
        clients.spawn(batches(tds));
        Self {
            proxy,
            clients,
            _server: server,
        }
    }

    /// Nobody has given up.
    pub(crate) fn assert_busy(&mut self) {
        if let Some(ended) = self.clients.try_join_next() {
            panic!("a client has ended: {ended:?}\n{}", self.proxy.log().tail());
        }
    }
}

/// More clients than backends, each with settings of its own.
async fn transactions(config: tokio_postgres::Config) {
    let client = connect(&config).await.expect("a connection");
    let work = "set timezone = 'UTC'; begin; select pg_sleep(0.01); commit";
    loop {
        client.batch_execute(work).await.expect("a transaction");
        client.query_one("select 40 + 2", &[]).await.expect("42");
        tokio::time::sleep(PAUSE).await;
    }
}

/// What pins, and its end.
async fn state(config: tokio_postgres::Config) {
    loop {
        let client = connect(&config).await.expect("a connection");
        let work = "create temporary table t(n int)";
        client.batch_execute(work).await.expect("a table");
        tokio::time::sleep(PAUSE).await;
        client
            .batch_execute("drop table t")
            .await
            .expect("no table");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn notifications(config: tokio_postgres::Config) {
    let listener = connect(&config).await.expect("a connection");
    listener.batch_execute("listen news").await.expect("LISTEN");
    let speaker = connect(&config).await.expect("a connection");
    loop {
        speaker.batch_execute("notify news").await.expect("NOTIFY");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn cancels(config: tokio_postgres::Config) {
    let client = connect(&config).await.expect("a connection");
    let token = client.cancel_token();
    loop {
        let query = client.batch_execute("select pg_sleep(10)");
        let cancel = async {
            tokio::time::sleep(PAUSE * 2).await;
            token.cancel_query(NoTls).await.expect("a cancel request");
        };
        let (cancelled, ()) = tokio::join!(query, cancel);
        assert!(cancelled.is_err(), "ten seconds passed");
        tokio::time::sleep(PAUSE * 10).await;
    }
}

/// A database that is not there: a failed login upstream, and an ended session.
async fn refused(mut config: tokio_postgres::Config) {
    config.dbname("nowhere");
    loop {
        assert!(connect(&config).await.is_err());
        tokio::time::sleep(PAUSE * 50).await;
    }
}

async fn batches(address: String) {
    let mut config = Config::new();
    config.database("appdb");
    config.authentication(AuthMethod::sql_server("legacy-app", "any"));
    config.encryption(EncryptionLevel::NotSupported);
    let stream = TcpStream::connect(address).await.expect("a listener");
    let client = tiberius::Client::connect(config, stream.compat_write());
    let client = tokio::time::timeout(PATIENCE, client).await;
    let mut client = client.expect("in time").expect("a login");
    loop {
        let answer = client
            .query("select 40 + @P1", &[&2])
            .await
            .expect("a query");
        let row = answer.into_row().await.expect("an answer").expect("a row");
        assert_eq!(row.get::<i32, _>(0), Some(42));
        tokio::time::sleep(PAUSE).await;
    }
}
