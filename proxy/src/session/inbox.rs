//! Hot path: no allocation once grown. Bytes received and not yet dealt with.

use entrapool_protocol::Sink;

/// A queue of bytes, appended behind and consumed in front.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    at: usize,
}

impl Sink for Inbox {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.append(bytes);
    }
}

impl Inbox {
    /// What is there.
    #[inline]
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// What is there, to be changed in place.
    #[inline]
    #[must_use]
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.at..).unwrap_or_default()
    }

    /// Whether nothing is there.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The first `count` bytes are done with.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.at = 0;
        }
    }

    /// Appends `bytes`.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets what is there.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }

    /// Gives back memory that only a burst needed.
    pub fn shrink(&mut self, capacity: usize) {
        if self.is_empty() && self.bytes.capacity() > capacity {
            self.bytes = Vec::new();
            self.at = 0;
        }
    }
}
