//! Cancel requests: a client's is answered by the session it means, never by looking up a
//! backend from outside, so that it can't hit a query of somebody else.
//!
//! The session raises the request upstream only while it holds a backend that owes it an
//! answer, and does not let go of that backend before the server has taken the request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use entrapool_metrics::{CancelResult, RouteMetrics};
use entrapool_protocol::Sink;
use entrapool_protocol::postgres::login::BackendKey;
use entrapool_protocol::postgres::message;
use tokio::task::JoinHandle;

use super::connect::Place;
use super::report::Failed;
use crate::session::inbox::Inbox;
use crate::session::wire::Wire;

/// A server that takes no cancel request within this time will not stop a query either.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends a cancel request for the backend with `key` at `peer`, over TLS if the backend itself
/// has it. The task ends when the server has closed the connection, which it does after it has
/// signalled the backend's process.
pub(super) fn send(
    place: &Arc<Place>,
    peer: SocketAddr,
    key: BackendKey,
    metrics: &Arc<RouteMetrics>,
) -> JoinHandle<()> {
    let (place, metrics) = (Arc::clone(place), Arc::clone(metrics));
    tokio::spawn(async move {
        let result = tokio::time::timeout(LIMIT, deliver(&place, peer, &key, &metrics)).await;
        metrics.cancels.inc(match result {
            Ok(Ok(())) => CancelResult::Sent,
            Ok(Err(error)) => {
                tracing::warn!(%peer, %error, "a cancel request did not reach the server");
                CancelResult::Failed
            }
            Err(_) => {
                tracing::warn!(%peer, limit = ?LIMIT, "the server did not take a cancel request");
                CancelResult::Failed
            }
        });
    })
}

async fn deliver(
    place: &Place,
    peer: SocketAddr,
    key: &BackendKey,
    metrics: &RouteMetrics,
) -> Result<(), Failed> {
    let stream = crate::upstream::open(peer, false, &metrics.connect).await?;
    let mut wire = place.secure(Wire::plain(stream.into())).await?;
    let mut request = Vec::new();
    message::cancel_request(&mut request, key.pid, &key.secret);
    wire.put(&request);
    wire.flush().await?;
    let mut nothing = Inbox::default();
    loop {
        match wire.fill(&mut nothing).await {
            Ok(()) => {}
            // Servers close without a TLS goodbye, and some with a reset.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
