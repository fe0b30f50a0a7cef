//! What routes have counted, now and a while ago: the averages are the difference.
//!
//! PgBouncer counts in periods of a minute, whether somebody looks or not. Here a period begins
//! when somebody looks and the last one is a minute old, so that nothing runs in between.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use entrapool_metrics::{Direction, Histogram, RouteMetrics};

/// The shortest period, as PgBouncer's `stats_period` is by default.
pub(super) const PERIOD: Duration = Duration::from_mins(1);

/// What a route has counted since the start; times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) assignments: u64,
    pub(super) transactions: u64,
    pub(super) queries: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) transaction_time: u64,
    pub(super) query_time: u64,
    pub(super) wait_time: u64,
}

/// The same by second (counts, bytes) and by occurrence (times).
pub(super) type Averages = Totals;

/// The last two looks that were a period apart, or more.
#[derive(Debug)]
pub(super) struct History {
    older: Look,
    newer: Look,
}

#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    routes: HashMap<String, Totals>,
}

impl Default for History {
    fn default() -> Self {
        // At the start all was 0.
        let start = Look {
            at: Instant::now(),
            routes: HashMap::new(),
        };
        Self {
            older: start.clone(),
            newer: start,
        }
    }
}

impl History {
    /// Somebody looks at `now`: the averages of each of `routes`, in their order.
    pub(super) fn look(&mut self, now: Instant, routes: &[(String, Totals)]) -> Vec<Averages> {
        if now.saturating_duration_since(self.newer.at) >= PERIOD {
            let look = Look {
                at: now,
                routes: routes.iter().cloned().collect(),
            };
            self.older = std::mem::replace(&mut self.newer, look);
        }
        let span = now.saturating_duration_since(self.older.at);
        let average = |(name, totals): &(String, Totals)| {
            let before = self.older.routes.get(name).copied().unwrap_or_default();
            totals.since(before).over(span)
        };
        routes.iter().map(average).collect()
    }
}

impl Totals {
    pub(super) fn of(metrics: &RouteMetrics) -> Self {
        let wait = &metrics.pool_wait;
        let (transactions, queries) = (&metrics.transaction_duration, &metrics.query_duration);
        Self {
            assignments: wait.get_sample_count(),
            transactions: transactions.get_sample_count(),
            queries: queries.get_sample_count(),
            received: metrics.bytes.get(Direction::ClientIn),
            sent: metrics.bytes.get(Direction::ClientOut),
            transaction_time: micros(transactions),
            query_time: micros(queries),
            wait_time: micros(wait),
        }
    }

    /// Over all routes.
    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// A series never falls, but a route may be new under its old name.
    fn since(self, before: Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    fn with(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            assignments: join(self.assignments, other.assignments),
            transactions: join(self.transactions, other.transactions),
            queries: join(self.queries, other.queries),
            received: join(self.received, other.received),
            sent: join(self.sent, other.sent),
            transaction_time: join(self.transaction_time, other.transaction_time),
            query_time: join(self.query_time, other.query_time),
            wait_time: join(self.wait_time, other.wait_time),
        }
    }

    /// What was counted within `span`, as averages.
    fn over(self, span: Duration) -> Self {
        let by_second = |count: u64| {
            let rate = u128::from(count) * 1_000_000 / span.as_micros().max(1);
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        let each = |time: u64, count: u64| time.checked_div(count).unwrap_or(0);
        Self {
            assignments: by_second(self.assignments),
            transactions: by_second(self.transactions),
            queries: by_second(self.queries),
            received: by_second(self.received),
            sent: by_second(self.sent),
            transaction_time: each(self.transaction_time, self.transactions),
            query_time: each(self.query_time, self.queries),
            wait_time: each(self.wait_time, self.assignments),
        }
    }
}

/// A duration that can't be negative, and is far below the 584,000 years that fit.
fn micros(histogram: &Histogram) -> u64 {
    (histogram.get_sample_sum() * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(queries: u64, query_time: u64) -> Vec<(String, Totals)> {
        let totals = Totals {
            queries,
            query_time,
            ..Totals::default()
        };
        vec![("app".to_owned(), totals)]
    }

    #[test]
    fn averages_are_over_the_last_minute_or_two() {
        let mut history = History::default();
        let start = history.newer.at;
        let mut at = |seconds, queries, time| {
            let now = start + Duration::from_secs(seconds);
            let [averages] = history.look(now, &totals(queries, time))[..] else {
                panic!("one route");
            };
            (averages.queries, averages.query_time)
        };
        // At once, nothing is divided by nothing.
        assert_eq!(at(0, 0, 0), (0, 0));
        assert_eq!(at(10, 100, 5000), (10, 50));
        assert_eq!(at(60, 120, 6000), (2, 50));
        // The period has turned, the older look is still the start.
        assert_eq!(at(90, 180, 6600), (2, 36));
        // Since the look after a minute: 60 more in 60 s of 10 us each.
        assert_eq!(at(120, 180, 6600), (1, 10));
        // A route that begins anew does not run backwards.
        assert_eq!(at(121, 0, 0), (0, 0));
    }
}
