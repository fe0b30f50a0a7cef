//! A client that costs next to nothing itself: a socket that has logged in, requests as bytes.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use entrapool_benches::conversation::Exchange;
use entrapool_benches::tds::{
    HEADER, LARGE, PACKET, handle, large_batch, preparation, prepared_call, simple_batch, sql_call,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::greeting::{Account, client_prelogin, login};

/// ERROR.
const ERROR: u8 = 0xaa;
/// LOGINACK.
const LOGINACK: u8 = 0xad;

/// What a client asks for, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A batch.
    Batch,
    /// `sp_executesql`.
    Call,
    /// `sp_execute`.
    Prepared,
    /// A large result.
    Large,
}

/// An answer.
struct Answer {
    /// The payload of its first packet.
    head: Vec<u8>,
    /// The payloads of all.
    bytes: usize,
}

/// A logged-in connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    answer: Answer,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, account: Account) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        let mut client = Self {
            stream,
            input: Vec::new(),
            answer: Answer {
                head: Vec::new(),
                bytes: 0,
            },
        };
        client.ask(&client_prelogin()).await.context("PRELOGIN")?;
        client.ask(&login(account)).await.context("the login")?;
        let welcomed = client.answer.head.contains(&LOGINACK);
        ensure!(welcomed, "the login was not acknowledged");
        Ok(client)
    }

    /// Prepares what `work` needs. Returns the request, and the answer that is due.
    pub(crate) async fn begin(&mut self, work: Work) -> anyhow::Result<Exchange> {
        Ok(match work {
            Work::Batch => simple_batch(),
            Work::Call => sql_call(),
            Work::Large => large_batch(),
            Work::Prepared => {
                let request = preparation(0).request;
                self.ask(&request).await.context("sp_prepare")?;
                let handle = handle(&self.answer.head).context("sp_prepare gave no handle")?;
                prepared_call(handle)
            }
        })
    }

    /// One request, one answer, which has to be the one that is due. Returns its bytes.
    pub(crate) async fn run(&mut self, exchange: &Exchange) -> anyhow::Result<usize> {
        self.ask(&exchange.request).await?;
        let Answer { head, bytes } = &self.answer;
        let due = exchange.answer.get(HEADER..).unwrap_or_default();
        // Of a large one, the beginning and the length: packets may be cut elsewhere.
        let is_it = match *bytes > LARGE {
            true => due.starts_with(head.get(..64).unwrap_or_default()),
            false => due == head,
        };
        ensure!(is_it, "the answer is not the one that is due");
        Ok(*bytes)
    }

    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        let sent = self.stream.write_all(request).await;
        sent.context("cannot send")?;
        self.answer.head.clear();
        self.answer.bytes = 0;
        // An idle client shall cost nothing, here too.
        if self.input.capacity() == 0 {
            self.input.reserve(PACKET);
        }
        while !self.take()? {
            let read = self.stream.read_buf(&mut self.input).await;
            ensure!(
                read.context("cannot read")? > 0,
                "the connection was closed"
            );
        }
        if let [ERROR, _, _, a, b, c, d, ..] = *self.answer.head {
            anyhow::bail!("the server's error {}", i32::from_le_bytes([a, b, c, d]));
        }
        Ok(())
    }

    /// Takes the whole packets that are here. Returns whether the message is at its end.
    fn take(&mut self) -> anyhow::Result<bool> {
        let mut at = 0;
        let mut ended = false;
        while let Some(&[_, status, high, low, ..]) =
            self.input.get(at..).and_then(<[u8]>::first_chunk::<HEADER>)
        {
            let length = usize::from(u16::from_be_bytes([high, low]));
            ensure!(length >= HEADER, "a packet of {length} bytes");
            let Some(payload) = self.input.get(at + HEADER..at + length) else {
                break;
            };
            if self.answer.head.is_empty() {
                self.answer.head.extend_from_slice(payload);
            }
            self.answer.bytes += payload.len();
            at += length;
            if status & 1 != 0 {
                ended = true;
                break;
            }
        }
        self.input.drain(..at);
        ensure!(!ended || self.input.is_empty(), "bytes behind an answer");
        Ok(ended)
    }
}
