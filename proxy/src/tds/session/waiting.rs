//! The slow path of borrowing: no backend is idle.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use entrapool_metrics::{CancelResult, Cause, Direction};
use entrapool_protocol::tds::message;
use entrapool_protocol::tds::packet::{Header, Kind};

use super::{End, Session};
use crate::pool::Lease;
use crate::session::registry::Phase;
use crate::tds::connect::Connector;
use crate::tds::report;

/// What is read of a client that waits, in bytes: an attention behind its request is seen only
/// here. A longer request is not looked at.
const MOST_PENDING: usize = 64 * 1024;

/// Why a client stopped waiting.
enum Stop {
    /// The session ends.
    End(End),
    /// The request was cancelled before it reached a backend; so many bytes are done with.
    Cancelled(usize),
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
        let queued = self.queue(&mut pending).await;
        let now = Instant::now();
        let waited = now.duration_since(since).as_secs_f64();
        self.route.metrics.pool_wait.observe(waited);
        match queued {
            Ok(mut lease) => {
                let taken = match &mut self.legacy {
                    None => {
                        lease.from_client.append(&pending);
                        Ok(())
                    }
                    Some((_, legacy)) => {
                        legacy.requests.translate(&pending, &mut lease.from_client)
                    }
                };
                taken.map_err(|violation| {
                    End::told(Cause::Malformed, report::client_malformed(&violation))
                })?;
                Ok(Some((lease, now)))
            }
            Err(Stop::Cancelled(taken)) => {
                self.route.metrics.cancels.inc(CancelResult::Waiting);
                self.registered.enter(Phase::Idle, now);
                pending.drain(..taken);
                self.ahead = pending.into_boxed_slice();
                self.answer_attention().await.map(|()| None)
            }
            Err(Stop::End(end)) => Err(end),
        }
    }

    async fn queue(&mut self, pending: &mut Vec<u8>) -> Result<Lease<Connector>, Stop> {
        let pool = Arc::clone(&self.pool);
        let mut waiting = pin!(pool.lease(self.registered.number()));
        let lease = std::future::poll_fn(|cx| {
            if let Some(end) = self.asked_to_end() {
                return Poll::Ready(Err(Stop::End(end)));
            }
            if let Poll::Ready(lease) = Pin::new(&mut waiting).poll(cx) {
                return Poll::Ready(Ok(lease));
            }
            while pending.len() < MOST_PENDING {
                let read = self.client.poll_read_with(cx, |bytes| {
                    pending.extend_from_slice(bytes);
                    bytes.len()
                });
                match read {
                    Poll::Pending => break,
                    Poll::Ready(Ok(0) | Err(_)) => {
                        return Poll::Ready(Err(Stop::End(End::silent(Cause::Gone))));
                    }
                    Poll::Ready(Ok(count)) => self.route.count(Direction::ClientIn, count),
                }
                if let Some(taken) = cancelled(pending) {
                    return Poll::Ready(Err(Stop::Cancelled(taken)));
                }
            }
            Poll::Pending
        })
        .await?;
        lease.map_err(|error| {
            let (cause, report) = report::no_backend(&error, pool.wait_timeout());
            Stop::End(End::told(cause, report))
        })
    }

    /// As the server would, had it been asked.
    async fn answer_attention(&mut self) -> Result<(), End> {
        let mut answer = Vec::new();
        message::attention_heard(&mut answer);
        if let Some((_, legacy)) = &mut self.legacy {
            let mut translated = Vec::new();
            let done = legacy.answers.translate(&answer, &mut translated);
            done.map_err(|_| End::silent(Cause::Internal))?;
            answer = translated;
        }
        self.route.count(Direction::ClientOut, answer.len());
        let told = self.client.write_all(&answer).await;
        told.map_err(|_| End::silent(Cause::Gone))
    }
}

/// Whether an attention follows the request in `pending`: how many bytes both have.
fn cancelled(pending: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = pending.get(at..)?;
        let header = Header::read(rest).ok().flatten()?;
        header.payload(rest)?;
        at += header.total();
        if header.kind == Kind::Attention {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrapool_protocol::tds::message::ATTENTION;
    use entrapool_protocol::tds::packet::split;

    #[test]
    fn an_attention_is_seen_behind_its_request() {
        let mut request = Vec::new();
        split(&mut request, Kind::Batch, 0, 512, &[7; 1200]);
        assert_eq!(cancelled(&request), None);
        let whole = request.len() + ATTENTION.len();
        request.extend_from_slice(&ATTENTION);
        request.extend_from_slice(&[1, 1, 0]);
        for cut in 0..request.len() {
            let expected = (cut >= whole).then_some(whole);
            assert_eq!(cancelled(&request[..cut]), expected, "{cut}");
        }
        assert_eq!(cancelled(&[0xff; 20]), None);
    }
}
