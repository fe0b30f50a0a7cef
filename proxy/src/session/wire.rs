//! Hot path: no allocation once grown, one system call per read and per write.
//!
//! A [`Socket`] is a client's connection, which holds no buffer. A [`Wire`] is a backend's: TLS
//! driven by hand over the socket, so that a read takes what there is in one call and a write
//! sends everything staged at once.

use std::cell::RefCell;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use entrapool_protocol::Sink;
use rustls::{ClientConnection, ServerConfig};
use tokio::io::ReadBuf;
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroize;

use super::batch::Batched;
use super::envelope::Envelope;
use super::inbox::Inbox;
use super::secured::Secured;

/// Most bytes read at once. Buffers of wires that nobody uses shrink to this.
pub const READ: usize = 32 * 1024;

/// How long a closed session waits for its client to close too.
const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    /// Where every read of this thread lands first. Nothing waits while it is borrowed.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// A stream socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(Batched<TcpStream>),
    /// Unix domain.
    Unix(Batched<UnixStream>),
    /// TLS over TCP.
    Tls(Box<Secured>),
    /// Nothing can be read or written before [`Socket::wake`].
    Resting(Dormant),
}

/// A connection that the runtime knows nothing of.
#[derive(Debug)]
pub enum Dormant {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix domain.
    Unix(std::os::unix::net::UnixStream),
    /// The system has refused to let it go, or to take it back: there is none any more.
    Lost,
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(Batched::new(stream))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(Batched::new(stream))
    }
}

impl Socket {
    /// Reads what there is, up to [`READ`] bytes, and hands it to `use_bytes`; none means that
    /// the peer has closed.
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn poll_read_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        use_bytes: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        self.poll_read_at_most(READ, cx, use_bytes)
    }

    /// As [`Socket::poll_read_with`], but leaves what is beyond `most` bytes in the socket.
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn poll_read_at_most<T>(
        &mut self,
        most: usize,
        cx: &mut Context<'_>,
        use_bytes: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch.get_mut(..most).unwrap_or_default());
            ready!(match self {
                Self::Tcp(stream) => stream.poll_read(cx, &mut buffer),
                Self::Unix(stream) => stream.poll_read(cx, &mut buffer),
                Self::Tls(stream) => stream.poll_read(cx, &mut buffer),
                Self::Resting(_) => return Poll::Ready(Err(at_rest())),
            })?;
            Poll::Ready(Ok(use_bytes(buffer.filled())))
        })
    }

    /// Writes as much of `bytes` as the socket takes now.
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_write(cx, bytes),
            Self::Unix(stream) => stream.poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll_write(cx, bytes),
            Self::Resting(_) => Poll::Ready(Err(at_rest())),
        }
    }

    /// Whether a read would find something (bytes, or the end).
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_read_ready(cx),
            Self::Resting(_) => Poll::Ready(Err(at_rest())),
        }
    }

    /// Ready when everything that was written is the system's.
    fn poll_clear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_clear(cx),
            Self::Unix(stream) => stream.poll_clear(cx),
            Self::Tls(_) | Self::Resting(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ready when everything that was written is the system's, and nowhere else.
    fn poll_wipe(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_wipe(cx),
            Self::Unix(stream) => stream.poll_wipe(cx),
            Self::Tls(_) | Self::Resting(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether it can be without the runtime.
    #[must_use]
    pub fn can_rest(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// Takes it off the runtime's books, if it can be without.
    pub fn rest(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        if self.poll_clear(&mut cx).is_pending() {
            return;
        }
        let dormant = match std::mem::replace(self, Self::Resting(Dormant::Lost)) {
            Self::Tcp(stream) => stream.into_inner().into_std().map(Dormant::Tcp),
            Self::Unix(stream) => stream.into_inner().into_std().map(Dormant::Unix),
            other => return *self = other,
        };
        *self = Self::Resting(dormant.unwrap_or(Dormant::Lost));
    }

    /// Puts it on the runtime's books again. Must be called on the runtime.
    pub fn wake(&mut self) {
        let awake = match std::mem::replace(self, Self::Resting(Dormant::Lost)) {
            Self::Resting(Dormant::Tcp(stream)) => TcpStream::from_std(stream).map(Self::from),
            Self::Resting(Dormant::Unix(stream)) => UnixStream::from_std(stream).map(Self::from),
            other => Ok(other),
        };
        *self = awake.unwrap_or(Self::Resting(Dormant::Lost));
    }

    /// What can be watched while it rests.
    #[must_use]
    pub fn resting(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Resting(Dormant::Tcp(stream)) => Some(stream.as_fd()),
            Self::Resting(Dormant::Unix(stream)) => Some(stream.as_fd()),
            _ => None,
        }
    }

    /// The first byte that the peer has sent, which stays where it is; `None` if there is none
    /// to come. Only for TCP, before TLS.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::Unsupported`] for other sockets.
    pub async fn first_byte(&self) -> io::Result<Option<u8>> {
        let Self::Tcp(stream) = self else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut byte = [0];
        let count = stream.get_ref().peek(&mut byte).await?;
        Ok((count > 0).then_some(byte[0]))
    }

    /// The same connection with TLS, whose server we are; the handshake travels in the messages of
    /// `envelope` if there is one. Nothing of it may have been read yet.
    ///
    /// # Errors
    /// What rustls or the system says; [`io::ErrorKind::Unsupported`] for anything but TCP.
    pub async fn accept_tls(
        mut self,
        config: Arc<ServerConfig>,
        envelope: Option<&'static dyn Envelope>,
    ) -> io::Result<Self> {
        std::future::poll_fn(|cx| self.poll_clear(cx)).await?;
        match self {
            Self::Tcp(stream) => {
                let secured = Secured::accept(stream.into_inner(), config, envelope).await?;
                Ok(Self::Tls(Box::new(secured)))
            }
            Self::Unix(_) | Self::Tls(_) | Self::Resting(_) => {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What the system says.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = std::future::poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Closes so that the peer gets what was written: it is told that nothing more comes, and
    /// what it still sends is read, because unread bytes would turn the close into a reset.
    pub async fn close(mut self) {
        let closing = async {
            std::future::poll_fn(|cx| match &mut self {
                Self::Tcp(stream) => stream.poll_shutdown(cx),
                Self::Unix(stream) => stream.poll_shutdown(cx),
                Self::Tls(stream) => stream.poll_shutdown(cx),
                Self::Resting(_) => Poll::Ready(Err(at_rest())),
            })
            .await?;
            while std::future::poll_fn(|cx| self.poll_read_with(cx, <[u8]>::len)).await? > 0 {}
            io::Result::Ok(())
        };
        // A peer that goes on sending, or never closes, is left at that.
        let _ = tokio::time::timeout(LINGER, closing).await;
    }

    /// Appends what comes next to `buffer`; 0 means that the peer has closed.
    ///
    /// # Errors
    /// What the system says.
    pub async fn read_more(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.read_at_most(READ, buffer).await
    }

    /// As [`Socket::read_more`], but leaves what is beyond `most` bytes in the socket.
    ///
    /// # Errors
    /// What the system says.
    pub async fn read_at_most(&mut self, most: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            self.poll_read_at_most(most, cx, |bytes| {
                buffer.extend_from_slice(bytes);
                bytes.len()
            })
        })
        .await
    }
}

fn at_rest() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// A backend's connection: staged bytes go out in one write, TLS records are opened into an
/// [`Inbox`].
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    /// Staged and not yet encrypted or (without TLS) sent.
    out: Vec<u8>,
    /// How much of `out` was sent already, without TLS.
    sent: usize,
}

impl Sink for Wire {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

impl Wire {
    /// A connection without TLS, so far.
    #[must_use]
    pub fn plain(socket: Socket) -> Self {
        Self {
            socket,
            tls: None,
            out: Vec::new(),
            sent: 0,
        }
    }

    /// Begins TLS and runs its handshake to the end.
    ///
    /// # Errors
    /// What rustls or the system says; the connection is of no use after it.
    pub async fn secure(&mut self, connection: ClientConnection) -> io::Result<()> {
        self.tls = Some(Box::new(connection));
        let mut early = Inbox::default();
        loop {
            self.flush().await?;
            match &self.tls {
                Some(tls) if tls.is_handshaking() => {}
                _ => return Ok(()),
            }
            if std::future::poll_fn(|cx| self.poll_fill(cx, &mut early)).await? == Fill::End {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed the connection during the handshake",
                ));
            }
        }
    }

    /// What TLS and the server agreed to speak, if they did (ALPN).
    #[must_use]
    pub fn agreed(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.alpn_protocol()
    }

    /// Version and cipher suite of TLS, in rustls's words, if there is TLS.
    #[must_use]
    pub fn cipher(&self) -> Option<String> {
        let tls = self.tls.as_ref()?;
        let suite = tls.negotiated_cipher_suite()?.suite();
        Some(format!("{:?}, {suite:?}", tls.protocol_version()?))
    }

    /// As [`Wire::secure`], with a handshake that travels in the messages of `envelope`.
    ///
    /// # Errors
    /// What rustls or the system says; the connection is of no use after it.
    pub async fn secure_within(
        &mut self,
        mut tls: ClientConnection,
        envelope: &dyn Envelope,
    ) -> io::Result<()> {
        let mut received = Vec::new();
        loop {
            let mut records = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut records)?;
            }
            if !records.is_empty() {
                let mut messages = Vec::new();
                envelope.wrap(&records, &mut messages);
                self.socket.write_all(&messages).await?;
            }
            if !tls.is_handshaking() {
                break;
            }
            if self.socket.read_more(&mut received).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed the connection during the handshake",
                ));
            }
            open(&mut tls, &mut received, envelope)?;
        }
        if !received.is_empty() {
            // Nothing may come before we have said something.
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "bytes came behind the TLS handshake that nobody asked for",
            ));
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Reads what there is and appends what it says to `inbox`.
    ///
    /// # Errors
    /// What rustls or the system says.
    #[inline]
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox) -> Poll<io::Result<Fill>> {
        let Self { socket, tls, .. } = self;
        let fill = ready!(socket.poll_read_with(cx, |bytes| match tls {
            _ if bytes.is_empty() => Ok(Fill::End),
            None => {
                inbox.append(bytes);
                Ok(Fill::Bytes(bytes.len()))
            }
            Some(tls) => decrypt(tls, bytes, inbox),
        }))?;
        Poll::Ready(fill)
    }

    /// Whether a read would find something; see [`Socket::poll_read_ready`].
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read_ready(cx)
    }

    /// Sends everything staged.
    ///
    /// # Errors
    /// What rustls or the system says.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else {
            return self.poll_flush_plain(cx);
        };
        if !self.out.is_empty() && !tls.is_handshaking() {
            tls.writer().write_all(&self.out)?;
            self.out.clear();
        }
        while tls.wants_write() {
            match tls.write_tls(&mut Outlet {
                socket: &mut self.socket,
                cx,
            }) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush_plain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.out.get(self.sent..).filter(|left| !left.is_empty()) {
            match ready!(self.socket.poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether something staged has not been sent.
    #[inline]
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.out.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Bytes staged since the last flush.
    #[inline]
    #[must_use]
    pub fn staged(&self) -> usize {
        self.out.len() - self.sent
    }

    /// As [`Wire::poll_flush`].
    ///
    /// # Errors
    /// What rustls or the system says.
    pub async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Waits for bytes. See [`Wire::poll_fill`].
    ///
    /// # Errors
    /// What rustls or the system says; [`io::ErrorKind::UnexpectedEof`] at the end.
    pub async fn fill(&mut self, inbox: &mut Inbox) -> io::Result<()> {
        match std::future::poll_fn(|cx| self.poll_fill(cx, inbox)).await? {
            Fill::Bytes(_) => Ok(()),
            Fill::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Sends a secret and leaves no copy of it in here.
    ///
    /// # Errors
    /// What rustls or the system says.
    pub async fn flush_secret(&mut self) -> io::Result<()> {
        let mut result = self.flush().await;
        if result.is_ok() {
            result = std::future::poll_fn(|cx| self.socket.poll_wipe(cx)).await;
        }
        self.out.clear();
        let spare = self.out.capacity();
        self.out.resize(spare, 0);
        self.out.zeroize();
        result
    }

    /// Gives back memory that only a burst needed.
    pub fn shrink(&mut self) {
        if self.out.is_empty() && self.out.capacity() > READ {
            self.out = Vec::new();
        }
    }
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// So many bytes for the inbox: none if it was only TLS's own.
    Bytes(usize),
    /// The peer has closed.
    End,
}

/// Opens the messages of a handshake that are whole.
fn open(
    tls: &mut ClientConnection,
    received: &mut Vec<u8>,
    envelope: &dyn Envelope,
) -> io::Result<()> {
    loop {
        let mut records = Vec::new();
        let taken = envelope.unwrap(received, &mut records)?;
        if taken == 0 {
            return Ok(());
        }
        received.drain(..taken);
        let mut records = records.as_slice();
        while !records.is_empty() {
            tls.read_tls(&mut records)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

/// Opens the records in `bytes`, which rustls takes in portions of its own size.
fn decrypt(tls: &mut ClientConnection, mut bytes: &[u8], inbox: &mut Inbox) -> io::Result<Fill> {
    let mut opened = 0;
    let mut closed = false;
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        closed |= state.peer_has_closed();
        let mut left = state.plaintext_bytes_to_read();
        opened += left;
        while left > 0 {
            let mut reader = tls.reader();
            let plain = reader.fill_buf()?;
            inbox.append(plain);
            let count = plain.len();
            reader.consume(count);
            left = left.saturating_sub(count);
        }
    }
    Ok(if closed && opened == 0 {
        Fill::End
    } else {
        Fill::Bytes(opened)
    })
}

/// Lets rustls write into a socket that may not be ready.
struct Outlet<'a, 'b, 'c> {
    socket: &'a mut Socket,
    cx: &'b mut Context<'c>,
}

impl Write for Outlet<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.socket.poll_write(self.cx, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        // The system deals with one slice faster if it is not told of a list.
        if let [one] = slices {
            return self.write(one);
        }
        let result = match self.socket {
            Socket::Tcp(stream) => stream.poll_write_vectored(self.cx, slices),
            Socket::Unix(stream) => stream.poll_write_vectored(self.cx, slices),
            Socket::Tls(_) | Socket::Resting(_) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                return self.write(first.map_or(&[], |slice| slice));
            }
        };
        match result {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
