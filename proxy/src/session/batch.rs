//! Hot path: no allocation once grown, no system call. What sessions write is gathered until each
//! task that can run has had its turn, and leaves in one system call.
//!
//! A send costs most by whom it wakes; together they cost a third less. Whoever writes is told
//! that all was taken, as by a kernel with room in its buffers. What a socket does not take is
//! sent behind its owner's back as soon as it does; until then the owner can write nothing more.
//! Why: [ADR 012](../../../docs/adr/012-sends-together.md).

#[cfg_attr(not(feature = "io-uring"), path = "batch/no_ring.rs")]
mod ring;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use zeroize::Zeroize;

/// Most sockets that are written to at once.
const MOST: u8 = 64;
/// Longest write that is gathered, in bytes: a longer one is worth a system call of its own.
const LONGEST: usize = 4 * 1024;
/// How long what a socket did not take is sent on after its owner has gone.
const LINGER: Duration = Duration::from_secs(5);
/// A job's memory that is kept for the next one, in bytes.
const LARGEST_KEPT: usize = 8 * 1024;

thread_local! {
    /// `None` where each write is a system call.
    static BATCH: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

/// From now on what this thread writes to sockets is gathered. Must be called on a runtime of this
/// thread alone: a task of its own does the sending, woken by what is written first, so that it
/// stands in the line of those that can run behind all others.
///
/// # Errors
/// The system, or the build, has no io_uring: everything stays as it is.
pub fn begin() -> io::Result<()> {
    let batch = Batch::new()?;
    BATCH.with_borrow_mut(|current| *current = Some(batch));
    tokio::spawn(std::future::poll_fn(|cx| {
        let rests = BATCH.with_borrow_mut(|batch| {
            let batch = batch.as_mut()?;
            batch.sender.get_or_insert_with(|| cx.waker().clone());
            Some(batch.flush())
        });
        rests.into_iter().flatten().for_each(Rest::begin);
        Poll::<()>::Pending
    }));
    Ok(())
}

/// What is to be written to one socket.
struct Job {
    fd: RawFd,
    family: Family,
    bytes: Vec<u8>,
    /// How much of it the socket has taken.
    taken: io::Result<usize>,
}

/// What kind of socket it is.
#[derive(Debug, Clone, Copy)]
pub enum Family {
    /// TCP.
    Tcp,
    /// Unix domain.
    Unix,
}

struct Batch {
    ring: ring::Ring,
    /// The first `used` of them are to be done; the others are kept for their memory.
    jobs: Vec<Job>,
    used: u8,
    /// The sockets that have not taken everything yet, or have failed.
    behind: HashMap<RawFd, Behind>,
    rests: u64,
    is_broken: bool,
    /// Wakes the task that sends.
    sender: Option<Waker>,
}

enum Behind {
    /// A rest is on its way; the socket's owner waits for that, perhaps. Whoever sends it hears of
    /// it when this is dropped.
    Sending {
        number: u64,
        owner: Option<Waker>,
        _here: oneshot::Sender<()>,
    },
    Failed(io::Error),
}

/// What a socket did not take.
struct Rest {
    number: u64,
    fd: RawFd,
    family: Family,
    socket: io::Result<OwnedFd>,
    bytes: Vec<u8>,
    /// Ends when the socket's owner has gone.
    owner: oneshot::Receiver<()>,
}

/// Whether a socket can be written to.
enum Standing {
    Clear,
    /// There is no batch: each write is a system call.
    Alone,
    Behind,
    Failed(io::Error),
}

impl Batch {
    fn new() -> io::Result<Self> {
        Ok(Self {
            ring: ring::Ring::new(u32::from(MOST))?,
            jobs: Vec::new(),
            used: 0,
            behind: HashMap::new(),
            rests: 0,
            is_broken: false,
            sender: None,
        })
    }

    /// The job for a socket, if it has one; `place` says where it was last.
    #[inline]
    fn job(&mut self, place: &Place) -> Option<&mut Job> {
        let used = usize::from(self.used);
        let job = self.jobs.get_mut(..used)?.get_mut(usize::from(place.job))?;
        (job.fd == place.fd).then_some(job)
    }

    #[inline]
    fn put(&mut self, place: &mut Place, stream: &impl Stream, slices: &[IoSlice<'_>]) {
        if self.job(place).is_none() {
            if self.used == 0
                && let Some(sender) = &self.sender
            {
                sender.wake_by_ref();
            }
            place.job = self.used;
            self.used += 1;
            match self.jobs.get_mut(usize::from(place.job)) {
                Some(job) => {
                    (job.fd, job.family) = (place.fd, stream.family());
                    job.bytes.clear();
                }
                None => self.jobs.push(Job {
                    fd: place.fd,
                    family: stream.family(),
                    bytes: Vec::new(),
                    taken: Ok(0),
                }),
            }
        }
        if let Some(job) = self.job(place) {
            slices
                .iter()
                .for_each(|slice| job.bytes.extend_from_slice(slice));
        }
    }

    /// Whether one more write could be too much.
    #[inline]
    fn is_full(&mut self, place: &Place) -> bool {
        self.used >= MOST
            || self
                .job(place)
                .is_some_and(|job| job.bytes.len() >= LONGEST)
    }

    /// Sends what there is; returns what sockets did not take.
    fn flush(&mut self) -> Vec<Rest> {
        let used = usize::from(std::mem::take(&mut self.used));
        if used == 0 {
            return Vec::new();
        }
        if let Err(broken) = self.ring.send(&mut self.jobs, used) {
            self.give_up(&broken);
            return Vec::new();
        }
        let mut rests = Vec::new();
        for job in self.jobs.iter_mut().take(used) {
            let taken = match std::mem::replace(&mut job.taken, Ok(0)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                taken => taken,
            };
            match taken {
                Ok(taken) if taken >= job.bytes.len() => {}
                Ok(taken) => {
                    self.rests += 1;
                    let (here, owner) = oneshot::channel();
                    let sending = Behind::Sending {
                        number: self.rests,
                        owner: None,
                        _here: here,
                    };
                    self.behind.insert(job.fd, sending);
                    rests.push(Rest {
                        owner,
                        number: self.rests,
                        fd: job.fd,
                        family: job.family,
                        socket: ring::duplicate(job.fd),
                        bytes: job.bytes.split_off(taken),
                    });
                }
                Err(error) => {
                    self.behind.insert(job.fd, Behind::Failed(error));
                }
            }
            if job.bytes.capacity() > LARGEST_KEPT {
                job.bytes = Vec::new();
            }
        }
        rests
    }

    /// What has been sent is nowhere in memory any more.
    fn wipe(&mut self) {
        for job in self.jobs.iter_mut().skip(usize::from(self.used)) {
            job.bytes.zeroize();
        }
    }

    /// The ring is of no use any more: what was to be sent is lost, and its sockets with it; from
    /// now on each write is a system call.
    fn give_up(&mut self, broken: &ring::Broken) {
        let error = &broken.error;
        tracing::error!(%error, connections = broken.sockets.len(), "io_uring has failed; connections are lost, and it is not used any more");
        self.is_broken = true;
        for &fd in &broken.sockets {
            let error = io::Error::from(error.kind());
            self.behind.insert(fd, Behind::Failed(error));
        }
    }

    /// What a socket's owner has to know before it writes more.
    #[inline]
    fn standing(&mut self, fd: RawFd, cx: &Context<'_>) -> Standing {
        if self.behind.is_empty() {
            return Standing::Clear;
        }
        match self.behind.get_mut(&fd) {
            None => Standing::Clear,
            Some(Behind::Sending { owner, .. }) => {
                *owner = Some(cx.waker().clone());
                Standing::Behind
            }
            Some(Behind::Failed(error)) => Standing::Failed(
                error
                    .raw_os_error()
                    .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error),
            ),
        }
    }
}

impl Rest {
    /// Sends it in a task of its own.
    fn begin(self) {
        // Without a runtime the process is at its end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.send());
        }
    }

    /// Nobody is sent to for ever: an owner that has gone can't be asked how long.
    async fn send(self) {
        let (fd, number) = (self.fd, self.number);
        let mut sending = pin!(send(self.socket, self.family, &self.bytes));
        tokio::select! {
            sent = &mut sending => finish(fd, number, sent),
            _ = self.owner => {
                let _ = tokio::time::timeout(LINGER, sending).await;
            }
        }
    }
}

async fn send(socket: io::Result<OwnedFd>, family: Family, bytes: &[u8]) -> io::Result<()> {
    match family {
        Family::Tcp => {
            let mut socket = TcpStream::from_std(socket?.into())?;
            socket.write_all(bytes).await
        }
        Family::Unix => {
            let mut socket = UnixStream::from_std(socket?.into())?;
            socket.write_all(bytes).await
        }
    }
}

/// The rest of a socket's has been sent, or can't be. The owner may have gone meanwhile, and
/// somebody else may have its number.
fn finish(fd: RawFd, number: u64, sent: io::Result<()>) {
    let waker = BATCH.with_borrow_mut(|batch| {
        let behind = &mut batch.as_mut()?.behind;
        let Some(Behind::Sending {
            number: current,
            owner,
            ..
        }) = behind.get_mut(&fd)
        else {
            return None;
        };
        if *current != number {
            return None;
        }
        let waker = owner.take();
        match sent {
            Ok(()) => behind.remove(&fd),
            Err(error) => behind.insert(fd, Behind::Failed(error)),
        };
        waker
    });
    waker.into_iter().for_each(Waker::wake);
}

/// Where a socket's job was last.
#[derive(Debug)]
struct Place {
    fd: RawFd,
    job: u8,
}

impl Drop for Place {
    /// The descriptor is still open.
    fn drop(&mut self) {
        let rests = BATCH.try_with(|batch| {
            let mut batch = batch.borrow_mut();
            let batch = batch.as_mut()?;
            let rests = batch.job(self).is_some().then(|| batch.flush());
            batch.behind.remove(&self.fd);
            rests
        });
        let rests = rests.ok().flatten().into_iter().flatten();
        rests.for_each(Rest::begin);
    }
}

/// A socket whose writes are gathered, where the thread does so.
#[derive(Debug)]
pub struct Batched<S> {
    // Dropped first.
    place: Place,
    stream: S,
}

/// What can be batched.
pub trait Stream: AsyncRead + AsyncWrite + AsRawFd + Unpin {
    /// Whether a read would find something.
    ///
    /// # Errors
    /// What the system says.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// What it is.
    fn family(&self) -> Family;
}

impl Stream for TcpStream {
    #[inline]
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn family(&self) -> Family {
        Family::Tcp
    }
}

impl Stream for UnixStream {
    #[inline]
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn family(&self) -> Family {
        Family::Unix
    }
}

impl<S: Stream> Batched<S> {
    /// Takes a socket.
    #[must_use]
    pub fn new(stream: S) -> Self {
        let place = Place {
            fd: stream.as_raw_fd(),
            job: 0,
        };
        Self { place, stream }
    }

    /// The socket. It must not be written to.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The socket, with everything written as far as it takes that now; see
    /// [`Batched::poll_clear`].
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// As [`AsyncRead::poll_read`].
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    /// Whether a read would find something.
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_readable(cx)
    }

    /// As [`AsyncWrite::poll_write`].
    ///
    /// # Errors
    /// What the system says, perhaps of an earlier write.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.poll_gather(cx, &[IoSlice::new(bytes)]))? {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    /// As [`AsyncWrite::poll_write_vectored`].
    ///
    /// # Errors
    /// What the system says, perhaps of an earlier write.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_gather(cx, slices))? {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    /// Gathers a write; `None` if it has to be made now, with nothing left of earlier
    /// ones.
    #[inline]
    fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<Option<usize>>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if length <= LONGEST {
            match self.put(cx, slices) {
                Standing::Clear => return Poll::Ready(Ok(Some(length))),
                Standing::Behind => return Poll::Pending,
                Standing::Failed(error) => return Poll::Ready(Err(error)),
                Standing::Alone => {}
            }
        }
        self.poll_clear(cx).map_ok(|()| None)
    }

    /// As [`AsyncWrite::poll_shutdown`].
    ///
    /// # Errors
    /// What the system says, perhaps of an earlier write.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_clear(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Ready when the socket has taken everything that was written.
    ///
    /// # Errors
    /// What the system says of an earlier write.
    pub fn poll_clear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let place = &self.place;
        let (rests, standing) = BATCH.with_borrow_mut(|batch| {
            let Some(batch) = batch else {
                return (None, Standing::Clear);
            };
            let rests = batch.job(place).is_some().then(|| batch.flush());
            (rests, batch.standing(place.fd, cx))
        });
        rests.into_iter().flatten().for_each(Rest::begin);
        match standing {
            Standing::Clear | Standing::Alone => Poll::Ready(Ok(())),
            Standing::Behind => Poll::Pending,
            Standing::Failed(error) => Poll::Ready(Err(error)),
        }
    }

    /// Leaves no copy in memory of what was written, once the socket has taken it.
    ///
    /// # Errors
    /// What the system says of an earlier write.
    pub fn poll_wipe(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_clear(cx))?;
        BATCH.with_borrow_mut(|batch| batch.iter_mut().for_each(Batch::wipe));
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn put(&mut self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Standing {
        let Self { place, stream } = self;
        let (rests, standing) = BATCH.with_borrow_mut(|batch| {
            let Some(batch) = batch.as_mut().filter(|batch| !batch.is_broken) else {
                return (None, Standing::Alone);
            };
            let rests = batch.is_full(place).then(|| batch.flush());
            let standing = batch.standing(place.fd, cx);
            if matches!(standing, Standing::Clear) {
                batch.put(place, stream, slices);
            }
            (rests, standing)
        });
        rests.into_iter().flatten().for_each(Rest::begin);
        standing
    }
}

#[cfg(test)]
mod tests;
