//! Chance that repeats by its seed.
#![expect(
    clippy::disallowed_methods,
    reason = "whoever looks for a fault gives a seed"
)]

use std::env;

/// The variable that repeats a run; each run prints its own.
pub(crate) const SEED: &str = "ORACLE_SEED";

/// A small generator (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("small")
    }
}

/// The one that was given, or one by the clock: every run is another.
pub(crate) fn seed() -> u64 {
    let seed = match env::var(SEED) {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => seed_by_clock(),
    };
    println!("{SEED}={seed}");
    seed
}

fn seed_by_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| u64::from(since.subsec_nanos()) ^ since.as_secs())
}

/// Another number of programs, for a longer search.
pub(crate) fn cases() -> Option<u32> {
    env::var("ORACLE_CASES").ok()?.parse().ok()
}
