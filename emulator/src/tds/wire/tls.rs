//! TLS inside TDS: handshake records travel in packets of type 0x12 (MS-TDS 3.3.5.2), everything
//! later goes raw.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::packet::{HEADER, LOGIN_PACKET, kind, status};

/// A socket under TLS.
#[derive(Debug)]
pub(in crate::tds) struct Wrapped {
    socket: TcpStream,
    phase: Phase,
    after: After,
    /// Records of the handshake that will go in one message: msodbcsql reads a flight as a whole.
    flight: Vec<u8>,
    /// Written by TLS, not by the socket yet.
    out: Vec<u8>,
}

/// How bytes go once the handshake is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum After {
    Raw,
    /// Record by record, so that nothing behind a record is taken: login-only encryption.
    ByRecord,
}

#[derive(Debug)]
enum Phase {
    /// `left` bytes of a packet are to come; 0 while a header is read.
    Handshake {
        header: Vec<u8>,
        left: usize,
    },
    Records {
        header: Vec<u8>,
        left: usize,
    },
    Raw,
}

impl Wrapped {
    pub(in crate::tds) fn new(socket: TcpStream, after: After) -> Self {
        let phase = Phase::Handshake {
            header: Vec::new(),
            left: 0,
        };
        Self {
            socket,
            phase,
            after,
            flight: Vec::new(),
            out: Vec::new(),
        }
    }

    pub(in crate::tds) fn handshake_is_over(&mut self) {
        // A client may have been so quick that its first data are being read already.
        if matches!(self.phase, Phase::Handshake { .. }) {
            self.phase = self.after.phase();
        }
    }

    pub(in crate::tds) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(in crate::tds) fn into_socket(self) -> TcpStream {
        self.socket
    }

    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wrap_flight();
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    fn wrap_flight(&mut self) {
        let flight = std::mem::take(&mut self.flight);
        let mut chunks = flight.chunks(LOGIN_PACKET - HEADER).peekable();
        while let Some(chunk) = chunks.next() {
            let length = u16::try_from(chunk.len() + HEADER).unwrap_or(u16::MAX);
            let is_last = chunks.peek().is_none();
            let status = if is_last { status::END } else { 0 };
            self.out.extend([kind::PRELOGIN, status]);
            self.out.extend(length.to_be_bytes());
            self.out.extend([0, 0, 0, 0]);
            self.out.extend(chunk);
        }
    }

    /// Reads up to `most` bytes.
    fn read_some(
        socket: &mut TcpStream,
        context: &mut Context<'_>,
        most: usize,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut part = buffer.take(most);
        ready!(Pin::new(socket).poll_read(context, &mut part))?;
        let count = part.filled().len();
        // What `part` filled is behind `buffer`'s own mark; it was initialised by being filled.
        let bytes = part.filled().to_vec();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(count))
    }

    /// Fills `header` up to `size` bytes. False: the peer has gone in between.
    fn read_header(
        socket: &mut TcpStream,
        context: &mut Context<'_>,
        header: &mut Vec<u8>,
        size: usize,
    ) -> Poll<io::Result<bool>> {
        while header.len() < size {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            header.extend(buffer.filled());
        }
        Poll::Ready(Ok(true))
    }
}

impl After {
    fn phase(self) -> Phase {
        match self {
            Self::Raw => Phase::Raw,
            Self::ByRecord => Phase::Records {
                header: Vec::new(),
                left: 0,
            },
        }
    }
}

impl AsyncRead for Wrapped {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.drain(context))?;
        let socket = &mut this.socket;
        if let Phase::Handshake { header, left } = &mut this.phase {
            let is_between = *left == 0 && header.is_empty();
            if is_between && ready!(next_is_record(socket, context))? {
                this.phase = this.after.phase();
            }
        }
        match &mut this.phase {
            Phase::Raw => Pin::new(socket).poll_read(context, buffer),
            Phase::Handshake { header, left } => {
                while *left == 0 {
                    if !ready!(Self::read_header(socket, context, header, HEADER))? {
                        return Poll::Ready(Ok(()));
                    }
                    *left = handshake_length(header)?;
                    header.clear();
                }
                *left -= ready!(Self::read_some(socket, context, *left, buffer))?;
                Poll::Ready(Ok(()))
            }
            Phase::Records { left, .. } if *left > 0 => {
                *left -= ready!(Self::read_some(socket, context, *left, buffer))?;
                Poll::Ready(Ok(()))
            }
            Phase::Records { header, left } => {
                // TLS reads ahead: it must not take what is no record any more.
                if header.is_empty() && !ready!(next_is_record(socket, context))? {
                    return Poll::Ready(Ok(()));
                }
                if buffer.remaining() < RECORD {
                    return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
                }
                if ready!(Self::read_header(socket, context, header, RECORD))? {
                    buffer.put_slice(header);
                    *left = record_length(header);
                    header.clear();
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !matches!(this.phase, Phase::Handshake { .. }) {
            ready!(this.drain(context))?;
            return Pin::new(&mut this.socket).poll_write(context, bytes);
        }
        // It goes at the next flush or read.
        this.flight.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.drain(context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.drain(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

/// False: the peer goes on without TLS, or not at all.
fn next_is_record(socket: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    ready!(socket.poll_peek(context, &mut buffer))?;
    Poll::Ready(Ok(matches!(buffer.filled(), [TLS_ALERT | TLS_DATA])))
}

/// How much of the handshake a packet with this header carries.
fn handshake_length(header: &[u8]) -> io::Result<usize> {
    match header {
        [kind::PRELOGIN, _, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let length = length.checked_sub(HEADER);
            length.ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The length of what follows a record's header.
fn record_length(header: &[u8]) -> usize {
    match header {
        [_, _, _, high, low] => u16::from_be_bytes([*high, *low]).into(),
        _ => 0,
    }
}

/// First bytes of TLS records that may come behind a handshake.
const TLS_ALERT: u8 = 0x15;
const TLS_DATA: u8 = 0x17;
/// The header of a TLS record.
const RECORD: usize = 5;
