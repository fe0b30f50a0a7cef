//! The HTTP client under azure_identity: one request, one connection, never a proxy.
//!
//! Sources hand it to each new credential. It keeps time-outs of its own, reads bounded answers,
//! and turns every outcome but a token into a [`Failure`] that azure_identity does not retry: the
//! refresh task's schedule is the only one. It never reads the environment.

mod peer;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Method, Request};
use azure_core::time::{OffsetDateTime, parse_rfc7231};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use url::{Position, Url};

pub(super) use peer::Peer;
pub(super) use wire::{Patience, Wire};

use super::answer::normalised;
use super::explain::{advice, refusal};
use super::failure::{Failure, FailureClass};
use super::observe::TokenMetrics;

/// A token has 2 kB, with many groups 60 kB.
const MOST_BODY: usize = 256 * 1024;
const MOST_HEAD: usize = 64 * 1024;

/// The client of one source: the shared wire, its peer, its metrics.
pub(super) struct Exchange {
    wire: Arc<Wire>,
    peer: Peer,
    metrics: Arc<dyn TokenMetrics>,
}

impl Exchange {
    pub(super) fn new(wire: Arc<Wire>, peer: Peer, metrics: Arc<dyn TokenMetrics>) -> Self {
        Self {
            wire,
            peer,
            metrics,
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, Failure> {
        let target = self.peer.target(request.url())?;
        let begun = Instant::now();
        let limit = self.wire.patience().total;
        let outcome = match timeout(limit, self.send(&target, request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.peer.too_slow("no complete answer", &target, limit)),
        };
        let status = outcome.as_ref().ok().map(|answer| answer.status);
        self.metrics.http_response(status, begun.elapsed());
        outcome
    }

    async fn send(&self, target: &Url, request: &Request) -> Result<Answer, Failure> {
        let broken = |what: &str, error: &dyn fmt::Display| {
            let message = format!("{} {what}: {error}", self.peer.at(target));
            Failure::new(
                FailureClass::Unreachable,
                message,
                self.peer.speaker().unreachable_hint(),
            )
        };
        let request = self.outgoing(target, request)?;
        let stream = self.wire.connect(&self.peer, target).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MOST_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken("could not be asked", &error))?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken("broke the connection before answering", &error))?;
        Answer::read(response).await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let message = format!(
                    "{} answered with more than {MOST_BODY} bytes",
                    self.peer.at(target)
                );
                return Failure::new(FailureClass::InvalidAnswer, message, advice::NO_TOKEN);
            }
            broken("broke the connection in its answer", &error)
        })
    }

    /// Only what the endpoint needs: the request line, its headers, the form.
    fn outgoing(
        &self,
        target: &Url,
        request: &Request,
    ) -> Result<hyper::Request<Full<Bytes>>, Failure> {
        let unfit = |what: &str| Failure::new(FailureClass::Misconfigured, what, "");
        let Body::Bytes(body) = request.body() else {
            return Err(unfit("the token request has a streamed body"));
        };
        let method = match request.method() {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
            _ => return Err(unfit("the token request is neither GET nor POST")),
        };
        let path = &target[Position::BeforePath..Position::AfterQuery];
        let host = &target[Position::BeforeHost..Position::AfterPort];
        let mut outgoing = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(CONNECTION, "close");
        for (name, value) in request.headers().iter() {
            let name = name.as_str();
            // App Service's secret is not for IMDS, and we do not unpack.
            let kept = match name {
                "x-identity-header" => matches!(self.peer, Peer::AppService { .. }),
                "accept-encoding" | "content-length" | "host" | "connection" => false,
                _ => true,
            };
            if kept {
                outgoing = outgoing.header(name, value.as_str());
            }
        }
        outgoing
            .body(Full::new(body.clone()))
            .map_err(|_| unfit("the token request has a malformed header or address"))
    }
}

#[async_trait]
impl HttpClient for Exchange {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse, Error> {
        // `Other` is the kind that azure_core's retry loop leaves alone.
        let final_error = |failure| Error::new(ErrorKind::Other, failure);
        let answer = self.exchange(request).await.map_err(final_error)?;
        if !(200..=299).contains(&answer.status) {
            let Answer {
                status,
                retry_after,
                body,
            } = answer;
            let failure = refusal(self.peer.speaker(), status, &body, retry_after);
            return Err(final_error(failure));
        }
        let body = normalised(self.peer.dialect(), &answer.body).map_err(final_error)?;
        Ok(AsyncRawResponse::from_bytes(
            answer.status.into(),
            Headers::new(),
            body,
        ))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Bytes,
}

impl Answer {
    async fn read(
        response: hyper::Response<Incoming>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| patience_asked(value, OffsetDateTime::now_utc()));
        let body = Limited::new(response.into_body(), MOST_BODY)
            .collect()
            .await?
            .to_bytes();
        Ok(Self {
            status,
            retry_after,
            body,
        })
    }
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3).
fn patience_asked(value: &str, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    value.parse().map(Duration::from_secs).ok().or_else(|| {
        let date = parse_rfc7231(value).ok()?;
        Some(Duration::try_from(date - now).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = parse_rfc7231("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let asked = |value| patience_asked(value, now);
        assert_eq!(asked(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:49:47 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:30 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
    }
}
