//! From a request to its answer. Nothing here looks at a request's body.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use hyper::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tracing::error;

use super::AdminState;
use super::page::{self, Shown};
use super::report::{Probe, Report};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// Every page there is.
#[derive(Debug, Clone, Copy)]
enum Page {
    Index,
    Status,
    Metrics,
    Probe(Probe),
}

impl Page {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Index),
            "/status.json" => Some(Self::Status),
            "/metrics" => Some(Self::Metrics),
            "/startup" => Some(Self::Probe(Probe::Startup)),
            "/liveness" | "/healthz" => Some(Self::Probe(Probe::Liveness)),
            "/readiness" | "/readyz" => Some(Self::Probe(Probe::Readiness)),
            _ => None,
        }
    }
}

/// The answer to any request; hyper itself drops the body of an answer to HEAD.
pub(super) async fn answer<B>(
    state: Arc<AdminState>,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = respond(state, &request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

async fn respond<B>(state: Arc<AdminState>, request: &Request<B>) -> Response<Full<Bytes>> {
    if from_another_site(request.headers()) {
        return text(
            StatusCode::FORBIDDEN,
            "not for pages of other sites; open the address directly\n",
        );
    }
    let Some(page) = Page::find(request.uri().path()) else {
        return text(StatusCode::NOT_FOUND, "no such page; / has links to all\n");
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match page {
        Page::Index | Page::Status if !page::is_named_locally(request.headers()) => text(
            StatusCode::FORBIDDEN,
            "not under this name; open the address directly, or localhost\n",
        ),
        Page::Index => index(),
        Page::Status => json(StatusCode::OK, &Shown::from(state.status.status())),
        Page::Metrics => metrics(state).await,
        Page::Probe(probe) => report(&Report::new(probe, state.health.as_ref())),
    }
}

/// A browser says so when another site's page asks. The Host is not compared: probes come by the
/// pod's address, which nobody configures.
fn from_another_site(headers: &HeaderMap) -> bool {
    let foreign = |site: &HeaderValue| site != "same-origin" && site != "none";
    headers.contains_key(ORIGIN) || headers.get_all("sec-fetch-site").iter().any(foreign)
}

/// Rendered on a thread of its own: it reads `/proc`, and with many thousand clients listing the
/// open files alone would hold up their queries.
async fn metrics(state: Arc<AdminState>) -> Response<Full<Bytes>> {
    let turn = state.rendering.acquire().await;
    let metrics = Arc::clone(&state.metrics);
    let rendered = tokio::task::spawn_blocking(move || metrics.render()).await;
    drop(turn);
    match rendered {
        Ok(page) => body(StatusCode::OK, entrapool_metrics::CONTENT_TYPE, page),
        Err(error) => fault("the metrics could not be rendered", &error),
    }
}

fn report(report: &Report) -> Response<Full<Bytes>> {
    let status = if report.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, report)
}

fn json(status: StatusCode, content: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(content) {
        Ok(mut json) => {
            json.push(b'\n');
            body(status, JSON, json)
        }
        Err(error) => fault("the answer could not be written", &error),
    }
}

/// The page never goes out without its policy.
fn index() -> Response<Full<Bytes>> {
    match page::policy() {
        Ok(policy) => {
            let mut response = body(StatusCode::OK, HTML, page::HTML);
            let headers = response.headers_mut();
            headers.insert(CONTENT_SECURITY_POLICY, policy);
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            response
        }
        Err(error) => fault("the page could not be made", &error),
    }
}

fn fault(what: &'static str, error: &dyn std::error::Error) -> Response<Full<Bytes>> {
    error!(%error, "{what}");
    text(StatusCode::INTERNAL_SERVER_ERROR, what)
}

fn text(status: StatusCode, content: &'static str) -> Response<Full<Bytes>> {
    body(status, TEXT, content)
}

fn body(
    status: StatusCode,
    content_type: &'static str,
    content: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
