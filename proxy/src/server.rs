//! Listeners: bind, accept, stop.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::config::Listen;
use crate::session::wire::Socket;

/// Clients that may queue in the kernel before they are accepted.
const BACKLOG: u32 = 1024;
/// A pause after a failed accept: out of file descriptors, mostly, which passes.
const PAUSE: Duration = Duration::from_millis(100);
/// The owner and the group may connect; the directory says who else gets there.
const SOCKET_MODE: u32 = 0o660;

/// A bound listener. A Unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix domain.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket that we made.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed or replaced by somebody else; there is nobody to tell.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::AddrInUse`] if somebody listens there.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            Listen::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                let file = SocketFile(path.clone());
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Where it listens, with the port that was really bound.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(
                |error| format!("an unknown address ({error})"),
                |address| address.to_string(),
            ),
            Self::Unix(_, SocketFile(path)) => path.display().to_string(),
        }
    }

    /// Hands every client to `serve` until `stop`. The listener is closed at the end.
    pub async fn accept_until(self, stop: CancellationToken, mut serve: impl FnMut(Socket)) {
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok(client) => serve(client),
                Err(error) => {
                    tracing::warn!(listener = self.address(), %error, "a client could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
            Self::Unix(listener, _) => Ok(listener.accept().await?.0.into()),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Removes a socket file whose listener has gone; anything else is left alone.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}
