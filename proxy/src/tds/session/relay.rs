//! Hot path: no allocation, no lock of ours, no logging. Bytes both ways between a client and
//! the backend that it holds.
//!
//! Everything that happens to a request happens in here, in this order: `poll_requests` reads
//! the client, lets the tracker book (and, for prepared statements, rewrite) what it sent, and
//! writes to the server; `poll_answers` reads the server, lets the tracker say what is for the
//! client, and writes that. Neither side is read before what it caused on the other is written,
//! so memory stays bounded. Whoever is expected to say something comes first; what the other
//! says wakes the session all the same, so that neither waits for the other.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use entrapool_metrics::Direction;
use entrapool_protocol::tds::Violation;
use entrapool_protocol::tds::effect::Effects;
use entrapool_protocol::tds::error::ServerError;
use entrapool_protocol::tds::tracker::{Boundary, Event, Values};

use super::Session;
use crate::pool::Lease;
use crate::session::pin::Verdict;
use crate::session::registry::Signal;
use crate::session::wire::{Fill, Socket};
use crate::tds::adapt::adapt;
use crate::tds::backend::Backend;
use crate::tds::connect::Connector;

/// A backend in a session's hands, and what the session knows only while it holds it.
pub(super) struct Hold {
    pub(super) lease: Lease<Connector>,
    /// Whether the backend was given the session's settings.
    adapted: bool,
    /// What raised the question to the server that is under way.
    pub(super) suspected: Option<Effects>,
    /// Whether `from_client` may be taken without more bytes of the client: they were read
    /// before there was a backend, or wait for the server's answers.
    has_pending: bool,
    /// When the oldest request without an answer came.
    query_since: Option<Instant>,
    transaction_since: Option<Instant>,
    /// When the last answer ended; before the first, when the session got the backend.
    pub(super) last_answer: Instant,
}

/// Why the relay stopped.
pub(super) enum Outcome {
    /// The backend may go to somebody else.
    Boundary,
    /// The client closed.
    Gone,
    /// entrapool is stopping, and nothing is under way.
    Drained,
    /// An operator ended the session.
    Killed,
    /// The client broke the protocol.
    ClientMalformed(Violation),
    /// The server broke the protocol.
    ServerMalformed(Violation),
    /// The server closed, or can't be reached any more.
    ServerClosed,
    /// The server does not take the settings that the session owns.
    BadSettings(Box<ServerError>),
}

impl Hold {
    pub(super) fn new(lease: Lease<Connector>, now: Instant) -> Self {
        let has_pending = !lease.from_client.is_empty();
        Self {
            lease,
            adapted: false,
            suspected: None,
            has_pending,
            query_since: Some(now),
            transaction_since: Some(now),
            last_answer: now,
        }
    }
}

impl Session {
    /// Relays until the session and its backend part.
    pub(super) fn poll_relay(&mut self, hold: &mut Hold, cx: &mut Context<'_>) -> Poll<Outcome> {
        match self.relay(hold, cx) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Outcome::Boundary),
            Err(outcome) => Poll::Ready(outcome),
        }
    }

    fn relay(&mut self, hold: &mut Hold, cx: &mut Context<'_>) -> Result<Poll<()>, Outcome> {
        loop {
            if self.registered.entry.any() {
                self.heed_signals(hold)?;
            }
            // Whoever is expected to say something comes first. At a boundary the client need not be
            // asked again: what it sends meanwhile wakes the session.
            let owes = hold.lease.tracker.owes();
            let mut asked = !owes && self.poll_requests(hold, cx)?;
            let answered = self.poll_answers(hold, cx)?;
            if owes && !(answered && self.may_part(hold)) {
                asked = self.poll_requests(hold, cx)?;
            }
            if self.may_part(hold) {
                match self.at_boundary(hold) {
                    Verdict::Keep if answered => continue,
                    Verdict::Keep => {}
                    Verdict::Probe => continue,
                    _ => return Ok(Poll::Ready(())),
                }
            }
            // Whoever came last has nothing more: the other one has been waited for already.
            let goes_on = if owes { asked } else { answered };
            if !goes_on {
                return Ok(Poll::Pending);
            }
        }
    }

    /// Whether the backend is where it may go to somebody else, unless it keeps what is the
    /// session's.
    #[inline]
    fn may_part(&self, hold: &Hold) -> bool {
        self.route.mode().shares() && self.is_quiet(&hold.lease) && hold.suspected.is_none()
    }

    /// From the client to the server. Returns whether anything moved.
    #[inline]
    fn poll_requests(&mut self, hold: &mut Hold, cx: &mut Context<'_>) -> Result<bool, Outcome> {
        let mut moved = false;
        loop {
            if hold.lease.wire.is_blocked() {
                match hold.lease.wire.poll_flush(cx) {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(_)) => {
                        // A server that closes may have said why.
                        self.poll_answers(hold, cx)?;
                        return Err(Outcome::ServerClosed);
                    }
                }
            }
            if hold.has_pending {
                moved |= self.stage(hold)?;
                // What waits may wait for the answer to a batch that was only now put on the wire.
                if hold.has_pending && !hold.lease.wire.is_blocked() {
                    return Ok(moved);
                }
                continue;
            }
            let Self { client, legacy, .. } = self;
            let mut taken = Ok(());
            let count = match client.poll_read_with(cx, |bytes| {
                let from_client = &mut hold.lease.from_client;
                match legacy {
                    None => from_client.append(bytes),
                    Some((_, legacy)) => taken = legacy.requests.translate(bytes, from_client),
                }
                bytes.len()
            }) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Err(_) | Ok(0)) => return Err(Outcome::Gone),
                Poll::Ready(Ok(count)) => count,
            };
            self.route.count(Direction::ClientIn, count);
            taken.map_err(Outcome::ClientMalformed)?;
            self.stage(hold)?;
            moved = true;
        }
    }

    /// Lets the tracker book what the client sent. Returns whether any of it was taken.
    #[inline]
    fn stage(&mut self, hold: &mut Hold) -> Result<bool, Outcome> {
        let before = hold.lease.wire.staged();
        if !hold.adapted {
            self.adapt(hold);
        }
        if self.begins_first(hold) {
            hold.has_pending = true;
            return Ok(hold.lease.wire.staged() > before);
        }
        let Backend {
            tracker,
            wire,
            from_client,
            ..
        } = &mut *hold.lease;
        if hold.query_since.is_none() {
            let now = Instant::now();
            hold.query_since = Some(now);
            hold.transaction_since.get_or_insert(now);
        }
        let names = self.route.mode().shares().then_some(&mut self.statements);
        let taken = tracker
            .front(from_client.filled(), names, wire)
            .map_err(Outcome::ClientMalformed)?;
        let staged = wire.staged() - before;
        from_client.consume(taken.bytes);
        hold.has_pending = taken.stalled;
        self.route.count(Direction::UpstreamOut, staged);
        Ok(taken.bytes > 0 || staged > 0)
    }

    /// Makes the backend look like the session's, before the first that the session sends.
    fn adapt(&mut self, hold: &mut Hold) {
        hold.adapted = true;
        let own = hold.lease.owner == self.registered.number();
        let is_last = self.turns == 0 || (own && hold.lease.turn == self.turns);
        self.turns = self.turns.wrapping_add(1).max(1);
        hold.lease.turn = self.turns;
        let mode = self.route.mode();
        if adapt(
            &mut hold.lease,
            self.registered.number(),
            &self.settings,
            mode,
        ) {
            self.route.metrics.settings_carried.inc();
        }
        if !is_last {
            hold.lease.tracker.set_values(Values::Foreign);
        }
    }

    /// From the server to the client, at most up to a boundary. Returns whether anything moved.
    #[inline]
    fn poll_answers(&mut self, hold: &mut Hold, cx: &mut Context<'_>) -> Result<bool, Outcome> {
        let mut moved = false;
        if hold.lease.tracker.has_reply_due() {
            // The server may never say anything that this reply could wait for.
            self.answer(hold, cx)?;
            moved = true;
        }
        loop {
            while !hold.lease.to_client.is_empty() {
                match self.client.poll_write(cx, hold.lease.to_client.filled()) {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(Err(_) | Ok(0)) => return Err(Outcome::Gone),
                    Poll::Ready(Ok(sent)) => {
                        self.route.count(Direction::ClientOut, sent);
                        hold.lease.to_client.consume(sent);
                        moved = true;
                    }
                }
            }
            if moved && self.may_part(hold) {
                return Ok(true);
            }
            let Backend {
                wire, from_server, ..
            } = &mut *hold.lease;
            match wire.poll_fill(cx, from_server) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Err(_) | Ok(Fill::End)) => return Err(Outcome::ServerClosed),
                Poll::Ready(Ok(Fill::Bytes(count))) => {
                    self.route.count(Direction::UpstreamIn, count);
                    self.answer(hold, cx)?;
                    moved = true;
                }
            }
        }
    }

    /// Deals with what the server has sent, up to the beginning of a packet whose end is needed.
    /// What is for the client leaves in as few writes as can be.
    fn answer(&mut self, hold: &mut Hold, cx: &mut Context<'_>) -> Result<(), Outcome> {
        loop {
            let names = self.route.mode().shares().then_some(&mut self.statements);
            let Backend {
                tracker,
                from_server,
                to_client,
                ..
            } = &mut *hold.lease;
            let step = tracker
                .back(from_server.filled_mut(), names)
                .map_err(Outcome::ServerMalformed)?;
            let input = from_server.filled();
            let bytes = input.get(..step.give).unwrap_or_default();
            if let Some((_, legacy)) = &mut self.legacy {
                let told = legacy.answers.translate(bytes, to_client);
                told.map_err(Outcome::ServerMalformed)?;
            } else {
                let mut sent = 0;
                if to_client.is_empty() && !bytes.is_empty() {
                    sent = write_now(&mut self.client, cx, bytes);
                    self.route.count(Direction::ClientOut, sent);
                }
                to_client.append(bytes.get(sent..).unwrap_or_default());
            }
            from_server.consume(step.take);
            match step.event {
                Event::NeedMore => return Ok(()),
                Event::Next => {}
                Event::Insert(bytes) => {
                    match &mut self.legacy {
                        None => to_client.append(&bytes),
                        Some((_, legacy)) => {
                            let told = legacy.answers.translate(&bytes, to_client);
                            told.map_err(Outcome::ServerMalformed)?;
                        }
                    }
                    hold.answered(&self.route.metrics);
                }
                Event::Ready { .. } => {
                    hold.answered(&self.route.metrics);
                    self.note(hold);
                }
                Event::OwnAnswered => Self::adapted(hold),
                Event::OwnFailed(error) => return Err(Outcome::BadSettings(error)),
                Event::Reported(tokens) => {
                    hold.lease.tracker.set_values(Values::Foreign);
                    self.learn(hold, &tokens);
                }
            }
        }
    }

    /// Does what was asked from outside.
    fn heed_signals(&self, hold: &Hold) -> Result<(), Outcome> {
        let entry = &self.registered.entry;
        // Whoever works does not rest.
        let _ = entry.take(Signal::Rest);
        if entry.is_raised(Signal::Kill) {
            return Err(Outcome::Killed);
        }
        if entry.is_raised(Signal::Drain) && self.is_quiet(&hold.lease) {
            return Err(Outcome::Drained);
        }
        Ok(())
    }

    /// Whether nothing is under way, in any buffer: the backend could be given back.
    fn is_quiet(&self, backend: &Backend) -> bool {
        is_quiet(backend)
            && self
                .legacy
                .as_ref()
                .is_none_or(|(_, legacy)| !legacy.requests.is_holding())
    }
}

impl Hold {
    /// The client has an answer.
    fn answered(&mut self, metrics: &Arc<entrapool_metrics::RouteMetrics>) {
        let now = Instant::now();
        self.last_answer = now;
        let since = |since: Instant| now.duration_since(since).as_secs_f64();
        if let Some(query_since) = self.query_since.take() {
            metrics.query_duration.observe(since(query_since));
        }
        if !self.lease.tracker.is_in_transaction()
            && let Some(transaction_since) = self.transaction_since.take()
        {
            metrics
                .transaction_duration
                .observe(since(transaction_since));
        }
    }
}

/// Whether nothing is under way, in any buffer of the backend.
fn is_quiet(backend: &Backend) -> bool {
    backend.tracker.boundary() == Boundary::Idle
        && backend.from_client.is_empty()
        && backend.to_client.is_empty()
        && !backend.wire.is_blocked()
}

/// Writes what the socket takes now. A client that has gone takes nothing; the next write says
/// so, when what the server sent has been dealt with to its end.
#[inline]
fn write_now(client: &mut Socket, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
    match client.poll_write(cx, bytes) {
        Poll::Ready(Ok(sent)) => sent,
        Poll::Ready(Err(_)) | Poll::Pending => 0,
    }
}
