//! A session's entry: what it is asked to do, and what it is doing.
//!
//! Hot path: `any` with each poll, `enter` twice per lease; a relaxed load and a relaxed store.
//! There is one of these for each client that idles: each byte counts.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use entrapool_metrics::{Label as _, PinReason};

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
    /// Go to rest, if nothing has happened meanwhile.
    Rest = 16,
}

/// A bit of `Entry::raised` that is no signal: nobody asks the session to rest.
const RESTLESS: u8 = 128;

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its client has not been greeted yet.
    Login = 0,
    /// It holds no backend.
    Idle = 1,
    /// It holds no backend, and another connection listens for it.
    Listening = 2,
    /// It waits for a backend.
    Waiting = 3,
    /// It holds a backend.
    Active = 4,
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

/// Where a session belongs; one value for all that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The route's name.
    pub route: Box<str>,
    /// The database that the session has.
    pub database: Box<str>,
    /// What the client called itself when it logged in; at most [`Origin::LONGEST`] bytes are kept.
    pub application: Option<Box<str>>,
}

impl Origin {
    /// As long as PostgreSQL lets the name of an application be.
    pub const LONGEST: usize = 63;

    /// The origin of a session; an empty name of an application is none.
    #[must_use]
    pub fn new(route: &str, database: &str, application: Option<&str>) -> Self {
        let application = application.filter(|name| !name.is_empty());
        Self {
            route: route.into(),
            database: database.into(),
            application: application.map(|name| {
                let end = name.floor_char_boundary(Self::LONGEST);
                name.get(..end).unwrap_or_default().into()
            }),
        }
    }
}

/// A session's entry.
#[derive(Debug)]
pub struct Entry {
    pub(super) number: u64,
    pub(super) pid: i32,
    pub(super) secret: u32,
    /// Which secret its client was given.
    pub(super) length: KeyLength,
    raised: AtomicU8,
    /// A bit for each reason, by [`PinReason::index`].
    pins: AtomicU16,
    /// The phase, in the upper 3 bits, and since when: in ticks since the registry's birth, of
    /// which half a year fits.
    phase: AtomicU32,
    pub(super) origin: Arc<Origin>,
    waker: Mutex<Option<Waker>>,
}

/// `Entry::pins` has a bit for each.
const _: () = assert!(PinReason::ALL.len() <= 16);
const PHASE_SHIFT: u32 = 29;
const TICKS: u32 = (1 << PHASE_SHIFT) - 1;
/// A 32nd of a second.
pub(in crate::session) const TICK: Duration = Duration::from_micros(31_250);

impl Entry {
    /// A session that logs in; `number` and `pid` are nobody else's.
    pub(super) fn new(
        (number, pid): (u64, i32),
        (secret, length): (u32, KeyLength),
        origin: Arc<Origin>,
        age: Duration,
    ) -> Self {
        Self {
            number,
            pid,
            secret,
            length,
            raised: AtomicU8::new(RESTLESS),
            pins: AtomicU16::new(0),
            phase: AtomicU32::new(packed(Phase::Login, age)),
            origin,
            waker: Mutex::new(None),
        }
    }

    /// From now on the session is woken by `waker`.
    pub fn attach(&self, waker: &Waker) {
        let mut current = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(waker.clone());
    }

    /// Whether the session may be asked to rest: not before it is greeted, and not while it does.
    pub fn may_rest(&self, may: bool) {
        if may {
            self.raised.fetch_and(!RESTLESS, Ordering::Release);
        } else {
            self.raised.fetch_or(RESTLESS, Ordering::Release);
        }
    }

    /// Asks the session to rest, if it has been silent for so long when the registry has the age
    /// `age`.
    pub(super) fn ask_to_rest(&self, silence: Duration, age: Duration) {
        let may = self.raised.load(Ordering::Acquire) & RESTLESS == 0;
        if may && self.is_silent(silence, age) {
            self.raise(Signal::Rest);
        }
    }

    /// Whether the session has had no backend for so long, and waits for none.
    pub(super) fn is_silent(&self, silence: Duration, age: Duration) -> bool {
        matches!(self.phase(age), (Phase::Idle, since) if since >= silence)
    }

    /// Asks the session for `signal`.
    pub fn raise(&self, signal: Signal) {
        self.raised.fetch_or(signal as u8, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
    }

    /// Whether anything was asked.
    #[inline]
    #[must_use]
    pub fn any(&self) -> bool {
        self.raised.load(Ordering::Relaxed) & !RESTLESS != 0
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

    /// The session keeps its backend for these reasons, a bit for each by [`PinReason::index`].
    pub fn pinned_for(&self, reasons: impl Iterator<Item = PinReason>) {
        let bits = reasons.fold(0, |bits, reason| bits | 1 << reason.index());
        self.pins.store(bits, Ordering::Relaxed);
    }

    /// Why the session keeps its backend.
    pub(super) fn pins(&self) -> Vec<PinReason> {
        let bits = self.pins.load(Ordering::Relaxed);
        let reasons = PinReason::ALL.iter().copied();
        reasons
            .filter(|reason| bits & (1 << reason.index()) != 0)
            .collect()
    }

    /// The session is in `phase` when the registry has the age `age`.
    #[inline]
    pub(super) fn enter(&self, phase: Phase, age: Duration) {
        self.phase.store(packed(phase, age), Ordering::Relaxed);
    }

    /// What the session does, and for how long.
    pub(super) fn phase(&self, age: Duration) -> (Phase, Duration) {
        let packed = self.phase.load(Ordering::Relaxed);
        let phase = match packed >> PHASE_SHIFT {
            0 => Phase::Login,
            1 => Phase::Idle,
            2 => Phase::Listening,
            3 => Phase::Waiting,
            _ => Phase::Active,
        };
        let since = ticks(age).wrapping_sub(packed) & TICKS;
        // The clock of whoever asks may have been read a moment before the session's.
        let since = if since == TICKS { 0 } else { since };
        (phase, TICK * since)
    }
}

#[inline]
fn packed(phase: Phase, age: Duration) -> u32 {
    ((phase as u32) << PHASE_SHIFT) | (ticks(age) & TICKS)
}

#[inline]
fn ticks(age: Duration) -> u32 {
    // Truncated: it wraps.
    (age.as_secs() as u32).wrapping_mul(32) + age.subsec_nanos() / 31_250_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(age: Duration) -> Entry {
        let origin = Arc::new(Origin::new("main", "app", None));
        Entry::new((1, 2), (3, KeyLength::Short), origin, age)
    }

    #[test]
    fn a_phase_is_as_old_as_it_is() {
        let at = Duration::from_millis;
        let entry = entry(at(50));
        assert_eq!(entry.phase(at(1_299)), (Phase::Login, at(1_250)));
        for phase in [
            Phase::Idle,
            Phase::Listening,
            Phase::Waiting,
            Phase::Active,
            Phase::Login,
        ] {
            for age in [0, 1_234, 5_000_000_000, 16_777_215_968, 99_999_999_999_900] {
                entry.enter(phase, at(age));
                assert_eq!(entry.phase(at(age)), (phase, at(0)), "{age}");
                assert_eq!(entry.phase(at(age + 7_000)), (phase, at(7_000)), "{age}");
                let before = age.saturating_sub(20);
                assert_eq!(entry.phase(at(before)), (phase, at(0)), "{age}");
            }
        }
    }

    #[test]
    fn every_reason_to_pin_is_kept() {
        let entry = entry(Duration::ZERO);
        assert_eq!(entry.pins(), []);
        for &reason in PinReason::ALL {
            entry.pinned_for([reason].into_iter());
            assert_eq!(entry.pins(), [reason]);
        }
        entry.pinned_for(PinReason::ALL.iter().copied());
        assert_eq!(entry.pins(), PinReason::ALL);
        entry.pinned_for(std::iter::empty());
        assert_eq!(entry.pins(), []);
    }

    /// With the two counters of its `Arc` it just fits what the allocator gives out in 80 bytes.
    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 56);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let name = format!("{}\u{e9}\u{e9}", "a".repeat(62));
        let origin = Origin::new("r", "d", Some(&name));
        assert_eq!(origin.application.as_deref(), Some(&name[..62]));
        assert_eq!(Origin::new("r", "d", Some("")).application, None);
    }
}
