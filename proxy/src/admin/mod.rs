//! The HTTP listener for scrapes and probes: `/metrics`, `/startup`, `/liveness`, `/readiness`.
//!
//! `main` binds one [`AdminServer`] before the routes and stops it after them, so that probes are
//! answered while the process starts and while it drains. It only reads: no request changes
//! anything, which is why any address may be bound. It never talks upstream; what a probe says
//! comes from [`Health`], which answers from memory.

mod answer;
mod connections;
mod health;
mod report;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use entrapool_metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use health::{Health, RouteHealth, TokenHealth};
pub use report::{Report, readiness};

use connections::Connections;

/// What the pages are made of.
pub struct AdminState {
    metrics: Arc<Metrics>,
    health: Arc<dyn Health>,
    /// One scrape is rendered at a time; more would only occupy more threads.
    rendering: Semaphore,
}

impl AdminState {
    /// Joins the registry and the view of the routes.
    pub fn new(metrics: Arc<Metrics>, health: Arc<dyn Health>) -> Self {
        Self {
            metrics,
            health,
            rendering: Semaphore::new(1),
        }
    }
}

/// How much of the process a stranger may hold.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at a time; one more ends the oldest, so that a probe always gets through.
    connections: usize,
    /// For the whole head of a request, and for the pause between two requests.
    header: Duration,
    /// For a connection as a whole; it ends a peer that does not read its answers.
    life: Duration,
    /// For the answer in flight when a connection is told to end.
    grace: Duration,
}

impl Limits {
    const DEFAULT: Self = Self {
        connections: 64,
        header: Duration::from_secs(5),
        life: Duration::from_secs(60),
        grace: Duration::from_secs(2),
    };
}

/// After an error of `accept`, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound HTTP listener.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    limits: Limits,
}

impl AdminServer {
    /// Binds `addr`. Connections wait in the backlog until [`AdminServer::serve`] runs.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await.map_err(|error| {
            let text = format!(
                "cannot serve metrics and probes on {addr}: {error}; \
                 choose another address with --http"
            );
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self {
            listener,
            limits: Limits::DEFAULT,
        })
    }

    /// Where it listens; with the port that the system chose, if 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown`, then lets the answers in flight end and returns.
    pub async fn serve(self, state: Arc<AdminState>, shutdown: CancellationToken) {
        let mut connections = Connections::new(self.limits, state, shutdown.clone());
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
                () = connections.reap() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    debug!(%peer, "HTTP client");
                    connections.add(stream);
                }
                Err(error) => {
                    warn!(%error, "the HTTP listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        connections.finish().await;
    }
}
