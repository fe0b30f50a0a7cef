//! Who logged in, and which sessions are open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::wire::version::Version;

/// One login that was let in. No token and no password is in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSeen {
    /// The principal, or the SQL login.
    pub user: String,
    /// Claim `uti` of the token; `None` for a password.
    pub token_id: Option<String>,
    /// The database of the login.
    pub database: String,
    /// LOGIN7: the program.
    pub app: String,
    /// LOGIN7: the client's machine.
    pub host: String,
    /// LOGIN7: the server that the client believes to talk to.
    pub server: String,
    /// What the client speaks.
    pub version: Version,
    /// Features that the client asked for.
    pub features: Vec<u8>,
    /// Whether the login came over TLS.
    pub over_tls: bool,
    /// The negotiated packet size.
    pub packet_size: usize,
}

/// An open session, as of its last request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSeen {
    /// `@@SPID`.
    pub spid: u16,
    /// The principal, or the SQL login.
    pub user: String,
    /// The current database.
    pub database: String,
    /// APP_NAME().
    pub app: String,
    /// HOST_NAME().
    pub host: String,
    /// `@@TRANCOUNT`.
    pub open_transactions: u32,
    /// Prepared handles.
    pub handles: usize,
    /// Requests answered.
    pub requests: u64,
    /// Names of its temporary tables and procedures.
    pub temporary_objects: Vec<String>,
    /// The options as `sys.dm_exec_sessions` shows them, by column name.
    pub options: BTreeMap<&'static str, String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Register {
    logins: Mutex<Vec<LoginSeen>>,
    sessions: Mutex<BTreeMap<u16, Open>>,
}

#[derive(Debug)]
struct Open {
    seen: SessionSeen,
    kill: CancellationToken,
}

impl Register {
    pub(super) fn note_login(&self, login: LoginSeen) {
        lock(&self.logins).push(login);
    }

    pub(super) fn logins(&self) -> Vec<LoginSeen> {
        lock(&self.logins).clone()
    }

    pub(super) fn open(&self, seen: SessionSeen, kill: CancellationToken) {
        lock(&self.sessions).insert(seen.spid, Open { seen, kill });
    }

    pub(super) fn update(&self, seen: SessionSeen) {
        if let Some(open) = lock(&self.sessions).get_mut(&seen.spid) {
            open.seen = seen;
        }
    }

    pub(super) fn close(&self, spid: u16) {
        lock(&self.sessions).remove(&spid);
    }

    pub(super) fn sessions(&self) -> Vec<SessionSeen> {
        let sessions = lock(&self.sessions);
        sessions.values().map(|open| open.seen.clone()).collect()
    }

    /// False: there is none of this number.
    pub(super) fn kill(&self, spid: u16) -> bool {
        let sessions = lock(&self.sessions);
        let found = sessions.get(&spid);
        if let Some(open) = found {
            open.kill.cancel();
        }
        found.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
