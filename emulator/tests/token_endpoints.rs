//! The App Service endpoint, and Entra's with a secret and with a rotating assertion.

use std::sync::Arc;
use std::time::Duration;

use entrapool_emulator::app_service::AppService;
use entrapool_emulator::directory::{Directory, Principal};
use entrapool_emulator::entra::Entra;
use entrapool_emulator::faults::Fault;
use entrapool_emulator::issuer::{Claims, Issuer};
use entrapool_emulator::kubernetes::{Cluster, TokenFile};
use entrapool_emulator::managed_identity::{Assignment, ManagedIdentities};
use entrapool_emulator::pki::Pki;
use entrapool_emulator::probe::{Probe, Reply};
use hyper::header::HeaderValue;
use serde_json::Value;
use url::form_urlencoded::Serializer;

type Outcome = anyhow::Result<()>;

const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[tokio::test]
async fn app_service_wants_its_header_and_its_version() -> Outcome {
    let issuer = Arc::new(Issuer::new(Arc::new(Directory::new("test")))?);
    let identities = Arc::new(ManagedIdentities::new(issuer));
    identities.assign(Assignment::System, Principal::named("app"));
    identities.assign(Assignment::User, Principal::named("extra"));
    let app = AppService::start(identities).await?;
    assert!(app.identity_endpoint().starts_with("http://127.0.0.1:"));
    let secret: &'static str = Box::leak(app.identity_header().to_owned().into_boxed_str());
    HeaderValue::from_str(secret)?;
    let ask = |query: &str| {
        let target = format!("/msi/token?resource=https://database.windows.net/&{query}");
        Probe::get(app.address(), &target)
    };
    let good = || ask("api-version=2019-08-01").header("x-identity-header", secret);
    let reply = good().send().await?;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body: Value = serde_json::from_str(&reply.body)?;
    assert!(body["expires_on"].is_string());
    assert_eq!(body["client_id"], Principal::named("app").client_id);

    let extra = Principal::named("extra");
    let query = format!("api-version=2019-08-01&mi_res_id={}", extra.resource_id);
    let reply = ask(&query)
        .header("x-identity-header", secret)
        .send()
        .await?;
    let body: Value = serde_json::from_str(&reply.body)?;
    assert_eq!(body["client_id"], extra.client_id);

    assert_eq!(ask("api-version=2019-08-01").send().await?.status, 401);
    let wrong = ask("api-version=2019-08-01").header("x-identity-header", "guess");
    assert_eq!(wrong.send().await?.status, 401);
    let old = ask("api-version=2018-02-01").header("x-identity-header", secret);
    assert_eq!(old.send().await?.status, 400);
    app.faults().queue(Fault::Status(500));
    assert_eq!(good().send().await?.status, 500);
    Ok(())
}

struct Tenant {
    entra: Entra,
    issuer: Arc<Issuer>,
    pki: Pki,
}

async fn tenant() -> anyhow::Result<Tenant> {
    let pki = Pki::new()?;
    let issuer = Arc::new(Issuer::new(Arc::new(Directory::new("test")))?);
    let entra = Entra::start(Arc::clone(&issuer), &pki).await?;
    Ok(Tenant { entra, issuer, pki })
}

impl Tenant {
    async fn post(&self, fields: &[(&str, &str)]) -> anyhow::Result<Reply> {
        let tenant = self.issuer.directory().tenant_id();
        let target = format!("/{tenant}/oauth2/v2.0/token");
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let probe = Probe::get(self.entra.address(), &target).post(form);
        Ok(probe.tls(self.pki.client_config()?).send().await?)
    }

    /// The AADSTS code of a refusal.
    async fn code(&self, fields: &[(&str, &str)]) -> anyhow::Result<u64> {
        let reply = self.post(fields).await?;
        assert!(reply.status.is_client_error());
        let body: Value = serde_json::from_str(&reply.body)?;
        let text = body["error_description"].as_str().unwrap_or_default();
        let code = body["error_codes"][0].as_u64().unwrap_or_default();
        assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
        Ok(code)
    }
}

fn with<'a>(fields: &[(&'a str, &'a str)], name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let changed =
        |(known, old): &(&'a str, &'a str)| (*known, if *known == name { value } else { *old });
    fields.iter().map(changed).collect()
}

#[tokio::test]
async fn entra_grants_for_the_right_secret() -> Outcome {
    let tenant = tenant().await?;
    let app = Principal::named("service");
    tenant.entra.register_secret(app.clone(), "s3cret");
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", app.client_id.as_str()),
        ("client_secret", "s3cret"),
        ("scope", SCOPE),
    ];
    let reply = tenant.post(&good).await?;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body: Value = serde_json::from_str(&reply.body)?;
    assert!(body["expires_in"].is_u64());
    let token = body["access_token"].as_str().unwrap_or_default();
    let claims: Claims = tenant.issuer.public_key().open(token)?;
    assert_eq!(claims.oid, app.object_id);

    assert_eq!(
        tenant.code(&with(&good, "client_secret", "no")).await?,
        7_000_215
    );
    assert_eq!(tenant.code(&with(&good, "client_id", "no")).await?, 700_016);
    assert_eq!(
        tenant.code(&with(&good, "grant_type", "password")).await?,
        70_003
    );
    assert_eq!(
        tenant
            .code(&with(&good, "scope", "https://no.such/.default"))
            .await?,
        500_011
    );
    assert_eq!(
        tenant.code(&with(&good, "scope", "openid")).await?,
        1_002_012
    );
    assert_eq!(tenant.code(&good[..3]).await?, 900_144);
    assert_eq!((tenant.entra.granted(), tenant.entra.refused()), (1, 6));
    Ok(())
}

#[tokio::test]
async fn entra_needs_its_own_tenant_and_a_client_that_trusts_it() -> Outcome {
    let tenant = tenant().await?;
    let config = tenant.pki.client_config()?;
    let other = Probe::get(tenant.entra.address(), "/other/oauth2/v2.0/token");
    let reply = other.post("").tls(config.clone()).send().await?;
    assert!(reply.body.contains("AADSTS90002"), "{}", reply.body);
    let keys = format!(
        "/{}/discovery/v2.0/keys",
        tenant.issuer.directory().tenant_id()
    );
    let stranger = Pki::new()?.client_config()?;
    let probe = Probe::get(tenant.entra.address(), &keys);
    assert!(probe.clone().tls(stranger).send().await.is_err());
    let reply = probe.tls(config).send().await?;
    assert_eq!(
        serde_json::from_str::<Value>(&reply.body)?,
        tenant.issuer.jwks()
    );
    Ok(())
}

#[tokio::test]
async fn entra_checks_the_assertion_of_a_rotating_file() -> Outcome {
    let tenant = tenant().await?;
    let app = Principal::named("pod");
    let cluster = Arc::new(Cluster::new()?);
    tenant
        .entra
        .register_federated(app.clone(), &cluster, "shop", "web");
    let life = Duration::from_secs(2);
    let file = TokenFile::mount(Arc::clone(&cluster), "shop", "web", life)?;
    let first = std::fs::read_to_string(file.path())?;
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", app.client_id.as_str()),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", first.as_str()),
        ("scope", SCOPE),
    ];
    assert_eq!(tenant.post(&good).await?.status, 200);
    let other = cluster.service_account_token("shop", "db", life)?;
    assert_eq!(
        tenant
            .code(&with(&good, "client_assertion", &other))
            .await?,
        700_213
    );
    let forged = Cluster::new()?.service_account_token("shop", "web", life)?;
    assert_eq!(
        tenant
            .code(&with(&good, "client_assertion", &forged))
            .await?,
        700_027
    );

    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(tenant.code(&good).await?, 700_024);
    let second = std::fs::read_to_string(file.path())?;
    assert_ne!(first, second);
    assert_eq!(
        tenant
            .post(&with(&good, "client_assertion", &second))
            .await?
            .status,
        200
    );
    file.rotate()?;
    assert_ne!(second, std::fs::read_to_string(file.path())?);
    let path = file.path();
    drop(file);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!path.exists());
    Ok(())
}
