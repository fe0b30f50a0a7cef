//! From a URL to a byte stream: name look-up, TCP, TLS. Never a proxy.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::identity::failure::{Failure, FailureClass, IdentityError};

use super::Peer;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::identity) struct Patience {
    /// TCP to an address of this host or link.
    pub(in crate::identity) connect_near: Duration,
    /// TCP to one address on the internet: more than the second after which a lost SYN is repeated.
    pub(in crate::identity) connect_far: Duration,
    /// All of a request, from name look-up to the last byte.
    pub(in crate::identity) total: Duration,
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
pub(in crate::identity) struct Wire {
    tls: TlsConnector,
    patience: Patience,
}

impl Wire {
    /// Trusts the built-in roots and `extra_roots`.
    pub(in crate::identity) fn new(
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

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// A byte stream to `target`, encrypted if that is https.
    pub(super) async fn connect(
        &self,
        peer: &Peer,
        target: &Url,
    ) -> Result<Box<dyn Stream>, Failure> {
        let stream = self.dial(peer, target).await?;
        if target.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let untrusted = |error: &dyn fmt::Display| {
            Failure::new(
                FailureClass::Unreachable,
                format!("{}: TLS failed: {error}", peer.at(target)),
                "a TLS-inspecting firewall may be in the way; the authority host must be reached directly",
            )
        };
        let host = target.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| untrusted(&error))?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| untrusted(&error))?;
        Ok(Box::new(stream))
    }

    async fn dial(&self, peer: &Peer, target: &Url) -> Result<TcpStream, Failure> {
        let hint = peer.speaker().unreachable_hint();
        let limit = match peer {
            Peer::Entra => self.patience.connect_far,
            Peer::Imds { .. } | Peer::AppService { .. } => self.patience.connect_near,
        };
        let mut last = None;
        for address in resolve(peer, target).await? {
            last = Some(match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    let message = format!("{} cannot be reached: {error}", peer.at(target));
                    Failure::new(FailureClass::Unreachable, message, hint)
                }
                Err(_) => peer.too_slow("no connection", target, limit),
            });
        }
        Err(last.unwrap_or_else(|| {
            let message = format!("{} has no address", peer.at(target));
            Failure::new(FailureClass::Unreachable, message, hint)
        }))
    }
}

async fn resolve(peer: &Peer, target: &Url) -> Result<Vec<SocketAddr>, Failure> {
    let port = target.port_or_known_default().unwrap_or(443);
    let found = match target.host() {
        Some(url::Host::Ipv4(ip)) => return Ok(vec![(ip, port).into()]),
        Some(url::Host::Ipv6(ip)) => return Ok(vec![(ip, port).into()]),
        Some(url::Host::Domain(name)) => lookup_host((name, port)).await,
        None => return Ok(Vec::new()),
    };
    found.map(Iterator::collect).map_err(|error| {
        let message = format!("the name of {} was not resolved: {error}", peer.at(target));
        Failure::new(
            FailureClass::Unreachable,
            message,
            peer.speaker().unreachable_hint(),
        )
    })
}

/// A byte stream, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
