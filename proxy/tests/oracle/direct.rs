//! PostgreSQL without anything in between: its Unix socket, where everybody is trusted, behind
//! a TCP port, so that both sides of a comparison are dialled in the same way.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;

/// A way to the server; it ends when this is dropped.
pub(crate) struct Direct {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Direct {
    pub(crate) async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                client.set_nodelay(true).expect("nodelay");
                let mut server = UnixStream::connect(&socket).await.expect("the server");
                tokio::spawn(async move {
                    // How it ends is the comparison's business.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, accepting }
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
