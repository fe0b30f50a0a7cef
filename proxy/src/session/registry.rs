//! Who is there: lets cancel requests, drains and operators reach a session from outside.
//!
//! A session looks at its flags whenever it is polled; raising one wakes it. That costs the
//! session no lock, and no memory beyond its entry.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;

use aws_lc_rs::hmac;

/// Something that a session is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stop the query that runs now, if one does.
    Cancel = 1,
    /// End at the next boundary: entrapool is stopping.
    Drain = 2,
    /// End now.
    Kill = 4,
    /// Something has come for the session that is not an answer: look where it would be.
    News = 8,
}

/// A session's entry.
#[derive(Debug)]
pub struct Entry {
    secret: u32,
    /// Which secret its client was given.
    length: KeyLength,
    raised: AtomicU8,
    waker: OnceLock<Waker>,
}

impl Entry {
    /// The session's task is the one behind `waker`, for good.
    pub fn attach(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Asks the session for `signal`.
    pub fn raise(&self, signal: Signal) {
        self.raised.fetch_or(signal as u8, Ordering::Release);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Whether anything was asked.
    #[inline]
    #[must_use]
    pub fn any(&self) -> bool {
        self.raised.load(Ordering::Relaxed) != 0
    }

    /// Whether `signal` was asked.
    #[must_use]
    pub fn is_raised(&self, signal: Signal) -> bool {
        self.raised.load(Ordering::Acquire) & signal as u8 != 0
    }

    /// Takes `signal` back; returns whether it was raised.
    #[must_use]
    pub fn take(&self, signal: Signal) -> bool {
        self.raised.fetch_and(!(signal as u8), Ordering::AcqRel) & signal as u8 != 0
    }
}

/// How long the secret half of a session's cancel key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLength {
    /// 4 bytes: all that old protocols have room for.
    Short,
    /// 32 bytes. They are not kept: they are a keyed hash of the process id and the short ones,
    /// so that an entry is as small as any.
    Long,
}

/// All sessions of the process, by the process id that their clients were given.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<HashMap<i32, Arc<Entry>>>,
    /// What long secrets are hashed with; made with the first of them.
    hashing: OnceLock<hmac::Key>,
    /// How many there have been.
    count: AtomicU64,
}

/// A session's place in the registry; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    /// Positive: drivers send no cancel request for a negative one.
    pub pid: i32,
    /// The session's entry.
    pub entry: Arc<Entry>,
    /// 1, 2, 3 and so on: never given twice, as a process id may be.
    pub number: u64,
}

impl Registry {
    /// Adds a session under a new process id, with a secret of the system's randomness.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn register(self: &Arc<Self>, length: KeyLength) -> Result<Registered, getrandom::Error> {
        if length == KeyLength::Long && self.hashing.get().is_none() {
            let mut key = [0; 32];
            getrandom::fill(&mut key)?;
            // Whoever was first has made the key of all.
            self.hashing
                .get_or_init(|| hmac::Key::new(hmac::HMAC_SHA256, &key));
        }
        let secret = getrandom::u32()?;
        let entry = Entry {
            secret,
            length,
            raised: AtomicU8::new(0),
            waker: OnceLock::new(),
        };
        let entry = Arc::new(entry);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = loop {
            let pid = (getrandom::u32()? >> 1).cast_signed();
            if pid > 0 && !sessions.contains_key(&pid) {
                break pid;
            }
        };
        sessions.insert(pid, Arc::clone(&entry));
        Ok(Registered {
            registry: Arc::clone(self),
            pid,
            entry,
            number: self.count.fetch_add(1, Ordering::Relaxed) + 1,
        })
    }

    /// The session with this cancel key. The comparison takes the same time for every wrong
    /// secret.
    #[must_use]
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Arc<Entry>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = sessions.get(&pid)?;
        let right = self.secret(pid, entry);
        let wrong = right
            .iter()
            .zip(secret)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        (secret.len() == right.len() && wrong == 0).then(|| Arc::clone(entry))
    }

    fn secret(&self, pid: i32, entry: &Entry) -> Vec<u8> {
        let short = entry.secret.to_be_bytes();
        match (entry.length, self.hashing.get()) {
            (KeyLength::Long, Some(key)) => {
                let hashed = [pid.to_be_bytes(), short].concat();
                hmac::sign(key, &hashed).as_ref().to_vec()
            }
            _ => short.to_vec(),
        }
    }

    /// Asks every session for `signal`.
    pub fn raise_all(&self, signal: Signal) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in sessions.values() {
            entry.raise(signal);
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Registered {
    /// The secret half of the session's cancel key.
    #[must_use]
    pub fn secret(&self) -> Vec<u8> {
        self.registry.secret(self.pid, &self.entry)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut sessions = self
            .registry
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_finds_a_session() {
        let registry = Arc::new(Registry::default());
        for (length, bytes) in [(KeyLength::Short, 4), (KeyLength::Long, 32)] {
            let session = registry.register(length).unwrap();
            let other = registry.register(length).unwrap();
            let secret = session.secret();
            assert_eq!(secret.len(), bytes);
            assert!(session.pid > 0);
            assert_ne!(session.number, other.number);
            assert_ne!(secret, other.secret());
            let found = |secret: &[u8]| registry.find(session.pid, secret).is_some();
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
            let pid = session.pid;
            drop(session);
            assert!(registry.find(pid, &secret).is_none());
        }
    }

    #[test]
    fn a_long_key_takes_no_more_memory() {
        let without = size_of::<(u32, AtomicU8, OnceLock<Waker>)>();
        assert_eq!(size_of::<Entry>(), without);
    }

    #[test]
    fn signals_are_taken_once() {
        let registry = Arc::new(Registry::default());
        let session = registry.register(KeyLength::Short).unwrap();
        assert!(!session.entry.any());
        registry.raise_all(Signal::Cancel);
        assert!(session.entry.take(Signal::Cancel));
        assert!(!session.entry.take(Signal::Cancel));
    }
}
