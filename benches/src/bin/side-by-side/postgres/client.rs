//! A client that costs next to nothing itself: a socket that has logged in.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::scene::CLIENT;

/// A logged-in connection.
pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects without a password.
    pub(crate) async fn connect(address: SocketAddr, database: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        let mut client = Self { stream };
        let parameters = format!("user\0{CLIENT}\0database\0{database}\0\0");
        let body = [&0x0003_0000_u32.to_be_bytes()[..], parameters.as_bytes()].concat();
        client.send(&sized(&body)?).await?;
        client.until_ready().await.context("the login")?;
        Ok(client)
    }

    /// Runs a query to its end.
    pub(crate) async fn query(&mut self) -> anyhow::Result<()> {
        let message = [&b"Q"[..], &sized(b"select 1\0")?].concat();
        self.send(&message).await?;
        self.until_ready().await.context("a query")
    }

    async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("cannot send")
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        loop {
            let tag = self.stream.read_u8().await.context("cannot read")?;
            let length = self.stream.read_u32().await.context("cannot read")?;
            ensure!(
                (4..100_000).contains(&length),
                "a message of {length} bytes"
            );
            let mut body = vec![0; length as usize - 4];
            self.stream
                .read_exact(&mut body)
                .await
                .context("cannot read")?;
            match tag {
                b'Z' => return Ok(()),
                b'E' => bail!("the server said {}", String::from_utf8_lossy(&body)),
                _ => {}
            }
        }
    }
}

/// A length word that counts itself, and a body.
fn sized(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u32::try_from(body.len() + 4).context("a length")?;
    Ok([&length.to_be_bytes()[..], body].concat())
}
