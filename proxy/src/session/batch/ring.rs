//! Many sends in one system call, by io_uring. The only module with unsafe code.
//!
//! No send waits for room (`MSG_DONTWAIT`), so the kernel is done with all of them when the system
//! call returns, and none of their memory is its any more.
#![expect(
    unsafe_code,
    reason = "io_uring is told of memory by its address; issue 5 allows it here"
)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use io_uring::{IoUring, Probe, opcode, types};

use super::Job;

const NO_SIGNAL: i32 = 0x4000;
const DONT_WAIT: i32 = 0x40;

/// A ring of this thread's.
pub(super) struct Ring(IoUring);

impl Ring {
    /// A ring for so many sends at once.
    ///
    /// # Errors
    /// The system has none to give: it is older than Linux 6.0, or a filter of system calls is in
    /// force, as in most containers.
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .build(entries)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        match probe.is_supported(opcode::Send::CODE) {
            true => Ok(Self(ring)),
            false => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sends all of `jobs`, as much of each as its socket takes now, and notes how much that is.
    ///
    /// # Errors
    /// The system refuses the ring itself: it must not be used again, and of the jobs it is not
    /// known what was sent. Their memory is the kernel's for good.
    pub(super) fn send(&mut self, jobs: &mut Vec<Job>, count: usize) -> Result<(), Broken> {
        for (index, job) in jobs.iter().take(count).enumerate() {
            let length = u32::try_from(job.bytes.len()).unwrap_or(u32::MAX);
            let send = opcode::Send::new(types::Fd(job.fd), job.bytes.as_ptr(), length)
                .flags(NO_SIGNAL | DONT_WAIT)
                .build()
                .user_data(index as u64);
            // SAFETY: the memory stays where it is, unchanged, until the completion is here: it is
            // awaited below, or else never freed.
            let pushed = unsafe { self.0.submission().push(&send) };
            if pushed.is_err() {
                return Err(lost(jobs, count, io::ErrorKind::OutOfMemory.into()));
            }
        }
        let mut missing = count;
        while missing > 0 {
            match self.0.submit_and_wait(missing) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(jobs, count, error)),
            }
            for done in self.0.completion() {
                missing = missing.saturating_sub(1);
                let index = usize::try_from(done.user_data()).unwrap_or(usize::MAX);
                if let Some(job) = jobs.get_mut(index) {
                    job.taken = usize::try_from(done.result())
                        .map_err(|_| io::Error::from_raw_os_error(-done.result()));
                }
            }
        }
        Ok(())
    }
}

/// The system refuses the ring.
pub(super) struct Broken {
    /// What it says.
    pub(super) error: io::Error,
    /// Whose bytes are lost.
    pub(super) sockets: Vec<RawFd>,
}

/// Leaves the memory of `jobs` to the kernel, which may still read it.
fn lost(jobs: &mut Vec<Job>, count: usize, error: io::Error) -> Broken {
    let jobs = std::mem::ManuallyDrop::new(std::mem::take(jobs));
    let sockets = jobs.iter().take(count).map(|job| job.fd).collect();
    Broken { error, sockets }
}

/// Another descriptor of the same socket.
pub(super) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: whoever has a job in a batch keeps its descriptor open until the job is done.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}
