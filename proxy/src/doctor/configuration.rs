//! The first step: what the configuration comes to, and whether its files can be used.

use std::time::Instant;

use super::cause::{self, Cause, Names};
use super::identity::identities;
use super::report::{Finding, Step, StepReport};
use super::trial::Trial;
use super::walk::Prepared;
use crate::config::{Loaded, Route};
use crate::identity::Audience;
use crate::upstream::Shown;

/// Prepares a route as a run does, up to its first question to anybody.
pub(super) fn examine(route: &Route, loaded: &Loaded) -> (StepReport, Option<Prepared>) {
    let began = Instant::now();
    let mut report = StepReport::new(Step::Configuration);
    report.fact("listen", route.listen.to_string());
    report.fact("tls", route.upstream.tls.as_str(route.engine()));
    if let Some(target) = &route.upstream.connect_to {
        report.fact("connect to", target.to_string());
    }
    let pool = &route.pool;
    report.fact(
        "pool",
        format!("{}, at most {} backends", pool.mode.as_str(), pool.size),
    );
    let why = loaded.why_identity(&route.name).unwrap_or("?");
    // The next step tells what was chosen.
    for note in loaded.notes_on(&route.name).filter(|it| !it.ends_with(why)) {
        report.fact("note", note);
    }
    match prepare(route) {
        Ok(prepared) => (report.since(began), Some(prepared)),
        Err((cause, error)) => {
            let names = Names {
                engine: route.engine(),
                user: route.user().unwrap_or_default(),
                database: route.database().unwrap_or_default(),
            };
            report.fail(Finding::new(cause, error.to_string(), &names));
            (report.since(began), None)
        }
    }
}

type Unfit = (&'static Cause, Box<dyn std::error::Error>);

fn prepare(route: &Route) -> Result<Prepared, Unfit> {
    let settings = |error: crate::identity::IdentityError| -> Unfit {
        (&cause::CONFIGURATION, Box::new(error))
    };
    let mut identities = identities().map_err(settings)?;
    let token = identities
        .handle(&route.identity, Audience::of(route.engine()))
        .map_err(settings)?;
    let shown = Shown::default();
    let (trial, metrics) = Trial::new(route, &shown, token.clone())
        .map_err(|error| -> Unfit { (&cause::ROUTE_FILES, error) })?;
    Ok(Prepared {
        token,
        trial,
        metrics,
        shown,
    })
}
