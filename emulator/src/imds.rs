//! The Instance Metadata Service's token endpoint, as documented for Azure VMs.
//!
//! `GET /metadata/identity/oauth2/token` on a loopback port. Rules, in the order they are
//! checked: method, forwarded requests, `Metadata` header, duplicate parameters, `api-version`,
//! resource, selector. Faults and the rate limit come before the rules.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, StatusCode};

use crate::error::Error;
use crate::faults::{Fault, Faults, Twist};
use crate::http::{self, Answer, Http, Refused, Respond};
use crate::managed_identity::{ManagedIdentities, Refusal, Selector};
use crate::port::Port;
use crate::rate_limit::RateLimit;
use crate::token_body::token_body;

const PATH: &str = "/metadata/identity/oauth2/token";
/// The first version with this endpoint.
const OLDEST_VERSION: &str = "2018-02-01";
/// The documented limits of the identity category, per machine.
const PER_SECOND: usize = 20;
const AT_ONCE: usize = 5;

/// A running metadata service; it stops when dropped.
#[derive(Debug)]
pub struct Imds {
    port: Port<Http<Endpoint>>,
}

#[derive(Debug)]
struct Endpoint {
    identities: Arc<ManagedIdentities>,
    faults: Faults,
    limit: RateLimit,
}

impl Imds {
    /// Serves the identities of a machine on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(identities: Arc<ManagedIdentities>) -> Result<Self, Error> {
        let endpoint = Endpoint {
            identities,
            faults: Faults::default(),
            limit: RateLimit::new(PER_SECOND, AT_ONCE),
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

    /// What stands for `http://169.254.169.254`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The script of faults, and the counts.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.port.service().endpoint.faults
    }

    /// Other limits than 20 requests per second and 5 at once.
    pub fn set_limits(&self, per_second: usize, at_once: usize) {
        self.port.service().endpoint.limit.set(per_second, at_once);
    }

    /// Closes the listener; from now on connections are refused.
    pub async fn refuse_connections(&self) {
        self.port.close().await;
    }

    /// Listens on the same port again.
    ///
    /// # Errors
    /// When somebody else took the port meanwhile.
    pub async fn accept_connections(&self) -> Result<(), Error> {
        self.port.reopen().await
    }
}

impl Respond for Endpoint {
    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let running = self.limit.enter();
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
        let answer = match scripted {
            Some(answer) => answer,
            None if !running.is_within() => too_many(),
            None => self
                .token(&request, twist)
                .unwrap_or_else(Refused::into_answer),
        };
        self.faults.note_answer(answer.status());
        answer
    }
}

impl Endpoint {
    fn token<B>(&self, request: &Request<B>, twist: Option<Twist>) -> Result<Answer, Refused> {
        if request.uri().path() != PATH {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "The requested resource does not exist",
            ));
        }
        if request.method() != Method::GET {
            return Err(Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The requested resource does not support this http method",
            ));
        }
        check_headers(request.headers())?;
        let query = request.uri().query().unwrap_or_default();
        let parameters = http::parameters(query.as_bytes()).map_err(|name| {
            let text = format!("Query parameter {name} is specified more than once");
            Refused::new(StatusCode::BAD_REQUEST, "invalid_request", text)
        })?;
        check_version(parameters.get("api-version"))?;
        let resource = parameters.get("resource").ok_or_else(|| {
            Refused::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "Required query variable 'resource' is missing",
            )
        })?;
        let selector = selector(&parameters)?;
        let token = self
            .identities
            .twisted(selector.as_ref(), resource, twist)
            .map_err(|refusal| refuse(&refusal))?;
        Ok(http::json(
            StatusCode::OK,
            &token_body(&token, resource, twist),
        ))
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), Refused> {
    // A request that came through a proxy may stem from outside the machine.
    if headers.contains_key("x-forwarded-for") {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "Requests with the X-Forwarded-For header are not accepted",
        ));
    }
    if headers.get("metadata").is_none_or(|value| value != "true") {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "bad_request_102",
            "Required metadata header not specified",
        ));
    }
    Ok(())
}

fn check_version(version: Option<&String>) -> Result<(), Refused> {
    let text = match version {
        None => "Required query variable 'api-version' is missing".to_owned(),
        // Dates of this form sort as text.
        Some(version) if is_date(version) && version.as_str() >= OLDEST_VERSION => return Ok(()),
        Some(version) => format!("api-version {version} is not supported"),
    };
    Err(Refused::new(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        &text,
    ))
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn selector(parameters: &BTreeMap<String, String>) -> Result<Option<Selector>, Refused> {
    let get = |name: &str| parameters.get(name).cloned();
    let mut named = [
        get("client_id").map(Selector::Client),
        get("object_id").map(Selector::Object),
        get("msi_res_id").map(Selector::Resource),
    ]
    .into_iter()
    .flatten();
    match (named.next(), named.next()) {
        (selector, None) => Ok(selector),
        _ => Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "Only one of client_id, object_id and msi_res_id may be specified",
        )),
    }
}

fn refuse(refusal: &Refusal) -> Refused {
    let (status, code) = match refusal {
        Refusal::IdentityNotFound | Refusal::Ambiguous => {
            (StatusCode::BAD_REQUEST, "invalid_request")
        }
        Refusal::UnknownResource(_) => (StatusCode::BAD_REQUEST, "invalid_resource"),
        Refusal::Platform(_) => (StatusCode::INTERNAL_SERVER_ERROR, "unknown"),
    };
    Refused::new(status, code, refusal.to_string())
}

fn too_many() -> Answer {
    let refused = Refused::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_requests",
        "The request rate for this category is over its limit",
    );
    http::retry_after(refused.into_answer(), 1)
}

/// The answer for a scripted status, with the body that goes with it.
pub(crate) fn scripted_failure(status: u16) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (code, text) = match status {
        StatusCode::BAD_REQUEST => ("invalid_request", "Identity not found"),
        StatusCode::UNAUTHORIZED => ("unauthorized_client", "The identity is not authorized"),
        StatusCode::NOT_FOUND => ("not_found", "The IMDS endpoint is updating"),
        StatusCode::GONE => ("gone", "IMDS is going through updates"),
        StatusCode::TOO_MANY_REQUESTS => return too_many(),
        _ => ("unknown", "Failed to retrieve token from the tenant"),
    };
    Refused::new(status, code, text).into_answer()
}

/// A success that is none.
pub(crate) fn garbage() -> Answer {
    http::with_type(
        StatusCode::OK,
        "text/html",
        "<html>captive portal</html>".to_owned(),
    )
}
