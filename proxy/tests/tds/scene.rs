//! A local Azure with a TDS server, entrapool on it, and clients.

use std::sync::Arc;

use entrapool_emulator::tds::{Profile, TdsServer, TdsServerBuilder};
use entrapool_emulator::{LocalAzure, LocalAzureBuilder, ServerChoice};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::sidecar::{Launch, PATIENCE, Sidecar};

/// A client of tiberius's.
pub(crate) type Tiberius = Client<Compat<TcpStream>>;

/// What entrapool runs on.
pub(crate) struct Scene {
    _azure: Option<LocalAzure>,
    pub(crate) server: Arc<TdsServer>,
    pub(crate) proxy: Sidecar,
    _password: Option<tempfile::TempDir>,
}

impl Scene {
    /// With tokens, over TLS.
    pub(crate) async fn azure(launch: impl FnOnce(Launch) -> Launch) -> Self {
        Self::azure_with(|server| server, launch).await
    }

    /// The same, on another server.
    pub(crate) async fn azure_with(
        server: impl FnOnce(TdsServerBuilder) -> TdsServerBuilder,
        launch: impl FnOnce(Launch) -> Launch,
    ) -> Self {
        Self::on(LocalAzure::builder(), server, launch).await
    }

    /// The same, on another Azure.
    pub(crate) async fn on(
        azure: LocalAzureBuilder,
        server: impl FnOnce(TdsServerBuilder) -> TdsServerBuilder,
        launch: impl FnOnce(Launch) -> Launch,
    ) -> Self {
        let azure = azure.server(ServerChoice::Embedded);
        let azure = azure.start().await.expect("the local Azure starts");
        let builder = azure.sql_server().expect("a certificate");
        let server = server(builder.database("otherdb")).start().await;
        let server = server.expect("the server starts");
        let proxy = launch(Sidecar::on_sql_server(&azure, &server))
            .start()
            .await;
        Self {
            _azure: Some(azure),
            server: Arc::new(server),
            proxy,
            _password: None,
        }
    }

    /// A server that tells little and checks passwords, without TLS.
    pub(crate) async fn bare(launch: impl FnOnce(Launch) -> Launch) -> Self {
        Self::bare_with(|server| server, launch).await
    }

    /// The same, on another server.
    pub(crate) async fn bare_with(
        server: impl FnOnce(TdsServerBuilder) -> TdsServerBuilder,
        launch: impl FnOnce(Launch) -> Launch,
    ) -> Self {
        let builder = TdsServer::builder()
            .database("appdb")
            .database("otherdb")
            .password("sa", "open-sesame")
            .profile(Profile::Bare);
        let server = server(builder).start().await.expect("the server starts");
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("password");
        std::fs::write(&file, "open-sesame").expect("a file");
        let sidecar = Sidecar::on_plain_sql_server(&server).user("sa");
        let sidecar = sidecar.key("password_file", &file.display().to_string());
        Self {
            _azure: None,
            proxy: launch(sidecar).start().await,
            server: Arc::new(server),
            _password: Some(directory),
        }
    }

    /// A client with any user and any password.
    pub(crate) async fn client(&self) -> Tiberius {
        self.client_of("appdb").await
    }

    /// The same, of another database.
    pub(crate) async fn client_of(&self, database: &str) -> Tiberius {
        let client = self.try_client(database).await;
        client
            .unwrap_or_else(|error| panic!("no connection: {error:?}\n{}", self.proxy.log().tail()))
    }

    /// The same, which may fail.
    pub(crate) async fn try_client(
        &self,
        database: &str,
    ) -> Result<Tiberius, tiberius::error::Error> {
        let mut config = Config::new();
        config.host("127.0.0.1");
        config.port(self.proxy.port());
        config.database(database);
        config.authentication(AuthMethod::sql_server("legacy-app", "whatever"));
        config.encryption(EncryptionLevel::NotSupported);
        let stream = TcpStream::connect(self.proxy.address())
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("nodelay");
        let connecting = Client::connect(config, stream.compat_write());
        tokio::time::timeout(PATIENCE, connecting)
            .await
            .expect("an answer in time")
    }
}

/// Runs a batch that must go well; the first column of the first row of the last result with rows.
pub(crate) async fn run(client: &mut Tiberius, sql: &str) -> Option<String> {
    try_run(client, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

/// The same, which may fail.
pub(crate) async fn try_run(
    client: &mut Tiberius,
    sql: &str,
) -> Result<Option<String>, tiberius::error::Error> {
    let running = async { client.simple_query(sql).await?.into_results().await };
    let results = tokio::time::timeout(PATIENCE, running).await;
    let results = results.unwrap_or_else(|_| panic!("{sql}: no answer"))?;
    let rows = results.iter().rev().find(|rows| !rows.is_empty());
    Ok(rows.map(|rows| text(&rows[0])))
}

/// The first column of a row, as text.
pub(crate) fn text(row: &tiberius::Row) -> String {
    let cell = row.cells().next().expect("a column").1;
    use tiberius::ColumnData;
    match cell {
        ColumnData::U8(value) => value.map(|value| value.to_string()),
        ColumnData::I16(value) => value.map(|value| value.to_string()),
        ColumnData::I32(value) => value.map(|value| value.to_string()),
        ColumnData::I64(value) => value.map(|value| value.to_string()),
        ColumnData::Bit(value) => value.map(|value| value.to_string()),
        ColumnData::F64(value) => value.map(|value| value.to_string()),
        ColumnData::String(value) => value.as_ref().map(ToString::to_string),
        ColumnData::Numeric(value) => value.map(|value| value.to_string()),
        ColumnData::Binary(value) => value.as_ref().map(|value| format!("{value:?}")),
        other => panic!("no text for {other:?}"),
    }
    .unwrap_or_else(|| "NULL".to_owned())
}

/// The number of the error that a batch fails with.
pub(crate) async fn refused(client: &mut Tiberius, sql: &str) -> u32 {
    match try_run(client, sql).await {
        Ok(value) => panic!("{sql} went well: {value:?}"),
        Err(error) => code(&error),
    }
}

/// The number of an error.
pub(crate) fn code(error: &tiberius::error::Error) -> u32 {
    error
        .code()
        .unwrap_or_else(|| panic!("not the server's: {error:?}"))
}
