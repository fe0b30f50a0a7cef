//! The end: clients are accepted for a while, transactions may finish, then it is over.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::App;
use crate::session::registry;

/// How often sessions are told again: some may have been greeted after the last time.
const REMIND: Duration = Duration::from_millis(100);

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next request to stop.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl App {
    /// Ends all sessions: at once those that idle, the others when their transaction ends or
    /// `drain.max_wait` is over. A second signal ends the wait.
    pub(super) async fn drain(&self, signals: &mut Signals, stop_accepting: &CancellationToken) {
        let limits = self.config.drain;
        self.health.begin_draining();
        tracing::info!(
            clients = self.registry.len(),
            accept_for = ?limits.accept_for,
            max_wait = ?limits.max_wait,
            "stopping; a second signal stops at once"
        );
        let status = format!("stopping with {} clients", self.registry.len());
        let longest = limits.accept_for + limits.max_wait;
        self.notifier.stopping(longest, &status).await;
        tokio::select! {
            () = self.finish(stop_accepting) => {}
            () = signals.stop() => tracing::warn!(clients = self.registry.len(), "stopped at once by a second signal"),
        }
        for state in &self.routes {
            state.route.close();
        }
        tracing::info!("stopped");
    }

    async fn finish(&self, stop_accepting: &CancellationToken) {
        tokio::time::sleep(self.config.drain.accept_for).await;
        stop_accepting.cancel();
        self.sessions.close();
        let ended = async {
            while !self.sessions.is_empty() {
                self.registry.raise_all(registry::Signal::Drain);
                let _ = tokio::time::timeout(REMIND, self.sessions.wait()).await;
            }
        };
        if tokio::time::timeout(self.config.drain.max_wait, ended)
            .await
            .is_err()
        {
            tracing::warn!(
                clients = self.registry.len(),
                "drain.max_wait is over; sessions with an open transaction are cut off"
            );
            self.registry.raise_all(registry::Signal::Kill);
            // Long enough to tell them.
            let _ = tokio::time::timeout(Duration::from_secs(2), self.sessions.wait()).await;
        }
    }
}
