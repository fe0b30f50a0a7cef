//! What a client is told when its session begins, without asking a server each time.
//!
//! The first client with certain settings is told what a real backend says of them. The answer
//! is kept, so that the next one with the same settings takes no backend.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use entrapool_protocol::postgres::message;
use entrapool_protocol::postgres::settings::Settings;
use entrapool_protocol::postgres::statements::{Dictionary, Watch};

use super::backend::Backend;
use super::fanout::Fanout;
use super::precedent::Precedents;

/// Kept answers per pool. Clients choose their settings freely, so there must be a limit.
const MOST_GREETINGS: usize = 256;
/// Sets of settings that are kept to be shared.
const MOST_SETTINGS: usize = 1024;
/// A name that differs from client to client and needs no server to be valid.
const APPLICATION_NAME: &str = "application_name";

/// What all backends of a pool share.
pub(super) struct Shared {
    pub(super) dictionary: Arc<Dictionary>,
    /// Some client has asked for what a sequence gave it in an earlier transaction (`lastval`):
    /// from now on who advances one keeps its backend.
    pub(super) recalls: AtomicBool,
    /// Listens for sessions that hold no backend.
    pub(super) fanout: Fanout,
    pub(super) precedents: Precedents,
    logins: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// What a server reported right after a login, for comparison with the next login.
    at_login: Vec<(Vec<u8>, Vec<u8>)>,
    /// ParameterStatus messages by settings, those without an application name.
    greetings: HashMap<Settings, Arc<[u8]>>,
    /// The settings of clients that are there, or were.
    settings: HashSet<Arc<Settings>>,
}

impl Shared {
    pub(super) fn new(watch: Watch) -> Self {
        Self {
            dictionary: Arc::new(Dictionary::new(watch)),
            recalls: AtomicBool::new(false),
            fanout: Fanout::new(),
            precedents: Precedents::default(),
            logins: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }

    /// 1, 2, 3 and so on.
    pub(super) fn next_number(&self) -> u64 {
        self.logins.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A backend has logged in. If its server says something new (an upgrade, `ALTER ROLE ...
    /// SET`), what was kept is stale.
    pub(super) fn logged_in(&self, reported: &[(Vec<u8>, Vec<u8>)]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.at_login != reported {
            kept.at_login = reported.into();
            kept.greetings.clear();
        }
    }

    /// Equal settings are one value: clients that have them share its memory, and a backend that
    /// goes from one of them to another is seen at a glance to need no change.
    pub(super) fn intern(&self, settings: Settings) -> Arc<Settings> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.settings.get(&settings) {
            return Arc::clone(known);
        }
        if kept.settings.len() >= MOST_SETTINGS {
            kept.settings.retain(|known| Arc::strong_count(known) > 1);
        }
        let settings = Arc::new(settings);
        if kept.settings.len() < MOST_SETTINGS {
            kept.settings.insert(Arc::clone(&settings));
        }
        settings
    }

    /// The ParameterStatus messages for a client with these settings, if they are known.
    pub(super) fn greeting(&self, settings: &Settings) -> Option<Vec<u8>> {
        let mut wanted = settings.clone();
        let application = wanted.remove(APPLICATION_NAME).unwrap_or_default();
        if !is_plain(&application) {
            return None;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut greeting = kept.greetings.get(&wanted)?.to_vec();
        message::parameter_status(
            &mut greeting,
            APPLICATION_NAME.as_bytes(),
            application.as_bytes(),
        );
        Some(greeting)
    }

    /// Keeps what `backend`, which has these settings, reports.
    pub(super) fn keep(&self, settings: &Settings, backend: &Backend) {
        let mut wanted = settings.clone();
        wanted.remove(APPLICATION_NAME);
        let greeting = reports(backend, |name| name != APPLICATION_NAME.as_bytes());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.greetings.len() >= MOST_GREETINGS {
            kept.greetings.clear();
        }
        kept.greetings.insert(wanted, greeting.into());
    }
}

/// What the backend reports, as ParameterStatus messages, of the settings that `which` names.
pub(super) fn reports(backend: &Backend, which: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut messages = Vec::new();
    for (name, value) in backend.parameters.iter().filter(|(name, _)| which(name)) {
        message::parameter_status(&mut messages, name, value);
    }
    messages
}

/// Whether every server reports the name as it is: it changes what is not printable ASCII, in
/// ways that differ between versions, and cuts what is longer (`NAMEDATALEN`).
fn is_plain(name: &str) -> bool {
    name.len() < 64 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
