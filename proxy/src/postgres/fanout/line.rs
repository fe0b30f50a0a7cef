//! The connection that listens for all sessions of a pool, and its task.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use entrapool_metrics::RouteMetrics;
use entrapool_protocol::Sink;
use entrapool_protocol::postgres::channels::{Notification, listen, unlisten};
use entrapool_protocol::postgres::error::ServerError;
use entrapool_protocol::postgres::frame::{HEADER, Header};
use entrapool_protocol::postgres::{Violation, message};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Board, Mailbox, Name, Order};
use crate::pool::{Connection, Pool};
use crate::postgres::backend::Backend;
use crate::postgres::connect::Connector;

/// How often somebody looks for channels that nobody listens to any more.
const SWEEP: Duration = Duration::from_secs(20);
/// Longest message that such a connection gets: a payload has less than 8,000 bytes.
const LONGEST: usize = 64 * 1024;

/// Why the connection is of no use any more.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the server said: {0}")]
    Refused(Box<ServerError>),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

struct Line {
    backend: Backend,
    board: Arc<Board>,
    metrics: Arc<RouteMetrics>,
    /// Listened to, or about to be.
    heard: HashSet<Name>,
    /// Whom to tell when each of the Queries under way has been answered.
    under_way: VecDeque<Option<Arc<Mailbox>>>,
}

/// Listens as long as there is somebody to listen for.
pub(super) async fn run(
    board: Arc<Board>,
    pool: Arc<Pool<Connector>>,
    mut orders: UnboundedReceiver<Order>,
) {
    let metrics = Arc::clone(pool.metrics());
    let connected = pool.connect_apart().await;
    // Not beyond this: a pool that is closed must not be kept by its listener.
    drop(pool);
    let (backend, _counted) = match connected {
        Ok(connected) => connected,
        Err(error) => return board.fail(&error.to_string()),
    };
    let encoding = backend.parameter(b"client_encoding").unwrap_or_default();
    board.state().encoding = encoding.to_vec();
    let mut line = Line {
        backend,
        board,
        metrics,
        heard: HashSet::new(),
        under_way: VecDeque::new(),
    };
    line.ask(listen([&*line.board.channel]), None);
    match line.serve(&mut orders).await {
        Ok(()) => line.backend.part(),
        Err(error) => {
            tracing::warn!(%error, peer = %line.backend.peer, "the connection that listens for notifications is lost; sessions that wait for some are ended");
            line.board.fail(&error.to_string());
        }
    }
}

impl Line {
    async fn serve(&mut self, orders: &mut UnboundedReceiver<Order>) -> Result<(), Broken> {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.tick().await;
        loop {
            self.backend.wire.flush().await?;
            let Backend {
                wire, from_server, ..
            } = &mut self.backend;
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return Ok(()),
                },
                filled = wire.fill(from_server) => {
                    filled?;
                    self.read()?;
                }
                _ = sweep.tick() => if self.sweep() {
                    return Ok(());
                },
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let Order { names, mailbox } = order;
        let new = names.iter().filter(|name| !self.heard.contains(*name));
        let sql = listen(new.map(|name| &**name));
        self.heard.extend(names);
        // Even if there is nothing new: what is under way may be what it waits for.
        self.ask(sql, Some(mailbox));
    }

    fn ask(&mut self, sql: Vec<u8>, then: Option<Arc<Mailbox>>) {
        let mut query = Vec::new();
        message::query(&mut query, &sql);
        self.backend.wire.put(&query);
        self.under_way.push_back(then);
    }

    /// Stops listening to what nobody wants any more. Returns whether there is nobody at all.
    fn sweep(&mut self) -> bool {
        let mut state = self.board.state();
        if state.subscribers.is_empty() && self.under_way.is_empty() {
            state.orders = None;
            return true;
        }
        let (wanted, unwanted): (HashSet<_>, HashSet<_>) = std::mem::take(&mut self.heard)
            .into_iter()
            .partition(|name| state.subscribers.contains_key(name));
        drop(state);
        self.heard = wanted;
        if !unwanted.is_empty() {
            self.ask(unlisten(unwanted.iter().map(|name| &**name)), None);
        }
        false
    }

    /// Deals with the messages that are there.
    fn read(&mut self) -> Result<(), Broken> {
        loop {
            let input = self.backend.from_server.filled();
            let Some(header) = Header::read(input)? else {
                return Ok(());
            };
            if header.total() > LONGEST {
                return Err(Violation::TooLarge {
                    tag: header.tag.into(),
                    length: header.total(),
                    limit: LONGEST,
                }
                .into());
            }
            let Some(message) = input.get(..header.total()) else {
                return Ok(());
            };
            let body = message.get(HEADER..).unwrap_or_default();
            match header.tag {
                b'A' => self.dispatch(message, body)?,
                b'Z' => {
                    if let Some(Some(mailbox)) = self.under_way.pop_front() {
                        mailbox.listening();
                    }
                }
                b'E' => return Err(Broken::Refused(Box::new(ServerError::read(body)))),
                // CommandComplete, EmptyQueryResponse, notices, reports.
                _ => {}
            }
            self.backend.from_server.consume(header.total());
        }
    }

    fn dispatch(&self, message: &[u8], body: &[u8]) -> Result<(), Violation> {
        let notification = Notification::read(body)?;
        let mut state = self.board.state();
        if *notification.channel == *self.board.channel {
            let number = std::str::from_utf8(notification.payload).ok();
            let number = number.and_then(|number| number.parse().ok());
            if let Some(mailbox) = number.and_then(|number: u64| state.markers.remove(&number)) {
                mailbox.mark();
            }
        } else if let Some(mailboxes) = state.subscribers.get(notification.channel) {
            let kept = mailboxes.iter().filter(|mailbox| mailbox.put(message));
            self.metrics.notifications.inc_by(kept.count() as u64);
        }
        Ok(())
    }
}
