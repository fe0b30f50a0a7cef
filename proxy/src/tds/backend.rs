//! A backend: an upstream connection and what we know of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use entrapool_metrics::Closed;
use entrapool_protocol::tds::effect::Effects;
use entrapool_protocol::tds::settings::Settings;
use entrapool_protocol::tds::tracker::Tracker;

use crate::pool::{Connection, Particulars};
use crate::session::inbox::Inbox;
use crate::session::wire::{READ, Wire};

/// An upstream connection that is logged in. The buffers of a session are here and not with
/// its client, because there are few backends and many clients.
pub(super) struct Backend {
    pub(super) wire: Wire,
    pub(super) tracker: Tracker,
    /// Received from the server, not yet looked at.
    pub(super) from_server: Inbox,
    /// Received from the client that has the backend: the beginning of a packet or request.
    pub(super) from_client: Inbox,
    /// On the way to the client that has the backend.
    pub(super) to_client: Inbox,
    /// The settings that were given to the session since its login.
    pub(super) applied: Arc<Settings>,
    /// What clients since the last cleaning may have left behind.
    pub(super) residue: Effects,
    /// The number of the session that had it last.
    pub(super) owner: u64,
    /// The how-manieth backend it was for that session.
    pub(super) turn: u32,
    /// That session may have left what nobody knows of: the next one begins with a reset.
    pub(super) soiled: bool,
    /// What the server said of the session's state when it was last known to be as `applied` says.
    pub(super) state: u64,
    /// From when its token has too little left for the backend to be lent; `None` for a password.
    pub(super) stale_at: Option<Instant>,
    /// Where it is connected to.
    pub(super) peer: SocketAddr,
    /// Which token it logged in with.
    pub(super) token_generation: u64,
}

impl Backend {
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

    /// Whether its token has too little left.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.stale_at.is_some_and(|at| now >= at)
    }
}

impl Connection for Backend {
    /// A server of this protocol says nothing unasked, unless it says goodbye.
    fn unfit(&mut self) -> Option<Closed> {
        if self.is_stale(Instant::now()) {
            return Some(Closed::Token);
        }
        let mut cx = Context::from_waker(Waker::noop());
        match self.wire.poll_ready(&mut cx) {
            Poll::Pending => return None,
            Poll::Ready(Err(_)) => return Some(Closed::Server),
            Poll::Ready(Ok(())) => {}
        }
        match self.wire.poll_fill(&mut cx, &mut self.from_server) {
            Poll::Pending => None,
            // TLS's own, perhaps.
            Poll::Ready(Ok(crate::session::wire::Fill::Bytes(0))) => None,
            Poll::Ready(_) => Some(Closed::Server),
        }
    }

    /// There is no goodbye in this protocol: the connection is closed.
    fn part(&mut self) {}

    fn particulars(&self) -> Particulars {
        Particulars {
            peer: Some(self.peer),
            server_pid: None,
            token_generation: self.token_generation,
        }
    }
}
