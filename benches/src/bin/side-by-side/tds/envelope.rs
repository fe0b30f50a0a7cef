//! A socket whose bytes travel in PRELOGIN packets during the TLS handshake, and bare from then on
//! (MS-TDS 2.2.6.5).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use entrapool_benches::tds::{HEADER, kind, packets};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The socket.
pub(super) struct Envelope {
    socket: TcpStream,
    /// Whether the handshake is still under way.
    wraps: bool,
    header: [u8; HEADER],
    /// How much of the header is here.
    headed: usize,
    /// What is left of the packet's payload.
    payload: usize,
    /// Packets that the socket has not taken yet.
    out: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            wraps: true,
            header: [0; HEADER],
            headed: 0,
            payload: 0,
            out: Vec::new(),
        }
    }

    /// The handshake is over.
    pub(super) fn open(&mut self) {
        self.wraps = false;
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))?;
            self.out.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads up to a payload; `false` if there is no more.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.payload == 0 {
            let Self {
                socket,
                header,
                headed,
                ..
            } = self;
            let mut rest = ReadBuf::new(&mut header[*headed..]);
            ready!(Pin::new(socket).poll_read(cx, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            *headed += rest.filled().len();
            if *headed == HEADER {
                if header[0] != kind::PRELOGIN {
                    return Poll::Ready(Err(io::Error::other("a TLS handshake was due")));
                }
                let length = u16::from_be_bytes([header[2], header[3]]);
                self.payload = usize::from(length).saturating_sub(HEADER);
                self.headed = 0;
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for Envelope {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.wraps {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        if !ready!(self.poll_header(cx))? {
            return Poll::Ready(Ok(()));
        }
        // Nothing behind the packet: that may be bare already.
        let mut part = buffer.take(self.payload);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.payload -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Envelope {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.wraps {
            ready!(self.poll_out(cx))?;
            return Pin::new(&mut self.socket).poll_write(cx, bytes);
        }
        let packets = packets(kind::PRELOGIN, bytes);
        self.out.extend_from_slice(&packets);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
