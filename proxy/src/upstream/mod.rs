//! The way to a server: a TCP connection, then TLS over it. Knows no database protocol, which
//! is why these are two calls: the protocol may have to speak in between.

mod certificate;
mod dial;
mod secure;
mod shown;

pub use certificate::{Certificate, utc};
pub(crate) use dial::open;
pub use dial::{DialError, Dialed, dial, resolve};
pub use secure::{Tls, TlsError, Versions};
pub use shown::{Root, Shown};
