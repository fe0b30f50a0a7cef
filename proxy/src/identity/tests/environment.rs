//! What azure_identity reads from the environment, and what nobody reads: tests that run again in
//! a process of their own, since an environment belongs to a process.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::config::{Cloud, IdentitySpec, Source};
use crate::identity::{Audience, Identities, IdentityOptions};

use super::ledger::SharedLedger;
use super::stand_in::{Reply, StandIn};

/// Set in the second process: what the handle is made for.
const ENDPOINT: &str = "ENTRAPOOL_TEST_IMDS_ENDPOINT";

/// Runs the test `name` again with this environment; its failure is ours.
async fn again(name: &str, environment: &[(&str, &str)]) {
    let path = format!("identity::tests::environment::{name}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &path, "--nocapture"])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(30), output)
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "the test ran: {text}");
}

async fn first_token(source: Source, imds_endpoint: Option<String>) -> String {
    let metrics = Arc::new(SharedLedger::default());
    let options = IdentityOptions::default();
    let mut identities = Identities::new(metrics, CancellationToken::new(), options).unwrap();
    let spec = IdentitySpec {
        source,
        selector: None,
        imds_endpoint,
        cloud: Cloud::Public,
        password_file: None,
    };
    let handle = identities
        .handle(&spec, Audience::PostgresAndMysql)
        .unwrap();
    let ready = tokio::time::timeout(Duration::from_secs(15), handle.ready()).await;
    assert!(ready.is_ok(), "{:?}", handle.status());
    handle.current().unwrap().secret().to_owned()
}

fn reply(token: &str) -> Reply {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    Reply::managed(token, now + 3600)
}

#[tokio::test]
async fn app_service_is_found_by_its_variables() {
    if std::env::var_os(ENDPOINT).is_some() {
        assert_eq!(
            first_token(Source::AppService, None).await,
            "of-app-service"
        );
        return;
    }
    let stand_in = StandIn::plain(reply("of-app-service")).await;
    let endpoint = format!("{}/msi/token", stand_in.url());
    let environment = [
        (ENDPOINT, ""),
        ("IDENTITY_ENDPOINT", endpoint.as_str()),
        ("IDENTITY_HEADER", "guid-1"),
    ];
    again("app_service_is_found_by_its_variables", &environment).await;
    let seen = stand_in.seen();
    assert_eq!(
        seen[0].line,
        "GET /msi/token?api-version=2019-08-01&\
         resource=https%3A%2F%2Fossrdbms-aad.database.windows.net"
    );
    assert_eq!(seen[0].headers["x-identity-header"], "guid-1");
}

#[tokio::test]
async fn imds_is_asked_directly_whatever_the_environment_says() {
    if let Some(endpoint) = std::env::var_os(ENDPOINT) {
        let endpoint = endpoint.into_string().unwrap();
        assert_eq!(first_token(Source::Imds, Some(endpoint)).await, "of-imds");
        return;
    }
    let imds = StandIn::plain(reply("of-imds")).await;
    let other = StandIn::plain(reply("of-another")).await;
    let url = other.url();
    let mut environment = vec![(ENDPOINT, imds.url())];
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        environment.push((name, url.clone()));
    }
    environment.push(("IDENTITY_ENDPOINT", format!("{url}/msi/token")));
    environment.push(("IDENTITY_HEADER", "guid-1".to_owned()));
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    again(
        "imds_is_asked_directly_whatever_the_environment_says",
        &environment,
    )
    .await;
    assert!(other.seen().is_empty(), "{:?}", other.seen());
    let seen = imds.seen();
    assert!(
        seen[0]
            .line
            .starts_with("GET /metadata/identity/oauth2/token?"),
        "{}",
        seen[0].line
    );
    assert!(
        !seen[0].headers.contains_key("x-identity-header"),
        "the secret is not for IMDS"
    );
}
