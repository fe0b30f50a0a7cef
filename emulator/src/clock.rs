//! Wall-clock time in the unit that tokens use.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970. A clock before that reads as 0.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
