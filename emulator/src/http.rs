//! HTTP/1.1 servers of the emulator: one connection, the query string, JSON answers.
//!
//! Knows nothing of tokens; the endpoints decide what is answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::port::Serve;

pub(crate) type Answer = Response<Full<Bytes>>;

/// An endpoint.
pub(crate) trait Respond: Send + Sync + 'static {
    /// Answers one request; may take its time, or never end.
    fn respond(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// An endpoint over HTTP, or HTTPS when there is a certificate.
pub(crate) struct Http<R> {
    pub(crate) endpoint: R,
    pub(crate) tls: Option<TlsAcceptor>,
}

impl<R: std::fmt::Debug> std::fmt::Debug for Http<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("endpoint", &self.endpoint)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

impl<R: Respond> Serve for Http<R> {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        match &self.tls {
            None => self.connection(stream).await,
            Some(acceptor) => {
                // A client that refuses our certificate has simply gone.
                if let Ok(stream) = acceptor.accept(stream).await {
                    self.connection(stream).await;
                }
            }
        }
    }
}

impl<R: Respond> Http<R> {
    async fn connection<T: AsyncRead + AsyncWrite + Unpin>(&self, stream: T) {
        let service = service_fn(|request| async {
            Ok::<_, Infallible>(self.endpoint.respond(request).await)
        });
        // An error here is the client's: it sent nonsense or went away.
        let _clients_own = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &Value) -> Answer {
    with_type(status, "application/json; charset=utf-8", body.to_string())
}

/// Any other answer.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A refusal as the managed-identity endpoints write it.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    code: &'static str,
    description: String,
}

impl Refused {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            description: description.into(),
        }
    }

    pub(crate) fn into_answer(self) -> Answer {
        let body = serde_json::json!({
            "error": self.code,
            "error_description": self.description,
        });
        json(self.status, &body)
    }
}

/// Asks the client to come back later.
pub(crate) fn retry_after(mut answer: Answer, seconds: u64) -> Answer {
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// The parameters of a query string or form.
///
/// # Errors
/// The name of a parameter that comes twice.
pub(crate) fn parameters(encoded: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(encoded) {
        if found.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(name.into_owned());
        }
    }
    Ok(found)
}
