//! Hot path: no allocation, no lock of ours, no logging. Bytes both ways between a client and
//! the backend that it holds.
//!
//! Everything that happens to a query happens in here, in this order: `poll_requests` reads
//! the client, lets the tracker book (and, for prepared statements, rewrite) what it sent, and
//! writes to the server; `poll_answers` reads the server, lets the tracker say what is for the
//! client, and writes that. Neither side is read before what it caused on the other is written,
//! so memory stays bounded. Whoever is expected to say something comes first; what the other
//! says wakes the session all the same, so that neither waits for the other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use entrapool_metrics::{CancelResult, Direction};
use entrapool_protocol::postgres::error::ServerError;
use entrapool_protocol::postgres::message;
use entrapool_protocol::postgres::settings::Settings;
use entrapool_protocol::postgres::statements::Statements;
use entrapool_protocol::postgres::tracker::{Boundary, Event, Values};
use entrapool_protocol::postgres::{Status, Violation};
use tokio::task::JoinHandle;

use super::listening::Crossing;
use super::probing::Probe;
use super::{Route, Session};
use crate::pool::Lease;
use crate::postgres::adapt::{adapt, own};
use crate::postgres::backend::Backend;
use crate::postgres::cancel;
use crate::postgres::connect::Connector;
use crate::postgres::fanout::Lost;
use crate::session::pin::Verdict;
use crate::session::registry::Signal;
use crate::session::wire::{Fill, Socket};

/// A backend in a session's hands, and what the session knows only while it holds it.
pub(super) struct Hold {
    pub(super) lease: Lease<Connector>,
    /// A cancel request on its way; the backend is not given back before it has arrived.
    pub(super) cancelling: Option<JoinHandle<()>>,
    /// Whether the backend was given the session's settings.
    adapted: bool,
    /// The backend is going back to settings that the client began with; the client is told.
    pub(super) restoring: bool,
    /// A question to the server what the session has left.
    pub(super) probe: Option<Box<Probe>>,
    /// The session's channels are on their way to another connection, or back.
    pub(super) crossing: Option<Box<Crossing>>,
    /// Whether `from_client` may be taken without more bytes of the client: they were read
    /// before there was a backend, or wait for the server's answers.
    has_pending: bool,
    /// When the oldest request without an answer came, or else when the last answer did.
    pub(super) query_since: Instant,
    transaction_since: Option<Instant>,
}

/// Why the relay stopped.
pub(super) enum Outcome {
    /// The backend may go to somebody else.
    Boundary,
    /// The client said goodbye.
    Quit,
    /// The client closed without a word.
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
    /// Notifications for the session are lost.
    Deaf(Lost),
}

impl Hold {
    pub(super) fn new(lease: Lease<Connector>, now: Instant) -> Self {
        let has_pending = !lease.from_client.is_empty();
        Self {
            lease,
            cancelling: None,
            adapted: false,
            restoring: false,
            probe: None,
            crossing: None,
            has_pending,
            query_since: now,
            transaction_since: Some(now),
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
            if hold.crossing.is_some() {
                if asked {
                    Self::stirs(hold);
                }
                if self.cross(hold, cx)? {
                    self.answer(hold, cx)?;
                    continue;
                }
            }
            if self.may_part(hold) {
                match self.at_boundary(hold) {
                    Verdict::Keep if self.lingers(hold) || answered => continue,
                    Verdict::Keep => {}
                    Verdict::Probe => continue,
                    _ => return Ok(poll_cancelled(hold, cx)),
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
        self.route.mode().shares() && is_quiet(&hold.lease) && !hold.is_ours()
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
            if hold.holds_requests() {
                return Ok(moved);
            }
            // A cancel request is for what was asked before it: the next request waits.
            if hold.cancelling.is_some()
                && !hold.lease.tracker.owes()
                && poll_cancelled(hold, cx).is_pending()
            {
                return Ok(moved);
            }
            if hold.has_pending {
                moved |= self.requests().forward_pending(hold)?;
                if hold.has_pending {
                    return Ok(moved);
                }
                continue;
            }
            let Self {
                client,
                statements,
                settings,
                registered,
                advanced_on,
                pool,
                route,
                ..
            } = self;
            let mut requests = Requests {
                statements,
                settings,
                number: registered.number(),
                advanced_on: *advanced_on,
                recalls: &pool.shared().recalls,
                route,
            };
            match client.poll_read_with(cx, |bytes| requests.forward(hold, bytes)) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Err(_)) => return Err(Outcome::Gone),
                Poll::Ready(Ok(forwarded)) => {
                    forwarded?;
                    moved = true;
                }
            }
        }
    }

    pub(super) fn requests(&mut self) -> Requests<'_> {
        let Self {
            statements,
            settings,
            registered,
            advanced_on,
            pool,
            route,
            ..
        } = self;
        Requests {
            statements,
            settings,
            number: registered.number(),
            advanced_on: *advanced_on,
            recalls: &pool.shared().recalls,
            route,
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
            if hold
                .crossing
                .as_ref()
                .is_some_and(|way| way.holds_answers())
            {
                return Ok(moved);
            }
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

    /// Deals with what the server has sent, up to the beginning of a message whose end is
    /// needed. What is for the client leaves in as few writes as can be.
    fn answer(&mut self, hold: &mut Hold, cx: &mut Context<'_>) -> Result<(), Outcome> {
        loop {
            let names = self.route.mode().shares().then_some(&mut self.statements);
            let Backend {
                tracker,
                from_server,
                to_client,
                ..
            } = &mut *hold.lease;
            let input = from_server.filled();
            let step = tracker
                .back(input, names)
                .map_err(Outcome::ServerMalformed)?;
            let (bytes, rest) = input.split_at(step.take);
            if step.to_client {
                let mut sent = 0;
                let alone = rest.is_empty() && to_client.is_empty();
                if alone && !bytes.is_empty() && !matches!(step.event, Event::Insert(_)) {
                    sent = write_now(&mut self.client, cx, bytes);
                    self.route.count(Direction::ClientOut, sent);
                }
                to_client.append(bytes.get(sent..).unwrap_or_default());
            }
            let (mut report, mut ready, mut reported) = (None, false, false);
            let take = step.take;
            match step.event {
                Event::NeedMore => {
                    from_server.consume(take);
                    return Ok(());
                }
                Event::Next => {}
                Event::Insert(bytes) => to_client.append(&bytes),
                Event::Ready(_) => ready = step.to_client,
                Event::Parameter { name, value } => {
                    report = Some((name.to_vec(), value.to_vec(), step.to_client));
                }
                Event::Row(row) => match hold.probe.as_mut().map(|probe| probe.row(row)) {
                    None | Some(Ok(())) => {}
                    Some(Err(violation)) => return Err(Outcome::ServerMalformed(violation)),
                },
                Event::ReportFailed(error) => {
                    tracing::warn!(route = self.route.config.name, %error, "the server did not say what a session has left; it keeps its backend");
                    if let Some(probe) = &mut hold.probe {
                        probe.failed = true;
                    }
                }
                Event::Reported => reported = true,
                Event::Marked => {
                    from_server.consume(take);
                    Self::marked(hold);
                    if hold
                        .crossing
                        .as_ref()
                        .is_some_and(|way| way.holds_answers())
                    {
                        return Ok(());
                    }
                    continue;
                }
                Event::OwnQueryFailed(error) => {
                    from_server.consume(take);
                    return Err(Outcome::BadSettings(error));
                }
            }
            from_server.consume(take);
            if ready {
                hold.answered(&self.route);
            }
            self.note(hold, report);
            if reported {
                self.learn(hold);
            }
        }
    }

    /// Notes what the last step said of the session.
    fn note(&mut self, hold: &mut Hold, report: Option<(Vec<u8>, Vec<u8>, bool)>) {
        if let Some((name, value, by_client)) = report {
            hold.lease.reported(&name, &value);
            if hold.restoring && !by_client {
                let mut told = Vec::new();
                message::parameter_status(&mut told, &name, &value);
                hold.lease.to_client.append(&told);
            }
            if by_client {
                own(&mut hold.lease, &mut self.settings, &name, &value);
                self.statements.set_context(self.settings.context());
            }
        }
        let effects = hold.lease.tracker.take_effects();
        if !effects.is_empty() {
            let names = hold.lease.tracker.take_custom();
            let left = self.advance(hold, effects) | self.remember(names);
            hold.lease.residue |= left;
        }
    }

    /// Does what was asked from outside.
    fn heed_signals(&self, hold: &mut Hold) -> Result<(), Outcome> {
        let entry = &self.registered.entry;
        // Whoever waits for news looks at each turn, and whoever works does not rest.
        let _ = entry.take(Signal::News);
        let _ = entry.take(Signal::Rest);
        if entry.is_raised(Signal::Kill) {
            return Err(Outcome::Killed);
        }
        if entry.is_raised(Signal::Drain) && is_quiet(&hold.lease) {
            return Err(Outcome::Drained);
        }
        // While the server is asked a question of ours, it would be that which is cancelled.
        if !hold.is_ours() && entry.take(Signal::Cancel) {
            // One at a time; a later one is sent again, since the first may have come too early.
            let idle = hold.cancelling.as_ref().is_none_or(JoinHandle::is_finished);
            let owes = hold.lease.tracker.owes() && idle;
            match hold.lease.key.clone().filter(|_| owes) {
                Some(key) => {
                    let place = self.route.pools.connector().place();
                    let peer = hold.lease.peer;
                    hold.cancelling = Some(cancel::send(place, peer, key, &self.route.metrics));
                }
                None => self.route.metrics.cancels.inc(CancelResult::Stale),
            }
        }
        Ok(())
    }
}

/// The client's side of a relay, apart from its socket.
pub(super) struct Requests<'a> {
    statements: &'a mut Statements,
    settings: &'a Arc<Settings>,
    number: u64,
    advanced_on: u64,
    recalls: &'a AtomicBool,
    route: &'a Route,
}

impl Requests<'_> {
    fn whose_values(&self, backend: &Backend) -> Values {
        match backend.sequences_of {
            0 => Values::Own,
            other if other == self.number && backend.number == self.advanced_on => Values::Own,
            _ if self.recalls.load(Ordering::Relaxed) => Values::Foreign,
            _ => Values::Unasked,
        }
    }

    /// Stages what the client sent just now.
    #[inline]
    fn forward(&mut self, hold: &mut Hold, bytes: &[u8]) -> Result<(), Outcome> {
        if bytes.is_empty() {
            return Err(Outcome::Gone);
        }
        self.route.count(Direction::ClientIn, bytes.len());
        if !hold.lease.from_client.is_empty() {
            hold.lease.from_client.append(bytes);
            return self.forward_pending(hold).map(|_| ());
        }
        let taken = self.stage(hold, bytes)?;
        hold.lease
            .from_client
            .append(bytes.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Stages what waited for more bytes, for answers, or for a backend. Returns whether any of
    /// it was taken.
    fn forward_pending(&mut self, hold: &mut Hold) -> Result<bool, Outcome> {
        let mut pending = std::mem::take(&mut hold.lease.from_client);
        let taken = self.stage(hold, pending.filled())?;
        pending.consume(taken);
        hold.lease.from_client = pending;
        Ok(taken > 0)
    }

    /// Makes the backend look like the session's, before the first that the session sends.
    pub(super) fn adapt(&self, hold: &mut Hold) {
        hold.adapted = true;
        let backend = &mut *hold.lease;
        if adapt(backend, self.number, self.settings) {
            self.route.metrics.settings_carried.inc();
        }
        let values = self.whose_values(backend);
        backend.tracker.set_sequences(values);
    }

    /// Lets the tracker book what the client sent. Returns how much of it was taken.
    #[inline]
    fn stage(&mut self, hold: &mut Hold, bytes: &[u8]) -> Result<usize, Outcome> {
        let backend = &mut *hold.lease;
        let idle =
            !backend.tracker.owes() || hold.probe.is_some() && hold.transaction_since.is_none();
        if hold.adapted && idle {
            let now = Instant::now();
            hold.query_since = now;
            hold.transaction_since.get_or_insert(now);
        }
        let before = backend.wire.staged();
        if !hold.adapted && bytes.first() != Some(&b'X') {
            self.adapt(hold);
        }
        let backend = &mut *hold.lease;
        let names = self.route.mode().shares().then_some(&mut *self.statements);
        let taken = backend
            .tracker
            .front(bytes, names, &mut backend.wire)
            .map_err(Outcome::ClientMalformed)?;
        let staged = backend.wire.staged() - before;
        self.route.count(Direction::UpstreamOut, staged);
        hold.has_pending = taken.stalled;
        if taken.terminate {
            return Err(Outcome::Quit);
        }
        Ok(taken.bytes)
    }
}

impl Hold {
    /// Whether the server is busy with something of ours that the client knows nothing of.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        self.probe.is_some()
            || self
                .crossing
                .as_ref()
                .is_some_and(|way| way.holds_requests())
    }

    /// Whether that has to come to its end first.
    #[inline]
    fn holds_requests(&self) -> bool {
        let probe = self.probe.as_ref();
        probe.is_some_and(|probe| probe.holds_requests)
            || self
                .crossing
                .as_ref()
                .is_some_and(|way| way.holds_requests())
    }

    /// The client has an answer.
    fn answered(&mut self, route: &Route) {
        let now = Instant::now();
        let metrics = &route.metrics;
        metrics
            .query_duration
            .observe(now.duration_since(self.query_since).as_secs_f64());
        self.query_since = now;
        // Not the boundary: with more requests under way, this one's transaction has ended too.
        if self.lease.tracker.status() == Status::Idle
            && let Some(since) = self.transaction_since.take()
        {
            self.transaction_since = self.lease.tracker.owes().then_some(now);
            metrics
                .transaction_duration
                .observe(now.duration_since(since).as_secs_f64());
        }
    }
}

/// Whether nothing is under way, in any buffer: the backend could be given back.
pub(super) fn is_quiet(backend: &Backend) -> bool {
    backend.tracker.boundary() == Boundary::Idle
        && backend.from_client.is_empty()
        && backend.to_client.is_empty()
        && !backend.wire.is_blocked()
}

/// Ready when no cancel request is on its way any more.
fn poll_cancelled(hold: &mut Hold, cx: &mut Context<'_>) -> Poll<()> {
    if let Some(task) = &mut hold.cancelling {
        // A task that was aborted has sent nothing more either.
        let _ = std::task::ready!(Pin::new(task).poll(cx));
        hold.cancelling = None;
    }
    Poll::Ready(())
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
