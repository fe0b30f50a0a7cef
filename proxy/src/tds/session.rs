//! Hot path: no allocation, no lock of ours, no logging. A session from its greeting to its end.
//!
//! A client that idles holds no buffer and no backend (`idle`). When it sends, it borrows one
//! (`borrow`), everything is relayed both ways (`poll_relay`) until the backend could change
//! hands, and [`judge`] says whether it does (`part_with`).

pub(super) mod lazily;
mod relay;
mod remains;
mod waiting;

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use entrapool_metrics::{Cause, Closed};
use entrapool_protocol::tds::effect::Effects;
use entrapool_protocol::tds::legacy::{Dialect, Translator};
use entrapool_protocol::tds::message::Report;
use entrapool_protocol::tds::settings::Settings;
use entrapool_protocol::tds::statements::Statements;
use entrapool_protocol::tds::tracker;

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
use lazily::{Begun, First};
use relay::{Hold, Outcome};
use remains::Pins;

/// A client that has been greeted.
pub(super) struct Session {
    client: Socket,
    route: Arc<Route>,
    pool: Arc<Pool<Connector>>,
    registered: Registered,
    /// What the session owns: settings and handles of statements.
    settings: Arc<Settings>,
    statements: Statements,
    /// How often it has had a backend: what its last batch left is on the last one.
    turns: u32,
    /// What it can't take to another backend; `None` if there is nothing.
    pins: Option<Box<Pins>>,
    /// A transaction that has done nothing yet.
    begun: Option<Begun>,
    /// What was read of the client's next request already; empty but for clients that did not
    /// wait for an answer.
    ahead: Box<[u8]>,
    /// Bytes of a packet.
    packet_size: usize,
    /// For a client of an old version.
    legacy: Option<(Dialect, Box<Translator>)>,
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
            packet_size,
            legacy,
            ..
        } = *self;
        if let Some(report) = end.report {
            let dialect = legacy.map(|(dialect, _)| dialect);
            tell(client, &report, dialect, packet_size).await;
        }
        route.ended(&end.ending, registered.pid());
    }
}

impl Session {
    pub(super) fn new(route: Arc<Route>, client: Socket, opening: Opening, place: Place) -> Self {
        let Opening {
            registered,
            pool,
            ahead,
            packet_size,
            legacy,
        } = opening;
        registered.enter(Phase::Idle, Instant::now());
        Self {
            client,
            route,
            pool,
            registered,
            settings: Arc::default(),
            statements: Statements::new(),
            turns: 0,
            pins: None,
            begun: None,
            ahead: ahead.into_boxed_slice(),
            packet_size,
            legacy,
            _place: place,
        }
    }

    /// Waits for the client, borrows a backend, relays until they part.
    async fn turn_from_idle(&mut self) -> Result<(), Leave<End>> {
        let mut now = None;
        let first = std::future::poll_fn(|cx| self.poll_first(&mut now, cx)).await?;
        let now = now.unwrap_or_else(Instant::now);
        let (lease, now) = match first {
            First::Lease(lease) => {
                self.route.metrics.pool_wait.observe(0.0);
                (lease, now)
            }
            First::Wait(bytes) => match Box::pin(self.wait_for_backend(now, bytes)).await? {
                Some(lent) => lent,
                None => return Ok(()),
            },
            First::Answer(answer, ahead) => {
                return Box::pin(self.tell(&answer, ahead))
                    .await
                    .map_err(Leave::End);
            }
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
        async move {
            let outcome = std::future::poll_fn(|cx| self.poll_relay(&mut hold, cx)).await;
            if let Some((_, translator)) = &mut self.legacy {
                translator.shrink();
            }
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
            // There is no goodbye in this protocol: a client closes when it has finished.
            Outcome::Gone => End::silent(match self.verdict(&hold, Client::Gone) {
                Verdict::Recover => Cause::Gone,
                _ => Cause::Quit,
            }),
            Outcome::Drained => End::told(Cause::Drain, report::shutting_down()),
            Outcome::Killed => End::told(Cause::Killed, report::killed()),
            Outcome::ClientMalformed(violation) => {
                End::told(Cause::Malformed, report::client_malformed(&violation))
            }
            Outcome::BadSettings(error) => {
                // It has not got the settings that are booked: it is reset.
                hold.lease.residue |= Effects::SETTING;
                End::told(Cause::StartupRefused, report::bad_settings(&error))
            }
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
            suspected,
            last_answer,
            ..
        } = hold;
        // What is left in here is between this client and nobody else.
        lease.from_client.clear();
        lease.to_client.clear();
        lease.residue |= self.pinned() | suspected.unwrap_or_default();
        let now = match client {
            Client::Here => last_answer,
            Client::Gone => Instant::now(),
        };
        self.registered.enter(Phase::Idle, now);
        match verdict {
            Verdict::Release => {
                lease.shrink();
                lease.give_back(now);
            }
            // Keep and Probe can't come here: the relay ends only where a backend may go. If
            // they did, the backend would be recovered like one whose client has gone.
            Verdict::Clean | Verdict::Recover | Verdict::Keep | Verdict::Probe => {
                recover::spawn(lease, Arc::clone(&self.route));
            }
        }
    }

    /// What becomes of the backend, as things stand.
    fn verdict(&self, hold: &Hold, client: Client) -> Verdict {
        let backend = &*hold.lease;
        let boundary = match backend.tracker.boundary() {
            tracker::Boundary::Idle if hold.suspected.is_none() => Boundary::Idle,
            _ => Boundary::Inside,
        };
        let residue = if backend.tracker.is_opaque() || self.pins.is_some() {
            match backend.residue.is_empty() {
                true => Residue::Kept,
                false => Residue::Suspected,
            }
        } else if !backend.residue.is_empty() {
            Residue::Suspected
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
