//! A direct, verified TLS connection to one of the emulator's PostgreSQL servers.
//!
//! For tests and for comparing with what goes through the proxy. Built on tokio-postgres, which
//! gets the stream after our own SSLRequest (PostgreSQL 55.2.10).

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;

/// Length 8, code 1234·5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Connects, verifies the certificate for `localhost`, and logs in as `config` says (its host and
/// TLS mode are not looked at). The connection ends when the client is dropped.
///
/// # Errors
/// When the server is not there, its certificate is not good, or the login is refused.
pub async fn connect(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    config: &Config,
) -> Result<Client, Error> {
    let stream = secure(address, tls).await?;
    let mut config = config.clone();
    config.ssl_mode(SslMode::Disable);
    let (client, connection) = config
        .connect_raw(stream, NoTls)
        .await
        .map_err(Error::sql(format!("log in to {address}")))?;
    // Its errors reach the client as well.
    tokio::spawn(connection);
    Ok(client)
}

/// The TLS stream alone, before any message of the login.
///
/// # Errors
/// When the server is not there, has no TLS, or its certificate is not good for `localhost`.
pub async fn secure(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Error> {
    let failed = || format!("ask {address} for TLS");
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(Error::io(format!("connect to {address}")))?;
    stream.set_nodelay(true).map_err(Error::io(failed()))?;
    stream
        .write_all(&SSL_REQUEST)
        .await
        .map_err(Error::io(failed()))?;
    let answer = stream.read_u8().await.map_err(Error::io(failed()))?;
    if answer != b'S' {
        return Err(Error::NoTls {
            address: address.to_string(),
            answer: char::from(answer),
        });
    }
    let name = ServerName::try_from("localhost").map_err(|source| Error::Io {
        action: failed(),
        source: std::io::Error::other(source),
    })?;
    TlsConnector::from(tls)
        .connect(name, stream)
        .await
        .map_err(Error::io(format!("set up TLS with {address}")))
}
