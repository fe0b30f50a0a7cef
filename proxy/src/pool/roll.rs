//! Who is there: the backends of a pool, for those who ask what they are doing.
//!
//! Hot path: a card is written with a few relaxed stores when its backend changes hands. The list
//! itself is locked when a backend is born or closed, and when somebody asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use entrapool_metrics::{Label as _, State};

/// What a connection can say of itself, once and for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Particulars {
    /// Where it is connected to.
    pub peer: Option<SocketAddr>,
    /// The server's process.
    pub server_pid: Option<i32>,
    /// Which token it logged in with.
    pub token_generation: u64,
}

/// A pool's key in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The database.
    pub database: String,
    /// What else there is to the key; empty if there is nothing.
    pub variant: String,
}

/// The backends of a pool, as they are now.
#[derive(Debug, Clone)]
pub struct View {
    /// Which pool.
    pub name: Named,
    /// Logins under way.
    pub creating: usize,
    /// Clients that wait.
    pub waiting: usize,
    /// Those that are logged in, the oldest first.
    pub backends: Vec<BackendView>,
}

/// A backend, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendView {
    /// Tells it from all others of its route.
    pub number: u64,
    /// What it is doing.
    pub state: State,
    /// For how long.
    pub state_for: Duration,
    /// Since its login.
    pub age: Duration,
    /// Until the end of its life.
    pub expires_in: Duration,
    /// The number of the session that has it, or had it last; 0 before the first.
    pub borrower: u64,
    /// What it says of itself.
    pub particulars: Particulars,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Roll(Mutex<BTreeMap<u64, Arc<Card>>>);

/// A backend's entry.
#[derive(Debug)]
pub(super) struct Card {
    number: u64,
    born: Instant,
    pub(super) expires: Instant,
    particulars: Particulars,
    /// The state, in the upper 8 bits, and since when: in microseconds since the birth.
    phase: AtomicU64,
    /// Who had it last.
    borrower: AtomicU64,
}

/// A place on the list; the backend leaves it when this is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    roll: Arc<Roll>,
    card: Arc<Card>,
}

const STATE_SHIFT: u32 = 56;

impl Roll {
    /// How many backends there are.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Adds an idle backend, born now, under a number that no other has.
    pub(super) fn list(
        self: &Arc<Self>,
        number: u64,
        lifetime: Duration,
        particulars: Particulars,
    ) -> Listed {
        let born = Instant::now();
        let card = Arc::new(Card {
            number,
            born,
            expires: born + lifetime,
            particulars,
            phase: AtomicU64::new(packed(State::Idle, Duration::ZERO)),
            borrower: AtomicU64::new(0),
        });
        let mut cards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cards.insert(number, Arc::clone(&card));
        Listed {
            roll: Arc::clone(self),
            card,
        }
    }

    pub(super) fn view(&self) -> Vec<BackendView> {
        let cards: Vec<Arc<Card>> = {
            let cards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cards.values().map(Arc::clone).collect()
        };
        let now = Instant::now();
        cards.iter().map(|card| card.view(now)).collect()
    }
}

impl Card {
    /// From `now` on the backend is in `state`.
    #[inline]
    pub(super) fn enter(&self, state: State, now: Instant) {
        let since = now.saturating_duration_since(self.born);
        self.phase.store(packed(state, since), Ordering::Relaxed);
    }

    /// Lends it to `borrower`; returns who had it before.
    #[inline]
    pub(super) fn lend(&self, borrower: u64) -> u64 {
        // Only whoever holds the backend writes.
        let before = self.borrower.load(Ordering::Relaxed);
        if before != borrower {
            self.borrower.store(borrower, Ordering::Relaxed);
        }
        before
    }

    /// For how long it has been in its state.
    pub(super) fn state_for(&self, now: Instant) -> Duration {
        let (_, since) = unpacked(self.phase.load(Ordering::Relaxed));
        now.saturating_duration_since(self.born)
            .saturating_sub(since)
    }

    fn view(&self, now: Instant) -> BackendView {
        let (state, since) = unpacked(self.phase.load(Ordering::Relaxed));
        let age = now.saturating_duration_since(self.born);
        BackendView {
            number: self.number,
            state,
            state_for: age.saturating_sub(since),
            age,
            expires_in: self.expires.saturating_duration_since(now),
            borrower: self.borrower.load(Ordering::Relaxed),
            particulars: self.particulars,
        }
    }
}

impl std::ops::Deref for Listed {
    type Target = Card;

    fn deref(&self) -> &Card {
        &self.card
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut cards = self.roll.0.lock().unwrap_or_else(PoisonError::into_inner);
        cards.remove(&self.card.number);
    }
}

#[inline]
fn packed(state: State, since: Duration) -> u64 {
    // 2284 years fit.
    let micros = since.as_secs() * 1_000_000 + u64::from(since.subsec_micros());
    ((state.index() as u64) << STATE_SHIFT) | (micros & ((1 << STATE_SHIFT) - 1))
}

fn unpacked(phase: u64) -> (State, Duration) {
    let index = usize::try_from(phase >> STATE_SHIFT).unwrap_or_default();
    let state = State::ALL.get(index).copied().unwrap_or(State::Idle);
    let micros = phase & ((1 << STATE_SHIFT) - 1);
    (state, Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_what_its_backend_does() {
        let roll = Arc::<Roll>::default();
        let life = Duration::from_secs(100);
        let first = roll.list(1, life, Particulars::default());
        let second = roll.list(2, life, Particulars::default());
        let later = second.born + Duration::from_secs(7);
        assert_eq!(first.lend(12), 0);
        assert_eq!(first.lend(13), 12);
        second.enter(State::Cleaning, later);
        assert_eq!(
            second
                .state_for(later + Duration::from_micros(5))
                .as_micros(),
            5
        );
        let now = second.view(later + Duration::from_secs(3));
        assert_eq!((now.state, now.state_for.as_secs()), (State::Cleaning, 3));
        assert_eq!((now.age.as_secs(), now.expires_in.as_secs()), (10, 90));
        let numbers =
            |roll: &Roll| -> Vec<u64> { roll.view().iter().map(|view| view.number).collect() };
        assert_eq!(numbers(&roll), [1, 2]);
        drop(first);
        assert_eq!((numbers(&roll), roll.len()), (vec![2], 1));
    }

    #[test]
    fn every_state_survives_the_packing() {
        for &state in State::ALL {
            for micros in [0, 1, 1 << 40, (1 << STATE_SHIFT) - 1] {
                let since = Duration::from_micros(micros);
                assert_eq!(unpacked(packed(state, since)), (state, since));
            }
        }
    }
}
