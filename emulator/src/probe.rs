//! One HTTP request at a time: what the demo and the tests ask of endpoints with.
//!
//! A new connection per request, no redirects, no proxy, bounded in time and size.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::Error;

/// A metrics page is far smaller.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// A request to a loopback endpoint.
#[derive(Debug, Clone)]
pub struct Probe {
    method: Method,
    address: SocketAddr,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    tls: Option<Arc<ClientConfig>>,
    limit: Duration,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Probe {
    /// A GET of path and query, given 10 s.
    #[must_use]
    pub fn get(address: SocketAddr, target: &str) -> Self {
        Self {
            method: Method::GET,
            address,
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            tls: None,
            limit: Duration::from_secs(10),
        }
    }

    /// Another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        self
    }

    /// A POST of this body.
    #[must_use]
    pub fn post(mut self, body: impl Into<Bytes>) -> Self {
        self.method = Method::POST;
        self.body = body.into();
        self
    }

    /// Over TLS, to a server that proves to be `localhost`.
    #[must_use]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Another time limit.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends it and waits for the whole answer.
    ///
    /// # Errors
    /// When there is no connection, or no whole answer within the limit.
    pub async fn send(self) -> Result<Reply, Error> {
        let action = format!("{} http://{}{}", self.method, self.address, self.target);
        let (limit, failed) = (self.limit, action.clone());
        tokio::time::timeout(limit, self.exchange(action))
            .await
            .unwrap_or_else(|_| {
                Err(Error::Io {
                    action: failed,
                    source: std::io::Error::new(
                        std::io::ErrorKind::TimedOut,
                        format!("no answer within {limit:?}"),
                    ),
                })
            })
    }

    async fn exchange(mut self, action: String) -> Result<Reply, Error> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(Error::io(action.clone()))?;
        let Some(config) = self.tls.take() else {
            return self.talk(stream, action).await;
        };
        let name = ServerName::try_from("localhost").map_err(other(&action))?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(Error::io(action.clone()))?;
        self.talk(stream, action).await
    }

    async fn talk<S>(self, stream: S, action: String) -> Result<Reply, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(other(&action))?;
        // Ends with `sender`.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(self.method)
            .uri(&self.target)
            .header(HOST, self.address.to_string())
            .body(Full::new(self.body))
            .map_err(other(&action))?;
        request.headers_mut().extend(self.headers);
        let answer = sender.send_request(request).await.map_err(other(&action))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(other(&action))?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    }
}

fn other<E>(action: &str) -> impl FnOnce(E) -> Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let action = action.to_owned();
    move |source| Error::Io {
        action,
        source: std::io::Error::other(source),
    }
}
