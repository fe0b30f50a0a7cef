//! A connection: packets and messages in, bytes out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::packet::Packet;
use super::tls::Wrapped;

const READ_SIZE: usize = 16 * 1024;

/// What a connection runs over.
#[derive(Debug)]
pub(in crate::tds) enum Stream {
    Plain(TcpStream),
    /// TDS 7.x: the handshake was in packets.
    Wrapped(Box<TlsStream<Wrapped>>),
    /// TDS 8.0: TLS first.
    Strict(Box<TlsStream<TcpStream>>),
}

/// Why no packet came.
#[derive(Debug)]
pub(in crate::tds) enum NoPacket {
    /// The client has gone, between packets or inside of one.
    Gone,
    BadLength,
}

/// A connection with what was read from it and not used yet.
#[derive(Debug)]
pub(in crate::tds) struct Link {
    stream: Stream,
    input: BytesMut,
}

impl Link {
    pub(in crate::tds) fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
        }
    }

    /// Something was read and not used yet.
    pub(in crate::tds) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// TLS has ended; what was read already is kept. `None`: strict TLS never ends.
    pub(in crate::tds) fn into_plain(self) -> Option<Self> {
        let socket = match self.stream {
            Stream::Wrapped(stream) => stream.into_inner().0.into_socket(),
            Stream::Plain(socket) => socket,
            Stream::Strict(_) => return None,
        };
        Some(Self {
            stream: Stream::Plain(socket),
            input: self.input,
        })
    }

    pub(in crate::tds) fn into_stream(self) -> Stream {
        self.stream
    }

    /// The socket below TLS in packets.
    pub(in crate::tds) fn socket(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Wrapped(stream) => Some(stream.get_ref().0.socket()),
            Stream::Plain(_) | Stream::Strict(_) => None,
        }
    }

    /// The next packet. Cancelling loses nothing.
    pub(in crate::tds) async fn packet(&mut self) -> Result<Packet, NoPacket> {
        loop {
            if let Some(packet) = Packet::cut(&mut self.input).map_err(|_| NoPacket::BadLength)? {
                return Ok(packet);
            }
            self.input.reserve(READ_SIZE);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return Err(NoPacket::Gone),
                Ok(_) => {}
            }
        }
    }

    pub(in crate::tds) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Says goodbye; the client may be gone already.
    pub(in crate::tds) async fn end(&mut self) {
        let _gone = self.stream.shutdown().await;
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Wrapped(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Strict(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Wrapped(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Strict(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Wrapped(stream) => Pin::new(stream).poll_flush(context),
            Self::Strict(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Wrapped(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Strict(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
