//! The end: clients are accepted for a while, transactions may finish, then it is over.

use std::time::Duration;

use super::App;
use super::doors::Doors;
use super::wishes::Wishes;
use crate::session::registry;

/// How often sessions are told again: some may have been greeted after the last time.
const REMIND: Duration = Duration::from_millis(100);

impl App {
    /// Ends all sessions: at once those that idle, the others when their transaction ends or
    /// `drain.max_wait` is over. A second signal ends the wait.
    pub(super) async fn drain(&self, wishes: &mut Wishes, doors: &mut Doors) {
        let limits = self.config.drain;
        self.health.begin_draining();
        tracing::info!(
            clients = self.registry.len(),
            accept_for = ?limits.accept_for,
            max_wait = ?limits.max_wait,
            "stopping; a second signal stops at once"
        );
        tokio::select! {
            () = self.finish(doors) => {}
            () = wishes.at_once() => tracing::warn!(clients = self.registry.len(), "stopped at once by a second signal"),
        }
        self.close();
    }

    /// Nobody is served any more.
    pub(super) fn close(&self) {
        for state in self.health.serving() {
            state.route.close();
        }
        for route in self.health.retired() {
            route.close();
        }
        tracing::info!("stopped");
    }

    async fn finish(&self, doors: &mut Doors) {
        tokio::time::sleep(self.config.drain.accept_for).await;
        doors.close();
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
