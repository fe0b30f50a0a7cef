//! From a request to its answer.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::peer::Caller;
use super::{Operated, Order, Refusal};
use crate::admin;
use crate::config;

type Answer = Response<Full<Bytes>>;

/// Most bytes of a request's body: a log filter.
const MOST_BODY: usize = 4096;

/// Everything that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Status,
    Pools,
    Clients,
    Servers,
    Tokens,
    Ready,
    LogLevel,
    Drain,
    Quit,
    Reload,
}

impl Page {
    fn find(path: &str) -> Option<Self> {
        Some(match path {
            "/status" => Self::Status,
            "/pools" => Self::Pools,
            "/clients" => Self::Clients,
            "/servers" => Self::Servers,
            "/tokens" => Self::Tokens,
            "/ready" => Self::Ready,
            "/log-level" => Self::LogLevel,
            // What scripts for the Cloud SQL Auth Proxy ask at the end of a job.
            "/drain" | "/quitquitquit" => Self::Drain,
            "/quit" => Self::Quit,
            "/reload" => Self::Reload,
            _ => return None,
        })
    }

    /// Whether it only tells something.
    fn only_reads(self) -> bool {
        !matches!(self, Self::Drain | Self::Quit | Self::Reload)
    }
}

/// The answer to any request.
pub(super) async fn answer<B>(operated: &Operated, caller: Caller, request: Request<B>) -> Answer
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut response = respond(operated, caller, request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn respond<B>(operated: &Operated, caller: Caller, request: Request<B>) -> Answer
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Caller::Stranger { user } = caller {
        tracing::warn!(
            user,
            "somebody who may not has called on the control socket"
        );
        let who = user.map_or_else(|| "unknown".to_owned(), |user| user.to_string());
        return refused(
            StatusCode::FORBIDDEN,
            format!(
                "user {who} may not operate this entrapool; only the user that it runs as, root, \
                 and members of control.group may"
            ),
        );
    }
    if from_a_browser(request.headers()) {
        return refused(StatusCode::FORBIDDEN, "not for web pages");
    }
    let Some(page) = Page::find(request.uri().path()) else {
        return refused(
            StatusCode::NOT_FOUND,
            "nothing is called that; there are status, pools, clients, servers, tokens, ready, \
             log-level, drain (quitquitquit), quit and reload",
        );
    };
    // Where a browser can get, a plain request for a picture must not do anything, nor tell.
    let may_get = page.only_reads() && caller == Caller::Operator;
    let method = request.method();
    if method != Method::POST && !(may_get && method == Method::GET) {
        let (words, allow) = match may_get {
            true => ("only GET and POST", "GET, POST"),
            false => ("only POST", "POST"),
        };
        let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, words);
        let allow = HeaderValue::from_static(allow);
        response.headers_mut().insert(ALLOW, allow);
        return response;
    }
    let body = Limited::new(request.into_body(), MOST_BODY);
    let Ok(body) = body.collect().await else {
        return refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request's body is too long",
        );
    };
    match page {
        Page::LogLevel => log_level(operated, &body.to_bytes()),
        Page::Drain => order(operated, Order::Drain).await,
        Page::Quit => order(operated, Order::Quit).await,
        Page::Reload => reload(operated).await,
        Page::Ready => ready(operated),
        Page::Clients => json(StatusCode::OK, &operated.status.clients()),
        Page::Status => json(StatusCode::OK, &operated.status.status()),
        Page::Pools => json(StatusCode::OK, &operated.status.status().pools),
        Page::Servers => json(StatusCode::OK, &operated.status.status().servers),
        Page::Tokens => json(StatusCode::OK, &operated.status.status().tokens),
    }
}

/// Browsers say so, whatever page of theirs asks.
fn from_a_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site")
}

fn ready(operated: &Operated) -> Answer {
    let report = admin::readiness(operated.health.as_ref());
    let status = match report.ok() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    json(status, &report)
}

fn log_level(operated: &Operated, body: &Bytes) -> Answer {
    let asked = String::from_utf8_lossy(body);
    let asked = asked.trim();
    if asked.is_empty() {
        return json(StatusCode::OK, &json!({ "level": operated.log.get() }));
    }
    let level = match config::log_filter(asked) {
        Ok(level) => level,
        Err(problem) => return refused(StatusCode::UNPROCESSABLE_ENTITY, problem),
    };
    match operated.log.set(&level) {
        Ok(before) => {
            tracing::info!(from = before, to = level, "log level changed");
            json(StatusCode::OK, &json!({ "level": level, "before": before }))
        }
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn order(operated: &Operated, order: Order) -> Answer {
    let clients = operated.status.clients().len();
    let name = match order {
        Order::Drain => "drain",
        Order::Quit => "quit",
        Order::Reload(_) => "reload",
    };
    tracing::info!(order = name, clients, "ordered on the control socket");
    match operated.orders.send(order).await {
        Ok(()) => json(
            StatusCode::ACCEPTED,
            &json!({ "accepted": name, "clients": clients }),
        ),
        Err(_) => ending(),
    }
}

async fn reload(operated: &Operated) -> Answer {
    let (reply, result) = oneshot::channel();
    if operated.orders.send(Order::Reload(reply)).await.is_err() {
        return ending();
    }
    match result.await {
        Ok(Ok(reloaded)) => json(StatusCode::OK, &reloaded),
        Ok(Err(refusal)) => {
            let status = match refusal {
                Refusal::Configuration(_) => StatusCode::UNPROCESSABLE_ENTITY,
                Refusal::Busy(_) => StatusCode::CONFLICT,
            };
            refused(status, refusal.to_string())
        }
        Err(_) => ending(),
    }
}

fn ending() -> Answer {
    refused(StatusCode::CONFLICT, "entrapool is ending")
}

fn refused(status: StatusCode, error: impl Into<String>) -> Answer {
    json(status, &json!({ "error": error.into() }))
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let (status, mut body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({ "error": error.to_string() })
                .to_string()
                .into_bytes(),
        ),
    };
    body.push(b'\n');
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
