//! When to ask for a token: arithmetic only.
//!
//! The refresh task calls it. There is no clock and no random number in here; both are passed in,
//! so that every rule is a row in a table of tests.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// Shorter lives are refreshed at half, as are those longer than [`LONG`].
const SHORT: Duration = Duration::from_secs(30 * 60);
const LONG: Duration = Duration::from_secs(2 * 3600);
/// How long before the expiry a life in between is refreshed.
const LEAD: Duration = Duration::from_secs(15 * 60);
/// Two calls are never closer than this, or a quarter of a shorter life.
const FLOOR: Duration = Duration::from_secs(30);
/// A source may answer in milliseconds with tokens of a millisecond; we still do not spin.
const LEAST: Duration = Duration::from_millis(250);
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = MINUTE;
/// A source may ask for patience, but not for more than this.
const LONGEST_WISH: Duration = Duration::from_secs(120);
/// The share by which a delay is moved at random, so that a fleet does not ask at once.
const JITTER: f64 = 0.1;

/// A number from -1 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Jitter(f64);

impl Jitter {
    /// Anything outside of -1 to 1 is brought in.
    pub(super) fn new(value: f64) -> Self {
        Self(if value.is_nan() {
            0.0
        } else {
            value.clamp(-1.0, 1.0)
        })
    }

    pub(super) fn random() -> Self {
        Self::new(fastrand::f64().mul_add(2.0, -1.0))
    }

    fn of(self, delay: Duration) -> Duration {
        delay.mul_f64(JITTER.mul_add(self.0, 1.0))
    }
}

/// How long to wait for the next refresh after an answer. `life` is the token's whole life,
/// `remaining` what is left of it: less than `life` if the source gave its cached token again.
pub(super) fn refresh_in(life: Duration, remaining: Duration, jitter: Jitter) -> Duration {
    let lead = if life > LONG || life < SHORT {
        life / 2
    } else {
        LEAD
    };
    // Already past that point, with the same token: wait half of the rest, so that the questions
    // grow denser towards the end, down to the floor.
    let delay = remaining
        .checked_sub(jitter.of(lead))
        .filter(|delay| *delay > floor(Some(life)))
        .unwrap_or_else(|| jitter.of(remaining / 2));
    delay.max(floor(Some(life)))
}

/// The least time between two calls, forced ones too. Without a life yet: the longest.
pub(super) fn floor(life: Option<Duration>) -> Duration {
    life.map_or(FLOOR, |life| (life / 4).clamp(LEAST, FLOOR))
}

/// How long to wait after the `failures`-th failure in a row (1 is the first). `wish` is the
/// source's `Retry-After`.
pub(super) fn retry_in(
    failures: u32,
    life: Option<Duration>,
    wish: Option<Duration>,
    jitter: Jitter,
) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let ceiling = life.map_or(LAST_RETRY, |life| (life / 4).clamp(LEAST, LAST_RETRY));
    let delay = FIRST_RETRY.saturating_mul(1 << doublings).min(ceiling);
    // A wish is a lower bound: jitter only lengthens it.
    let wish = wish.unwrap_or_default().min(LONGEST_WISH);
    if wish > delay {
        return Jitter(jitter.0.abs()).of(wish);
    }
    jitter.of(delay)
}

/// A token is not used for a new login in the last part of its life: the login takes time, and
/// clocks differ.
pub(super) fn login_margin(life: Duration) -> Duration {
    (life / 10).min(MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn seconds(value: u64) -> Duration {
        Duration::from_secs(value)
    }

    fn near(actual: Duration, expected: f64) -> bool {
        (actual.as_secs_f64() - expected).abs() < 0.001
    }

    #[test]
    fn a_refresh_comes_at_half_life_or_fifteen_minutes_before() {
        // life, remaining, jitter, expected seconds
        let table = [
            (24 * HOUR, 24 * HOUR, 0.0, 12.0 * 3600.0),
            (24 * HOUR, 24 * HOUR, 1.0, 10.8 * 3600.0),
            (24 * HOUR, 24 * HOUR, -1.0, 13.2 * 3600.0),
            (2 * HOUR + 1, 2 * HOUR + 1, 0.0, 3600.5),
            (2 * HOUR, 2 * HOUR, 0.0, 105.0 * 60.0),
            (HOUR, HOUR, 0.0, 45.0 * 60.0),
            (HOUR, HOUR, 1.0, 43.5 * 60.0),
            (HOUR, HOUR, -1.0, 46.5 * 60.0),
            (1800, 1800, 0.0, 900.0),
            (1799, 1799, 0.0, 899.5),
            (60, 60, 0.0, 30.0),
            (10, 10, 0.0, 5.0),
            (1, 1, 0.0, 0.5),
            // The same token again: half of what is left, never below the floor.
            (24 * HOUR, 12 * HOUR, 0.0, 6.0 * 3600.0),
            (24 * HOUR, 20 * HOUR, 0.0, 8.0 * 3600.0),
            (HOUR, 15 * 60, 0.0, 450.0),
            (HOUR, 40, 0.0, 30.0),
            (10, 5, 0.0, 2.5),
            (10, 0, 0.0, 2.5),
        ];
        for (life, remaining, jitter, expected) in table {
            let delay = refresh_in(seconds(life), seconds(remaining), Jitter::new(jitter));
            assert!(
                near(delay, expected),
                "life {life}, {remaining} left, {jitter}: {delay:?}"
            );
        }
    }

    #[test]
    fn every_refresh_leaves_room_for_at_least_one_retry_before_the_login_margin() {
        for life in [2, 5, 10, 30, 60, 300, 1799, 1800, 3600, 7200, 7201, 86_400] {
            let life = seconds(life);
            let due = refresh_in(life, life, Jitter::new(-1.0));
            let retry = retry_in(1, Some(life), None, Jitter::new(1.0));
            assert!(
                due + retry < life - login_margin(life),
                "{life:?}: {due:?} + {retry:?}"
            );
        }
    }

    #[test]
    fn the_same_token_again_and_again_is_not_asked_for_ever_faster() {
        let life = seconds(24 * HOUR);
        let mut remaining = life;
        let mut calls = 0;
        while remaining > seconds(60) {
            let delay = refresh_in(life, remaining, Jitter::new(0.0));
            assert!(delay >= seconds(30));
            remaining = remaining.saturating_sub(delay);
            calls += 1;
        }
        assert!(calls < 16, "{calls} calls in a day");
    }

    #[test]
    fn retries_double_up_to_a_minute_and_follow_short_lives() {
        // failures, life, wish, expected seconds
        let table = [
            (1, None, None, 2.0),
            (2, None, None, 4.0),
            (5, None, None, 32.0),
            (6, None, None, 60.0),
            (u32::MAX, None, None, 60.0),
            (6, Some(24 * HOUR), None, 60.0),
            (3, Some(60), None, 8.0),
            (4, Some(60), None, 15.0),
            (1, Some(10), None, 2.0),
            (4, Some(10), None, 2.5),
            (1, Some(0), None, 0.25),
            (1, None, Some(30), 30.0),
            (1, Some(10), Some(30), 30.0),
            (6, None, Some(1), 60.0),
            (1, None, Some(86_400), 120.0),
        ];
        for (failures, life, wish, expected) in table {
            let delay = retry_in(
                failures,
                life.map(seconds),
                wish.map(seconds),
                Jitter::new(0.0),
            );
            assert!(
                near(delay, expected),
                "{failures}, {life:?}, {wish:?}: {delay:?}"
            );
        }
    }

    #[test]
    fn jitter_moves_a_retry_by_a_tenth_and_never_undercuts_a_wish() {
        assert!(near(retry_in(6, None, None, Jitter::new(1.0)), 66.0));
        assert!(near(retry_in(6, None, None, Jitter::new(-1.0)), 54.0));
        assert!(near(
            retry_in(1, None, Some(seconds(30)), Jitter::new(-1.0)),
            33.0
        ));
        assert!(near(retry_in(1, None, None, Jitter::new(f64::NAN)), 2.0));
        assert!(near(retry_in(1, None, None, Jitter::new(40.0)), 2.2));
    }

    #[test]
    fn seventy_seconds_of_an_updating_imds_are_bridged_by_several_retries() {
        let mut waited = Duration::ZERO;
        let mut retries = 0;
        while waited < seconds(70) {
            retries += 1;
            waited += retry_in(retries, None, None, Jitter::new(0.0));
        }
        assert!((5..=7).contains(&retries), "{retries}");
    }

    #[test]
    fn floors_and_margins_shrink_with_the_life() {
        assert_eq!(floor(None), seconds(30));
        assert_eq!(floor(Some(seconds(HOUR))), seconds(30));
        assert_eq!(floor(Some(seconds(60))), seconds(15));
        assert_eq!(floor(Some(seconds(10))), Duration::from_millis(2500));
        assert_eq!(floor(Some(Duration::ZERO)), Duration::from_millis(250));
        assert_eq!(login_margin(seconds(HOUR)), seconds(60));
        assert_eq!(login_margin(seconds(10)), seconds(1));
    }
}
