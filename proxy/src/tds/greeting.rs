//! What a client is told at its login, without asking a server each time: the tokens that a
//! server sent when a backend like the client's logged in.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use entrapool_protocol::tds::login::Welcome;
use entrapool_protocol::tds::statements::{Dictionary, Watch};

use super::session::lazily::Announcing;

/// What all backends of a pool share.
pub(super) struct Shared {
    pub(super) dictionary: Arc<Dictionary>,
    /// Some client has asked for what an earlier request gave it (`@@IDENTITY`): from now on who
    /// changes that keeps its backend.
    pub(super) recalls: AtomicBool,
    /// Whether the servers tell of transactions that a text begins.
    pub(super) announcing: Announcing,
    welcome: Mutex<Option<Arc<Welcome>>>,
}

impl Shared {
    pub(super) fn new(watch: Watch) -> Self {
        Self {
            dictionary: Arc::new(Dictionary::new(watch)),
            recalls: AtomicBool::new(false),
            announcing: Announcing::default(),
            welcome: Mutex::default(),
        }
    }

    /// A backend has logged in: the newest word is the best.
    pub(super) fn logged_in(&self, welcome: Welcome) {
        let mut kept = self.welcome.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_deref() != Some(&welcome) {
            *kept = Some(Arc::new(welcome));
        }
    }

    /// What the server says at a login, if there was one.
    pub(super) fn welcome(&self) -> Option<Arc<Welcome>> {
        let kept = self.welcome.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }
}
