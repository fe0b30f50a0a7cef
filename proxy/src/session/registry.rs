//! Who is there: lets cancel requests, drains and operators reach a session from outside.
//!
//! A session looks at its flags whenever it is polled; raising one wakes it. That costs the
//! session no lock, and no memory beyond its entry.

mod entry;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use entrapool_metrics::PinReason;

use super::recent::Recent;
use super::rest::Resting;
pub(super) use entry::TICK;
pub use entry::{Entry, KeyLength, Origin, Phase, Signal};

/// All sessions of the process, by the process id that their clients were given.
#[derive(Debug)]
pub struct Registry {
    present: Mutex<Present>,
    /// What long secrets are hashed with; made with the first of them.
    hashing: OnceLock<hmac::Key>,
    /// How many there have been.
    count: AtomicU64,
    born: Instant,
    /// Of those that have ended, what ended them.
    pub recent: Recent,
    /// Those that rest.
    pub resting: Resting,
}

#[derive(Debug, Default)]
struct Present {
    sessions: HashMap<i32, Arc<Entry>>,
    /// Where they belong.
    origins: HashSet<Arc<Origin>>,
}

/// A session's place in the registry; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    /// The session's entry.
    pub entry: Arc<Entry>,
}

/// A session, as it is now.
#[derive(Debug, Clone)]
pub struct View {
    /// [`Registered::number`].
    pub number: u64,
    /// [`Registered::pid`].
    pub pid: i32,
    /// Where it belongs.
    pub origin: Arc<Origin>,
    /// What it does.
    pub phase: Phase,
    /// For how long, to a 32nd of a second.
    pub phase_for: Duration,
    /// Why it keeps its backend.
    pub pins: Vec<PinReason>,
}

impl Registry {
    /// Adds a session under a new process id, with a secret of the system's randomness.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn register(
        self: &Arc<Self>,
        length: KeyLength,
        origin: Origin,
    ) -> Result<Registered, getrandom::Error> {
        if length == KeyLength::Long && self.hashing.get().is_none() {
            let mut key = [0; 32];
            getrandom::fill(&mut key)?;
            // Whoever was first has made the key of all.
            self.hashing
                .get_or_init(|| hmac::Key::new(hmac::HMAC_SHA256, &key));
        }
        let secret = getrandom::u32()?;
        let mut present = self.present();
        let pid = loop {
            let pid = (getrandom::u32()? >> 1).cast_signed();
            if pid > 0 && !present.sessions.contains_key(&pid) {
                break pid;
            }
        };
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let origin = present.origin(origin);
        let age = self.born.elapsed();
        let entry = Arc::new(Entry::new((number, pid), (secret, length), origin, age));
        present.sessions.insert(pid, Arc::clone(&entry));
        let count = present.sessions.len();
        drop(present);
        self.resting.count(count);
        Ok(Registered {
            registry: Arc::clone(self),
            entry,
        })
    }

    /// The session with this cancel key. The comparison takes the same time for every wrong
    /// secret.
    #[must_use]
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Arc<Entry>> {
        let present = self.present();
        let entry = present.sessions.get(&pid)?;
        let right = self.secret(entry);
        let wrong = right
            .iter()
            .zip(secret)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        (secret.len() == right.len() && wrong == 0).then(|| Arc::clone(entry))
    }

    fn secret(&self, entry: &Entry) -> Vec<u8> {
        let short = entry.secret.to_be_bytes();
        match (entry.length, self.hashing.get()) {
            (KeyLength::Long, Some(key)) => {
                let hashed = [entry.pid.to_be_bytes(), short].concat();
                hmac::sign(key, &hashed).as_ref().to_vec()
            }
            _ => short.to_vec(),
        }
    }

    /// Asks every session for `signal`.
    pub fn raise_all(&self, signal: Signal) {
        for entry in self.present().sessions.values() {
            entry.raise(signal);
        }
    }

    /// Asks the sessions that `which` picks, by their number and origin; returns how many.
    pub fn raise_some(&self, signal: Signal, which: impl Fn(u64, &Origin) -> bool) -> usize {
        let present = self.present();
        let picked = present
            .sessions
            .values()
            .filter(|entry| which(entry.number, &entry.origin));
        picked.inspect(|entry| entry.raise(signal)).count()
    }

    /// Asks the sessions to rest that have been silent for so long.
    pub(super) fn ask_to_rest(&self, silence: Duration) {
        let age = self.born.elapsed();
        for entry in self.present().sessions.values() {
            entry.ask_to_rest(silence, age);
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present().sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every session, in the order of arrival.
    #[must_use]
    pub fn view(&self) -> Vec<View> {
        let mut entries: Vec<Arc<Entry>> =
            self.present().sessions.values().map(Arc::clone).collect();
        entries.sort_unstable_by_key(|entry| entry.number);
        let age = self.born.elapsed();
        let view = |entry: &Arc<Entry>| {
            let (phase, phase_for) = entry.phase(age);
            View {
                number: entry.number,
                pid: entry.pid,
                origin: Arc::clone(&entry.origin),
                phase,
                phase_for,
                pins: entry.pins(),
            }
        };
        entries.iter().map(view).collect()
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            present: Mutex::default(),
            hashing: OnceLock::new(),
            count: AtomicU64::new(0),
            born: Instant::now(),
            recent: Recent::default(),
            resting: Resting::default(),
        }
    }
}

impl Present {
    /// The one value for all sessions of `origin`.
    fn origin(&mut self, origin: Origin) -> Arc<Origin> {
        if let Some(known) = self.origins.get(&origin) {
            return Arc::clone(known);
        }
        // Those that were in use when their last session left, for a moment.
        if self.origins.len() > 2 * self.sessions.len() + 16 {
            self.origins.retain(|origin| Arc::strong_count(origin) > 1);
        }
        let origin = Arc::new(origin);
        self.origins.insert(Arc::clone(&origin));
        origin
    }

    fn remove(&mut self, pid: i32) {
        let Some(entry) = self.sessions.remove(&pid) else {
            return;
        };
        // This entry's and the list's own.
        if Arc::strong_count(&entry.origin) <= 2 {
            self.origins.remove(&entry.origin);
        }
    }
}

impl Registered {
    /// What the client is told that it is. Positive: drivers send no cancel request for a
    /// negative one.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.entry.pid
    }

    /// 1, 2, 3 and so on: never given twice, as a process id may be.
    #[inline]
    #[must_use]
    pub fn number(&self) -> u64 {
        self.entry.number
    }

    /// The secret half of the session's cancel key.
    #[must_use]
    pub fn secret(&self) -> Vec<u8> {
        self.registry.secret(&self.entry)
    }

    /// Whether the session has been silent for so long.
    #[must_use]
    pub fn is_silent(&self, silence: Duration) -> bool {
        self.entry.is_silent(silence, self.registry.born.elapsed())
    }

    /// Where it is entered.
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The session is in `phase` from `now` on.
    #[inline]
    pub fn enter(&self, phase: Phase, now: Instant) {
        let age = now.saturating_duration_since(self.registry.born);
        self.entry.enter(phase, age);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.present().remove(self.entry.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(database: &str) -> Origin {
        Origin::new("main", database, Some("psql"))
    }

    #[test]
    fn only_the_right_key_finds_a_session() {
        let registry = Arc::new(Registry::default());
        for (length, bytes) in [(KeyLength::Short, 4), (KeyLength::Long, 32)] {
            let session = registry.register(length, origin("app")).unwrap();
            let other = registry.register(length, origin("app")).unwrap();
            let secret = session.secret();
            assert_eq!(secret.len(), bytes);
            assert!(session.pid() > 0);
            assert_ne!(session.number(), other.number());
            assert_ne!(secret, other.secret());
            let found = |secret: &[u8]| registry.find(session.pid(), secret).is_some();
            assert!(found(&secret));
            assert!(!found(&[]) && !found(&secret[..3]) && !found(&secret[..bytes - 1]));
            assert!(!found(&[&secret[..], b"x"].concat()));
            assert!(!found(&other.secret()));
            for wrong in 0..bytes {
                let mut secret = secret.clone();
                secret[wrong] ^= 1;
                assert!(!found(&secret));
            }
            // Who was given a long one is not found by what it was made of.
            let short = session.entry.secret.to_be_bytes();
            assert_eq!(found(&short), length == KeyLength::Short);
            let pid = session.pid();
            drop(session);
            assert!(registry.find(pid, &secret).is_none());
        }
    }

    #[test]
    fn whoever_asks_sees_who_is_there() {
        let registry = Arc::new(Registry::default());
        let first = registry.register(KeyLength::Short, origin("a")).unwrap();
        let second = registry.register(KeyLength::Long, origin("a")).unwrap();
        let third = registry.register(KeyLength::Long, origin("b")).unwrap();
        second.enter(Phase::Active, Instant::now());
        second.entry.pinned_for([PinReason::Cursor].into_iter());
        let [one, two, three] = &registry.view()[..] else {
            panic!("three are there");
        };
        assert_eq!((one.number, two.number, three.number), (1, 2, 3));
        assert_eq!((one.phase, two.phase), (Phase::Login, Phase::Active));
        assert_eq!((one.pid, &one.pins[..]), (first.pid(), &[][..]));
        assert_eq!(two.pins, [PinReason::Cursor]);
        assert!(Arc::ptr_eq(&one.origin, &two.origin));
        assert_eq!(*three.origin, origin("b"));
        drop(third);
        assert_eq!(registry.view().len(), 2);
    }

    #[test]
    fn origins_go_with_their_last_session() {
        let registry = Arc::new(Registry::default());
        let count = || registry.present().origins.len();
        let a = registry.register(KeyLength::Short, origin("a")).unwrap();
        let b = registry.register(KeyLength::Short, origin("a")).unwrap();
        drop(a);
        assert_eq!(count(), 1);
        drop(b);
        assert_eq!(count(), 0);
        // Somebody looks at each entry just when its session leaves.
        for number in 0..1000 {
            let session = registry.register(KeyLength::Short, origin(&number.to_string()));
            let _entry = Arc::clone(&session.unwrap().entry);
            assert!(count() <= 20, "{}", count());
        }
    }

    #[test]
    fn signals_are_taken_once() {
        let registry = Arc::new(Registry::default());
        let session = registry.register(KeyLength::Short, origin("app")).unwrap();
        assert!(!session.entry.any());
        registry.raise_all(Signal::Cancel);
        assert!(session.entry.take(Signal::Cancel));
        assert!(!session.entry.take(Signal::Cancel));
    }
}
