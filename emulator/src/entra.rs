//! The Entra token endpoint over HTTPS: client credentials with a secret or with an assertion.
//!
//! `POST /{tenant}/oauth2/v2.0/token`, and the key set at `/{tenant}/discovery/v2.0/keys`.
//! Speaks for one tenant. Its certificate is from the private authority, so clients need
//! [`crate::pki::Pki::ca_file`].

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::clock;
use crate::directory::Principal;
use crate::error::Error;
use crate::http::{self, Answer, Http, Respond};
use crate::issuer::{Issuer, resource_exists};
use crate::jwt::PublicKey;
use crate::kubernetes::{Assertion, Cluster, EXCHANGE_AUDIENCE, subject};
use crate::pki::Pki;
use crate::port::Port;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// More than any form that a client may sensibly post.
const MAX_FORM: usize = 64 * 1024;

/// A running token endpoint; it stops when dropped.
#[derive(Debug)]
pub struct Entra {
    port: Port<Http<Endpoint>>,
}

#[derive(Debug)]
struct Endpoint {
    issuer: Arc<Issuer>,
    applications: RwLock<HashMap<String, Application>>,
    granted: AtomicU64,
    refused: AtomicU64,
}

/// An application and how it may prove itself.
struct Application {
    principal: Principal,
    credential: Credential,
}

enum Credential {
    Secret(String),
    /// Tokens of this cluster with this subject.
    Federated {
        issuer: String,
        key: PublicKey,
        subject: String,
    },
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Application")
            .field("principal", &self.principal.name)
            .finish_non_exhaustive()
    }
}

impl Entra {
    /// Serves one tenant on a free loopback port, as `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// When no certificate or port can be had.
    pub async fn start(issuer: Arc<Issuer>, pki: &Pki) -> Result<Self, Error> {
        let certificate = pki.issue(&["localhost", "127.0.0.1"])?;
        let endpoint = Endpoint {
            issuer,
            applications: RwLock::default(),
            granted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        let port = Port::bind_free(Arc::new(Http {
            endpoint,
            tls: Some(TlsAcceptor::from(certificate.server_config()?)),
        }))
        .await?;
        Ok(Self { port })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The value of `AZURE_AUTHORITY_HOST`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("https://localhost:{}/", self.address().port())
    }

    /// An application with a client secret.
    pub fn register_secret(&self, principal: Principal, secret: &str) {
        self.register(principal, Credential::Secret(secret.to_owned()));
    }

    /// An application that trusts the service account of a cluster.
    pub fn register_federated(
        &self,
        principal: Principal,
        cluster: &Cluster,
        namespace: &str,
        account: &str,
    ) {
        let credential = Credential::Federated {
            issuer: cluster.issuer().to_owned(),
            key: cluster.public_key(),
            subject: subject(namespace, account),
        };
        self.register(principal, credential);
    }

    /// Tokens given out.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.port.service().endpoint.granted.load(Ordering::Relaxed)
    }

    /// Requests refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.port.service().endpoint.refused.load(Ordering::Relaxed)
    }

    fn register(&self, principal: Principal, credential: Credential) {
        let endpoint = &self.port.service().endpoint;
        endpoint.issuer.directory().register(principal.clone());
        let application = Application {
            principal,
            credential,
        };
        endpoint
            .applications
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(application.principal.client_id.clone(), application);
    }
}

impl Respond for Endpoint {
    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let answer = match self.answer(request).await {
            Ok(answer) => return answer,
            Err(refusal) => refusal,
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        http::json(
            answer.status,
            &json!({
                "error": answer.error,
                "error_description": format!("AADSTS{}: {}", answer.code, answer.text),
                "error_codes": [answer.code],
            }),
        )
    }
}

/// An error as Entra writes it.
struct Refused {
    status: StatusCode,
    error: &'static str,
    code: u32,
    text: String,
}

impl Refused {
    fn bad_request(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            code,
            text: text.into(),
        }
    }

    fn invalid_client(code: u32, text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            code,
            text: text.into(),
        }
    }
}

impl Endpoint {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Refused> {
        let path = request.uri().path().to_owned();
        let (tenant, rest) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or_default();
        if tenant != self.issuer.directory().tenant_id() {
            let text = format!("Tenant '{tenant}' not found.");
            return Err(Refused::bad_request("invalid_request", 90002, text));
        }
        match (request.method(), rest) {
            (&Method::GET, "discovery/v2.0/keys") => {
                Ok(http::json(StatusCode::OK, &self.issuer.jwks()))
            }
            (&Method::POST, "oauth2/v2.0/token") => {
                let body = Limited::new(request.into_body(), MAX_FORM)
                    .collect()
                    .await
                    .map_err(|_| {
                        Refused::bad_request("invalid_request", 900_144, "Unreadable body.")
                    })?;
                self.token(&body.to_bytes())
            }
            _ => Err(Refused {
                status: StatusCode::NOT_FOUND,
                error: "invalid_request",
                code: 900_561,
                text: "The endpoint does not exist or does not accept this method.".to_owned(),
            }),
        }
    }

    fn token(&self, form: &[u8]) -> Result<Answer, Refused> {
        let form = http::parameters(form).map_err(|name| {
            let text = format!("The parameter {name} is repeated.");
            Refused::bad_request("invalid_request", 900_144, text)
        })?;
        if required(&form, "grant_type")? != "client_credentials" {
            let text = "The app requested an unsupported grant type.";
            return Err(Refused::bad_request("unsupported_grant_type", 70003, text));
        }
        let client_id = required(&form, "client_id")?;
        let scope = required(&form, "scope")?;
        let applications = self
            .applications
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let application = applications.get(client_id).ok_or_else(|| {
            let text = format!("Application with identifier '{client_id}' was not found.");
            Refused::bad_request("unauthorized_client", 700_016, text)
        })?;
        application.credential.check(&form)?;
        let resource = scope.strip_suffix("/.default").ok_or_else(|| {
            let text = format!("The provided value for scope {scope} is not valid.");
            Refused::bad_request("invalid_scope", 1_002_012, text)
        })?;
        if !resource_exists(resource) {
            let text = format!("The resource principal named {resource} was not found.");
            return Err(Refused::bad_request("invalid_resource", 500_011, text));
        }
        let token = self
            .issuer
            .mint(&application.principal, resource)
            .map_err(|error| Refused {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                error: "server_error",
                code: 90033,
                text: error.to_string(),
            })?;
        self.granted.fetch_add(1, Ordering::Relaxed);
        let life = token.claims.exp.saturating_sub(clock::now());
        let body = json!({
            "token_type": "Bearer",
            "expires_in": life,
            "ext_expires_in": life,
            "access_token": token.secret,
        });
        Ok(http::json(StatusCode::OK, &body))
    }
}

impl Credential {
    fn check(&self, form: &BTreeMap<String, String>) -> Result<(), Refused> {
        match self {
            Self::Secret(secret) => {
                if required(form, "client_secret")? == secret {
                    return Ok(());
                }
                let text = "Invalid client secret provided.";
                Err(Refused::invalid_client(7_000_215, text))
            }
            Self::Federated {
                issuer,
                key,
                subject,
            } => {
                if required(form, "client_assertion_type")? != ASSERTION_TYPE {
                    let text = "The client_assertion_type is not supported.";
                    return Err(Refused::bad_request("invalid_request", 50027, text));
                }
                let assertion = required(form, "client_assertion")?;
                let claims: Assertion = key.open(assertion).map_err(|reason| {
                    let text = format!("Client assertion is not accepted: {reason}.");
                    Refused::invalid_client(700_027, text)
                })?;
                check_assertion(&claims, issuer, subject)
            }
        }
    }
}

fn check_assertion(claims: &Assertion, issuer: &str, subject: &str) -> Result<(), Refused> {
    let now = clock::now();
    if now < claims.nbf || now >= claims.exp {
        let text = "Client assertion is not within its valid time range.";
        return Err(Refused::invalid_client(700_024, text));
    }
    if !claims.aud.iter().any(|aud| aud == EXCHANGE_AUDIENCE) {
        let text = "No matching federated identity record found for the assertion's audience.";
        return Err(Refused::invalid_client(700_212, text));
    }
    if claims.iss != issuer || claims.sub != subject {
        let text = "No matching federated identity record found for the assertion's subject.";
        return Err(Refused::invalid_client(700_213, text));
    }
    Ok(())
}

fn required<'a>(form: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str, Refused> {
    form.get(name).map(String::as_str).ok_or_else(|| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        Refused::bad_request("invalid_request", 900_144, text)
    })
}
