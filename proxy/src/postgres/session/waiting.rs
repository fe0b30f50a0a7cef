//! The slow path of borrowing: no backend is idle.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use entrapool_metrics::{CancelResult, Cause, Direction};
use entrapool_protocol::postgres::Status;
use entrapool_protocol::postgres::discard::Discard;
use entrapool_protocol::postgres::frame::HEADER;
use entrapool_protocol::postgres::message;

use super::{End, Session};
use crate::pool::Lease;
use crate::postgres::connect::Connector;
use crate::postgres::report;
use crate::session::registry::{Phase, Signal};

/// How long a request waits for a backend before somebody looks whether it is a goodbye.
const PATIENCE: Duration = Duration::from_millis(100);

/// Why a client stopped waiting.
enum Stop {
    /// The session ends.
    End(End),
    /// The request was cancelled before it reached a backend.
    Cancelled,
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl Session {
    /// Waits for a backend, and says since when it has it; `None` if the request was cancelled
    /// meanwhile, and answered. `pending` is what was read of the request already.
    pub(super) async fn wait_for_backend(
        &mut self,
        since: Instant,
        mut pending: Vec<u8>,
    ) -> Result<Option<(Lease<Connector>, Instant)>, End> {
        self.registered.enter(Phase::Waiting, since);
        let queued = self.queue(since, &mut pending).await;
        let now = Instant::now();
        let waited = now.duration_since(since).as_secs_f64();
        self.route.metrics.pool_wait.observe(waited);
        match queued {
            Ok(mut lease) => {
                self.route.count(Direction::ClientIn, pending.len());
                lease.from_client.append(&pending);
                Ok(Some((lease, now)))
            }
            Err(Stop::Cancelled) => {
                self.registered.enter(self.resting(), now);
                self.take_back(pending).await.map(|()| None)
            }
            Err(Stop::End(end)) => Err(end),
        }
    }

    /// While all backends are busy the client's bytes stay in its socket. They are looked at
    /// only where that costs less than it may save: before a login is made, and after a while
    /// in the queue. A client that says goodbye needs no backend.
    async fn queue(
        &mut self,
        since: Instant,
        pending: &mut Vec<u8>,
    ) -> Result<Lease<Connector>, Stop> {
        let pool = Arc::clone(&self.pool);
        if pending.is_empty() && pool.could_grow() {
            std::future::poll_fn(|cx| self.poll_look(pending, cx)).await?;
        }
        let mut waiting = pin!(pool.lease(self.registered.number()));
        let mut came = false;
        let lease = std::future::poll_fn(|cx| {
            if let Some(end) = self.asked_to_end() {
                return Poll::Ready(Err(Stop::End(end)));
            }
            let entry = &self.registered.entry;
            if entry.any() && entry.take(Signal::Cancel) {
                return Poll::Ready(Err(Stop::Cancelled));
            }
            if let Poll::Ready(lease) = waiting.as_mut().poll(cx) {
                return Poll::Ready(Ok(lease));
            }
            // The pool wakes those who wait now and then.
            if std::mem::replace(&mut came, true)
                && pending.is_empty()
                && since.elapsed() >= PATIENCE
            {
                ready!(self.poll_look(pending, cx))?;
            }
            Poll::Pending
        })
        .await?;
        lease.map_err(|error| {
            let (cause, report) = report::no_backend(&error, pool.wait_timeout());
            Stop::End(End::told(cause, report))
        })
    }

    /// Reads the header of the request that waits in the socket; an error if there is no request.
    fn poll_look(&mut self, pending: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let read = ready!(self.client.poll_read_at_most(HEADER, cx, |bytes| {
            pending.extend_from_slice(bytes);
            bytes.len()
        }));
        Poll::Ready(match read {
            Ok(0) | Err(_) => Err(End::silent(Cause::Gone)),
            Ok(_) if pending.first() == Some(&b'X') => Err(End::silent(Cause::Quit)),
            Ok(_) => Ok(()),
        })
    }

    /// The request was cancelled: it is read to its end, and answered as the server would.
    async fn take_back(&mut self, mut bytes: Vec<u8>) -> Result<(), End> {
        self.route.metrics.cancels.inc(CancelResult::Waiting);
        let mut discard = Discard::default();
        loop {
            let (taken, done) = discard.take(&bytes).map_err(|violation| {
                End::told(Cause::Malformed, report::client_malformed(&violation))
            })?;
            self.route.count(Direction::ClientIn, taken);
            bytes.drain(..taken);
            if done {
                break;
            }
            match self.client.read_more(&mut bytes).await {
                Ok(0) | Err(_) => return Err(End::silent(Cause::Gone)),
                Ok(_) => {}
            }
        }
        self.ahead = bytes.into_boxed_slice();
        let mut answer = Vec::new();
        report::cancelled().encode(&mut answer);
        message::ready_for_query(&mut answer, Status::Idle);
        self.route.count(Direction::ClientOut, answer.len());
        let told = self.client.write_all(&answer).await;
        told.map_err(|_| End::silent(Cause::Gone))
    }
}
