//! A real Prometheus of Debian's, scraping every second.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Instant;

use entrapool_emulator::probe::Probe;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use url::form_urlencoded;

use crate::sidecar::PATIENCE;

/// A running server; it ends when dropped.
pub(crate) struct Prometheus {
    address: SocketAddr,
    _process: Child,
    _data: TempDir,
}

/// A series of an instant query: its labels and its value now.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A loopback port that nobody has now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

impl Prometheus {
    /// Scrapes `targets` as the job `entrapool`, and evaluates the groups of `rules`.
    pub(crate) async fn start(targets: &[SocketAddr], rules: Option<&Value>) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let at = |name: &str| data.path().join(name);
        let mut config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [{
                "job_name": "entrapool",
                "static_configs": [{"targets": targets}],
            }],
        });
        if let Some(rules) = rules {
            // JSON is YAML.
            std::fs::write(at("rules.yml"), rules.to_string()).expect("a file");
            config["rule_files"] = json!([at("rules.yml")]);
        }
        std::fs::write(at("prometheus.yml"), config.to_string()).expect("a file");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", at("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(at("log")).expect("a file"))
            .kill_on_drop(true)
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!("cannot run prometheus: {error}; `cargo xtask deploy` installs it")
        });
        let server = Self {
            address,
            _process: process,
            _data: data,
        };
        let began = Instant::now();
        while server.get("/-/ready").await.is_none() {
            assert!(
                began.elapsed() < PATIENCE,
                "Prometheus does not start:\n{}",
                std::fs::read_to_string(server._data.path().join("log")).unwrap_or_default()
            );
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        server
    }

    /// What an expression gives now.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Sample> {
        let parameters = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .finish();
        let answer = self.json(&format!("/api/v1/query?{parameters}")).await;
        let data = &answer["data"];
        assert_eq!(data["resultType"], "vector", "{expression}: {answer}");
        let series = data["result"].as_array().expect("a list of series");
        series.iter().map(sample).collect()
    }

    /// The values of a label among the series that `selector` finds.
    pub(crate) async fn label_values(&self, selector: &str, label: &str) -> Vec<String> {
        let parameters = form_urlencoded::Serializer::new(String::new())
            .append_pair("match[]", selector)
            .finish();
        let answer = self
            .json(&format!("/api/v1/label/{label}/values?{parameters}"))
            .await;
        serde_json::from_value(answer["data"].clone()).expect("a list of texts")
    }

    /// The alerts that fire now: name, and the label that tells whose.
    pub(crate) async fn firing(&self) -> Vec<BTreeMap<String, String>> {
        let answer = self.json("/api/v1/alerts").await;
        let alerts = answer["data"]["alerts"].as_array().expect("a list");
        alerts
            .iter()
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| serde_json::from_value(alert["labels"].clone()).expect("labels"))
            .collect()
    }

    /// The rules that could not be evaluated, with the reason.
    pub(crate) async fn broken_rules(&self) -> Vec<String> {
        let answer = self.json("/api/v1/rules").await;
        let groups = answer["data"]["groups"].as_array().expect("a list");
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().expect("a list"));
        rules
            .filter(|rule| rule["health"] != "ok")
            .map(|rule| {
                format!(
                    "{} is {}: {}",
                    rule["name"], rule["health"], rule["lastError"]
                )
            })
            .collect()
    }

    async fn json(&self, target: &str) -> Value {
        let body = self.get(target).await;
        let body = body.unwrap_or_else(|| panic!("Prometheus refuses {target}"));
        let answer: Value = serde_json::from_str(&body).expect("Prometheus answers with JSON");
        assert_eq!(answer["status"], "success", "{target}: {body}");
        answer
    }

    async fn get(&self, target: &str) -> Option<String> {
        let reply = Probe::get(self.address, target).send().await.ok()?;
        let good = reply.status == 200;
        good.then_some(reply.body)
    }
}

fn sample(series: &Value) -> Sample {
    let labels = serde_json::from_value(series["metric"].clone()).expect("labels");
    let value = series["value"][1].as_str().expect("a value as text");
    Sample {
        labels,
        // `NaN` and `+Inf` are read, too.
        value: value.parse().expect("a number"),
    }
}
