//! Clients as legacy applications would be: any user, no password, no TLS.

use std::time::Duration;

use anyhow::Context as _;
use tiberius::{AuthMethod, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;
use tokio_util::compat::TokioAsyncWriteCompatExt as _;

use crate::proxy::Proxy;

/// The parameter of the questions, which add 40 to it.
const PARAMETER: i32 = 2;
const LIMIT: Duration = Duration::from_secs(15);
const USER: &str = "legacy-app";

/// What a server says about itself and its client.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Who is logged in there.
    pub(crate) user: String,
    pub(crate) version: String,
    /// 42, if it can add.
    pub(crate) sum: i32,
}

/// Asks the PostgreSQL behind entrapool.
pub(crate) async fn ask_postgres(proxy: &Proxy, database: &str) -> anyhow::Result<Answer> {
    let address = proxy.postgres();
    let (client, connection) = tokio_postgres::Config::new()
        .host(address.ip().to_string())
        .port(address.port())
        .user(USER)
        .dbname(database)
        .connect_timeout(LIMIT)
        .connect(NoTls)
        .await
        .with_context(|| format!("cannot connect through entrapool\n{}", proxy.tail()))?;
    tokio::spawn(connection);
    let row = client
        .query_one(
            "select current_user, version(), 40 + $1::int",
            &[&PARAMETER],
        )
        .await
        .context("the query through entrapool to PostgreSQL failed")?;
    Ok(Answer {
        user: row.get(0),
        version: row.get(1),
        sum: row.get(2),
    })
}

/// Asks the TDS server behind entrapool.
pub(crate) async fn ask_sql_server(proxy: &Proxy, database: &str) -> anyhow::Result<Answer> {
    tokio::time::timeout(LIMIT, ask_tds(proxy, database))
        .await
        .with_context(|| format!("no answer over TDS within {LIMIT:?}\n{}", proxy.tail()))?
}

async fn ask_tds(proxy: &Proxy, database: &str) -> anyhow::Result<Answer> {
    let mut config = tiberius::Config::new();
    config.database(database);
    config.authentication(AuthMethod::sql_server(USER, "any"));
    config.encryption(EncryptionLevel::NotSupported);
    let stream = TcpStream::connect(proxy.sql_server())
        .await
        .with_context(|| format!("cannot connect to {}", proxy.sql_server()))?;
    let mut client = tiberius::Client::connect(config, stream.compat_write())
        .await
        .with_context(|| format!("cannot log in through entrapool\n{}", proxy.tail()))?;
    let row = client
        .query("select suser_sname(), @@version, 40 + @P1", &[&PARAMETER])
        .await
        .context("the query through entrapool to the TDS server failed")?
        .into_row()
        .await
        .context("the TDS server did not answer the query to its end")?
        .context("the TDS server answered without a row")?;
    let text = |column| {
        row.try_get::<&str, _>(column)
            .map(Option::unwrap_or_default)
    };
    Ok(Answer {
        user: text(0)?.to_owned(),
        version: text(1)?.to_owned(),
        sum: row.try_get(2)?.unwrap_or_default(),
    })
}
