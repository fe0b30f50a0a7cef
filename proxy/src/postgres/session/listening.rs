//! Sessions that listen: their channels stay on their backend while they are busy, and wait on
//! the pool's one listening connection ([`Fanout`](crate::postgres::fanout::Fanout)) while they
//! are not, so that they hold no backend.
//!
//! A session crosses over when it has been quiet for [`LINGER`] and nothing but its channels
//! keeps its backend; it crosses back when it borrows a backend, before its next statement. So
//! whatever a statement does to channels, and what it is told of them, is PostgreSQL's doing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use entrapool_metrics::{Cause, Direction, WaitingGuard};
use entrapool_protocol::Sink;
use entrapool_protocol::postgres::channels::{self, Marker, Side};
use entrapool_protocol::postgres::effect::Effects;
use entrapool_protocol::postgres::message;
use tokio::time::Sleep;

use super::relay::{Hold, Outcome, is_quiet};
use super::{End, Session};
use crate::postgres::fanout::{Lost, Phase, Subscription};
use crate::postgres::report;
use crate::session::registry::Signal;

/// How long a session that listens keeps its backend after its last transaction: longer than a
/// busy client thinks, since to cross over and back costs the server four small transactions.
const LINGER: Duration = Duration::from_millis(100);
/// How long it stays where it is when it could not cross over.
const STAY: Duration = Duration::from_secs(30);

/// A session's channels on the listening connection.
pub(super) struct Channels {
    subscription: Subscription,
    /// Taken from the mailbox, not yet written to the client.
    unsent: Vec<u8>,
    _counted: WaitingGuard,
}

/// The way of a session's channels from its backend to the listening connection, or back.
pub(super) enum Crossing {
    /// They will leave when the session has been quiet for long enough.
    Lingering(Pin<Box<Sleep>>),
    /// The listening connection has been asked to hear them.
    Subscribing(Subscription),
    /// The backend is letting go of them; requests wait.
    Leaving(Subscription),
    /// The backend is taking them up, before the session's next request.
    Arriving(Channels),
    /// It has them; what came before is still to be read on the listening connection.
    Arrived(Channels),
}

impl Crossing {
    /// Whether the session's requests have to wait.
    pub(super) fn holds_requests(&self) -> bool {
        !matches!(self, Self::Lingering(_) | Self::Subscribing(_))
    }

    /// Whether what the server sends has to wait.
    pub(super) fn holds_answers(&self) -> bool {
        matches!(self, Self::Arrived(_))
    }
}

impl Session {
    /// While the session holds no backend: writes to the client what has come for it.
    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Some(channels) = &mut self.channels else {
            return Poll::Ready(Ok(()));
        };
        let _ = self.registered.entry.take(Signal::News);
        let mailbox = channels.subscription.mailbox();
        if let Err(lost @ Lost::Overflow) = mailbox.phase() {
            return Poll::Ready(Err(end_of(&lost)));
        }
        loop {
            // No more at once: it is the mailbox that has a limit.
            if channels.unsent.is_empty() && mailbox.take(&mut channels.unsent) == 0 {
                break;
            }
            match ready!(self.client.poll_write(cx, &channels.unsent)) {
                Err(_) | Ok(0) => return Poll::Ready(Err(End::silent(Cause::Gone))),
                Ok(sent) => {
                    self.route.count(Direction::ClientOut, sent);
                    channels.unsent.drain(..sent);
                }
            }
        }
        channels.unsent.shrink_to(0);
        Poll::Ready(mailbox.phase().map(|_| ()).map_err(|lost| end_of(&lost)))
    }

    /// The session has got a backend: its channels come first.
    pub(super) fn arrive(&mut self, hold: &mut Hold) {
        let Some(mut channels) = self.channels.take() else {
            return;
        };
        hold.lease.to_client.append(&channels.unsent);
        channels.unsent = Vec::new();
        // The names are in the session's own encoding.
        self.requests().adapt(hold);
        let marker = channels.subscription.marker();
        let queries = channels::arrive(channels.subscription.names(), &marker);
        stage(hold, queries, marker, Side::Behind);
        // As long as it is not sure that it holds them.
        hold.lease.residue |= Effects::LISTEN;
        hold.crossing = Some(Box::new(Crossing::Arriving(*channels)));
    }

    /// The client has sent something, so the session is not quiet.
    #[inline]
    pub(super) fn stirs(hold: &mut Hold) {
        if matches!(hold.crossing.as_deref(), Some(Crossing::Lingering(_))) {
            hold.crossing = None;
        }
    }

    /// The session keeps its backend: if only for its channels, then not for long. Returns
    /// whether that is news.
    pub(super) fn lingers(&self, hold: &mut Hold) -> bool {
        let begins = hold.crossing.is_none() && self.only_listens();
        if begins {
            // No other session's marker can come any more.
            let _ = hold.lease.tracker.end_crossing();
            hold.crossing = Some(Box::new(Crossing::Lingering(sleep(LINGER))));
        }
        begins
    }

    /// Goes on with a crossing, as far as it can go now. Returns whether anything changed.
    pub(super) fn cross(&mut self, hold: &mut Hold, cx: &mut Context<'_>) -> Result<bool, Outcome> {
        let Some(crossing) = hold.crossing.take() else {
            return Ok(false);
        };
        let (next, changed) = match *crossing {
            Crossing::Lingering(mut sleep) => match sleep.as_mut().poll(cx) {
                Poll::Ready(()) if self.only_listens() => (Some(self.subscribe()), true),
                Poll::Ready(()) => (None, true),
                Poll::Pending => (Some(Crossing::Lingering(sleep)), false),
            },
            Crossing::Subscribing(subscription) => self.subscribed(hold, subscription),
            Crossing::Leaving(subscription) => match is_quiet(&hold.lease) {
                false => (Some(Crossing::Leaving(subscription)), false),
                true => {
                    self.left(hold, subscription)?;
                    (None, true)
                }
            },
            Crossing::Arriving(channels) => (Some(Crossing::Arriving(channels)), false),
            Crossing::Arrived(channels) => match channels.subscription.mailbox().phase() {
                Err(lost) => return Err(Outcome::Deaf(lost)),
                Ok(Phase::Closed) => {
                    self.arrived(hold, channels);
                    (None, true)
                }
                Ok(_) => (Some(Crossing::Arrived(channels)), false),
            },
        };
        hold.crossing = next.map(Box::new);
        Ok(changed)
    }

    /// The backend has passed the marker.
    pub(super) fn marked(hold: &mut Hold) {
        if let Some(crossing) = hold.crossing.take() {
            hold.crossing = Some(match *crossing {
                Crossing::Arriving(channels) => Box::new(Crossing::Arrived(channels)),
                _ => crossing,
            });
        }
    }

    fn subscribe(&self) -> Crossing {
        let fanout = &self.pool.shared().fanout;
        let names = self.channel_names().to_vec();
        let entry = &self.registered.entry;
        Crossing::Subscribing(fanout.subscribe(&self.pool, names, entry))
    }

    fn subscribed(&self, hold: &mut Hold, on: Subscription) -> (Option<Crossing>, bool) {
        match on.mailbox().phase() {
            Ok(Phase::Asked) => (Some(Crossing::Subscribing(on)), false),
            Err(reason) => {
                tracing::debug!(route = self.route.config.name, pid = self.registered.pid(), %reason, "a session that listens keeps its backend");
                (Some(Crossing::Lingering(sleep(STAY))), true)
            }
            Ok(_) if !is_quiet(&hold.lease) || hold.probe.is_some() => {
                (Some(Crossing::Subscribing(on)), false)
            }
            // It has been busy meanwhile.
            Ok(_) if !self.only_listens() || self.channel_names() != on.names() => (None, true),
            Ok(_) if !on.speaks(hold.lease.parameter(b"client_encoding")) => {
                (Some(Crossing::Lingering(sleep(STAY))), true)
            }
            Ok(_) => {
                let marker = on.marker();
                stage(hold, channels::leave(&marker), marker, Side::Before);
                (Some(Crossing::Leaving(on)), true)
            }
        }
    }

    /// Nothing of the channels is left on the backend.
    fn left(&mut self, hold: &mut Hold, subscription: Subscription) -> Result<(), Outcome> {
        if !hold.lease.tracker.end_crossing() {
            let lost = "the server did not send a notification to the session that made it";
            return Err(Outcome::Deaf(Lost::Connection(lost.into())));
        }
        self.pin(self.pinned().without(Effects::LISTEN));
        self.channels = Some(Box::new(Channels {
            subscription,
            unsent: Vec::new(),
            _counted: self.route.metrics.sessions_listening.client(),
        }));
        Ok(())
    }

    /// The session has all that came elsewhere, and its backend brings what comes now.
    fn arrived(&mut self, hold: &mut Hold, mut channels: Channels) {
        let subscription = &channels.subscription;
        let _ = subscription.mailbox().take(&mut channels.unsent);
        hold.lease.to_client.append(&channels.unsent);
        hold.lease.residue = hold.lease.residue.without(Effects::LISTEN);
        self.pin(self.pinned() | Effects::LISTEN);
        self.name_channels(subscription.names().to_vec());
    }

    /// Whether channels, and nothing else, keep the backend; and whether they are known.
    fn only_listens(&self) -> bool {
        self.pinned() == Effects::LISTEN && !self.channel_names().is_empty()
    }
}

/// Two Queries of ours, and the marker that one of them sends.
fn stage(hold: &mut Hold, queries: [Vec<u8>; 2], marker: Marker, side: Side) {
    let mut bytes = Vec::new();
    for sql in queries {
        message::query(&mut bytes, &sql);
        hold.lease.tracker.inject_query();
    }
    hold.lease.tracker.begin_crossing(marker, side);
    hold.lease.wire.put(&bytes);
}

fn sleep(time: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(time))
}

/// The end of a session that does not get its notifications any more.
pub(super) fn end_of(lost: &Lost) -> End {
    let cause = match lost {
        Lost::Connection(_) => Cause::ServerClosed,
        Lost::Overflow => Cause::Deaf,
    };
    End::told(cause, report::deaf(lost))
}
