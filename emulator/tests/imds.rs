//! Every rule of the metadata service, asked over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entrapool_emulator::directory::{Directory, Principal};
use entrapool_emulator::faults::{Fault, Twist};
use entrapool_emulator::imds::Imds;
use entrapool_emulator::issuer::{Claims, Issuer, OSSRDBMS_AUDIENCE};
use entrapool_emulator::managed_identity::{Assignment, ManagedIdentities};
use entrapool_emulator::probe::{Probe, Reply};
use hyper::Method;
use serde_json::Value;
use tokio::task::JoinSet;

const PATH: &str = "/metadata/identity/oauth2/token";
const GOOD: &str =
    "api-version=2018-02-01&resource=https%3A%2F%2Fossrdbms-aad.database.windows.net";

type Outcome = anyhow::Result<()>;

struct Machine {
    imds: Imds,
    identities: Arc<ManagedIdentities>,
    issuer: Arc<Issuer>,
}

/// A machine with the identities `my-vm` (its own) and `extra`.
async fn machine() -> anyhow::Result<Machine> {
    let machine = bare_machine().await?;
    let identities = &machine.identities;
    identities.assign(Assignment::System, Principal::named("my-vm"));
    identities.assign(Assignment::User, Principal::named("extra"));
    Ok(machine)
}

async fn bare_machine() -> anyhow::Result<Machine> {
    let issuer = Arc::new(Issuer::new(Arc::new(Directory::new("test")))?);
    let identities = Arc::new(ManagedIdentities::new(Arc::clone(&issuer)));
    let imds = Imds::start(Arc::clone(&identities)).await?;
    // The limits have a test of their own.
    imds.set_limits(1000, 1000);
    Ok(Machine {
        imds,
        identities,
        issuer,
    })
}

impl Machine {
    fn probe(&self, query: &str) -> Probe {
        Probe::get(self.imds.address(), &format!("{PATH}?{query}"))
    }

    async fn ask(&self, query: &str) -> anyhow::Result<Reply> {
        Ok(self.probe(query).header("metadata", "true").send().await?)
    }

    async fn token(&self, query: &str) -> anyhow::Result<Claims> {
        let reply = self.ask(query).await?;
        anyhow::ensure!(reply.status == 200, "{} {}", reply.status, reply.body);
        let body: Value = serde_json::from_str(&reply.body)?;
        let token = body["access_token"].as_str().unwrap_or_default();
        Ok(self.issuer.public_key().open(token)?)
    }
}

/// Status and `error` of a refusal.
fn refusal(reply: &Reply) -> (u16, String) {
    let body: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    assert!(body["error_description"].is_string(), "{}", reply.body);
    let code = body["error"].as_str().unwrap_or_default();
    (reply.status.as_u16(), code.to_owned())
}

#[tokio::test]
async fn a_good_request_gets_a_token_in_strings() -> Outcome {
    let machine = machine().await?;
    let reply = machine.ask(GOOD).await?;
    assert_eq!(reply.status, 200);
    let body: Value = serde_json::from_str(&reply.body)?;
    for field in [
        "access_token",
        "client_id",
        "expires_in",
        "expires_on",
        "not_before",
        "resource",
        "token_type",
        "refresh_token",
    ] {
        assert!(body[field].is_string(), "{field} in {body}");
    }
    assert_eq!(body["refresh_token"], "");
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["resource"], OSSRDBMS_AUDIENCE);
    let claims = machine.token(GOOD).await?;
    assert_eq!(body["expires_on"], claims.exp.to_string());
    assert_eq!(claims.aud, OSSRDBMS_AUDIENCE);
    assert_eq!(claims.oid, Principal::named("my-vm").object_id);
    Ok(())
}

#[tokio::test]
async fn the_metadata_header_must_be_there_and_true() -> Outcome {
    let machine = machine().await?;
    let expected = (400, "bad_request_102".to_owned());
    assert_eq!(refusal(&machine.probe(GOOD).send().await?), expected);
    for value in ["false", "True", "1"] {
        let probe = machine.probe(GOOD).header("metadata", value);
        assert_eq!(refusal(&probe.send().await?), expected, "{value}");
    }
    Ok(())
}

#[tokio::test]
async fn forwarded_requests_and_other_methods_are_refused() -> Outcome {
    let machine = machine().await?;
    let good = machine.probe(GOOD).header("metadata", "true");
    let forwarded = good.clone().header("x-forwarded-for", "10.0.0.1");
    assert_eq!(refusal(&forwarded.send().await?).0, 400);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let reply = good.clone().method(method).send().await?;
        assert_eq!(refusal(&reply).0, 405);
    }
    let elsewhere = Probe::get(machine.imds.address(), "/metadata/nothing");
    let reply = elsewhere.header("metadata", "true").send().await?;
    assert_eq!(reply.status, 404);
    Ok(())
}

#[tokio::test]
async fn the_query_is_checked() -> Outcome {
    let machine = machine().await?;
    let extra = Principal::named("extra");
    let resource = "resource=https://ossrdbms-aad.database.windows.net";
    for (query, code) in [
        (resource.to_owned(), "invalid_request"),
        (
            format!("api-version=2017-09-01&{resource}"),
            "invalid_request",
        ),
        (format!("api-version=latest&{resource}"), "invalid_request"),
        (format!("{GOOD}&api-version=2018-02-01"), "invalid_request"),
        (format!("{GOOD}&resource=x"), "invalid_request"),
        ("api-version=2018-02-01".to_owned(), "invalid_request"),
        (
            "api-version=2018-02-01&resource=https://no.such".to_owned(),
            "invalid_resource",
        ),
        (format!("{GOOD}&client_id=unknown"), "invalid_request"),
        (format!("{GOOD}&object_id=unknown"), "invalid_request"),
        (
            format!(
                "{GOOD}&client_id={}&object_id={}",
                extra.client_id, extra.object_id
            ),
            "invalid_request",
        ),
    ] {
        let reply = machine.ask(&query).await?;
        assert_eq!(refusal(&reply), (400, code.to_owned()), "{query}");
    }
    let newer = GOOD.replace("2018-02-01", "2019-08-01");
    assert_eq!(machine.ask(&newer).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn selectors_name_an_identity() -> Outcome {
    let machine = machine().await?;
    let extra = Principal::named("extra");
    for selector in [
        format!("client_id={}", extra.client_id),
        format!("object_id={}", extra.object_id.to_uppercase()),
        format!("msi_res_id={}", extra.resource_id),
    ] {
        let claims = machine.token(&format!("{GOOD}&{selector}")).await?;
        assert_eq!(claims.oid, extra.object_id, "{selector}");
    }
    Ok(())
}

#[tokio::test]
async fn without_a_selector_the_identity_must_be_clear() -> Outcome {
    let machine = bare_machine().await?;
    assert_eq!(refusal(&machine.ask(GOOD).await?).0, 400);
    machine
        .identities
        .assign(Assignment::User, Principal::named("one"));
    assert_eq!(
        machine.token(GOOD).await?.oid,
        Principal::named("one").object_id
    );
    machine
        .identities
        .assign(Assignment::User, Principal::named("two"));
    let reply = machine.ask(GOOD).await?;
    assert!(
        reply.body.contains("Multiple user assigned identities"),
        "{}",
        reply.body
    );
    assert_eq!(refusal(&reply), (400, "invalid_request".to_owned()));
    machine
        .identities
        .assign(Assignment::System, Principal::named("vm"));
    assert_eq!(
        machine.token(GOOD).await?.oid,
        Principal::named("vm").object_id
    );
    Ok(())
}

#[tokio::test]
async fn the_platform_caches_tokens_until_they_are_renewed() -> Outcome {
    let machine = machine().await?;
    let first = machine.token(GOOD).await?;
    assert_eq!(machine.token(GOOD).await?.uti, first.uti);
    assert_eq!(machine.identities.minted(), 1);
    machine.identities.renew_at_percent(0);
    assert_ne!(machine.token(GOOD).await?.uti, first.uti);
    machine.identities.renew_at_percent(100);
    machine.issuer.set_life(Duration::from_secs(1));
    machine.identities.forget_tokens();
    let short = machine.token(GOOD).await?;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_ne!(machine.token(GOOD).await?.uti, short.uti);
    Ok(())
}

#[tokio::test]
async fn more_than_twenty_requests_a_second_are_too_many() -> Outcome {
    let machine = machine().await?;
    machine.imds.set_limits(20, 5);
    for _ in 0..20 {
        assert_eq!(machine.ask(GOOD).await?.status, 200);
    }
    let reply = machine.ask(GOOD).await?;
    assert_eq!(refusal(&reply).0, 429);
    assert_eq!(reply.headers["retry-after"], "1");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(machine.ask(GOOD).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn more_than_five_requests_at_once_are_too_many() -> Outcome {
    let machine = machine().await?;
    machine.imds.set_limits(20, 5);
    machine
        .imds
        .faults()
        .set(Fault::Slow(Duration::from_millis(500)));
    let mut asked = JoinSet::new();
    for _ in 0..8 {
        asked.spawn(machine.probe(GOOD).header("metadata", "true").send());
    }
    let mut refused = 0;
    while let Some(reply) = asked.join_next().await {
        refused += usize::from(reply??.status == 429);
    }
    assert_eq!(refused, 3);
    assert_eq!(machine.imds.faults().requests(), 8);
    assert_eq!(machine.imds.faults().answered(200), 5);
    Ok(())
}

#[tokio::test]
async fn faults_are_scripted() -> Outcome {
    let machine = machine().await?;
    let faults = machine.imds.faults();
    for status in [400, 404, 410, 429, 500] {
        faults.queue(Fault::Status(status));
        let reply = machine.ask(GOOD).await?;
        assert_eq!(refusal(&reply).0, status);
        assert_eq!(reply.headers.contains_key("retry-after"), status == 429);
    }
    faults.queue(Fault::Garbage);
    let reply = machine.ask(GOOD).await?;
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_str::<Value>(&reply.body).is_err());
    faults.queue(Fault::Token(Twist::NumericExpiry));
    let body: Value = serde_json::from_str(&machine.ask(GOOD).await?.body)?;
    assert!(body["expires_on"].is_u64(), "{body}");
    let pause = Duration::from_millis(300);
    faults.queue(Fault::Slow(pause));
    let asked = Instant::now();
    assert_eq!(machine.ask(GOOD).await?.status, 200);
    assert!(asked.elapsed() >= pause);
    faults.set(Fault::BlackHole);
    for _ in 0..2 {
        let probe = machine.probe(GOOD).header("metadata", "true");
        let outcome = probe.limit(Duration::from_millis(200)).send().await;
        assert!(outcome.is_err());
    }
    faults.clear();
    assert_eq!(machine.ask(GOOD).await?.status, 200);
    assert_eq!(faults.requests(), 11);
    Ok(())
}

#[tokio::test]
async fn the_listener_closes_and_comes_back_on_the_same_port() -> Outcome {
    let machine = machine().await?;
    let address = machine.imds.address();
    for _ in 0..2 {
        machine.imds.refuse_connections().await;
        assert!(machine.ask(GOOD).await.is_err());
        assert_eq!(
            tokio::net::TcpStream::connect(address)
                .await
                .map_err(|error| error.kind())
                .err(),
            Some(std::io::ErrorKind::ConnectionRefused)
        );
        machine.imds.accept_connections().await?;
        assert_eq!(machine.ask(GOOD).await?.status, 200);
    }
    drop(machine);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    Ok(())
}
