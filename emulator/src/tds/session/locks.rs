//! Application locks (sp_getapplock), shared by all sessions of a server.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lock modes of sp_getapplock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Mode {
    IntentShared,
    Shared,
    Update,
    IntentExclusive,
    Exclusive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Owner {
    Session,
    Transaction,
}

impl Mode {
    pub(super) fn named(name: &str) -> Option<Self> {
        let modes = [
            Self::IntentShared,
            Self::Shared,
            Self::Update,
            Self::IntentExclusive,
            Self::Exclusive,
        ];
        modes
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::IntentShared => "IntentShared",
            Self::Shared => "Shared",
            Self::Update => "Update",
            Self::IntentExclusive => "IntentExclusive",
            Self::Exclusive => "Exclusive",
        }
    }

    /// As sys.dm_tran_locks has it.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::IntentShared => "IS",
            Self::Shared => "S",
            Self::Update => "U",
            Self::IntentExclusive => "IX",
            Self::Exclusive => "X",
        }
    }

    /// Whether two sessions may have them at once.
    fn goes_with(self, other: Self) -> bool {
        use Mode::{Exclusive, IntentExclusive, IntentShared, Shared, Update};
        match (self, other) {
            (Exclusive, _) | (_, Exclusive) => false,
            (IntentShared, _) | (_, IntentShared) => true,
            (Shared, Shared | Update) | (Update, Shared) => true,
            (IntentExclusive, IntentExclusive) => true,
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Holder {
    spid: u16,
    mode: Mode,
    owner: Owner,
    /// Each get needs its release.
    count: u32,
}

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) resource: String,
    pub(super) spid: u16,
    pub(super) mode: Mode,
    pub(super) owner: Owner,
}

/// By database and resource.
type Table = HashMap<(String, String), Vec<Holder>>;

#[derive(Debug, Default)]
pub(in crate::tds) struct Locks {
    held: Mutex<Table>,
}

impl Locks {
    /// False: another session's lock is in the way.
    pub(super) fn acquire(
        &self,
        database: &str,
        resource: &str,
        spid: u16,
        (mode, owner): (Mode, Owner),
    ) -> bool {
        let mut held = self.held();
        let holders = held
            .entry((database.to_owned(), resource.to_owned()))
            .or_default();
        let mut others = holders.iter().filter(|holder| holder.spid != spid);
        if !others.all(|other| other.mode.goes_with(mode)) {
            return false;
        }
        let mut own = holders.iter_mut();
        match own.find(|own| own.spid == spid && own.owner == owner && own.mode == mode) {
            Some(own) => own.count += 1,
            None => holders.push(Holder {
                spid,
                mode,
                owner,
                count: 1,
            }),
        }
        true
    }

    /// False: it was not held.
    pub(super) fn release(&self, database: &str, resource: &str, spid: u16, owner: Owner) -> bool {
        let mut held = self.held();
        let key = (database.to_owned(), resource.to_owned());
        let Some(holders) = held.get_mut(&key) else {
            return false;
        };
        let mut own = holders.iter_mut();
        let Some(found) = own.find(|own| own.spid == spid && own.owner == owner) else {
            return false;
        };
        found.count -= 1;
        holders.retain(|holder| holder.count > 0);
        true
    }

    pub(super) fn mode(
        &self,
        database: &str,
        resource: &str,
        spid: u16,
        owner: Owner,
    ) -> Option<Mode> {
        let held = self.held();
        let holders = held.get(&(database.to_owned(), resource.to_owned()))?;
        let mut own = holders.iter();
        own.find(|own| own.spid == spid && own.owner == owner)
            .map(|own| own.mode)
    }

    pub(super) fn all(&self) -> Vec<Held> {
        let held = self.held();
        let all = held.iter().flat_map(|((_, resource), holders)| {
            holders.iter().map(|holder| Held {
                resource: resource.clone(),
                spid: holder.spid,
                mode: holder.mode,
                owner: holder.owner,
            })
        });
        all.collect()
    }

    pub(super) fn has_session_locks(&self, spid: u16) -> bool {
        let held = self.held();
        held.values()
            .flatten()
            .any(|holder| holder.spid == spid && holder.owner == Owner::Session)
    }

    pub(super) fn end_of_transaction(&self, spid: u16) {
        self.drop_where(|holder| holder.spid == spid && holder.owner == Owner::Transaction);
    }

    pub(super) fn release_session(&self, spid: u16) {
        self.drop_where(|holder| holder.spid == spid && holder.owner == Owner::Session);
    }

    pub(super) fn release_all(&self, spid: u16) {
        self.drop_where(|holder| holder.spid == spid);
    }

    fn drop_where(&self, goes: impl Fn(&Holder) -> bool) {
        let mut held = self.held();
        for holders in held.values_mut() {
            holders.retain(|holder| !goes(holder));
        }
        held.retain(|_, holders| !holders.is_empty());
    }

    fn held(&self) -> MutexGuard<'_, Table> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
