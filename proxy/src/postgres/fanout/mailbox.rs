//! What has come for a session that holds no backend.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::session::registry::{Entry, Signal};

/// What may lie in a mailbox, in bytes. A client that reads nothing while this much comes is
/// ended rather than left to believe that it has everything.
const MOST: usize = 1024 * 1024;

/// A session's notifications, on their way from the connection that listens for all.
pub(in crate::postgres) struct Mailbox {
    entry: Arc<Entry>,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    phase: Phase,
    /// NotificationResponse messages as they came.
    bytes: Vec<u8>,
    lost: Option<Lost>,
}

/// Where a session's notifications go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::postgres) enum Phase {
    /// The connection does not listen to all of its channels yet.
    #[default]
    Asked,
    /// It does; until the marker comes, the session's own backend has them all the same.
    Listening,
    /// Into the mailbox.
    Open,
    /// To the session's backend, from the marker on.
    Closed,
}

/// Why a session's notifications are lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::postgres) enum Lost {
    /// The connection that listens has ended, or could not be made.
    #[error("the connection that listens for notifications is lost: {0}")]
    Connection(String),
    /// They came faster than the client took them.
    #[error("the client has left {MOST} bytes of notifications unread")]
    Overflow,
}

impl Mailbox {
    pub(super) fn new(entry: &Arc<Entry>) -> Self {
        Self {
            entry: Arc::clone(entry),
            contents: Mutex::default(),
        }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where notifications go now.
    ///
    /// # Errors
    /// [`Lost`], from then on.
    pub(in crate::postgres) fn phase(&self) -> Result<Phase, Lost> {
        let contents = self.contents();
        contents.lost.clone().map_or(Ok(contents.phase), Err)
    }

    /// Appends what has come to `out`; returns how many bytes.
    pub(in crate::postgres) fn take(&self, out: &mut Vec<u8>) -> usize {
        let mut contents = self.contents();
        let count = contents.bytes.len();
        out.append(&mut contents.bytes);
        count
    }

    /// The connection listens to all of the session's channels now.
    pub(super) fn listening(&self) {
        self.contents().phase = Phase::Listening;
        self.entry.raise(Signal::News);
    }

    /// The marker has come.
    pub(super) fn mark(&self) {
        let mut contents = self.contents();
        contents.phase = match contents.phase {
            Phase::Open | Phase::Closed => Phase::Closed,
            Phase::Asked | Phase::Listening => Phase::Open,
        };
        drop(contents);
        self.entry.raise(Signal::News);
    }

    /// A notification. Returns whether it is kept here.
    pub(super) fn put(&self, message: &[u8]) -> bool {
        let mut contents = self.contents();
        if contents.phase != Phase::Open || contents.lost.is_some() {
            return false;
        }
        if contents.bytes.len() + message.len() > MOST {
            contents.lost = Some(Lost::Overflow);
        } else {
            contents.bytes.extend_from_slice(message);
        }
        drop(contents);
        self.entry.raise(Signal::News);
        true
    }

    /// Nothing more comes.
    pub(super) fn fail(&self, reason: &str) {
        let lost = || Lost::Connection(reason.into());
        self.contents().lost.get_or_insert_with(lost);
        self.entry.raise(Signal::News);
    }
}
