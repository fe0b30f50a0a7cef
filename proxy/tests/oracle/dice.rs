//! Chance that repeats by its seed, for the oracles of all protocols.
#![expect(
    clippy::disallowed_methods,
    reason = "whoever looks for a fault gives a seed"
)]

use std::env;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRng, TestRunner};

/// The variable that repeats a run; each run prints its own.
const SEED: &str = "ORACLE_SEED";

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

/// Tries so many programs; one that fails is made as short as can be. `log` gives what the log
/// ends with.
pub(crate) fn try_programs<S: Strategy>(
    cases: u32,
    programs: &S,
    test: impl Fn(S::Value) -> Result<(), String>,
    log: impl FnOnce() -> String,
) {
    let seed = seed();
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_time: 60_000,
        max_shrink_iters: 1_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(config.rng_algorithm, &bytes);
    let result = TestRunner::new_with_rng(config, rng).run(programs, |program| {
        test(program).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{SEED}={seed}: {why}\n{}", log()),
        Err(TestError::Abort(why)) => panic!("{SEED}={seed}: {why}"),
    }
}
