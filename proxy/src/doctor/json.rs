//! The report as one JSON object.

use serde_json::map::Entry;
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
    let findings: Vec<Value> = step.findings.iter().map(finding).collect();
    let mut value = json!({
        "step": step.step.as_str(),
        "outcome": step.outcome.as_str(),
        "elapsed_ms": step.elapsed.as_secs_f64() * 1000.0,
        "facts": facts(step),
        "findings": findings,
    });
    if let Outcome::Skipped(why) = step.outcome {
        value["skipped_because"] = json!(why);
    }
    value
}

/// What is told several times is a list.
fn facts(step: &StepReport) -> Map<String, Value> {
    let mut facts = Map::new();
    for (name, value) in &step.facts {
        let value = json!(value);
        match facts.entry(name.replace(' ', "_")) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Value::Array(values) => values.push(value),
                first => *first = json!([first.take(), value]),
            },
        }
    }
    facts
}

fn finding(finding: &Finding) -> Value {
    json!({
        "cause": finding.cause.code,
        "meaning": finding.cause.meaning,
        "detail": finding.detail,
        "remedy": finding.remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Step;

    #[test]
    fn what_is_told_again_becomes_a_list() {
        let mut step = StepReport::new(Step::Tls);
        for value in ["a", "b", "c"] {
            step.fact("sent through", value);
        }
        step.fact("root", "d");
        let facts = Value::Object(facts(&step));
        assert_eq!(
            facts,
            json!({ "sent_through": ["a", "b", "c"], "root": "d" })
        );
    }
}
