//! The limits of a route's pools, as the pool uses them.

use std::time::Duration;

use crate::config::PoolLimits;

/// Limits over all keys of a route.
#[derive(Debug, Clone)]
pub struct Limits {
    pub(super) size: usize,
    pub(super) min_idle: usize,
    pub(super) wait_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_lifetime: Duration,
}

impl From<&PoolLimits> for Limits {
    fn from(limits: &PoolLimits) -> Self {
        Self {
            size: limits.size,
            min_idle: limits.min_idle,
            wait_timeout: limits.wait_timeout,
            idle_timeout: limits.idle_timeout,
            max_lifetime: limits.max_lifetime,
        }
    }
}

impl Limits {
    /// How long a backend born now may live: `max_lifetime`, shortened by up to a tenth so that
    /// backends born together do not end together.
    pub(super) fn lifetime(&self) -> Duration {
        self.max_lifetime.mul_f64(1.0 - fastrand::f64() / 10.0)
    }

    /// How often idle backends are looked at.
    pub(super) fn reap_every(&self) -> Duration {
        let shortest = self.idle_timeout.min(self.max_lifetime);
        (shortest / 4).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }
}
