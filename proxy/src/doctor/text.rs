//! The report as lines for people.

use std::io::{self, Write};
use std::time::Duration;

use super::report::{Outcome, Report, RouteReport, StepReport};

const STEP_WIDTH: usize = 14;
const FACT_WIDTH: usize = 12;

/// Which route it is about.
pub(super) fn heading(out: &mut dyn Write, route: &RouteReport, separate: bool) -> io::Result<()> {
    if separate {
        writeln!(out)?;
    }
    let Some(subject) = &route.subject else {
        return writeln!(out, "no route");
    };
    write!(out, "route {} ({}): ", subject.name, subject.engine)?;
    if let Some(user) = &subject.user {
        write!(out, "{user} at ")?;
    }
    write!(out, "{}", subject.server)?;
    match &subject.database {
        Some(database) => writeln!(out, ", database {database}"),
        None => writeln!(out),
    }
}

/// One step.
pub(super) fn step(out: &mut dyn Write, step: &StepReport, colours: bool) -> io::Result<()> {
    let (sign, colour) = match step.outcome {
        Outcome::Good => ("✓", "32"),
        Outcome::Warned => ("!", "33"),
        Outcome::Failed => ("✗", "31"),
        Outcome::Skipped(_) => ("-", "2"),
    };
    match colours {
        true => write!(out, "\u{1b}[{colour}m{sign}\u{1b}[0m ")?,
        false => write!(out, "{sign} ")?,
    }
    write!(out, "{:STEP_WIDTH$}", step.step.as_str())?;
    match step.outcome {
        Outcome::Skipped(why) => writeln!(out, "skipped: {why}")?,
        _ => writeln!(out, "{}", span(step.elapsed))?,
    }
    for (name, value) in &step.facts {
        writeln!(out, "    {name:FACT_WIDTH$}{value}")?;
    }
    for finding in &step.findings {
        writeln!(out, "    {:FACT_WIDTH$}{}", "what", finding.detail)?;
        let cause = finding.cause;
        let (meaning, code) = (cause.meaning, cause.code);
        writeln!(out, "    {:FACT_WIDTH$}{meaning} ({code})", "cause")?;
        writeln!(out, "    {:FACT_WIDTH$}{}", "try", finding.remedy)?;
    }
    Ok(())
}

/// The last line.
pub(super) fn summary(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let all = report.routes.len();
    let failed: Vec<_> = report
        .routes
        .iter()
        .filter_map(RouteReport::failure)
        .collect();
    writeln!(out)?;
    match failed.as_slice() {
        [] if all == 1 => writeln!(out, "The way is open."),
        [] => writeln!(out, "The ways of all {all} routes are open."),
        [first, ..] => {
            if all > 1 {
                write!(out, "{} of {all} routes: ", failed.len())?;
            }
            let code = first.findings.first().map_or("", |it| it.cause.code);
            writeln!(
                out,
                "The way breaks at the step {}: {code}. docs/troubleshooting.md has all causes.",
                first.step.as_str()
            )
        }
    }
}

fn span(elapsed: Duration) -> String {
    let millis = elapsed.as_secs_f64() * 1000.0;
    if millis < 1000.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{:.2} s", elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cause::{self, Names};
    use crate::doctor::report::{Finding, Step};

    fn shown(colours: bool) -> String {
        let mut report = StepReport::new(Step::Tcp);
        report.elapsed = Duration::from_micros(1250);
        report.fact("address", "10.0.0.4:5432");
        report.fail(Finding::new(
            &cause::TCP_REFUSED,
            "it was refused",
            &Names::EXAMPLE,
        ));
        let mut out = Vec::new();
        step(&mut out, &report, colours).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_step_says_what_why_and_what_to_try() {
        let shown = shown(false);
        let mut lines = shown.lines();
        assert_eq!(lines.next(), Some("✗ tcp           1.2 ms"));
        assert_eq!(lines.next(), Some("    address     10.0.0.4:5432"));
        assert_eq!(lines.next(), Some("    what        it was refused"));
        let cause = lines.next().unwrap();
        assert!(cause.starts_with("    cause       ") && cause.ends_with(" (tcp-refused)"));
        assert!(lines.next().unwrap().starts_with("    try         "));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn colours_are_an_offer() {
        assert!(!shown(false).contains('\u{1b}'));
        assert!(shown(true).starts_with("\u{1b}[31m✗\u{1b}[0m tcp"));
    }
}
