//! In place of `ring` in a build without io_uring: there is none, ever.
#![expect(
    clippy::needless_pass_by_ref_mut,
    reason = "it is called as the real one is"
)]

use std::convert::Infallible;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use super::Job;

pub(super) struct Ring(Infallible);

pub(super) struct Broken {
    pub(super) error: io::Error,
    pub(super) sockets: Vec<RawFd>,
}

impl Ring {
    pub(super) fn new(_entries: u32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn send(&mut self, _jobs: &mut Vec<Job>, _count: usize) -> Result<(), Broken> {
        match self.0 {}
    }
}

pub(super) fn duplicate(_fd: RawFd) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}
