//! Every query of the Grafana dashboard has an answer from a real Prometheus that scraped a real run.

use std::collections::BTreeSet;
use std::time::Duration;

use entrapool_emulator::{LocalAzure, ServerChoice};
use serde_json::Value;

use super::chart::root;
use super::load::Load;
use super::prometheus::Prometheus;

/// Short enough for a refresh between two scrapes.
const TOKEN_LIFE: Duration = Duration::from_secs(16);
/// A token's refresh, and what rates need.
const RUN: Duration = Duration::from_secs(20);

/// A query and where it stands.
struct Query {
    place: String,
    expression: String,
}

fn dashboard() -> Value {
    let path = root().join("deploy/helm/entrapool-monitoring/files/dashboard.json");
    let text = std::fs::read_to_string(path).expect("the dashboard");
    serde_json::from_str(&text).expect("the dashboard is JSON")
}

/// What Grafana puts in for the variables when all is chosen.
fn with_variables(text: &str) -> String {
    let text = text.replace("$__rate_interval", "1m");
    let text = ["$job", "$instance", "$route"]
        .iter()
        .fold(text, |text, variable| text.replace(variable, ".*"));
    assert!(!text.contains('$'), "an unknown variable in {text}");
    text
}

fn queries(dashboard: &Value) -> Vec<Query> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut queries = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{} asks nothing", panel["title"]);
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression");
            queries.push(Query {
                place: format!("{} {}", panel["title"], target["refId"]),
                expression: with_variables(expression),
            });
        }
    }
    queries
}

/// `label_values(SELECTOR, LABEL)` of the variables.
fn variables(dashboard: &Value) -> Vec<(String, String)> {
    let list = dashboard["templating"]["list"].as_array().expect("a list");
    let queried = list.iter().filter(|variable| variable["type"] == "query");
    let of = |variable: &Value| {
        let query = variable["query"]["query"].as_str().expect("a query");
        let inside = query.strip_prefix("label_values(")?.strip_suffix(')')?;
        let (selector, label) = inside.rsplit_once(", ")?;
        Some((with_variables(selector), label.to_owned()))
    };
    queried
        .map(|variable| of(variable).unwrap_or_else(|| panic!("not understood: {variable}")))
        .collect()
}

#[tokio::test]
#[ignore = "half a minute, and needs what `cargo xtask deploy` prepares"]
async fn every_query_of_the_dashboard_has_an_answer() {
    let azure = LocalAzure::builder()
        .server(ServerChoice::Real)
        .token_life(TOKEN_LIFE);
    let azure = azure.start().await.expect("the local Azure starts");
    let mut load = Load::on(&azure).await;
    let prometheus = Prometheus::start(&[load.proxy.http()], None).await;
    tokio::time::sleep(RUN).await;
    load.assert_busy();
    let dashboard = dashboard();
    let mut wrong = Vec::new();
    let queries = queries(&dashboard);
    assert!(queries.len() > 35, "only {} queries", queries.len());
    for Query { place, expression } in &queries {
        let answer = prometheus.query(expression).await;
        if answer.iter().all(|sample| sample.value.is_nan()) {
            wrong.push(format!("{place}: {expression}\n  gives {answer:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "without data:\n{}\n{}",
        wrong.join("\n"),
        load.proxy.log().tail()
    );
    let variables = variables(&dashboard);
    assert_eq!(variables.len(), 3);
    for (selector, label) in variables {
        let values = prometheus.label_values(&selector, &label).await;
        assert!(!values.is_empty(), "no {label} of {selector}");
    }
    // And the other way round: what we measure can be seen.
    let metrics = load.proxy.metrics().await;
    let families: BTreeSet<_> = metrics
        .samples()
        .iter()
        .filter(|sample| sample.name.starts_with("entrapool_"))
        .map(|sample| family(&sample.name))
        .collect();
    let shown = |name: &&str| {
        let asked = |query: &Query| query.expression.contains(*name);
        !queries.iter().any(asked)
    };
    let unseen: Vec<_> = families.into_iter().filter(shown).collect();
    assert_eq!(unseen, Vec::<&str>::new(), "on no panel");
}

fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}
