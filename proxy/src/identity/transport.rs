//! The HTTP client under azure_identity: one request, one connection, never a proxy.
//!
//! Sources hand it to each new credential. It keeps time-outs of its own, reads bounded answers,
//! and turns every outcome but a token into a [`Failure`] that azure_identity does not retry: the
//! refresh task's schedule is the only one. It never reads the environment.

use std::fmt;
use std::net::SocketAddr;
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
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::answer::{Dialect, normalised};
use super::explain::{Speaker, refusal};
use super::failure::{Failure, FailureClass, IdentityError};
use super::observe::TokenMetrics;

const IMDS: &str = "http://169.254.169.254";
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
/// A token has 2 kB, with many groups 60 kB.
const MOST_BODY: usize = 256 * 1024;
const MOST_HEAD: usize = 64 * 1024;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// TCP to an address of this host or link.
    pub(super) connect_near: Duration,
    /// TCP to one address on the internet: more than the second after which a lost SYN is repeated.
    pub(super) connect_far: Duration,
    /// All of a request, from name look-up to the last byte.
    pub(super) total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect_near: Duration::from_secs(1),
            connect_far: Duration::from_secs(3),
            total: Duration::from_secs(10),
        }
    }
}

/// What all requests share: the trust in certificates, and the limits.
pub(super) struct Wire {
    tls: TlsConnector,
    patience: Patience,
}

impl Wire {
    /// Trusts the built-in roots and `extra_roots`.
    pub(super) fn new(
        extra_roots: Vec<CertificateDer<'static>>,
        patience: Patience,
    ) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra_roots {
            roots
                .add(root)
                .map_err(|error| IdentityError::Tls(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| IdentityError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            patience,
        })
    }
}

/// Where the requests of one source go.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// The metadata service, or a stand-in of this host.
    Imds {
        /// Instead of 169.254.169.254.
        endpoint: Option<Url>,
        /// Whether the request names an identity.
        named: bool,
    },
    /// Where `IDENTITY_ENDPOINT` points.
    AppService {
        /// Whether the request names an identity.
        named: bool,
    },
    /// The authority host; https only.
    Entra,
}

impl Peer {
    pub(super) fn speaker(&self) -> Speaker {
        match *self {
            Self::Imds { named, .. } => Speaker::Imds { named },
            Self::AppService { named } => Speaker::AppService { named },
            Self::Entra => Speaker::Entra,
        }
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::Imds { .. } | Self::AppService { .. } => Dialect::Managed,
            Self::Entra => Dialect::Entra,
        }
    }

    /// Where a request for `url` is sent.
    fn target(&self, url: &Url) -> Result<Url, Failure> {
        let refuse = |message: &str, hint: &'static str| {
            Err(Failure::new(FailureClass::Misconfigured, message, hint))
        };
        let at_imds = url.host_str() == Some("169.254.169.254");
        match self {
            // azure_identity chooses by the environment: with IDENTITY_ENDPOINT set it asks App
            // Service although `imds` was wanted. Both take the same query.
            Self::Imds { endpoint, .. } => {
                let base = endpoint.clone().map_or_else(|| Url::parse(IMDS), Ok);
                let Ok(mut target) = base else {
                    return refuse("the address of IMDS is not a URL", "");
                };
                target.set_path(IMDS_PATH);
                target.set_query(url.query());
                Ok(target)
            }
            Self::AppService { .. } if at_imds => refuse(
                "identity app-service was chosen, but this process has no App Service identity",
                "IDENTITY_ENDPOINT and IDENTITY_HEADER must both be set; the platform does that once the \
                 app has an identity",
            ),
            Self::Entra if url.scheme() != "https" => {
                refuse("the authority host is not https", "use an https URL")
            }
            Self::AppService { .. } | Self::Entra => Ok(url.clone()),
        }
    }
}

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
        let limit = self.wire.patience.total;
        let outcome = match timeout(limit, self.send(&target, request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.too_slow("no complete answer", &target, limit)),
        };
        let status = outcome.as_ref().ok().map(|answer| answer.status);
        self.metrics.http_response(status, begun.elapsed());
        outcome
    }

    async fn send(&self, target: &Url, request: &Request) -> Result<Answer, Failure> {
        let broken = |what: &str, error: &dyn fmt::Display| {
            let message = format!("{} {what}: {error}", self.at(target));
            Failure::new(
                FailureClass::Unreachable,
                message,
                self.peer.speaker().unreachable_hint(),
            )
        };
        let request = self.outgoing(target, request)?;
        let stream = self.connect(target).await?;
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
                    self.at(target)
                );
                let hint =
                    "something else than the token endpoint may be answering at this address";
                return Failure::new(FailureClass::InvalidAnswer, message, hint);
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
        let path = &target[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &target[url::Position::BeforeHost..url::Position::AfterPort];
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

    async fn connect(&self, target: &Url) -> Result<Box<dyn Stream>, Failure> {
        let stream = self.dial(target).await?;
        if target.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let untrusted = |error: &dyn fmt::Display| {
            Failure::new(
                FailureClass::Unreachable,
                format!("{}: TLS failed: {error}", self.at(target)),
                "a TLS-inspecting firewall may be in the way; the authority host must be reached directly",
            )
        };
        let host = target.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| untrusted(&error))?;
        let stream = self
            .wire
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| untrusted(&error))?;
        Ok(Box::new(stream))
    }

    async fn dial(&self, target: &Url) -> Result<TcpStream, Failure> {
        let hint = self.peer.speaker().unreachable_hint();
        let limit = match self.peer {
            Peer::Entra => self.wire.patience.connect_far,
            Peer::Imds { .. } | Peer::AppService { .. } => self.wire.patience.connect_near,
        };
        let mut last = None;
        for address in self.resolve(target).await? {
            last = Some(match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    let message = format!("{} cannot be reached: {error}", self.at(target));
                    Failure::new(FailureClass::Unreachable, message, hint)
                }
                Err(_) => self.too_slow("no connection", target, limit),
            });
        }
        Err(last.unwrap_or_else(|| {
            let message = format!("{} has no address", self.at(target));
            Failure::new(FailureClass::Unreachable, message, hint)
        }))
    }

    async fn resolve(&self, target: &Url) -> Result<Vec<SocketAddr>, Failure> {
        let port = target.port_or_known_default().unwrap_or(443);
        let found = match target.host() {
            Some(url::Host::Ipv4(ip)) => return Ok(vec![(ip, port).into()]),
            Some(url::Host::Ipv6(ip)) => return Ok(vec![(ip, port).into()]),
            Some(url::Host::Domain(name)) => lookup_host((name, port)).await,
            None => return Ok(Vec::new()),
        };
        found.map(Iterator::collect).map_err(|error| {
            let message = format!("the name of {} was not resolved: {error}", self.at(target));
            Failure::new(
                FailureClass::Unreachable,
                message,
                self.peer.speaker().unreachable_hint(),
            )
        })
    }

    fn too_slow(&self, what: &str, target: &Url, limit: Duration) -> Failure {
        Failure::new(
            FailureClass::Timeout,
            format!("{what} from {} within {limit:?}", self.at(target)),
            self.peer.speaker().unreachable_hint(),
        )
    }

    /// The peer and its address, for errors. No path and no query.
    fn at(&self, target: &Url) -> String {
        let origin = &target[url::Position::BeforeScheme..url::Position::AfterPort];
        format!("{} at {origin}", self.peer.speaker().name())
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

/// A byte stream, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

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

    #[test]
    fn imds_is_asked_whatever_address_azure_identity_chose() {
        let url = Url::parse("http://127.0.0.1:4141/msi/token?resource=r&client_id=c").unwrap();
        let peer = Peer::Imds {
            endpoint: None,
            named: true,
        };
        assert_eq!(
            peer.target(&url).unwrap().as_str(),
            "http://169.254.169.254/metadata/identity/oauth2/token?resource=r&client_id=c"
        );
        let endpoint = Some(Url::parse("http://127.0.0.1:99").unwrap());
        let peer = Peer::Imds {
            endpoint,
            named: true,
        };
        assert_eq!(
            peer.target(&url).unwrap().as_str(),
            "http://127.0.0.1:99/metadata/identity/oauth2/token?resource=r&client_id=c"
        );
    }

    #[test]
    fn app_service_without_its_environment_never_asks_imds() {
        let url = Url::parse("http://169.254.169.254/metadata/identity/oauth2/token").unwrap();
        let failure = Peer::AppService { named: false }.target(&url).unwrap_err();
        assert_eq!(failure.class, FailureClass::Misconfigured);
        assert!(failure.to_string().contains("IDENTITY_ENDPOINT"));
    }

    #[test]
    fn a_secret_is_not_sent_to_an_authority_without_tls() {
        let url = Url::parse("http://login.microsoftonline.com/t/oauth2/v2.0/token").unwrap();
        assert!(Peer::Entra.target(&url).is_err());
    }
}
