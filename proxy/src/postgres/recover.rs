//! Making a backend fit for the next client: ending what its client left open, rolling back,
//! cleaning. A task of its own, because the client that caused it does not wait for it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use entrapool_metrics::Closed;
use entrapool_protocol::Sink;
use entrapool_protocol::postgres::Status;
use entrapool_protocol::postgres::effect::Effects;
use entrapool_protocol::postgres::message;
use entrapool_protocol::postgres::tracker::{Boundary, Event};

use super::backend::Backend;
use super::connect::Connector;
use tokio::task::JoinHandle;

use crate::config::PoolMode;
use crate::pool::Lease;
use crate::session::inbox::Inbox;
use crate::session::wire::Fill;

/// How long a backend may take to become fit again. A query whose client has died runs on, as
/// it does without a pooler; after this time its connection is closed, and the server's process
/// finds out when it has something to say.
const LIMIT: Duration = Duration::from_secs(5);

/// After a session: everything goes.
const RESET_SESSION: &str = "DISCARD ALL";
/// After a transaction: the same, but for the prepared statements that we keep there.
const RESET_TRANSACTION: &str = "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ALL; UNLISTEN *; \
     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";
/// Names that clients gave to statements in SQL can't be told from ours by the server.
const FORGET_STATEMENTS: &str = "DEALLOCATE ALL";

/// Why a backend can't be made fit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// The server got a part of a message whose rest will not come.
    #[error("its client died in the middle of a message")]
    MidMessage,
    /// Its client left what nothing removes.
    #[error("its client has used LOAD or setseed, which nothing undoes")]
    Tainted,
    /// The server refused to roll back or to clean.
    #[error("the server refused: {0}")]
    Refused(Box<entrapool_protocol::postgres::error::ServerError>),
    /// The server broke the protocol.
    #[error(transparent)]
    Violation(#[from] entrapool_protocol::postgres::Violation),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Makes the backend fit and gives it back, or closes it. A cancel request that is on its way
/// arrives first, so that it can't hit the next client.
pub(super) fn spawn(
    mut lease: Lease<Connector>,
    cancelling: Option<JoinHandle<()>>,
    route: Arc<super::Route>,
) {
    lease.begin_cleaning();
    let mode = route.mode();
    tokio::spawn(async move {
        if let Some(cancelling) = cancelling {
            // A task that was aborted has sent nothing more either.
            let _ = cancelling.await;
        }
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
    if backend.tracker.is_mid_message() {
        return Err(Unfit::MidMessage);
    }
    backend.from_client = Inbox::default();
    let mut end = Vec::new();
    backend.tracker.wind_up(&mut end);
    backend.wire.put(&end);
    settle(backend).await?;
    if backend.tracker.status() != Status::Idle {
        query(backend, "ROLLBACK").await?;
    }
    backend.residue |= backend.tracker.take_effects();
    if backend.residue.any(Effects::HIDDEN) {
        return Err(Unfit::Tainted);
    }
    match mode {
        PoolMode::Session => query(backend, RESET_SESSION).await?,
        _ if backend.residue.is_empty() => {}
        PoolMode::Auto | PoolMode::Strict | PoolMode::Transaction => {
            if backend.residue.any(Effects::PREPARE | Effects::CODE) {
                query(backend, FORGET_STATEMENTS).await?;
            }
            query(backend, RESET_TRANSACTION).await?;
        }
    }
    if mode == PoolMode::Session || !backend.residue.is_empty() {
        backend.applied = Arc::default();
        backend.opaque = false;
        backend.sequences_of = 0;
    }
    backend.residue = Effects::default();
    let _ = backend.tracker.take_effects();
    backend.shrink();
    Ok(())
}

pub(super) async fn query(backend: &mut Backend, sql: &str) -> Result<(), Unfit> {
    let mut query = Vec::new();
    message::query(&mut query, sql.as_bytes());
    backend.wire.put(&query);
    backend.tracker.inject_query();
    settle(backend).await
}

/// Sends what is staged and hears the server out until nothing is owed any more. Nobody gets
/// what it says, but its reports are noted.
pub(super) async fn settle(backend: &mut Backend) -> Result<(), Unfit> {
    std::future::poll_fn(|cx| poll_settle(backend, cx)).await
}

fn poll_settle(backend: &mut Backend, cx: &mut Context<'_>) -> Poll<Result<(), Unfit>> {
    loop {
        // Both ways: the server may not read on before what it has written is read.
        let sent = backend.wire.poll_flush(cx)?.is_ready();
        if !hear(backend)? && sent && backend.tracker.boundary() != Boundary::Busy {
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

/// Takes what the server has sent so far. Returns whether a message is there in part.
fn hear(backend: &mut Backend) -> Result<bool, Unfit> {
    loop {
        let Backend {
            tracker,
            from_server,
            ..
        } = &mut *backend;
        let step = tracker.back(from_server.filled(), None)?;
        let take = step.take;
        let parameter = match step.event {
            Event::NeedMore => {
                from_server.consume(take);
                return Ok(!from_server.is_empty());
            }
            Event::OwnQueryFailed(error) => {
                from_server.consume(take);
                return Err(Unfit::Refused(error));
            }
            Event::Parameter { name, value } => Some((name.into(), value.into())),
            // A question that was asked before the client left: nobody wants the answer.
            Event::Row(_) | Event::ReportFailed(_) | Event::Reported => None,
            Event::Next | Event::Insert(_) | Event::Ready(_) | Event::Marked => None,
        };
        backend.parameters.extend(parameter);
        backend.from_server.consume(take);
    }
}
