//! `docs/metrics.md`, written from the catalogue.

use std::fmt::{Result, Write};

use crate::catalogue::{self, Group};
use crate::family::{Family, Kind, LabelDoc, Values};
use crate::label::{Cause, Label};

const HEAD: &str = "\
# Metrics

`entrapool` serves these families at `/metrics` of its HTTP listener (`--http`, by default
`127.0.0.1:9464`) in Prometheus' text format. Every series of a route is there, at 0, as soon as
the route is. No label holds a user name, a query or anything else that a client sends.

This page is generated from the program; a test fails when they differ.
";

pub(crate) fn markdown() -> String {
    let mut out = String::from(HEAD);
    // Writing to a String cannot fail.
    let _ = write_groups(&mut out);
    out
}

fn write_groups(out: &mut String) -> Result {
    for Group { title, families } in &catalogue::GROUPS {
        writeln!(out, "\n## {title}")?;
        for family in *families {
            write_family(out, family)?;
        }
    }
    writeln!(out, "\n## Whose fault a session's end is\n")?;
    writeln!(out, "| cause | blame |\n|---|---|")?;
    for cause in Cause::ALL {
        writeln!(out, "| `{}` | `{}` |", cause.value(), cause.blame().value())?;
    }
    Ok(())
}

fn write_family(out: &mut String, family: &Family) -> Result {
    writeln!(out, "\n### {}\n", family.name)?;
    writeln!(out, "{}\n", family.help)?;
    writeln!(out, "- Type: {}", family.kind.word())?;
    if let Kind::Histogram(bounds) = family.kind {
        let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
        writeln!(out, "- Buckets (s): {}", bounds.join(", "))?;
    }
    let labels: Vec<String> = family.labels.iter().map(label_line).collect();
    match labels.as_slice() {
        [] => writeln!(out, "- Labels: none")?,
        labels => writeln!(out, "- Labels: {}", labels.join("; "))?,
    }
    writeln!(out, "- Look for: {}", family.look_for)?;
    family
        .labels
        .iter()
        .filter(|label| label.name != "protocol")
        .try_for_each(|label| write_meanings(out, label))
}

fn label_line(label: &LabelDoc) -> String {
    let values = match label.values {
        Values::Open(words) => words.to_owned(),
        Values::Closed(values) => values()
            .iter()
            .map(|(value, _)| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    format!("`{}`: {values}", label.name)
}

fn write_meanings(out: &mut String, label: &LabelDoc) -> Result {
    let Values::Closed(values) = label.values else {
        return Ok(());
    };
    writeln!(out, "\n| {} | meaning |\n|---|---|", label.name)?;
    for (value, meaning) in values() {
        writeln!(out, "| `{value}` | {meaning} |")?;
    }
    Ok(())
}
