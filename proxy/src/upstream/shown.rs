//! What a server shows in a handshake, whether it is taken or not: `entrapool doctor` tells it. The
//! verdict is rustls's own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::certificate::{Certificate, name};

/// Most certificates of a chain that are kept.
const MOST: usize = 10;

/// The certificates of the last handshake, the server's own first. Cheap to clone; clones see the
/// same.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<Mutex<Vec<Certificate>>>);

/// The root that a chain leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its common name.
    pub name: String,
    /// Whether it comes from `ca_file`, not from the built-in ones.
    pub is_extra: bool,
}

impl Shown {
    /// The chain, as the server sent it; empty before a certificate came.
    #[must_use]
    pub fn chain(&self) -> Vec<Certificate> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) {
        let all = std::iter::once(own).chain(others).take(MOST);
        let chain = all.map(|der| Certificate::read(der)).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
    }
}

/// The root that the first of the chain's issuers is which is one; the first `built_in` of `roots`
/// are not from `ca_file`.
pub(super) fn root_of(
    chain: &[Certificate],
    roots: &[TrustAnchor<'_>],
    built_in: usize,
) -> Option<Root> {
    chain.iter().find_map(|certificate| {
        let issuer = certificate.issuer_der.as_slice();
        let at = roots
            .iter()
            .position(|root| root.subject.as_ref() == issuer)?;
        Some(Root {
            name: name(issuer),
            is_extra: at >= built_in,
        })
    })
}

/// Looks at what passes; all questions go to rustls.
pub(super) struct Watcher {
    judge: Arc<WebPkiServerVerifier>,
    shown: Shown,
}

impl Watcher {
    /// `None` if there is no root at all.
    pub(super) fn new(roots: &Arc<RootCertStore>, shown: Shown) -> Option<Arc<Self>> {
        let judge = WebPkiServerVerifier::builder(Arc::clone(roots))
            .build()
            .ok()?;
        Some(Arc::new(Self { judge, shown }))
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Watcher {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.shown.note(own, others);
        self.judge
            .verify_server_cert(own, others, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
