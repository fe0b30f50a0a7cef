//! The report as one JSON object.

use serde_json::{Map, Value, json};

use super::report::{Finding, Outcome, Report, RouteReport, StepReport};
use crate::config::cli::Exit;

/// All of it.
pub(super) fn report(report: &Report) -> Value {
    let exit = report.exit();
    let routes: Vec<Value> = report.routes.iter().map(route).collect();
    json!({
        "ok": exit == Exit::Clean,
        "exit_code": exit.code(),
        "routes": routes,
    })
}

fn route(route: &RouteReport) -> Value {
    let steps: Vec<Value> = route.steps.iter().map(step).collect();
    let failed = route.failure().map(|step| step.step.as_str());
    let mut value = json!({ "failed_step": failed, "steps": steps });
    if let Some(subject) = &route.subject {
        value["route"] = json!(subject.name);
        value["engine"] = json!(subject.engine);
        value["server"] = json!(subject.server);
        value["user"] = json!(subject.user);
        value["database"] = json!(subject.database);
    }
    value
}

fn step(step: &StepReport) -> Value {
    let facts: Map<String, Value> = step
        .facts
        .iter()
        .map(|(name, value)| (name.replace(' ', "_"), json!(value)))
        .collect();
    let findings: Vec<Value> = step.findings.iter().map(finding).collect();
    let mut value = json!({
        "step": step.step.as_str(),
        "outcome": step.outcome.as_str(),
        "elapsed_ms": step.elapsed.as_secs_f64() * 1000.0,
        "facts": facts,
        "findings": findings,
    });
    if let Outcome::Skipped(why) = step.outcome {
        value["skipped_because"] = json!(why);
    }
    value
}

fn finding(finding: &Finding) -> Value {
    json!({
        "cause": finding.cause.code,
        "meaning": finding.cause.meaning,
        "detail": finding.detail,
        "remedy": finding.remedy,
    })
}
