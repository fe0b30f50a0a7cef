//! Wire protocols without I/O: bytes in, facts and bytes out.
//!
//! Nothing in this crate knows a socket, a clock or a runtime, so everything in it can be
//! tested by table and by fuzzing. One folder per protocol; a file of the same name plays the
//! same role in each.

mod comment;
mod harmless;
mod hints;
pub mod postgres;
pub mod tds;

/// Where a walker puts the bytes it wants sent.
///
/// It is only called with bytes that are to leave in this order; an implementation never fails,
/// because sending is somebody else's work.
pub trait Sink {
    /// Appends `bytes` to what will be sent.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
