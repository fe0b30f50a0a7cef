//! What the service manager is told: ready, alive, stopping (sd_notify(3)).
//!
//! Nobody listening is the usual case in a container, and then nothing is sent. A manager that
//! can't be reached is logged once and is no reason to stop.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio_util::sync::CancellationToken;

use crate::config::{NotifySocket, Supervisor};

/// What is granted to a start or a stop beyond the limits that we set ourselves.
const SLACK: Duration = Duration::from_secs(10);
/// How long a message may wait for room in the manager's queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the service manager; clones share it.
#[derive(Clone, Default)]
pub(super) struct Notifier {
    manager: Option<Arc<Manager>>,
}

struct Manager {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Connects, if there is anybody. Must be called on the runtime.
    pub(super) fn new(supervisor: Option<&Supervisor>) -> Self {
        let Some(supervisor) = supervisor else {
            return Self::default();
        };
        match connect(&supervisor.socket) {
            Ok(socket) => Self {
                manager: Some(Arc::new(Manager {
                    socket,
                    watchdog: supervisor.watchdog,
                })),
            },
            Err(error) => {
                tracing::warn!(socket = ?supervisor.socket, %error, "the service manager can't be told that we are ready: its NOTIFY_SOCKET can't be reached");
                Self::default()
            }
        }
    }

    /// The start may take as long as `limit`, whatever the manager's own limit is.
    pub(super) async fn starting(&self, limit: Duration) {
        let allowed = (limit + SLACK).as_micros();
        self.send(&format!(
            "EXTEND_TIMEOUT_USEC={allowed}\nSTATUS=waiting for the first token"
        ))
        .await;
    }

    /// Clients can connect.
    pub(super) async fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}")).await;
    }

    /// The end has begun, and may take as long as `limit`.
    pub(super) async fn stopping(&self, limit: Duration, status: &str) {
        let allowed = (limit + SLACK).as_micros();
        self.send(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={allowed}\nSTATUS={status}"
        ))
        .await;
    }

    /// Tells that the event loop turns, twice as often as the manager wants to hear it, until
    /// `end`. It runs where sessions do, so that it is late when they are.
    pub(super) fn watch(&self, end: CancellationToken) {
        let Some(limit) = self.manager.as_ref().and_then(|manager| manager.watchdog) else {
            return;
        };
        let notifier = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(limit / 2);
            while end.run_until_cancelled(ticks.tick()).await.is_some() {
                notifier.send("WATCHDOG=1").await;
            }
        });
    }

    async fn send(&self, message: &str) {
        let Some(manager) = &self.manager else {
            return;
        };
        let sent = tokio::time::timeout(PATIENCE, manager.socket.send(message.as_bytes())).await;
        let result = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = result {
            tracing::debug!(%error, message, "the service manager did not take a message");
        }
    }
}

fn connect(socket: &NotifySocket) -> io::Result<UnixDatagram> {
    let address = match socket {
        NotifySocket::File(path) => SocketAddr::from_pathname(path),
        NotifySocket::Abstract(name) => SocketAddr::from_abstract_name(name),
    }?;
    let socket = StdDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ear {
        socket: UnixDatagram,
        _directory: tempfile::TempDir,
    }

    impl Ear {
        async fn hear(&self) -> String {
            let mut buffer = [0; 512];
            let heard = self.socket.recv(&mut buffer);
            let length = tokio::time::timeout(Duration::from_secs(10), heard).await;
            let length = length.expect("somebody speaks").unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        }
    }

    fn manager(watchdog: Option<Duration>) -> (Ear, Notifier) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor {
            socket: NotifySocket::File(path),
            watchdog,
        };
        let notifier = Notifier::new(Some(&supervisor));
        let ear = Ear {
            socket,
            _directory: directory,
        };
        (ear, notifier)
    }

    #[tokio::test]
    async fn a_life_is_told() {
        let (ear, notifier) = manager(None);
        notifier.starting(Duration::from_secs(20)).await;
        notifier.ready("serving").await;
        notifier
            .stopping(Duration::from_secs(5), "2 clients left")
            .await;
        assert_eq!(
            ear.hear().await,
            "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=waiting for the first token"
        );
        assert_eq!(ear.hear().await, "READY=1\nSTATUS=serving");
        assert_eq!(
            ear.hear().await,
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\nSTATUS=2 clients left"
        );
    }

    #[tokio::test]
    async fn the_watchdog_is_fed_until_the_end() {
        let (ear, notifier) = manager(Some(Duration::from_millis(40)));
        let end = CancellationToken::new();
        notifier.watch(end.clone());
        for _ in 0..3 {
            assert_eq!(ear.hear().await, "WATCHDOG=1");
        }
        end.cancel();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut buffer = [0; 16];
        let left = std::iter::from_fn(|| ear.socket.try_recv(&mut buffer).ok()).count();
        assert!(left <= 1, "{left} words after the end");
    }

    #[tokio::test]
    async fn an_abstract_name_is_reached() {
        let name = format!("entrapool-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let ear = StdDatagram::bind_addr(&address).unwrap();
        let supervisor = Supervisor {
            socket: NotifySocket::Abstract(name),
            watchdog: None,
        };
        Notifier::new(Some(&supervisor)).ready("here").await;
        let mut buffer = [0; 64];
        let length = ear.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=here");
    }

    #[tokio::test]
    async fn nobody_there_is_no_fault() {
        let supervisor = Supervisor {
            socket: NotifySocket::File("/nowhere/notify".into()),
            watchdog: Some(Duration::from_secs(1)),
        };
        for supervisor in [None, Some(&supervisor)] {
            let notifier = Notifier::new(supervisor);
            notifier.ready("serving").await;
            notifier.watch(CancellationToken::new());
        }
    }
}
