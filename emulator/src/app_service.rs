//! The managed-identity endpoint of App Service, Functions and Container Apps.
//!
//! The platform gives the application `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`; requests carry
//! the latter as `X-IDENTITY-HEADER`. The parameter for a resource id is `mi_res_id` here, not
//! `msi_res_id` as in IMDS.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use crate::error::Error;
use crate::faults::{Fault, Faults, Twist};
use crate::http::{self, Answer, Http, Refused, Respond};
use crate::imds::{garbage, scripted_failure};
use crate::jwt;
use crate::managed_identity::{ManagedIdentities, Selector};
use crate::port::Port;
use crate::token_body::token_body;

const PATH: &str = "/msi/token";
const VERSION: &str = "2019-08-01";

/// A running endpoint; it stops when dropped.
#[derive(Debug)]
pub struct AppService {
    port: Port<Http<Endpoint>>,
}

struct Endpoint {
    identities: Arc<ManagedIdentities>,
    faults: Faults,
    secret: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("identities", &self.identities)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl AppService {
    /// Serves the identities of an application on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(identities: Arc<ManagedIdentities>) -> Result<Self, Error> {
        let endpoint = Endpoint {
            identities,
            faults: Faults::default(),
            secret: jwt::random_text(24)?,
        };
        let port = Port::bind_free(Arc::new(Http {
            endpoint,
            tls: None,
        }))
        .await?;
        Ok(Self { port })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The value of `IDENTITY_ENDPOINT`.
    #[must_use]
    pub fn identity_endpoint(&self) -> String {
        format!("http://{}{PATH}", self.address())
    }

    /// The value of `IDENTITY_HEADER`.
    #[must_use]
    pub fn identity_header(&self) -> &str {
        &self.port.service().endpoint.secret
    }

    /// The script of faults, and the counts.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.port.service().endpoint.faults
    }
}

impl Respond for Endpoint {
    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let mut twist = None;
        let scripted = match self.faults.next() {
            None => None,
            Some(Fault::BlackHole) => std::future::pending().await,
            Some(Fault::Status(status)) => Some(scripted_failure(status)),
            Some(Fault::Garbage) => Some(garbage()),
            Some(Fault::Token(how)) => {
                twist = Some(how);
                None
            }
            Some(Fault::Slow(pause)) => {
                tokio::time::sleep(pause).await;
                None
            }
        };
        let answer = scripted.unwrap_or_else(|| {
            self.token(&request, twist)
                .unwrap_or_else(Refused::into_answer)
        });
        self.faults.note_answer(answer.status());
        answer
    }
}

impl Endpoint {
    fn token<B>(&self, request: &Request<B>, twist: Option<Twist>) -> Result<Answer, Refused> {
        let bad = |text: String| Refused::new(StatusCode::BAD_REQUEST, "bad_request", text);
        if request.uri().path() != PATH {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "No such path",
            ));
        }
        if request.method() != Method::GET {
            let text = "Only GET is supported";
            return Err(Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                text,
            ));
        }
        // What keeps a server-side request forgery from getting a token.
        let header = request.headers().get("x-identity-header");
        if header.is_none_or(|value| value != self.secret.as_str()) {
            return Err(Refused::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "X-IDENTITY-HEADER is missing or wrong",
            ));
        }
        let query = request.uri().query().unwrap_or_default();
        let parameters = http::parameters(query.as_bytes())
            .map_err(|name| bad(format!("Parameter {name} is specified more than once")))?;
        if parameters.get("api-version").is_none_or(|v| v != VERSION) {
            return Err(bad("api-version must be 2019-08-01".to_owned()));
        }
        let resource = parameters
            .get("resource")
            .ok_or_else(|| bad("Parameter resource is missing".to_owned()))?;
        let get = |name: &str| parameters.get(name).cloned();
        let selector = get("client_id")
            .map(Selector::Client)
            .or_else(|| get("object_id").map(Selector::Object))
            .or_else(|| get("mi_res_id").map(Selector::Resource));
        let token = self
            .identities
            .twisted(selector.as_ref(), resource, twist)
            .map_err(|refusal| bad(refusal.to_string()))?;
        Ok(http::json(
            StatusCode::OK,
            &token_body(&token, resource, twist),
        ))
    }
}
