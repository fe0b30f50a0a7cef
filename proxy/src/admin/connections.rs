//! The open HTTP connections, with bounds in number and in time.
//!
//! A listener that any address may reach must outlive peers that send nothing, send slowly, read
//! nothing, or come in crowds.

use std::collections::VecDeque;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::answer::answer;
use super::{AdminState, Limits};

/// A request has a line and a handful of headers; hyper refuses more with 431.
const MAX_HEAD: usize = 16 * 1024;

pub(super) struct Connections {
    limits: Limits,
    state: Arc<AdminState>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    /// In the order of arrival; finished ones are removed before one is added.
    arrivals: VecDeque<AbortHandle>,
}

impl Connections {
    pub(super) fn new(limits: Limits, state: Arc<AdminState>, shutdown: CancellationToken) -> Self {
        Self {
            limits,
            state,
            shutdown,
            tasks: JoinSet::new(),
            arrivals: VecDeque::new(),
        }
    }

    /// Serves `stream` in a task of its own, in the place of the oldest if all are taken.
    pub(super) fn add(&mut self, stream: TcpStream) {
        self.arrivals.retain(|task| !task.is_finished());
        if self.arrivals.len() >= self.limits.connections
            && let Some(oldest) = self.arrivals.pop_front()
        {
            debug!("too many HTTP connections: the oldest is closed");
            oldest.abort();
        }
        let connection = serve(
            stream,
            self.limits,
            Arc::clone(&self.state),
            self.shutdown.clone(),
        );
        self.arrivals.push_back(self.tasks.spawn(connection));
    }

    /// Collects one ended task; pending for ever while there is none.
    pub(super) async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(Err(fault)) if fault.is_panic() => error!(%fault, "an HTTP connection failed"),
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Waits for the connections, which have seen the same shutdown and bound themselves in time.
    pub(super) async fn finish(mut self) {
        while !self.tasks.is_empty() {
            self.reap().await;
        }
    }
}

async fn serve(
    stream: TcpStream,
    limits: Limits,
    state: Arc<AdminState>,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);

    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
        () = sleep(limits.life) => None,
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.grace, connection).await.ok()
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => debug!(%error, "an HTTP connection ended early"),
        None => debug!("an HTTP client did not read its answer in time"),
    }
}
