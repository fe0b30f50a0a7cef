//! One connection that listens for all: sessions that wait for notifications and do nothing else
//! hold no backend.
//!
//! A pool has at most one such connection (`line`), beside its backends, from when a session
//! first leaves its channels to it until a while after the last has taken them back. Each
//! session has a [`Mailbox`]. How a session gets from its backend to its mailbox and back, so
//! that it misses nothing and gets nothing twice, is in `session::listening`.

mod line;
mod mailbox;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entrapool_protocol::postgres::channels::Marker;
use tokio::sync::mpsc;

use super::connect::Connector;
use crate::pool::Pool;
use crate::session::registry::Entry;
pub(super) use mailbox::{Lost, Mailbox, Phase};

/// A channel's name.
type Name = Box<[u8]>;

/// The listening connection of a pool, and those for whom it listens.
pub(super) struct Fanout {
    board: Arc<Board>,
}

/// Who listens to what, shared with the connection's task.
struct Board {
    /// The channel of the markers: no other process has the same.
    channel: Name,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// To the connection's task, if there is one.
    orders: Option<mpsc::UnboundedSender<Order>>,
    subscribers: HashMap<Name, Vec<Arc<Mailbox>>>,
    markers: HashMap<u64, Arc<Mailbox>>,
    marked: u64,
    /// The `client_encoding` of the connection.
    encoding: Vec<u8>,
}

/// Listen to these, then tell the mailbox.
struct Order {
    names: Vec<Name>,
    mailbox: Arc<Mailbox>,
}

/// A session's place among those for whom the connection listens; it leaves when it is dropped.
pub(super) struct Subscription {
    board: Arc<Board>,
    names: Vec<Name>,
    mailbox: Arc<Mailbox>,
}

impl Fanout {
    /// Nobody listens yet.
    pub(super) fn new() -> Self {
        let channel = format!("entrapool_{:016x}", fastrand::u64(..));
        Self {
            board: Arc::new(Board {
                channel: channel.into_bytes().into(),
                state: Mutex::default(),
            }),
        }
    }

    /// Begins to listen to `names` for the session with this entry, which is told by
    /// [`Signal::News`](crate::session::registry::Signal) when something changes.
    pub(super) fn subscribe(
        &self,
        pool: &Arc<Pool<Connector>>,
        names: Vec<Name>,
        entry: &Arc<Entry>,
    ) -> Subscription {
        let mailbox = Arc::new(Mailbox::new(entry));
        let mut state = self.board.state();
        for name in &names {
            let of_name = state.subscribers.entry(name.clone()).or_default();
            of_name.push(Arc::clone(&mailbox));
        }
        let order = Order {
            names: names.clone(),
            mailbox: Arc::clone(&mailbox),
        };
        let refused = match &state.orders {
            Some(orders) => orders.send(order).err().map(|error| error.0),
            None => Some(order),
        };
        if let Some(order) = refused {
            let (orders, taken) = mpsc::unbounded_channel();
            // The receiver is right here.
            let _ = orders.send(order);
            state.orders = Some(orders);
            tokio::spawn(line::run(Arc::clone(&self.board), Arc::clone(pool), taken));
        }
        drop(state);
        Subscription {
            board: Arc::clone(&self.board),
            names,
            mailbox,
        }
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        // The pool is gone: so is the reason to listen.
        self.board.state().orders = None;
    }
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody's notifications are lost from now on.
    fn fail(&self, reason: &str) {
        let mut state = self.state();
        state.orders = None;
        state.markers.clear();
        for mailbox in state.subscribers.drain().flat_map(|(_, of_name)| of_name) {
            mailbox.fail(reason);
        }
    }
}

impl Subscription {
    /// The channels.
    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }

    /// Where the session's notifications are.
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Whether the connection spells texts as a session with this `client_encoding` does.
    pub(super) fn speaks(&self, encoding: Option<&[u8]>) -> bool {
        encoding == Some(&self.board.state().encoding)
    }

    /// A new marker. When the connection sees it, the mailbox opens, or closes if it was open.
    pub(super) fn marker(&self) -> Marker {
        let mut state = self.board.state();
        state.marked += 1;
        let number = state.marked;
        state.markers.insert(number, Arc::clone(&self.mailbox));
        Marker {
            channel: self.board.channel.clone(),
            payload: number.to_string().into_bytes().into(),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.board.state();
        let is_other = |mailbox: &Arc<Mailbox>| !Arc::ptr_eq(mailbox, &self.mailbox);
        for name in &self.names {
            if let Some(of_name) = state.subscribers.get_mut(name) {
                of_name.retain(is_other);
                if of_name.is_empty() {
                    state.subscribers.remove(name);
                }
            }
        }
        state.markers.retain(|_, mailbox| is_other(mailbox));
    }
}
