//! TLS to the server: 1.2 or 1.3, always verified, with the host name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::certificate::Certificate;
use super::shown::{Root, Shown, Watcher, root_of};
use crate::config::{TlsMode, Upstream};

/// Versions of TLS that a connection may have.
pub type Versions = &'static [&'static rustls::SupportedProtocolVersion];

/// A route's TLS. One configuration for all its connections, so that sessions resume.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    roots: Arc<RootCertStore>,
}

/// Why there is no TLS, or none that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of extra roots.
    #[error("ca_file {}: {cause}", path.display())]
    CaFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A name that can't stand in a certificate.
    #[error("{0:?} is no host name or address that a certificate could be verified for")]
    Name(String),
    /// The handshake failed; verification is part of it.
    #[error("TLS with {name}: {cause}")]
    Handshake {
        /// The name that was verified.
        name: String,
        /// What rustls or the system says.
        cause: io::Error,
    },
}

impl Tls {
    /// The TLS of a route; `alpn` is offered where the protocol wants it.
    ///
    /// # Errors
    /// [`TlsError::CaFile`] and [`TlsError::Name`].
    pub fn new(
        upstream: &Upstream,
        alpn: Option<&[u8]>,
        versions: Versions,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = &upstream.ca_file {
            add_roots(&mut roots, path)?;
        }
        let roots = Arc::new(roots);
        let mut config = ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        config.alpn_protocols.extend(alpn.map(Into::into));
        let name = upstream.server_name.as_ref().unwrap_or(&upstream.host);
        let name = server_name(name)?;
        Ok(Self {
            config: Arc::new(config),
            name,
            roots,
        })
    }

    /// The TLS of a route, if it has any: see [`Tls::new`]. ALPN only where TLS comes first;
    /// `negotiated` are the versions where it does not.
    ///
    /// # Errors
    /// As [`Tls::new`].
    pub fn of_route(
        upstream: &Upstream,
        direct_alpn: &[u8],
        negotiated: Versions,
    ) -> Result<Option<Self>, TlsError> {
        match upstream.tls {
            TlsMode::Off => Ok(None),
            TlsMode::Negotiate => Self::new(upstream, None, negotiated).map(Some),
            TlsMode::Direct => {
                Self::new(upstream, Some(direct_alpn), rustls::ALL_VERSIONS).map(Some)
            }
        }
    }

    /// The same, with each handshake in full: where a resumed one would end with us, and what
    /// follows it could be taken for a part of it.
    #[must_use]
    pub fn without_resumption(self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        Self {
            config: Arc::new(config),
            ..self
        }
    }

    /// The same for another machine of the same service, to which its server has sent us.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn with_name(&self, name: &str) -> Result<Self, TlsError> {
        Ok(Self {
            config: Arc::clone(&self.config),
            name: server_name(name)?,
            roots: Arc::clone(&self.roots),
        })
    }

    /// The same, with every handshake in full and what the server shows in it noted. Who is
    /// trusted does not change.
    #[must_use]
    pub fn watched(self, shown: &Shown) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        if let Some(watcher) = Watcher::new(&self.roots, shown.clone()) {
            config.dangerous().set_certificate_verifier(watcher);
        }
        Self {
            config: Arc::new(config),
            ..self
        }
    }

    /// The root that a chain leads to, by its name, if it is one of those that are trusted.
    #[must_use]
    pub fn root_of(&self, chain: &[Certificate]) -> Option<Root> {
        let built_in = webpki_roots::TLS_SERVER_ROOTS.len();
        root_of(chain, &self.roots.roots, built_in)
    }

    /// The name that the server's certificate must be valid for.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.to_str().into_owned()
    }

    /// The client's side of a new TLS connection, before its handshake.
    ///
    /// # Errors
    /// [`TlsError::Handshake`] if rustls refuses the configuration.
    pub fn begin(&self) -> Result<ClientConnection, TlsError> {
        let mut connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(|error| self.failed(io::Error::other(error)))?;
        // What is in flight is bounded by whoever writes.
        connection.set_buffer_limit(None);
        Ok(connection)
    }

    /// The error of a handshake that ended with `cause`.
    #[must_use]
    pub fn failed(&self, cause: io::Error) -> TlsError {
        TlsError::Handshake {
            name: self.name.to_str().into_owned(),
            cause,
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let bad = |cause: String| TlsError::CaFile {
        path: path.into(),
        cause,
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| bad(error.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(bad("holds no PEM certificate".into()));
    }
    Ok(())
}
