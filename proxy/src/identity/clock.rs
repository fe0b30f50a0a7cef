//! The time of day, which tokens expire by.
//!
//! Waiting uses tokio's monotonic clock; both are compared where a wait must survive a suspended
//! machine or a clock that was set. Tests let the time of day follow tokio's paused clock.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Where the time of day comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// The system.
    System,
    /// A time of day that moves with tokio's clock.
    #[cfg(test)]
    Paused { noon: SystemTime, at: Instant },
}

impl Clock {
    pub(super) fn now(self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            #[cfg(test)]
            Self::Paused { noon, at } => noon + at.elapsed(),
        }
    }

    #[cfg(test)]
    pub(super) fn paused() -> Self {
        Self::Paused {
            noon: SystemTime::now(),
            at: Instant::now(),
        }
    }
}

/// A point of time on both clocks, reached when either says so: after a suspend the time of day
/// is ahead, and after the time of day was set back the monotonic clock is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    wall: SystemTime,
    steady: Instant,
}

impl Due {
    pub(super) fn after(clock: Clock, delay: Duration) -> Self {
        Self {
            wall: clock.now() + delay,
            steady: Instant::now() + delay,
        }
    }

    pub(super) fn wall(self) -> SystemTime {
        self.wall
    }

    /// Zero when it is reached.
    pub(super) fn remaining(self, clock: Clock) -> Duration {
        let wall = self.wall.duration_since(clock.now()).unwrap_or_default();
        wall.min(self.steady.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_either_clock_says_so() {
        let (noon, at) = (
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            Instant::now(),
        );
        let clock = Clock::Paused { noon, at };
        let due = Due::after(clock, Duration::from_secs(100));
        assert_eq!(due.remaining(clock), Duration::from_secs(100));
        // The machine slept for a minute: only the time of day went on.
        let suspended = Clock::Paused {
            noon: noon + Duration::from_secs(60),
            at,
        };
        assert_eq!(due.remaining(suspended), Duration::from_secs(40));
        // The time of day was set back by a day: the monotonic clock still ends the wait.
        let set_back = Clock::Paused {
            noon: noon - Duration::from_secs(86_400),
            at,
        };
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(due.remaining(set_back).is_zero());
    }
}
