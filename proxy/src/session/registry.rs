//! Who is there: lets cancel requests, drains and operators reach a session from outside.
//!
//! A session looks at its flags whenever it is polled; raising one wakes it. That costs the
//! session no lock, and no memory beyond its entry.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;

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

    /// The secret half of the session's cancel key.
    #[must_use]
    pub fn secret(&self) -> [u8; 4] {
        self.secret.to_be_bytes()
    }
}

/// All sessions of the process, by the process id that their clients were given.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<HashMap<i32, Arc<Entry>>>,
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
    pub fn register(self: &Arc<Self>) -> Result<Registered, getrandom::Error> {
        let secret = getrandom::u32()?;
        let entry = Entry {
            secret,
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
        let wrong = entry
            .secret()
            .iter()
            .zip(secret)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        (secret.len() == 4 && wrong == 0).then(|| Arc::clone(entry))
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
        let session = registry.register().unwrap();
        let secret = session.entry.secret();
        assert!(session.pid > 0);
        assert_ne!(session.number, registry.register().unwrap().number);
        assert!(registry.find(session.pid, &secret).is_some());
        assert!(registry.find(session.pid, &secret[..3]).is_none());
        assert!(
            registry
                .find(session.pid, &[&secret[..], b"x"].concat())
                .is_none()
        );
        assert!(
            registry
                .find(session.pid, &(!u32::from_be_bytes(secret)).to_be_bytes())
                .is_none()
        );
        let pid = session.pid;
        drop(session);
        assert!(registry.find(pid, &secret).is_none());
    }

    #[test]
    fn signals_are_taken_once() {
        let registry = Arc::new(Registry::default());
        let session = registry.register().unwrap();
        assert!(!session.entry.any());
        registry.raise_all(Signal::Cancel);
        assert!(session.entry.take(Signal::Cancel));
        assert!(!session.entry.take(Signal::Cancel));
    }
}
