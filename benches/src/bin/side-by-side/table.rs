//! Medians and ratios as tables in Markdown.

use std::fmt;

/// What a reading's cost is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// CPU for each request or transaction, in microseconds.
    Request,
    /// CPU for each million bytes, in microseconds.
    Megabyte,
    /// Memory for each idle client, in bytes.
    Client,
}

/// What one turn came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) unit: Unit,
    /// What is compared: see [`Unit`].
    pub(crate) cost: f64,
    /// How many requests, or million bytes, there were in a second.
    pub(crate) rate: f64,
    /// Context switches for each.
    pub(crate) switches: Option<f64>,
    /// The 50th and 99th percentile, in milliseconds.
    pub(crate) latency: Option<(f64, f64)>,
}

impl Reading {
    /// One without details.
    pub(crate) fn new(unit: Unit, cost: f64, rate: f64) -> Self {
        Self {
            unit,
            cost,
            rate,
            switches: None,
            latency: None,
        }
    }
}

/// What a case came to for one contender.
#[derive(Debug)]
pub(crate) enum Cell {
    /// Its turns, and system calls for each request if they were counted.
    Measured(Vec<Reading>, Option<f64>),
    /// Why it was not measured.
    Not(String),
    /// It could not do it.
    Failed,
}

impl Cell {
    /// Says why on standard error, if there is nothing to show.
    pub(crate) fn of(readings: anyhow::Result<Vec<Reading>>, name: &str) -> Self {
        match readings {
            Ok(readings) => Self::Measured(readings, None),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                Self::Failed
            }
        }
    }

    fn readings(&self) -> &[Reading] {
        match self {
            Self::Measured(readings, _) => readings,
            Self::Not(_) | Self::Failed => &[],
        }
    }

    fn median(&self, what: impl Fn(&Reading) -> f64) -> Option<f64> {
        median(self.readings().iter().map(what))
    }
}

/// A case.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: Vec<Cell>,
    /// What the first pair's ratio of cost is to be at most.
    pub(crate) bar: Option<f64>,
}

/// All cases.
pub(crate) struct Table {
    columns: Vec<String>,
    /// Whose cost is divided by whose, by column.
    pairs: Vec<(usize, usize)>,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(columns: Vec<String>, pairs: Vec<(usize, usize)>) -> Self {
        Self {
            columns,
            pairs,
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Names of cases, and of each the ratios of cost to that of column `base`.
    pub(crate) fn ratios_to(&self, base: usize) -> Vec<(&str, Vec<Option<f64>>)> {
        let of = |row: &Row| {
            let columns = 0..self.columns.len();
            let ratio = |column| ratio(row, (column, base), |reading| reading.cost);
            columns.map(ratio).collect()
        };
        self.rows.iter().map(|row| (&*row.name, of(row))).collect()
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    fn head(&self, f: &mut fmt::Formatter<'_>, first: &str) -> fmt::Result {
        write!(f, "| {first} |")?;
        for column in &self.columns {
            write!(f, " {column} |")?;
        }
        writeln!(f, "\n|---|{}", "---|".repeat(self.columns.len()))
    }

    fn ratios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |column: &usize| self.columns.get(*column).map_or("", String::as_str);
        let barred = self.rows.iter().any(|row| row.bar.is_some());
        write!(f, "\n| ratio of CPU (throughput), or of memory |")?;
        for (one, other) in &self.pairs {
            write!(f, " {} / {} |", name(one), name(other))?;
        }
        writeln!(f, "{}", if barred { " bar |" } else { "" })?;
        let count = self.pairs.len() + usize::from(barred);
        writeln!(f, "|---|{}", "---|".repeat(count))?;
        for row in &self.rows {
            write!(f, "| {} |", row.name)?;
            for &pair in &self.pairs {
                let cost = ratio(row, pair, |reading| reading.cost);
                let rate = ratio(row, pair, |reading| reading.rate);
                match (cost, rate.filter(|rate| rate.is_finite())) {
                    (Some(cost), Some(rate)) => write!(f, " {cost:.2} ({rate:.2}) |")?,
                    (Some(cost), None) => write!(f, " {cost:.2} |")?,
                    (None, _) => write!(f, " |")?,
                }
            }
            match row.bar {
                Some(bar) => writeln!(f, " {bar:.2} |")?,
                None if barred => writeln!(f, " |")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }

    /// What there is beyond cost and rate.
    fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |row: &&Row| row.cells.iter().any(|cell| !cell.detail().is_empty());
        let rows: Vec<&Row> = self.rows.iter().filter(has).collect();
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        let first = "p50 / p99; context switches; system calls, each per request";
        self.head(f, first)?;
        for row in rows {
            write!(f, "| {} |", row.name)?;
            for cell in &row.cells {
                write!(f, " {} |", cell.detail())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f, "CPU of the pooler; rate")?;
        for row in &self.rows {
            write!(f, "| {} |", row.name)?;
            for cell in &row.cells {
                write!(f, " {cell} |")?;
            }
            writeln!(f)?;
        }
        self.ratios(f)?;
        self.details(f)
    }
}

impl Cell {
    fn detail(&self) -> String {
        let mut parts = Vec::new();
        let p50 = self.median(|reading| reading.latency.map_or(f64::NAN, |(p50, _)| p50));
        let p99 = self.median(|reading| reading.latency.map_or(f64::NAN, |(_, p99)| p99));
        if let (Some(p50), Some(p99)) = (p50, p99)
            && p99.is_finite()
        {
            parts.push(format!("{p50:.2} / {p99:.2} ms"));
        }
        let switches = self.median(|reading| reading.switches.unwrap_or(f64::NAN));
        if let Some(switches) = switches.filter(|switches| switches.is_finite()) {
            parts.push(format!("{switches:.2}"));
        }
        if let Self::Measured(_, Some(calls)) = self {
            parts.push(format!("{calls:.2}"));
        }
        parts.join("; ")
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => return f.write_str("failed"),
            Self::Not(why) => return write!(f, "not measured ({why})"),
            Self::Measured(..) => {}
        }
        let cost = self.median(|reading| reading.cost).unwrap_or(f64::NAN);
        let rate = self.median(|reading| reading.rate).unwrap_or(f64::NAN);
        match self.readings().first().map(|reading| reading.unit) {
            Some(Unit::Request) => write!(f, "{cost:.1} µs; {rate:.0}/s"),
            Some(Unit::Megabyte) => write!(f, "{cost:.0} µs/MB; {rate:.0} MB/s"),
            Some(Unit::Client) => write!(f, "{cost:.0} bytes"),
            None => f.write_str("no turn"),
        }
    }
}

/// The median of the ratios of each round.
fn ratio(row: &Row, pair: (usize, usize), what: impl Fn(&Reading) -> f64) -> Option<f64> {
    let of = |column: usize| row.cells.get(column).map(Cell::readings);
    let rounds = of(pair.0)?.iter().zip(of(pair.1)?);
    median(rounds.map(|(one, other)| what(one) / what(other)))
}

/// The one in the middle; of an even number, the mean of the two there.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let lower = match values.len() % 2 {
        0 => *values.get(middle - 1)?,
        _ => upper,
    };
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let cell = |costs: [f64; 3]| {
            let readings = costs.map(|cost| Reading::new(Unit::Request, cost, 100.0));
            Cell::Measured(readings.to_vec(), None)
        };
        let mut table = Table::new(vec!["a".into(), "b".into(), "c".into()], vec![(0, 1)]);
        table.push(Row {
            name: "select".into(),
            cells: vec![
                cell([1.0, 20.0, 3.0]),
                cell([2.0, 40.0, 4.0]),
                Cell::Not("apt-get install c".into()),
            ],
            bar: Some(0.8),
        });
        let text = table.to_string();
        assert!(text.contains("| select | 0.50 (1.00) | 0.80 |"), "{text}");
        assert!(text.contains("not measured (apt-get install c)"), "{text}");
    }
}
