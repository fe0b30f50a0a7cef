//! Tables for people: a line of names, columns side by side, nothing to be escaped.

/// A table in the making.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(names: &[&str]) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Self { rows: vec![names] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // What clients call themselves may hold anything, an escape sequence too.
        let clean = |cell: String| match cell.is_empty() {
            true => "-".to_owned(),
            false => cell.replace(char::is_control, "?"),
        };
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// The table, or `nothing` if it has no row.
    pub(super) fn or(&self, nothing: &str) -> String {
        if self.rows.len() < 2 {
            return format!("{nothing}\n");
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let padded: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            text.push_str(padded.join("   ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// A span as people say it, in at most two units: `40ms`, `7s`, `4m10s`, `2h5m`, `3d4h`.
pub(super) fn span(seconds: f64) -> String {
    if seconds < 0.0 {
        return format!("-{}", span(-seconds));
    }
    if seconds < 1.0 {
        return match seconds * 1000.0 {
            millis if millis < 0.5 => "0s".to_owned(),
            millis => format!("{millis:.0}ms"),
        };
    }
    let whole = seconds as u64;
    let two = |large: u64, small: u64, names: [&str; 2]| match small {
        0 => format!("{large}{}", names[0]),
        _ => format!("{large}{}{small}{}", names[0], names[1]),
    };
    match whole {
        0..60 => format!("{whole}s"),
        60..3_600 => two(whole / 60, whole % 60, ["m", "s"]),
        3_600..86_400 => two(whole / 3_600, whole % 3_600 / 60, ["h", "m"]),
        _ => two(whole / 86_400, whole % 86_400 / 3_600, ["d", "h"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_side_by_side() {
        let mut table = Table::new(&["NAME", "N"]);
        assert_eq!(table.or("nothing"), "nothing\n");
        table.row(["a longer n\u{e4}me".to_owned(), "1".to_owned()]);
        table.row([String::new(), "22".to_owned()]);
        table.row(["\u{1b}[2J".to_owned(), String::new()]);
        let expected = "\
NAME            N
a longer n\u{e4}me   1
-               22
?[2J            -
";
        assert_eq!(table.or("nothing"), expected);
    }

    #[test]
    fn spans_are_short() {
        for (seconds, expected) in [
            (0.0, "0s"),
            (0.04, "40ms"),
            (7.9, "7s"),
            (60.0, "1m"),
            (250.0, "4m10s"),
            (7_500.0, "2h5m"),
            (273_600.0, "3d4h"),
            (-5.0, "-5s"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
