//! TLS in both forms, and who encrypts what.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use anyhow::ensure;
use entrapool_emulator::tds::{Encryption, TdsServer};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::answer::Answer;
use crate::client::{Client, LOGIN7, Login, PRELOGIN, option, prelogin};
use crate::server::Tenant;

type Outcome = anyhow::Result<()>;

/// A client whose TLS is moved by hand.
struct Wrapped {
    socket: TcpStream,
    tls: ClientConnection,
}

impl Wrapped {
    /// PRELOGIN, then the handshake in packets.
    async fn connect(
        server: &TdsServer,
        config: Arc<ClientConfig>,
        encryption: u8,
    ) -> anyhow::Result<(Self, Vec<u8>)> {
        let mut socket = TcpStream::connect(server.addr()).await?;
        send(&mut socket, PRELOGIN, &prelogin(encryption, true)).await?;
        let (_, answer) = receive(&mut socket).await?;
        let tls = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
        let mut wrapped = Self { socket, tls };
        while wrapped.tls.is_handshaking() {
            let mut records = Vec::new();
            while wrapped.tls.wants_write() {
                wrapped.tls.write_tls(&mut records)?;
            }
            if !records.is_empty() {
                send(&mut wrapped.socket, PRELOGIN, &records).await?;
            }
            if wrapped.tls.is_handshaking() {
                let (kind, records) = receive(&mut wrapped.socket).await?;
                ensure!(kind == PRELOGIN, "a handshake packet of type {kind}");
                let mut records = records.as_slice();
                while !records.is_empty() {
                    wrapped.tls.read_tls(&mut records)?;
                    wrapped.tls.process_new_packets()?;
                }
            }
        }
        Ok((wrapped, answer))
    }

    /// In raw TLS records.
    async fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.tls.writer().write_all(bytes)?;
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records)?;
        }
        Ok(self.socket.write_all(&records).await?)
    }

    async fn read(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut records = vec![0; 32 * 1024];
        let count = self.socket.read(&mut records).await?;
        let mut rest = &records[..count];
        let mut bytes = Vec::new();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest)?;
            let state = self.tls.process_new_packets()?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut plain)?;
            bytes.extend(plain);
        }
        Ok(bytes)
    }
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 8).unwrap().to_be_bytes();
    let mut packet = vec![kind, 1, length[0], length[1], 0, 0, 1, 0];
    packet.extend(body);
    packet
}

async fn send(socket: &mut TcpStream, kind: u8, body: &[u8]) -> Outcome {
    Ok(socket.write_all(&packet(kind, body)).await?)
}

async fn receive(socket: &mut TcpStream) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut header = [0; 8];
    socket.read_exact(&mut header).await?;
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]])) - 8];
    socket.read_exact(&mut body).await?;
    Ok((header[0], body))
}

fn config(tenant: &Tenant, alpn: &[&[u8]]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::clone(&*tenant.pki.client_config()?);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

#[tokio::test]
async fn handshakes_travel_in_packets_and_data_in_records() -> Outcome {
    let tenant = Tenant::new()?;
    let certificate = tenant.pki.issue(&["localhost"])?;
    let server = tenant.server().tls(&certificate).start().await?;
    for asked in [0, 1, 3] {
        let (mut client, answer) = Wrapped::connect(&server, config(&tenant, &[])?, asked).await?;
        let expected = if asked == 0 { 3 } else { 1 };
        assert_eq!(option(&answer, 1), Some(vec![expected]));
        assert_eq!(option(&answer, 6), Some(vec![1]));
        assert_eq!(
            client.tls.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_2)
        );
        // A login of several packets, and a query, all in records.
        let login = Login::token(&tenant.token()?, true).bytes();
        let mut chunks = login.chunks(4088).peekable();
        while let Some(chunk) = chunks.next() {
            let mut bytes = packet(LOGIN7, chunk);
            bytes[1] = u8::from(chunks.peek().is_none());
            client.write(&bytes).await?;
        }
        let bytes = client.read().await?;
        assert!(Answer::read(&bytes[8..], true)?.errors().is_empty());
    }
    assert!(server.logins().iter().all(|login| login.over_tls));
    assert_eq!(server.logins().len(), 3);
    // Without TLS there is no login here.
    let mut client = Client::connect(server.addr()).await?;
    client.send(PRELOGIN, &prelogin(2, false)).await?;
    assert_eq!(option(&client.message().await?, 1), Some(vec![3]));
    assert!(client.is_closed().await);
    Ok(())
}

#[tokio::test]
async fn login_only_encryption_ends_behind_login7() -> Outcome {
    let tenant = Tenant::new()?;
    let certificate = tenant.pki.issue(&["localhost"])?;
    let server = tenant
        .server()
        .tls(&certificate)
        .encryption(Encryption::LoginOnly)
        .start()
        .await?;
    // All packets of LOGIN7 encrypted (tiberius), or the first one only (FreeTDS, go-mssqldb).
    for encrypted in [usize::MAX, 1] {
        let (mut client, answer) = Wrapped::connect(&server, config(&tenant, &[])?, 0).await?;
        assert_eq!(option(&answer, 1), Some(vec![0]));
        let login = Login::token(&tenant.token()?, true).bytes();
        let mut chunks = login.chunks(1000).enumerate().peekable();
        while let Some((at, chunk)) = chunks.next() {
            let mut bytes = packet(LOGIN7, chunk);
            bytes[1] = u8::from(chunks.peek().is_none());
            if at < encrypted {
                client.write(&bytes).await?;
            } else {
                client.socket.write_all(&bytes).await?;
            }
        }
        let mut plain = Client::over(client.socket);
        assert!(plain.answer().await?.errors().is_empty());
        assert_eq!(plain.value("select 40 + 2").await?.as_deref(), Some("42"));
    }
    // ON is more, NOT_SUP less.
    let (_client, answer) = Wrapped::connect(&server, config(&tenant, &[])?, 1).await?;
    assert_eq!(option(&answer, 1), Some(vec![1]));
    let mut client = Client::connect(server.addr()).await?;
    client.send(PRELOGIN, &prelogin(2, false)).await?;
    assert_eq!(option(&client.message().await?, 1), Some(vec![2]));
    Ok(())
}

#[tokio::test]
async fn strict_tls_comes_first_and_wants_its_alpn() -> Outcome {
    let tenant = Tenant::new()?;
    let certificate = tenant.pki.issue(&["localhost"])?;
    let server = tenant.server().tls(&certificate).start().await?;
    let name = ServerName::try_from("localhost")?;
    let connect = async |alpn: &[&[u8]]| {
        let connector = TlsConnector::from(config(&tenant, alpn)?);
        let socket = TcpStream::connect(server.addr()).await?;
        anyhow::Ok(connector.connect(name.clone(), socket).await?)
    };
    let mut client = Client::over(connect(&[b"tds/8.0"]).await?);
    let answer = client.login(&Login::token(&tenant.token()?, true)).await?;
    assert!(answer.errors().is_empty());
    assert_eq!(client.value("select 1").await?.as_deref(), Some("1"));
    assert!(connect(&[b"http/1.1"]).await.is_err());
    let mut silent = Client::over(connect(&[]).await?);
    let _closed_already = silent.send(PRELOGIN, &prelogin(2, false)).await;
    assert!(silent.is_closed().await);
    Ok(())
}
