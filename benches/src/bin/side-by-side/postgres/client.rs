//! A client that costs next to nothing itself: a socket that has logged in.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use entrapool_protocol::postgres::message::{EXECUTE_ALL, SYNC};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A logged-in connection.
pub(super) struct Client {
    input: BufReader<OwnedReadHalf>,
    output: OwnedWriteHalf,
}

impl Client {
    /// Connects without a password.
    pub(super) async fn connect(
        address: SocketAddr,
        user: &str,
        database: &str,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        let (input, output) = stream.into_split();
        let mut client = Self {
            input: BufReader::with_capacity(64 * 1024, input),
            output,
        };
        let parameters = format!("user\0{user}\0database\0{database}\0\0");
        let body = [&0x0003_0000_u32.to_be_bytes()[..], parameters.as_bytes()].concat();
        client.send(&sized(&body)?).await?;
        client.until(b'Z').await.context("the login")?;
        Ok(client)
    }

    /// Runs a query to its end; returns how many bytes came.
    pub(super) async fn query(&mut self, sql: &str) -> anyhow::Result<u64> {
        self.ask(sql).await?;
        self.until(b'Z').await.context("a query")
    }

    /// Prepares a statement.
    pub(super) async fn prepare(&mut self, name: &str, sql: &str) -> anyhow::Result<()> {
        let parse = format!("{name}\0{sql}\0\0\0");
        let message = [&b"P"[..], &sized(parse.as_bytes())?, &SYNC].concat();
        self.send(&message).await?;
        self.until(b'Z').await.context("a Parse").map(|_| ())
    }

    /// Runs a prepared statement with one parameter; returns how many bytes came.
    pub(super) async fn execute(&mut self, name: &str, parameter: &str) -> anyhow::Result<u64> {
        let length = u32::try_from(parameter.len()).context("a parameter")?;
        let bind = [
            b"\0",
            name.as_bytes(),
            b"\0\0\0\0\x01",
            &length.to_be_bytes(),
            parameter.as_bytes(),
            b"\0\0",
        ]
        .concat();
        let message = [&b"B"[..], &sized(&bind)?, &EXECUTE_ALL, &SYNC].concat();
        self.send(&message).await?;
        self.until(b'Z').await.context("an Execute")
    }

    /// Runs a COPY FROM STDIN of `times` messages with `data`; returns how many bytes went.
    pub(super) async fn copy_in(
        &mut self,
        sql: &str,
        data: &[u8],
        times: u64,
    ) -> anyhow::Result<u64> {
        self.ask(sql).await?;
        self.until(b'G').await.context("a COPY")?;
        let message = [&b"d"[..], &sized(data)?].concat();
        for _ in 0..times {
            self.send(&message).await?;
        }
        self.send(&[&b"c"[..], &sized(b"")?].concat()).await?;
        self.until(b'Z').await.context("the end of a COPY")?;
        Ok(message.len() as u64 * times)
    }

    async fn ask(&mut self, sql: &str) -> anyhow::Result<()> {
        let text = [sql.as_bytes(), b"\0"].concat();
        self.send(&[&b"Q"[..], &sized(&text)?].concat()).await
    }

    async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.output.write_all(bytes).await.context("cannot send")
    }

    /// Reads up to a message of this kind, the answer's last.
    async fn until(&mut self, last: u8) -> anyhow::Result<u64> {
        let mut body = Vec::new();
        let mut bytes = 0;
        loop {
            let tag = self.input.read_u8().await.context("cannot read")?;
            let length = self.input.read_u32().await.context("cannot read")?;
            ensure!(
                (4..100_000).contains(&length),
                "a message of {length} bytes"
            );
            body.resize(length as usize - 4, 0);
            self.input
                .read_exact(&mut body)
                .await
                .context("cannot read")?;
            bytes += u64::from(length) + 1;
            match tag {
                b'E' => bail!("the server said {}", String::from_utf8_lossy(&body)),
                tag if tag == last => return Ok(bytes),
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
