//! `entrapool doctor`: walks the path from the configuration to a query's answer, step by step, and
//! says where it breaks, why, and what to try.
//!
//! `main` calls [`run`]. What is judged is the program's own way: the identities, the name look-up,
//! TCP, TLS and login of a route as it runs, taken one by one. One file per step; `report` is what
//! they found, `cause` every diagnosis there is. It serves nobody and prints no secret.

mod cause;
mod claims;
mod configuration;
mod dns;
mod identity;
mod json;
mod login;
mod query;
mod reference;
mod report;
mod resolve;
mod tcp;
mod text;
mod tls;
mod trial;
mod walk;

use std::io::{self, Write};
use std::time::Instant;

use crate::config::cli::{DoctorOptions, Exit};
use crate::config::{self, ConfigErrors, Environment, Loaded, Route};
use cause::Names;
use report::{Finding, Report, RouteReport, Step, StepReport};
use walk::Walk;

pub use reference::troubleshooting_markdown;

/// How the report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Lines for people, as the steps end.
    Text {
        /// With the colours of a terminal.
        colours: bool,
    },
    /// One JSON object, at the end.
    Json,
}

/// Examines the routes of `options`; the report goes to `out`. Must be called on a runtime.
///
/// The exit is [`Exit::Clean`] if nothing has failed; else that of the first route that has.
pub async fn run(
    options: &DoctorOptions,
    env: &dyn Environment,
    look: Look,
    out: &mut dyn Write,
) -> Exit {
    let mut printer = Printer {
        look,
        out,
        broken: false,
        report: Report::default(),
    };
    match routes(options, env) {
        Err(unfit) => {
            printer.begin(RouteReport::of_nothing());
            printer.step(unfit);
            for step in Step::ALL.into_iter().skip(1) {
                printer.step(StepReport::skipped(step, "there is no route to examine"));
            }
        }
        Ok((loaded, routes)) => {
            for route in &routes {
                let walk = Walk::new(route, &loaded, options.timeout);
                walk.run(&mut printer).await;
            }
        }
    }
    printer.end()
}

/// The routes that are meant, with everything that was loaded.
fn routes(
    options: &DoctorOptions,
    env: &dyn Environment,
) -> Result<(Loaded, Vec<Route>), StepReport> {
    let began = Instant::now();
    let (names, rest) = options.names();
    let unfit = |findings: Vec<Finding>| {
        let mut report = StepReport::new(Step::Configuration);
        for finding in findings {
            report.fail(finding);
        }
        report.since(began)
    };
    let mut loaded = config::load(&rest, env).map_err(|errors| unfit(findings(&errors)))?;
    let all = std::mem::take(&mut loaded.config.routes);
    let known: Vec<String> = all.iter().map(|route| route.name.clone()).collect();
    if let Some(stranger) = names.iter().find(|name| !known.contains(name)) {
        let detail = format!(
            "no route is named {stranger:?}; there are: {}",
            known.join(", ")
        );
        let finding = Finding::new(&cause::ROUTE_UNKNOWN, detail, &Names::EXAMPLE);
        return Err(unfit(vec![finding]));
    }
    let meant = |route: &Route| names.is_empty() || names.contains(&route.name);
    Ok((loaded, all.into_iter().filter(meant).collect()))
}

fn findings(errors: &ConfigErrors) -> Vec<Finding> {
    let finding = |error: &config::ConfigError| {
        Finding::new(&cause::CONFIGURATION, error.to_string(), &Names::EXAMPLE)
    };
    errors.iter().map(finding).collect()
}

/// Shows the report while it grows, and keeps it.
struct Printer<'a> {
    look: Look,
    out: &'a mut dyn Write,
    /// Nobody reads any more.
    broken: bool,
    report: Report,
}

impl Printer<'_> {
    fn begin(&mut self, route: RouteReport) {
        if let Look::Text { .. } = self.look {
            let separate = !self.report.routes.is_empty();
            self.write(|out| text::heading(out, &route, separate));
        }
        self.report.routes.push(route);
    }

    fn step(&mut self, step: StepReport) {
        if let Look::Text { colours } = self.look {
            self.write(|out| text::step(out, &step, colours));
        }
        if let Some(route) = self.report.routes.last_mut() {
            route.steps.push(step);
        }
    }

    fn end(mut self) -> Exit {
        let report = std::mem::take(&mut self.report);
        match self.look {
            Look::Text { .. } => self.write(|out| text::summary(out, &report)),
            Look::Json => self.write(|out| writeln!(out, "{:#}", json::report(&report))),
        }
        match report.exit() {
            Exit::Clean if self.broken => Exit::Failure,
            exit => exit,
        }
    }

    fn write(&mut self, what: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        let written = what(self.out).and_then(|()| self.out.flush());
        self.broken |= written.is_err();
    }
}
