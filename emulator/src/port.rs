//! A loopback port with a service behind it, which can be closed and opened again.
//!
//! Every server of the emulator listens through this. Dropping the [`Port`] closes the listener
//! and ends all its connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Error;

/// How long an accept loop rests after a failure (too many open files, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is done with one connection.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Serves a connection to its end.
    fn serve(self: Arc<Self>, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// A loopback address and the service behind it.
#[derive(Debug)]
pub(crate) struct Port<S> {
    address: SocketAddr,
    service: Arc<S>,
    /// `None` while connections are refused.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    stop: DropGuard,
    accepting: JoinHandle<()>,
}

impl<S: Serve> Port<S> {
    /// Binds `address` (port 0 for a free one) and serves.
    pub(crate) async fn bind(address: SocketAddr, service: Arc<S>) -> Result<Self, Error> {
        let listener = listen(address).await?;
        let address = listener
            .local_addr()
            .map_err(Error::io("read the address of a listener"))?;
        let open = Mutex::new(Some(Open::start(listener, Arc::clone(&service))));
        Ok(Self {
            address,
            service,
            open,
        })
    }

    /// Binds a free port on 127.0.0.1 and serves.
    pub(crate) async fn bind_free(service: Arc<S>) -> Result<Self, Error> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), service).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn service(&self) -> &Arc<S> {
        &self.service
    }

    /// Closes the listener and every connection; when this returns, connects are refused.
    pub(crate) async fn close(&self) {
        if let Some(open) = self.open.lock().await.take() {
            drop(open.stop);
            // The task ends by itself now; it can only fail by a panic of the accept loop.
            let _ended = open.accepting.await;
        }
    }

    /// Listens on the same port again.
    pub(crate) async fn reopen(&self) -> Result<(), Error> {
        let mut open = self.open.lock().await;
        if open.is_none() {
            let listener = listen(self.address).await?;
            *open = Some(Open::start(listener, Arc::clone(&self.service)));
        }
        Ok(())
    }
}

impl Open {
    fn start<S: Serve>(listener: TcpListener, service: Arc<S>) -> Self {
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept(listener, service, stop.clone()));
        Self {
            stop: stop.drop_guard(),
            accepting,
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(Error::io(format!("listen on {address}")))
}

async fn accept<S: Serve>(listener: TcpListener, service: Arc<S>, stop: CancellationToken) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Without it, delayed ACKs add 40 ms to every small answer.
                    let _best_effort = stream.set_nodelay(true);
                    connections.spawn(Arc::clone(&service).serve(stream));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}
