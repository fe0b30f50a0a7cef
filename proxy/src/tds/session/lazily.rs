//! Transactions that have done nothing yet take no backend: their beginning is answered here, and
//! sent to a server in front of the first request that does something. Drivers with autocommit off
//! are in a transaction all the time, and would never share one otherwise.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use entrapool_metrics::{Cause, Direction};
use entrapool_protocol::Sink;
use entrapool_protocol::tds::lazy::{self, By, Wish};

use super::relay::Hold;
use super::{End, Session};
use crate::pool::Lease;
use crate::session::rest::Leave;
use crate::tds::connect::Connector;
use crate::tds::report;

/// What is known of the servers of a pool: whether they tell of transactions that a text begins.
#[derive(Default)]
pub(in crate::tds) struct Announcing(AtomicU8);

const TELLS: u8 = 1;
const IS_SILENT: u8 = 2;

impl Announcing {
    /// A text has begun a transaction, and the server has told of it or not.
    pub(super) fn learn(&self, tells: bool) {
        let known = if tells { TELLS } else { IS_SILENT };
        self.0.store(known, Ordering::Relaxed);
    }

    /// Whether it tells; `None` while nobody has seen it.
    fn known(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            TELLS => Some(true),
            IS_SILENT => Some(false),
            _ => None,
        }
    }
}

/// A transaction of which only its client knows.
pub(super) struct Begun {
    /// The client's request: one packet.
    request: Box<[u8]>,
    by: By,
    /// What the client was told that it is called; `None` where servers tell nothing.
    descriptor: Option<u64>,
}

/// What a client's first bytes led to.
pub(super) enum First {
    /// A backend, with the bytes in it.
    Lease(Lease<Connector>),
    /// No backend is idle: the bytes.
    Wait(Vec<u8>),
    /// This answer; and the bytes behind the request.
    Answer(Vec<u8>, Box<[u8]>),
}

impl Session {
    /// Waits for the client, and reads what it has sent.
    pub(super) fn poll_first(
        &mut self,
        now: &mut Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<First, Leave<End>>> {
        ready!(self.poll_idle(cx))?;
        let Self {
            client,
            route,
            pool,
            registered,
            begun,
            legacy,
            settings,
            ..
        } = self;
        // What an old client says has to be translated first.
        let may_wait = route.mode().shares() && legacy.is_none() && settings.has_first_level();
        let announcing = &pool.shared().announcing;
        let read = ready!(client.poll_read_with(cx, |bytes| {
            if bytes.is_empty() {
                return None;
            }
            route.count(Direction::ClientIn, bytes.len());
            if may_wait && let Some(first) = answered(bytes, begun, announcing.known()) {
                return Some(Ok(first));
            }
            let at = Instant::now();
            *now = Some(at);
            let Some(mut lease) = pool.try_lease(registered.number(), at) else {
                return Some(Ok(First::Wait(bytes.to_vec())));
            };
            let translated = match legacy {
                None => {
                    lease.from_client.append(bytes);
                    Ok(())
                }
                Some((_, legacy)) => legacy.requests.translate(bytes, &mut lease.from_client),
            };
            Some(match translated {
                Ok(()) => Ok(First::Lease(lease)),
                Err(violation) => {
                    // Nothing of it has been sent.
                    lease.from_client.clear();
                    lease.give_back(at);
                    Err(violation)
                }
            })
        }));
        let end = match read {
            Ok(Some(Ok(first))) => return Poll::Ready(Ok(first)),
            Ok(Some(Err(violation))) => {
                End::told(Cause::Malformed, report::client_malformed(&violation))
            }
            // There is no goodbye in this protocol: a client closes when it has finished.
            Ok(None) => End::silent(Cause::Quit),
            Err(_) => End::silent(Cause::Gone),
        };
        Poll::Ready(Err(Leave::End(end)))
    }

    /// Gives the client an answer of ours.
    pub(super) async fn tell(&mut self, answer: &[u8], ahead: Box<[u8]>) -> Result<(), End> {
        self.ahead = ahead;
        self.route.count(Direction::ClientOut, answer.len());
        let told = self.client.write_all(answer).await;
        told.map_err(|_| End::silent(Cause::Gone))
    }

    /// A request that does something: the transaction that it belongs to begins first, and the
    /// request waits. Returns whether that is so.
    pub(super) fn begins_first(&mut self, hold: &mut Hold) -> bool {
        let Some(begun) = &self.begun else {
            return false;
        };
        let mut request = Vec::new();
        let backend = &mut *hold.lease;
        if backend
            .tracker
            .inject_begin(&begun.request, begun.descriptor, &mut request)
        {
            backend.wire.put(&request);
            self.begun = None;
        }
        // Not while a batch of ours is under way: its answer brings us here again.
        true
    }
}

/// The answer to a wish that needs no backend.
fn answered(bytes: &[u8], begun: &mut Option<Begun>, tells: Option<bool>) -> Option<First> {
    let (wish, taken) = lazy::read(bytes)?;
    let rest = || bytes.get(taken..).unwrap_or_default().into();
    let mut out = Vec::new();
    match (wish, &begun) {
        (Wish::Begin(by), None) => {
            // Of a text, what the server would say must be known.
            let descriptor = match (by, tells) {
                (By::Request, _) | (By::Text, Some(true)) => Some(fastrand::u64(1..)),
                (By::Text, Some(false)) => None,
                (By::Text, None) => return None,
            };
            lazy::answer(wish, descriptor, &mut out);
            *begun = Some(Begun {
                request: bytes.get(..taken)?.into(),
                by,
                descriptor,
            });
        }
        (Wish::End(by, _), Some(transaction)) => {
            // What is said of an end in other terms than its beginning, only the server knows.
            if by != transaction.by && tells != Some(true) {
                return None;
            }
            lazy::answer(wish, transaction.descriptor, &mut out);
            *begun = None;
        }
        (Wish::Begin(_), Some(_)) | (Wish::End(..), None) => return None,
    }
    Some(First::Answer(out, rest()))
}
