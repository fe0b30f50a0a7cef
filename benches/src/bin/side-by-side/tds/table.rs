//! Medians and ratios as tables in Markdown.

use std::fmt;

use super::load::Turn;
use super::poolers::{Contender, Leg};

/// Who is measured against whom: ratios of the same round, and their median.
const PAIRS: &[(Contender, Contender)] = &[
    (Contender::Entrapool(Leg::Tls), Contender::Tdspool),
    (Contender::Entrapool(Leg::Plain), Contender::Tdspool),
    (Contender::Entrapool(Leg::Plain), Contender::Haproxy),
];

/// What a case came to for one contender.
pub(super) enum Cell {
    /// Its turns.
    Measured(Vec<Turn>),
    /// It is not installed.
    Missing(Contender),
    /// It could not do it.
    Failed,
}

impl Cell {
    /// Says why on standard error, if there is nothing to show.
    pub(super) fn of(turns: anyhow::Result<Vec<Turn>>, contender: Contender) -> Self {
        turns.map_or_else(
            |error| {
                eprintln!("{}: {error:#}", contender.name());
                Self::Failed
            },
            Self::Measured,
        )
    }

    fn turns(&self) -> &[Turn] {
        match self {
            Self::Measured(turns) => turns,
            Self::Missing(_) | Self::Failed => &[],
        }
    }
}

impl Turn {
    /// What is compared.
    fn cost(self) -> f64 {
        match self {
            Self::Requests { microseconds, .. } | Self::Megabytes { microseconds, .. } => {
                microseconds
            }
            Self::Memory { bytes } => bytes,
        }
    }

    fn per_second(self) -> f64 {
        match self {
            Self::Requests { per_second, .. } | Self::Megabytes { per_second, .. } => per_second,
            Self::Memory { .. } => 0.0,
        }
    }
}

/// All cases.
pub(super) struct Table {
    contenders: &'static [Contender],
    rows: Vec<(String, Vec<Cell>)>,
}

impl Table {
    pub(super) fn new(contenders: &'static [Contender]) -> Self {
        Self {
            contenders,
            rows: Vec::new(),
        }
    }

    /// A case, with a cell for each contender.
    pub(super) fn push(&mut self, name: String, cells: Vec<Cell>) {
        self.rows.push((name, cells));
    }

    fn ratio(&self, cells: &[Cell], pair: (Contender, Contender)) -> Option<f64> {
        let turns = |wanted| {
            let place = self.contenders.iter().position(|&one| one == wanted)?;
            cells.get(place).map(Cell::turns)
        };
        let rounds = turns(pair.0)?.iter().zip(turns(pair.1)?);
        median(rounds.map(|(one, other)| one.cost() / other.cost()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| |")?;
        for contender in self.contenders {
            write!(f, " {} |", contender.name())?;
        }
        writeln!(f, "\n|---|{}", "---|".repeat(self.contenders.len()))?;
        for (name, cells) in &self.rows {
            write!(f, "| {name} |")?;
            for cell in cells {
                write!(f, " {cell} |")?;
            }
            writeln!(f)?;
        }
        write!(f, "\n| ratios of CPU, or of memory |")?;
        for (one, other) in PAIRS {
            write!(f, " {} / {} |", one.name(), other.name())?;
        }
        writeln!(f, "\n|---|{}", "---|".repeat(PAIRS.len()))?;
        for (name, cells) in &self.rows {
            write!(f, "| {name} |")?;
            for &pair in PAIRS {
                match self.ratio(cells, pair) {
                    Some(ratio) => write!(f, " {ratio:.2} |")?,
                    None => write!(f, " |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turns = match self {
            Self::Measured(turns) => turns,
            Self::Failed => return f.write_str("failed"),
            Self::Missing(contender) => {
                let package = contender.package().unwrap_or_default();
                return write!(f, "not measured ({package})");
            }
        };
        let cost = median(turns.iter().map(|turn| turn.cost())).unwrap_or(f64::NAN);
        let rate = median(turns.iter().map(|turn| turn.per_second())).unwrap_or(f64::NAN);
        match turns.first() {
            Some(Turn::Requests { .. }) => write!(f, "{cost:.1} µs; {rate:.0}/s"),
            Some(Turn::Megabytes { .. }) => write!(f, "{cost:.0} µs/MB; {rate:.0} MB/s"),
            Some(Turn::Memory { .. }) => write!(f, "{cost:.0} bytes"),
            None => f.write_str("no turn"),
        }
    }
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
    fn who_is_missing_is_named_by_package() {
        let cell = Cell::Missing(Contender::Haproxy);
        assert_eq!(cell.to_string(), "not measured (haproxy)");
    }
}
