//! A client's connection with TLS: for drivers that insist on it, though it does not leave the
//! machine.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::envelope::Envelope;

/// What is read ahead to see whether there is anything to read, in bytes.
const AHEAD: usize = 4096;

/// A client behind TLS.
pub struct Secured {
    stream: TlsStream<Tunnel>,
    /// Read already, not yet taken.
    ahead: Vec<u8>,
    ended: bool,
}

impl Secured {
    /// Runs the handshake of a server, inside the messages of `envelope` if there is one.
    ///
    /// # Errors
    /// What rustls or the system says.
    pub(super) async fn accept(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        envelope: Option<&'static dyn Envelope>,
    ) -> io::Result<Self> {
        let tunnel = Tunnel {
            stream,
            wrapping: envelope.map(Wrapping::new),
            early: Vec::new(),
        };
        let mut stream = TlsAcceptor::from(config).accept(tunnel).await?;
        let tunnel = stream.get_mut().0;
        if let Some(wrapping) = tunnel.wrapping.take() {
            tunnel.early = wrapping.received;
        }
        Ok(Self {
            stream,
            ahead: Vec::new(),
            ended: false,
        })
    }

    /// The connection under it.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream.get_ref().0.stream
    }

    /// As [`Socket::poll_read_with`](super::wire::Socket::poll_read_with), into `buffer`.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.push(cx)?;
        if self.ahead.is_empty() && !self.ended {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(self.ahead.get(..count).unwrap_or_default());
        self.ahead.drain(..count);
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.push(cx)?;
        if self.ahead.is_empty() && !self.ended {
            let mut bytes = [0; AHEAD];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.ended = buffer.filled().is_empty();
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.push(cx)?;
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Records that did not fit into the socket go out as soon as they do: whoever polls at all
    /// polls for reading, too.
    fn push(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured").finish_non_exhaustive()
    }
}

/// A socket, or messages of a protocol over it.
struct Tunnel {
    stream: TcpStream,
    wrapping: Option<Wrapping>,
    /// What came behind the last message of the handshake.
    early: Vec<u8>,
}

struct Wrapping {
    envelope: &'static dyn Envelope,
    /// Messages, as far as they are here.
    received: Vec<u8>,
    /// Records out of them.
    records: Vec<u8>,
    /// Records to be sent.
    staged: Vec<u8>,
    /// Messages to be sent.
    out: Vec<u8>,
}

impl Wrapping {
    fn new(envelope: &'static dyn Envelope) -> Self {
        Self {
            envelope,
            received: Vec::new(),
            records: Vec::new(),
            staged: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Opens the messages that are whole. Returns whether there are records.
    fn open(&mut self) -> io::Result<bool> {
        loop {
            let taken = self.envelope.unwrap(&self.received, &mut self.records)?;
            if taken == 0 {
                return Ok(!self.records.is_empty());
            }
            self.received.drain(..taken);
        }
    }
}

/// Hands out what is in `from`.
fn hand_out(from: &mut Vec<u8>, buffer: &mut ReadBuf<'_>) {
    let count = from.len().min(buffer.remaining());
    buffer.put_slice(from.get(..count).unwrap_or_default());
    from.drain(..count);
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            stream,
            wrapping,
            early,
        } = &mut *self;
        let Some(wrapping) = wrapping else {
            if early.is_empty() {
                return Pin::new(stream).poll_read(cx, buffer);
            }
            hand_out(early, buffer);
            return Poll::Ready(Ok(()));
        };
        while wrapping.records.is_empty() && !wrapping.open()? {
            let mut bytes = [0; AHEAD];
            let mut more = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut more))?;
            if more.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            wrapping.received.extend_from_slice(more.filled());
        }
        hand_out(&mut wrapping.records, buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wrapping {
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
            Some(wrapping) => {
                // A flight goes out as one message.
                wrapping.staged.extend_from_slice(bytes);
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            stream, wrapping, ..
        } = &mut *self;
        let Some(wrapping) = wrapping else {
            return Pin::new(stream).poll_flush(cx);
        };
        if !wrapping.staged.is_empty() {
            wrapping.envelope.wrap(&wrapping.staged, &mut wrapping.out);
            wrapping.staged.clear();
        }
        while !wrapping.out.is_empty() {
            let sent = ready!(Pin::new(&mut *stream).poll_write(cx, &wrapping.out))?;
            wrapping.out.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
