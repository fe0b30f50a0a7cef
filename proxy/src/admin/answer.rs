//! From a request to its answer. Nothing here looks at a request's body.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tracing::error;

use super::AdminState;
use super::report::{Probe, Report};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = "\
entrapool

/metrics    Prometheus metrics
/startup    listeners bound and first token held (200 or 503)
/liveness   the event loop answers (also /healthz)
/readiness  a new client would be served (200 or 503; also /readyz)
";

/// Every page there is.
#[derive(Debug, Clone, Copy)]
enum Page {
    Index,
    Metrics,
    Probe(Probe),
}

impl Page {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Index),
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
        return text(StatusCode::NOT_FOUND, "no such page; / lists them\n");
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match page {
        Page::Index => text(StatusCode::OK, INDEX),
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
    match serde_json::to_vec(report) {
        Ok(mut json) => {
            json.push(b'\n');
            body(status, JSON, json)
        }
        Err(error) => fault("the report could not be written", &error),
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
