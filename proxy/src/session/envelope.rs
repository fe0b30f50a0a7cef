//! TLS handshakes that travel inside the messages of another protocol, as in TDS before 8.

use std::io;

/// How a protocol carries the records of a TLS handshake. Behind the handshake, TLS carries the
/// protocol.
pub trait Envelope: Send + Sync {
    /// Appends the messages that carry `records`.
    fn wrap(&self, records: &[u8], out: &mut Vec<u8>);

    /// Takes the message at the start of `input` and appends the records in it. Returns how many
    /// bytes it has; 0 while some are missing.
    ///
    /// # Errors
    /// Anything but a message that carries records.
    fn unwrap(&self, input: &[u8], records: &mut Vec<u8>) -> io::Result<usize>;
}
