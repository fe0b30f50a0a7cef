//! A backend: an upstream connection and what we know of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use entrapool_metrics::Closed;
use entrapool_protocol::Sink;
use entrapool_protocol::postgres::effect::Effects;
use entrapool_protocol::postgres::login::BackendKey;
use entrapool_protocol::postgres::message;
use entrapool_protocol::postgres::settings::Settings;
use entrapool_protocol::postgres::tracker::{Event, Tracker};

use crate::pool::{Connection, Particulars};
use crate::session::inbox::Inbox;
use crate::session::wire::{Fill, READ, Wire};

/// An upstream connection that is logged in. The buffers of a session are here and not with
/// its client, because there are few backends and many clients.
pub(super) struct Backend {
    pub(super) wire: Wire,
    pub(super) tracker: Tracker,
    /// Received from the server, not yet looked at.
    pub(super) from_server: Inbox,
    /// Received from the client that has the backend: the beginning of a message.
    pub(super) from_client: Inbox,
    /// On the way to the client that has the backend.
    pub(super) to_client: Inbox,
    /// The settings that were given to the session since its login.
    pub(super) applied: Arc<Settings>,
    /// What the server reports of its settings (ParameterStatus).
    pub(super) parameters: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// What clients since the last cleaning may have left behind.
    pub(super) residue: Effects,
    /// Tells it from all others of its pool.
    pub(super) number: u64,
    /// The number of the session that may have advanced a sequence here last.
    pub(super) sequences_of: u64,
    /// The number of the session that had its settings applied last.
    pub(super) owner: u64,
    /// That session ran code that may have set what nobody knows of: the next one gets its
    /// settings after a reset.
    pub(super) opaque: bool,
    /// For cancel requests.
    pub(super) key: Option<BackendKey>,
    /// Where it is connected to; a cancel request has to go to the same place.
    pub(super) peer: SocketAddr,
    /// Which token it logged in with.
    pub(super) token_generation: u64,
}

impl Backend {
    /// Notes a ParameterStatus.
    pub(super) fn reported(&mut self, name: &[u8], value: &[u8]) {
        self.parameters.insert(name.into(), value.into());
    }

    /// What the server reports of a setting.
    pub(super) fn parameter(&self, name: &[u8]) -> Option<&[u8]> {
        self.parameters.get(name).map(|value| &**value)
    }

    /// Gives back memory that only a burst needed.
    pub(super) fn shrink(&mut self) {
        self.wire.shrink();
        self.tracker.shrink();
        for inbox in [
            &mut self.from_server,
            &mut self.from_client,
            &mut self.to_client,
        ] {
            inbox.shrink(2 * READ);
        }
    }

    /// Looks through what an idle server sent: reports and notices may come at any time, an
    /// error is its goodbye. Returns whether it can go on.
    fn hear_out(&mut self) -> bool {
        loop {
            let Ok(step) = self.tracker.back(self.from_server.filled(), None) else {
                return false;
            };
            let parameter = match step.event {
                Event::Parameter { name, value } => Some((name.into(), value.into())),
                Event::NeedMore => break,
                _ => None,
            };
            self.parameters.extend(parameter);
            let take = step.take;
            self.from_server.consume(take);
        }
        !self.tracker.is_dying()
    }
}

impl Connection for Backend {
    fn unfit(&mut self) -> Option<Closed> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.wire.poll_ready(&mut cx) {
            Poll::Pending => return None,
            Poll::Ready(Err(_)) => return Some(Closed::Server),
            Poll::Ready(Ok(())) => {}
        }
        loop {
            match self.wire.poll_fill(&mut cx, &mut self.from_server) {
                Poll::Pending => return None,
                Poll::Ready(Ok(Fill::Bytes(_))) if self.hear_out() => {}
                Poll::Ready(_) => return Some(Closed::Server),
            }
        }
    }

    fn part(&mut self) {
        if !self.tracker.is_mid_message() && !self.wire.is_blocked() {
            self.wire.put(&message::TERMINATE);
            // One attempt: a server that does not take five bytes will find out by itself.
            let _ = self
                .wire
                .poll_flush(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn particulars(&self) -> Particulars {
        Particulars {
            peer: Some(self.peer),
            server_pid: self.key.as_ref().map(|key| key.pid),
            token_generation: self.token_generation,
        }
    }
}
