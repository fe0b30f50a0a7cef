//! What the benches measure: messages as drivers send them and servers answer them.

pub mod conversation;
pub mod pair;
pub mod postgres;
pub mod tds;

/// Counts and keeps nothing: writing is somebody else's cost.
#[derive(Default)]
struct Count(usize);

impl entrapool_protocol::Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}
