//! Real sources and the real transport against stand-ins, in real but short time.

use std::fs;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use azure_core::credentials::Secret;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{ClientSecret, Cloud, IdentitySpec, Selector, Source};
use crate::identity::failure::{Failure, FailureClass};
use crate::identity::source::{Fetched, ManagedIdentity, Proof, ServicePrincipal, TokenSource};
use crate::identity::transport::{Exchange, Patience, Peer, Wire};
use crate::identity::{Audience, Identities, IdentityError, IdentityOptions};

use super::ledger::SharedLedger;
use super::stand_in::{Reply, StandIn};

/// A token source, and what it told the metrics.
pub(super) struct Probe {
    source: TokenSource,
    ledger: SharedLedger,
}

impl Probe {
    fn exchange(
        ledger: &SharedLedger,
        peer: Peer,
        root: Option<CertificateDer<'static>>,
        patience: Patience,
    ) -> Arc<Exchange> {
        let wire = Wire::new(root.into_iter().collect(), patience).unwrap();
        Arc::new(Exchange::new(
            Arc::new(wire),
            peer,
            Arc::new(ledger.clone()),
        ))
    }

    pub(super) fn imds(address: SocketAddr, selector: Option<Selector>) -> Self {
        Self::patient(address, selector, Patience::default())
    }

    /// Gives up soon; only for sources that never answer.
    fn hasty(address: SocketAddr) -> Self {
        let limits = Patience {
            connect_near: Duration::from_millis(200),
            connect_far: Duration::from_millis(200),
            total: Duration::from_millis(600),
        };
        Self::patient(address, None, limits)
    }

    fn patient(address: SocketAddr, selector: Option<Selector>, patience: Patience) -> Self {
        let ledger = SharedLedger::default();
        let endpoint = Some(Url::parse(&format!("http://{address}")).unwrap());
        let peer = Peer::Imds {
            endpoint,
            named: selector.is_some(),
        };
        let exchange = Self::exchange(&ledger, peer, None, patience);
        let scope = Audience::PostgresAndMysql.scope(Cloud::Public);
        let source = TokenSource::Managed(ManagedIdentity {
            exchange,
            selector,
            scope,
        });
        Self { source, ledger }
    }

    pub(super) fn entra(
        stand_in: &StandIn,
        proof: Proof,
        root: Option<CertificateDer<'static>>,
    ) -> Self {
        let ledger = SharedLedger::default();
        let source = TokenSource::Principal(ServicePrincipal {
            exchange: Self::exchange(&ledger, Peer::Entra, root, Patience::default()),
            tenant_id: "tenant-1".to_owned(),
            client_id: "client-1".to_owned(),
            proof,
            cloud: Cloud::Public,
            authority: Some(stand_in.url()),
            scope: Audience::PostgresAndMysql.scope(Cloud::Public),
        });
        Self { source, ledger }
    }

    async fn token(&mut self) -> (String, SystemTime) {
        match self.source.fetch().await {
            Ok(Fetched::Token { secret, expires_at }) => {
                (secret.as_str().to_owned(), expires_at.unwrap())
            }
            Ok(Fetched::Unchanged) => panic!("only files are unchanged"),
            Err(failure) => panic!("{failure}"),
        }
    }

    pub(super) async fn failure(&mut self) -> Failure {
        self.source.fetch().await.err().unwrap()
    }
}

fn in_an_hour() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 3600
}

#[tokio::test]
async fn imds_is_asked_as_documented() {
    let expiry = in_an_hour();
    let stand_in = StandIn::plain(Reply::managed("the-token", expiry)).await;
    let mut probe = Probe::imds(stand_in.address, None);
    let (token, expires_at) = probe.token().await;
    assert_eq!(token, "the-token");
    assert_eq!(expires_at, UNIX_EPOCH + Duration::from_secs(expiry));
    let seen = stand_in.seen();
    assert_eq!(
        seen[0].line,
        "GET /metadata/identity/oauth2/token?api-version=2019-08-01&\
         resource=https%3A%2F%2Fossrdbms-aad.database.windows.net"
    );
    let header = |name: &str| {
        seen[0]
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    assert_eq!(header("metadata"), Some("true"));
    assert_eq!(header("x-forwarded-for"), None);
    assert_eq!(header("host"), Some(stand_in.address.to_string().as_str()));
    assert!(header("user-agent").unwrap().contains("entrapool"));
    assert_eq!(probe.ledger.0.statuses(), [Some(200)]);
}

#[tokio::test]
async fn each_fetch_asks_anew_though_the_token_is_far_from_its_expiry() {
    let stand_in = StandIn::plain(Reply::managed("one", in_an_hour())).await;
    let mut probe = Probe::imds(stand_in.address, None);
    assert_eq!(probe.token().await.0, "one");
    stand_in.answers(Reply::managed("two", in_an_hour()));
    assert_eq!(probe.token().await.0, "two");
    assert_eq!(stand_in.seen().len(), 2);
}

#[tokio::test]
async fn a_selector_names_the_identity() {
    for (selector, query) in [
        (Selector::ClientId("c-1".to_owned()), "&client_id=c-1"),
        (Selector::ObjectId("o-1".to_owned()), "&object_id=o-1"),
        (
            Selector::ResourceId("/s/r".to_owned()),
            "&msi_res_id=%2Fs%2Fr",
        ),
    ] {
        let stand_in = StandIn::plain(Reply::managed("t", in_an_hour())).await;
        Probe::imds(stand_in.address, Some(selector)).token().await;
        assert!(
            stand_in.seen()[0].line.ends_with(query),
            "{}",
            stand_in.seen()[0].line
        );
    }
}

#[tokio::test]
async fn a_numeric_expiry_is_understood() {
    let expiry = in_an_hour();
    let body = format!(
        r#"{{"access_token":"t","expires_on":{expiry},"resource":"r","token_type":"Bearer"}}"#
    );
    let stand_in = StandIn::plain(Reply::new(200, body)).await;
    let (_, expires_at) = Probe::imds(stand_in.address, None).token().await;
    assert_eq!(expires_at, UNIX_EPOCH + Duration::from_secs(expiry));
}

#[tokio::test]
async fn every_refusal_of_imds_is_one_question_and_one_class() {
    use FailureClass::*;
    let error = r#"{"error":"invalid_request","error_description":"what IMDS says"}"#;
    for (status, class) in [
        (400, Rejected),
        (403, Forbidden),
        (404, Updating),
        (410, Updating),
        (429, Throttled),
        (500, ServerError),
        (503, ServerError),
        (302, InvalidAnswer),
    ] {
        let stand_in = StandIn::plain(Reply::new(status, error)).await;
        let mut probe = Probe::imds(stand_in.address, None);
        let failure = probe.failure().await;
        assert_eq!(failure.class, class, "{failure}");
        let message = format!("IMDS answered {status}: what IMDS says");
        assert!(failure.to_string().starts_with(&message), "{failure}");
        assert_eq!(
            stand_in.seen().len(),
            1,
            "azure_identity's own retries are off"
        );
        assert_eq!(probe.ledger.0.statuses(), [Some(status)]);
    }
}

#[tokio::test]
async fn a_throttled_source_says_for_how_long() {
    let mut reply = Reply::new(429, "");
    reply.headers.push(("retry-after", "17"));
    let stand_in = StandIn::plain(reply).await;
    let failure = Probe::imds(stand_in.address, None).failure().await;
    assert_eq!(failure.retry_after, Some(Duration::from_secs(17)));
}

#[tokio::test]
async fn garbage_and_floods_are_refused_without_being_quoted() {
    for body in [
        "<html>hello-body</html>".to_owned(),
        "hello-body".repeat(40_000),
    ] {
        let stand_in = StandIn::plain(Reply::new(200, body)).await;
        let failure = Probe::imds(stand_in.address, None).failure().await;
        assert_eq!(failure.class, FailureClass::InvalidAnswer);
        assert!(!failure.to_string().contains("hello-body"), "{failure}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_given_up() {
    let mut reply = Reply::managed("t", in_an_hour());
    reply.after = Duration::from_secs(60);
    let stand_in = StandIn::plain(reply).await;
    let mut probe = Probe::hasty(stand_in.address);
    let failure = probe.failure().await;
    assert_eq!(failure.class, FailureClass::Timeout);
    assert!(
        failure
            .message
            .starts_with("no complete answer from IMDS at http://127."),
        "{failure}"
    );
    assert!(failure.hint.contains("is this an Azure VM?"), "{failure}");
    assert_eq!(probe.ledger.0.statuses(), [None]);
}

#[tokio::test]
async fn a_black_hole_costs_the_connect_limit() {
    // The accept queue of a listener that accepts nobody: once full, a SYN gets no answer.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let listener = StdListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = StdStream::connect_timeout(&address, Duration::from_millis(100)) {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue never fills");
    }
    let failure = Probe::hasty(address).failure().await;
    assert_eq!(failure.class, FailureClass::Timeout);
    assert!(
        failure.message.starts_with("no connection from IMDS at"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_closed_port_and_a_broken_connection_are_told_apart() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hangs_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let failure = Probe::imds(address, None).failure().await;
    assert_eq!(failure.class, FailureClass::Unreachable);
    assert!(
        failure.message.contains("broke the connection"),
        "{failure}"
    );
    hangs_up.join().unwrap();
    // The listener is gone with its thread.
    let failure = Probe::imds(address, None).failure().await;
    assert_eq!(failure.class, FailureClass::Unreachable);
    assert!(failure.message.contains("cannot be reached"), "{failure}");
}

fn assertion_file() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("azure-identity-token");
    (folder, path)
}

#[tokio::test]
async fn a_rotated_federated_token_is_sent_at_the_next_refresh() {
    let stand_in = StandIn::secure(Reply::entra("the-token", 3600)).await;
    let (_folder, path) = assertion_file();
    let mut probe = Probe::entra(
        &stand_in,
        Proof::Federated(path.clone()),
        stand_in.root.clone(),
    );
    fs::write(&path, "assertion-1\n").unwrap();
    let (token, expires_at) = probe.token().await;
    assert_eq!(token, "the-token");
    let life = expires_at
        .duration_since(SystemTime::now())
        .unwrap()
        .as_secs();
    assert!((3590..=3600).contains(&life), "{life}");
    fs::write(&path, "assertion-2\n").unwrap();
    probe.token().await;
    let seen = stand_in.seen();
    assert_eq!(seen[0].line, "POST /tenant-1/oauth2/v2.0/token");
    for (form, assertion) in [
        (&seen[0].form, "assertion-1"),
        (&seen[1].form, "assertion-2"),
    ] {
        for part in [
            &format!("client_assertion={assertion}&"),
            "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
            "client_id=client-1",
            "grant_type=client_credentials",
            "scope=https%3A%2F%2Fossrdbms-aad.database.windows.net%2F.default",
        ] {
            assert!(form.contains(part), "{part} in {form}");
        }
    }
}

#[tokio::test]
async fn a_missing_or_empty_federated_token_is_named() {
    let stand_in = StandIn::secure(Reply::entra("t", 3600)).await;
    let (_folder, path) = assertion_file();
    let mut probe = Probe::entra(
        &stand_in,
        Proof::Federated(path.clone()),
        stand_in.root.clone(),
    );
    let missing = probe.failure().await;
    assert_eq!(missing.class, FailureClass::File);
    assert!(
        missing
            .message
            .contains("azure-identity-token cannot be read"),
        "{missing}"
    );
    fs::write(&path, "\n").unwrap();
    assert!(probe.failure().await.message.ends_with("is empty"));
    assert!(
        stand_in.seen().is_empty(),
        "nothing is asked without an assertion"
    );
}

#[tokio::test]
async fn a_refusal_of_entra_is_explained_by_its_code() {
    let said = "AADSTS700024: Client assertion is not within its valid time range.";
    let stand_in = StandIn::secure(Reply::refusal(700_024, said)).await;
    let (_folder, path) = assertion_file();
    fs::write(&path, "very-secret-assertion").unwrap();
    let failure = Probe::entra(&stand_in, Proof::Federated(path), stand_in.root.clone())
        .failure()
        .await;
    assert_eq!(failure.class, FailureClass::Rejected);
    let text = failure.to_string();
    assert!(
        text.starts_with(&format!("Entra answered 401: {said}; ")),
        "{text}"
    );
    assert!(text.contains("still rotated"), "{text}");
    assert!(!text.contains("very-secret"), "{text}");
}

#[tokio::test]
async fn a_client_secret_is_sent_to_a_trusted_authority_only() {
    let stand_in = StandIn::secure(Reply::entra("the-token", 3600)).await;
    let secret = || Proof::Secret(Secret::new("p&ss"));
    let (token, _) = Probe::entra(&stand_in, secret(), stand_in.root.clone())
        .token()
        .await;
    assert_eq!(token, "the-token");
    assert!(stand_in.seen()[0].form.contains("client_secret=p%26ss"));
    let failure = Probe::entra(&stand_in, secret(), None).failure().await;
    assert_eq!(failure.class, FailureClass::Unreachable);
    assert!(failure.message.contains("TLS failed"), "{failure}");
    assert_eq!(stand_in.seen().len(), 1, "the secret never left");
}

fn spec(source: Source) -> IdentitySpec {
    IdentitySpec {
        source,
        selector: None,
        imds_endpoint: None,
        cloud: Cloud::Public,
        password_file: None,
    }
}

fn identities(ledger: &SharedLedger) -> Identities {
    let metrics = Arc::new(ledger.clone());
    Identities::new(
        metrics,
        CancellationToken::new(),
        IdentityOptions::default(),
    )
    .unwrap()
}

#[tokio::test]
async fn equal_identities_share_one_task_and_others_do_not() {
    let stand_in = StandIn::plain(Reply::managed("t", in_an_hour())).await;
    let ledger = SharedLedger::default();
    let mut identities = identities(&ledger);
    let imds = IdentitySpec {
        imds_endpoint: Some(stand_in.url()),
        ..spec(Source::Imds)
    };
    let one = identities
        .handle(&imds, Audience::PostgresAndMysql)
        .unwrap();
    let two = identities
        .handle(&imds, Audience::PostgresAndMysql)
        .unwrap();
    one.ready().await;
    assert!(Arc::ptr_eq(
        &one.current().unwrap(),
        &two.current().unwrap()
    ));
    assert_eq!(stand_in.seen().len(), 1);
    let sql = identities.handle(&imds, Audience::AzureSql).unwrap();
    sql.ready().await;
    let resource = "resource=https%3A%2F%2Fdatabase.windows.net%2F";
    assert!(
        stand_in.seen()[1].line.ends_with(resource),
        "{}",
        stand_in.seen()[1].line
    );
    let subjects = ledger.0.subjects.lock().unwrap();
    assert_eq!(subjects.len(), 2);
    assert_eq!(
        (subjects[0].identity.as_str(), subjects[0].source),
        ("imds", "imds")
    );
}

fn secret_at(authority: String) -> Source {
    Source::Secret(ClientSecret {
        tenant_id: "tenant-1".to_owned(),
        client_id: "client-1".to_owned(),
        secret: "very-secret".to_owned(),
        authority: Some(authority),
    })
}

#[test]
fn a_file_of_roots_has_roots_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    let trusting = |path: &Path| IdentityOptions::default().trusting(path);
    assert!(
        trusting(&path)
            .unwrap_err()
            .to_string()
            .starts_with("authority_ca_file ")
    );
    fs::write(&path, "no certificate\n").unwrap();
    let error = trusting(&path).unwrap_err().to_string();
    assert!(error.ends_with("holds no PEM certificate"), "{error}");
    let root = rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap();
    fs::write(&path, root.cert.pem()).unwrap();
    assert_eq!(trusting(&path).unwrap().extra_roots.len(), 1);
}

#[tokio::test]
async fn a_private_root_makes_a_private_authority_trusted() {
    let stand_in = StandIn::secure(Reply::entra("the-token", 3600)).await;
    let options = IdentityOptions {
        extra_roots: stand_in.root.clone().into_iter().collect(),
    };
    let ledger = SharedLedger::default();
    let mut identities =
        Identities::new(Arc::new(ledger.clone()), CancellationToken::new(), options).unwrap();
    let spec = spec(secret_at(stand_in.url()));
    let handle = identities.handle(&spec, Audience::AzureSql).unwrap();
    handle.ready().await;
    assert_eq!(handle.current().unwrap().secret(), "the-token");
    let scope = "scope=https%3A%2F%2Fdatabase.windows.net%2F%2F.default";
    assert!(stand_in.seen()[0].form.ends_with(scope));
    let subject = ledger.0.subjects.lock().unwrap()[0].clone();
    assert_eq!(
        subject.identity,
        "secret client_id=client-1 tenant=tenant-1"
    );
    assert!(!format!("{handle:?} {:?}", handle.status()).contains("very-secret"));
}

#[tokio::test]
async fn a_rewritten_password_file_arrives_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    fs::write(&path, "first\n").unwrap();
    let password = IdentitySpec {
        password_file: Some(path.clone()),
        ..spec(Source::PasswordFile)
    };
    let handle = identities(&SharedLedger::default())
        .handle(&password, Audience::PostgresAndMysql)
        .unwrap();
    handle.ready().await;
    assert_eq!(handle.current().unwrap().secret(), "first");
    assert_eq!(handle.status().audience, "none");
    replace(&path, "second\n");
    // The server has refused the old one: the file is read at once.
    assert_eq!(handle.refused(1).await.unwrap().secret(), "second");
    replace(&path, "third\n");
    let arrived = tokio::time::timeout(Duration::from_secs(5), async {
        while handle.current().unwrap().secret() != "third" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    arrived.await.unwrap();
    assert_eq!(handle.status().generation, 3);
}

fn replace(path: &Path, content: &str) {
    let next = path.with_extension("next");
    fs::write(&next, content).unwrap();
    fs::rename(&next, path).unwrap();
}

#[tokio::test]
async fn what_can_never_work_is_refused_before_anything_is_asked() {
    let mut identities = identities(&SharedLedger::default());
    let mut refused = |spec: &IdentitySpec| {
        identities
            .handle(spec, Audience::PostgresAndMysql)
            .map(drop)
            .unwrap_err()
    };
    for endpoint in [
        "http://10.0.0.1",
        "http://example.com",
        "https://127.0.0.1",
        "http://user@127.0.0.1",
        "http://127.0.0.1/path",
        "127.0.0.1:80",
        "http://[2001:db8::1]",
    ] {
        let far = IdentitySpec {
            imds_endpoint: Some(endpoint.to_owned()),
            ..spec(Source::Imds)
        };
        assert_eq!(
            refused(&far),
            IdentityError::ImdsEndpoint(endpoint.to_owned())
        );
    }
    for endpoint in [
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://localhost:1",
        "http://169.254.1.1",
    ] {
        super::super::near_endpoint(endpoint).unwrap();
    }
    let selector = Some(Selector::ResourceId("/r".to_owned()));
    let app = IdentitySpec {
        selector,
        ..spec(Source::AppService)
    };
    assert_eq!(refused(&app), IdentityError::ResourceIdOnAppService);
    for authority in [
        "http://login.microsoftonline.com",
        "login.microsoftonline.com",
    ] {
        let insecure = spec(secret_at(authority.to_owned()));
        let expected = IdentityError::Authority(authority.to_owned());
        assert_eq!(refused(&insecure), expected);
    }
    assert_eq!(
        refused(&spec(Source::PasswordFile)),
        IdentityError::NoPasswordFile
    );
}
