//! STATS and its parts.

use std::time::Instant;

use entrapool_protocol::postgres::console::Value;

use crate::console::Console;
use crate::console::history::{Averages, Totals};

/// Which columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Both,
    Totals,
    Averages,
}

impl Console {
    pub(super) fn stats(&self, part: Part) -> Vec<Vec<Value>> {
        let rows = self.counted().into_iter().map(|(name, totals, averages)| {
            let mut row = vec![Value::from(name)];
            if part != Part::Averages {
                row.extend(values(&totals));
            }
            if part != Part::Totals {
                row.extend(values(&averages));
            }
            row
        });
        rows.collect()
    }

    /// The sum over all routes, a row per value.
    pub(super) fn totals(&self) -> Vec<Vec<Value>> {
        let routes = self.counted();
        let add = |sum: Totals, more: &Totals| sum.plus(*more);
        let totals = routes.iter().map(|(_, totals, _)| totals);
        let totals = totals.fold(Totals::default(), add);
        let averages = mean(routes.iter().map(|(_, _, averages)| averages));
        let rows = [("total", totals), ("avg", averages)];
        let rows = rows.iter().flat_map(|(prefix, of)| {
            NAMES
                .iter()
                .zip(values(of))
                .map(move |(name, value)| vec![format!("{prefix}_{name}").into(), value])
        });
        rows.collect()
    }

    fn counted(&self) -> Vec<(String, Totals, Averages)> {
        let levers = self.house.levers();
        let routes = levers.iter().map(|lever| {
            let name = lever.config().name.clone();
            (name, Totals::of(lever.metrics()))
        });
        let routes: Vec<(String, Totals)> = routes.collect();
        let mut history = self
            .history
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let averages = history.look(Instant::now(), &routes);
        let both = routes.into_iter().zip(averages);
        both.map(|((name, totals), averages)| (name, totals, averages))
            .collect()
    }
}

/// As `SHOW TOTALS` of PgBouncer names them.
const NAMES: [&str; 11] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
];

/// In the order of the columns. Statements are not counted one by one.
fn values(totals: &Totals) -> [Value; 11] {
    [
        totals.assignments.into(),
        totals.transactions.into(),
        totals.queries.into(),
        totals.received.into(),
        totals.sent.into(),
        totals.transaction_time.into(),
        totals.query_time.into(),
        totals.wait_time.into(),
        Value::Number(0),
        Value::Number(0),
        Value::Number(0),
    ]
}

/// Rates add up; times are weighed by how often there was one.
fn mean<'a>(all: impl Iterator<Item = &'a Averages> + Clone) -> Averages {
    let sum = all
        .clone()
        .fold(Averages::default(), |sum, more| sum.plus(*more));
    let weighed = |time: fn(&Averages) -> u64, count: fn(&Averages) -> u64| {
        let of = |one: &Averages| u128::from(time(one)) * u128::from(count(one));
        let (time, count) = all.clone().fold((0, 0), |(time, number), one| {
            (time + of(one), number + u128::from(count(one)))
        });
        u64::try_from(time.checked_div(count).unwrap_or(0)).unwrap_or(u64::MAX)
    };
    Averages {
        transaction_time: weighed(|one| one.transaction_time, |one| one.transactions),
        query_time: weighed(|one| one.query_time, |one| one.queries),
        wait_time: weighed(|one| one.wait_time, |one| one.assignments),
        ..sum
    }
}
