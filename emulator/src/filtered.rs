//! A port from which nothing comes back, as behind a firewall that drops packets.
//!
//! Its queue of connections is full and nobody takes any out, so that Linux drops whoever wants to
//! be the next.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use crate::error::Error;

/// A connection that takes longer on this machine is not let in any more.
const FULL: Duration = Duration::from_millis(200);
/// The queue holds one more than it was made for; some kernels count differently.
const MOST: usize = 16;

/// A port that lets nobody in; it is closed when dropped.
#[derive(Debug)]
pub struct FilteredPort {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl FilteredPort {
    /// On a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound, or its queue never fills.
    pub async fn open() -> Result<Self, Error> {
        let failed = || Error::io("fill the queue of a listener");
        let socket = TcpSocket::new_v4().map_err(failed())?;
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .map_err(failed())?;
        let listener = socket.listen(0).map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let mut queue = Vec::new();
        while queue.len() < MOST {
            let connecting =
                tokio::task::spawn_blocking(move || TcpStream::connect_timeout(&address, FULL));
            match connecting.await {
                Ok(Ok(stream)) => queue.push(stream),
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                    return Ok(Self {
                        address,
                        _listener: listener,
                        _queue: queue,
                    });
                }
                Ok(Err(error)) => return Err(failed()(error)),
                Err(lost) => return Err(failed()(std::io::Error::other(lost))),
            }
        }
        let never = std::io::Error::other("the listener takes more than it was made for");
        Err(failed()(never))
    }

    /// Where it would listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_comes_back() {
        let port = FilteredPort::open().await.unwrap();
        let connecting = tokio::net::TcpStream::connect(port.address());
        let waited = tokio::time::timeout(Duration::from_millis(500), connecting).await;
        assert!(waited.is_err(), "{waited:?}");
    }
}
