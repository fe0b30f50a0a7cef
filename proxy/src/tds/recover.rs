//! Making a backend fit for the next client: ending what its client left open, rolling back,
//! cleaning. A task of its own, because the client that caused it does not wait for it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use entrapool_metrics::Closed;
use entrapool_protocol::Sink;
use entrapool_protocol::tds::Violation;
use entrapool_protocol::tds::effect::Effects;
use entrapool_protocol::tds::error::ServerError;
use entrapool_protocol::tds::tracker::{Boundary, Event};

use super::backend::Backend;
use super::connect::Connector;
use crate::config::PoolMode;
use crate::pool::Lease;
use crate::session::inbox::Inbox;
use crate::session::wire::Fill;

/// How long a backend may take to become fit again.
const LIMIT: Duration = Duration::from_secs(5);

/// Ends what the client has left open, if anything: not every server tells.
const ROLLBACK: &str = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION";

/// Why a backend can't be made fit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// Its client left what nothing removes, or something that could not be read.
    #[error("its client has left what a reset does not undo")]
    Tainted,
    /// The server refused a batch of ours.
    #[error("the server refused: {0}")]
    Refused(Box<ServerError>),
    /// The server broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Makes the backend fit and gives it back, or closes it.
pub(super) fn spawn(mut lease: Lease<Connector>, route: Arc<super::Route>) {
    lease.begin_cleaning();
    let mode = route.mode();
    tokio::spawn(async move {
        match tokio::time::timeout(LIMIT, restore(&mut lease, mode)).await {
            Ok(Ok(())) => lease.give_back(Instant::now()),
            Ok(Err(error)) => {
                tracing::debug!(route = route.config.name, %error, "a backend is closed");
                lease.closes_for(match error {
                    Unfit::Tainted => Closed::Tainted,
                    _ => Closed::ClientDied,
                });
            }
            Err(_) => {
                tracing::debug!(route = route.config.name, limit = ?LIMIT, "a backend is closed: it is still busy for a client that has gone");
                lease.closes_for(Closed::ClientDied);
            }
        }
    });
}

async fn restore(backend: &mut Backend, mode: PoolMode) -> Result<(), Unfit> {
    backend.from_client = Inbox::default();
    let mut end = Vec::new();
    backend.tracker.wind_up(&mut end);
    backend.wire.put(&end);
    settle(backend).await?;
    backend.residue |= backend.tracker.take_effects();
    let opaque = backend.tracker.is_opaque() || backend.tracker.is_dying();
    if opaque || backend.residue.any(Effects::TAINTED) {
        return Err(Unfit::Tainted);
    }
    let dirty = !backend.residue.is_empty()
        || backend.soiled
        || mode == PoolMode::Session
        || backend.tracker.boundary() != Boundary::Idle;
    if backend.tracker.is_in_transaction() {
        // A request that brings a reset names no transaction: it comes after its end.
        let mut batch = Vec::new();
        if !backend.tracker.inject_batch(ROLLBACK, &mut batch) {
            return Err(Unfit::Tainted);
        }
        backend.wire.put(&batch);
        settle(backend).await?;
    }
    if dirty {
        let mut batch = Vec::new();
        if !backend.tracker.inject_cleaning(&mut batch) {
            return Err(Unfit::Tainted);
        }
        backend.wire.put(&batch);
        settle(backend).await?;
        if backend.tracker.boundary() != Boundary::Idle {
            return Err(Unfit::Tainted);
        }
        backend.applied = Arc::default();
        backend.soiled = false;
        // Whoever comes next finds nobody's session.
        backend.owner = 0;
        backend.state = backend.tracker.state().hash();
    }
    backend.residue = Effects::default();
    let _ = backend.tracker.take_effects();
    let _ = backend.tracker.take_facts();
    backend.shrink();
    Ok(())
}

/// Sends what is staged and hears the server out until nothing is owed any more. Nobody gets
/// what it says.
pub(super) async fn settle(backend: &mut Backend) -> Result<(), Unfit> {
    std::future::poll_fn(|cx| poll_settle(backend, cx)).await
}

fn poll_settle(backend: &mut Backend, cx: &mut Context<'_>) -> Poll<Result<(), Unfit>> {
    loop {
        // Both ways: the server may not read on before what it has written is read.
        let sent = backend.wire.poll_flush(cx)?.is_ready();
        if !hear(backend)? && sent && !backend.tracker.owes() {
            return Poll::Ready(Ok(()));
        }
        match ready!(backend.wire.poll_fill(cx, &mut backend.from_server))? {
            Fill::Bytes(_) => {}
            Fill::End => {
                return Poll::Ready(Err(
                    std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()
                ));
            }
        }
    }
}

/// Takes what the server has sent so far. Returns whether a packet is there in part.
fn hear(backend: &mut Backend) -> Result<bool, Unfit> {
    loop {
        let Backend {
            tracker,
            from_server,
            ..
        } = &mut *backend;
        let step = tracker.back(from_server.filled_mut(), None)?;
        from_server.consume(step.take);
        match step.event {
            Event::NeedMore => return Ok(!from_server.is_empty()),
            Event::OwnFailed(error) => return Err(Unfit::Refused(error)),
            Event::Next
            | Event::Insert(_)
            | Event::Ready { .. }
            | Event::OwnAnswered
            | Event::Reported(_) => {}
        }
    }
}
