//! Hot path: no allocation, no lock of ours, no logging. A session from its greeting to its end.
//!
//! A client that idles holds no buffer and no backend (`idle`). When it sends, it borrows one
//! (`borrow`), everything is relayed both ways (`poll_relay`) until the backend could change
//! hands, and [`judge`] says whether it does (`part_with`).

mod listening;
mod probing;
mod relay;
mod waiting;

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use entrapool_metrics::{CancelResult, Cause, Closed};
use entrapool_protocol::postgres::effect::Effects;
use entrapool_protocol::postgres::message::Report;
use entrapool_protocol::postgres::settings::Settings;
use entrapool_protocol::postgres::statements::Statements;
use entrapool_protocol::postgres::tracker;

use super::accept::{Opening, tell};
use super::connect::Connector;
use super::route::Route;
use super::{recover, report};
use crate::pool::{Lease, Pool};
use crate::session::ending::Ending;
use crate::session::gate::Place;
use crate::session::pin::{Boundary, Client, Residue, Verdict, judge};
use crate::session::registry::{Phase, Registered, Signal};
use crate::session::rest::{Leave, Rest};
use crate::session::wire::Socket;
use listening::Channels;
use probing::Pins;
use relay::{Hold, Outcome};

/// A client that has been greeted.
pub(super) struct Session {
    client: Socket,
    route: Arc<Route>,
    pool: Arc<Pool<Connector>>,
    registered: Registered,
    /// What the session owns: settings and names of statements.
    settings: Arc<Settings>,
    statements: Statements,
    /// The settings that it began with, which RESET goes back to.
    startup: Arc<Settings>,
    /// Names of custom settings that it may have made: the server does not list them.
    custom: Box<[Box<str>]>,
    /// The backend where it may have advanced a sequence last.
    advanced_on: u64,
    /// What it can't take to another backend; `None` if there is nothing.
    pins: Option<Box<Pins>>,
    /// The channels that another connection listens to for it; `None` while it has none there.
    channels: Option<Box<Channels>>,
    /// What was read of the client's next request already; empty but for clients that did not
    /// wait for an answer.
    ahead: Box<[u8]>,
    _place: Place,
}

/// The end of a session, with what the client is still to be told.
pub(super) struct End {
    ending: Ending,
    report: Option<Box<Report>>,
}

impl End {
    fn silent(cause: Cause) -> Self {
        Self {
            ending: Ending::of(cause),
            report: None,
        }
    }

    fn told(cause: Cause, report: Report) -> Self {
        Self {
            ending: Ending::because(cause, &report.message),
            report: Some(Box::new(report)),
        }
    }
}

impl Rest for Session {
    type End = End;

    fn client(&mut self) -> &mut Socket {
        &mut self.client
    }

    fn registered(&self) -> &Registered {
        &self.registered
    }

    async fn turn(&mut self) -> Result<(), Leave<End>> {
        if self.ahead.is_empty() {
            self.turn_from_idle().await
        } else {
            Box::pin(self.turn_ahead()).await.map_err(Leave::End)
        }
    }

    /// Tells the client what it has to know of the end, closes, and records the end.
    async fn finish(self: Box<Self>, end: End) {
        let Self {
            client,
            route,
            registered,
            ..
        } = *self;
        if let Some(report) = end.report {
            tell(client, &report).await;
        }
        route.ended(&end.ending, registered.pid());
    }
}

impl Session {
    pub(super) fn new(route: Arc<Route>, client: Socket, opening: Opening, place: Place) -> Self {
        let Opening {
            registered,
            pool,
            settings,
            ahead,
        } = opening;
        let mut statements = Statements::new(registered.number());
        statements.set_context(settings.context());
        let ahead = ahead.into_boxed_slice();
        registered.enter(Phase::Idle, Instant::now());
        Self {
            client,
            route,
            pool,
            registered,
            startup: Arc::clone(&settings),
            settings,
            statements,
            custom: Box::default(),
            advanced_on: 0,
            pins: None,
            channels: None,
            ahead,
            _place: place,
        }
    }

    /// Waits for the client, borrows a backend, relays until they part.
    async fn turn_from_idle(&mut self) -> Result<(), Leave<End>> {
        std::future::poll_fn(|cx| self.poll_idle(cx)).await?;
        let now = Instant::now();
        let (lease, now) = match self.pool.try_lease(self.registered.number(), now) {
            Some(lease) => {
                self.route.metrics.pool_wait.observe(0.0);
                (lease, now)
            }
            None => match Box::pin(self.wait_for_backend(now, Vec::new())).await? {
                Some(lent) => lent,
                None => return Ok(()),
            },
        };
        self.hold(lease, now).await.map_err(Leave::End)
    }

    /// As [`Session::turn_from_idle`], for a client whose next bytes were read already.
    async fn turn_ahead(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let ahead = std::mem::take(&mut self.ahead).into_vec();
        match self.wait_for_backend(now, ahead).await? {
            Some((lease, now)) => self.hold(lease, now).await,
            None => Ok(()),
        }
    }

    /// Not an `async fn`: a task would have room for the lease twice.
    fn hold(
        &mut self,
        lease: Lease<Connector>,
        now: Instant,
    ) -> impl Future<Output = Result<(), End>> + Send {
        self.registered.enter(Phase::Active, now);
        let mut hold = Hold::new(lease, now);
        self.arrive(&mut hold);
        async move {
            let outcome = std::future::poll_fn(|cx| self.poll_relay(&mut hold, cx)).await;
            self.part(hold, outcome)
        }
    }

    /// Ready when the client has sent something, or has gone; an error when the session ends or
    /// rests.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Leave<End>>> {
        if let Some(end) = self.asked_to_end() {
            return Poll::Ready(Err(Leave::End(end)));
        }
        if self.is_sent_to_rest() {
            return Poll::Ready(Err(Leave::Rest));
        }
        if self.registered.entry.any() && self.registered.entry.take(Signal::Cancel) {
            self.route.metrics.cancels.inc(CancelResult::Stale);
        }
        if let Poll::Ready(Err(end)) = self.poll_news(cx) {
            return Poll::Ready(Err(Leave::End(end)));
        }
        let ready = ready!(self.client.poll_read_ready(cx));
        Poll::Ready(ready.map_err(|_| Leave::End(End::silent(Cause::Gone))))
    }

    /// Whether the session has to end though its client is still there: it holds no backend.
    fn asked_to_end(&self) -> Option<End> {
        let entry = &self.registered.entry;
        if !entry.any() {
            None
        } else if entry.is_raised(Signal::Kill) {
            Some(End::told(Cause::Killed, report::killed()))
        } else if entry.is_raised(Signal::Drain) {
            Some(End::told(Cause::Drain, report::shutting_down()))
        } else {
            None
        }
    }

    /// The relay has come to an end, for now or for good.
    fn part(&self, mut hold: Hold, outcome: Outcome) -> Result<(), End> {
        let peer = hold.lease.peer;
        let end = match outcome {
            Outcome::Boundary => {
                self.part_with(hold, Client::Here);
                return Ok(());
            }
            Outcome::Quit => End::silent(Cause::Quit),
            Outcome::Gone => End::silent(Cause::Gone),
            Outcome::Drained => End::told(Cause::Drain, report::shutting_down()),
            Outcome::Killed => End::told(Cause::Killed, report::killed()),
            Outcome::ClientMalformed(violation) => {
                End::told(Cause::Malformed, report::client_malformed(&violation))
            }
            Outcome::BadSettings(error) => {
                // It has not got the settings that are booked: all are set anew.
                hold.lease.residue |= Effects::SETTING;
                End::told(Cause::StartupRefused, report::bad_settings(&error))
            }
            Outcome::Deaf(lost) => listening::end_of(&lost),
            Outcome::ServerMalformed(violation) => {
                close(hold.lease, Closed::Error);
                let report = report::server_malformed(&violation);
                return Err(End::told(Cause::ServerMalformed, report));
            }
            Outcome::ServerClosed => {
                // A server that said why has said it to the client, too.
                let told = hold.lease.tracker.is_dying();
                close(hold.lease, Closed::Server);
                let mut end = End::told(Cause::ServerClosed, report::server_closed(peer));
                end.report = end.report.filter(|_| !told);
                return Err(end);
            }
        };
        self.part_with(hold, Client::Gone);
        Err(end)
    }

    /// Gives the backend back in the way that the verdict says.
    fn part_with(&self, hold: Hold, client: Client) {
        let verdict = self.verdict(&hold, client);
        let Hold {
            mut lease,
            cancelling,
            probe,
            query_since: last,
            ..
        } = hold;
        // What is left in here is between this client and nobody else.
        lease.from_client.clear();
        lease.to_client.clear();
        let _ = lease.tracker.end_crossing();
        lease.residue |= self.pinned();
        lease.residue |= probe.map_or_else(Effects::default, |probe| probe.suspected);
        let now = match client {
            Client::Here => last,
            Client::Gone => Instant::now(),
        };
        self.registered.enter(self.resting(), now);
        match verdict {
            Verdict::Release => {
                lease.shrink();
                lease.give_back(now);
            }
            // Keep and Probe can't come here: the relay ends only where a backend may go. If
            // they did, the backend would be recovered like one whose client has gone.
            Verdict::Clean | Verdict::Recover | Verdict::Keep | Verdict::Probe => {
                recover::spawn(lease, cancelling, Arc::clone(&self.route));
            }
        }
    }

    /// What the session does without a backend.
    fn resting(&self) -> Phase {
        match self.channels {
            Some(_) => Phase::Listening,
            None => Phase::Idle,
        }
    }

    /// What becomes of the backend, as things stand.
    fn verdict(&self, hold: &Hold, client: Client) -> Verdict {
        let backend = &*hold.lease;
        let boundary = match backend.tracker.boundary() {
            tracker::Boundary::Idle if hold.cancelling.is_none() && hold.probe.is_none() => {
                Boundary::Idle
            }
            _ => Boundary::Inside,
        };
        let residue = if !backend.residue.is_empty() {
            Residue::Suspected
        } else if self.pins.is_some() {
            Residue::Kept
        } else {
            Residue::None
        };
        judge(boundary, residue, client, self.route.mode())
    }
}

fn close(mut lease: Lease<Connector>, reason: Closed) {
    lease.closes_for(reason);
    drop(lease);
}
