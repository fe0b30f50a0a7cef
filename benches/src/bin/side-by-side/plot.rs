//! Ratios of cost as bars, in SVG.

use std::fmt::Write as _;

use crate::table::Table;

/// Sizes, in pixels.
const LABEL: f64 = 250.0;
const WIDTH: f64 = 900.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;
const TOP: f64 = 50.0;
/// Ratios above are cut off, and said in figures.
const MOST: f64 = 2.0;
/// One for each contender; readable in print, and by those who do not tell red from green.
const COLOURS: [&str; 5] = ["#0b6e99", "#9aa5b1", "#d08c3c", "#6b8e4e", "#7d5ba6"];

/// Every case of `table` as a group of bars; column `base` is 1.
pub(crate) fn svg(table: &Table, base: usize, title: &str) -> String {
    let rows = table.ratios_to(base);
    let bars = table.columns().len();
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let number = |count: usize| count as f64;
    let group = number(bars) * BAR + GAP;
    let height = TOP + number(rows.len()) * group + 40.0;
    let scale = (WIDTH - LABEL - 60.0) / MOST;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"18\" font-size=\"14\">{title}</text>\n"
    );
    let one = LABEL + scale;
    let bottom = height - 30.0;
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<line x1=\"{one}\" x2=\"{one}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#444\" \
         stroke-dasharray=\"3 3\"/>"
    );
    let colours = || COLOURS.iter().cycle();
    for ((index, column), colour) in table.columns().iter().enumerate().zip(colours()) {
        let x = 10.0 + number(index) * 190.0;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"27\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"36\">{column}</text>",
            x + 14.0
        );
    }
    for (index, (name, ratios)) in rows.iter().enumerate() {
        let y = TOP + number(index) * group;
        let middle = y + number(bars) * BAR / 2.0 + 4.0;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>",
            LABEL - 8.0
        );
        for ((place, ratio), colour) in ratios.iter().enumerate().zip(colours()) {
            let Some(ratio) = ratio else { continue };
            let (y, length) = (y + number(place) * BAR, ratio.min(MOST) * scale);
            let _ = writeln!(
                out,
                "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" \
                 fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{ratio:.2}</text>",
                BAR - 2.0,
                LABEL + length + 4.0,
                y + 10.0
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Cell, Reading, Row, Unit};

    #[test]
    fn every_ratio_is_a_bar() {
        let cell = |cost| Cell::Measured(vec![Reading::new(Unit::Request, cost, 1.0)], None);
        let mut table = Table::new(vec!["us".into(), "them".into()], vec![(0, 1)]);
        table.push(Row {
            name: "select".into(),
            cells: vec![cell(3.0), cell(4.0)],
            bar: None,
        });
        let svg = svg(&table, 1, "CPU");
        assert!(svg.contains(">0.75</text>") && svg.contains(">1.00</text>"));
    }
}
