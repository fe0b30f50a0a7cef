//! What the running program is asked to do: by signals, and on the control socket.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::control::{Order, Refusal, Reloaded};

/// Orders that wait for their turn; more wait at the socket.
const MOST_ORDERS: usize = 8;

/// SIGTERM, SIGINT, SIGHUP, and orders.
pub(super) struct Wishes {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    orders: mpsc::Receiver<Order>,
}

/// What is asked.
pub(super) enum Wish {
    /// To stop.
    Stop(Manner),
    /// To read the configuration again; whoever wants to know what came of it.
    Reload(Option<Asker>),
}

/// Who asked for a reload.
pub(super) type Asker = oneshot::Sender<Result<Reloaded, Refusal>>;

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// By a signal: the next one means at once.
    Signal,
    /// By an order: the same again means the same.
    Drain,
    /// Without waiting for anybody.
    AtOnce,
}

impl Wishes {
    /// Signals do not end the process by themselves from now on.
    pub(super) fn new() -> io::Result<(Self, mpsc::Sender<Order>)> {
        let (sender, orders) = mpsc::channel(MOST_ORDERS);
        let wishes = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            orders,
        };
        Ok((wishes, sender))
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop(Manner::Signal),
            _ = self.interrupt.recv() => Wish::Stop(Manner::Signal),
            _ = self.hangup.recv() => Wish::Reload(None),
            Some(order) = self.orders.recv() => match order {
                Order::Drain => Wish::Stop(Manner::Drain),
                Order::Quit => Wish::Stop(Manner::AtOnce),
                Order::Reload(asker) => Wish::Reload(Some(asker)),
            },
        }
    }

    /// The next wish to stop; a reload is refused meanwhile, since the program is `busy`.
    pub(super) async fn stop(&mut self, busy: &'static str) -> Manner {
        loop {
            match self.next().await {
                Wish::Stop(manner) => return manner,
                Wish::Reload(asker) => refuse(asker, busy),
            }
        }
    }

    /// While the program stops: the next wish that it stop at once.
    pub(super) async fn at_once(&mut self) {
        while self.stop("stopping").await == Manner::Drain {}
    }
}

fn refuse(asker: Option<Asker>, busy: &'static str) {
    let refusal = Refusal::Busy(busy);
    tracing::warn!("no reload: {refusal}");
    if let Some(asker) = asker {
        // It may have gone.
        let _ = asker.send(Err(refusal));
    }
}
