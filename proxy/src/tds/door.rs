//! The local door's TLS, for drivers that insist on it: with a certificate from files, or with one
//! that is made when the program starts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use entrapool_protocol::tds::packet::{self, Header, Kind};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::config::{CertificateFiles, Listen};
use crate::session::envelope::Envelope;

/// ALPN of TDS 8.
pub(super) const ALPN: &[u8] = b"tds/8.0";

/// TLS 1.2 alone inside PRELOGIN packets: what TLS 1.3 sends behind its handshake has no place
/// there.
pub(super) const WRAPPED_VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// What clients are shown.
pub(super) struct Door {
    /// For a handshake inside PRELOGIN packets.
    pub(super) wrapped: Arc<ServerConfig>,
    /// For TDS 8, where TLS comes first.
    pub(super) strict: Arc<ServerConfig>,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorError {
    /// A file of the configuration.
    #[error("{}: {cause}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Certificate and key don't belong together, or are of no use to rustls.
    #[error("client_cert_file and client_key_file: {0}")]
    Pair(#[from] rustls::Error),
    /// None could be made.
    #[error("a certificate for clients could not be made: {0}")]
    Made(#[from] rcgen::Error),
}

impl Door {
    /// Reads the certificate, or makes one for `listen` and `localhost`.
    pub(super) fn new(
        files: Option<&CertificateFiles>,
        listen: &Listen,
    ) -> Result<Self, DoorError> {
        let (chain, key) = match files {
            Some(files) => read(files)?,
            None => make(listen)?,
        };
        let config = |versions| {
            let builder = ServerConfig::builder_with_protocol_versions(versions);
            builder
                .with_no_client_auth()
                .with_single_cert(chain.clone(), key.clone_key())
        };
        let mut wrapped = config(WRAPPED_VERSIONS)?;
        // A resumed handshake ends with the client, whose next bytes could come in the same read.
        wrapped.session_storage = Arc::new(NoServerSessionStorage {});
        let mut strict = config(rustls::ALL_VERSIONS)?;
        strict.alpn_protocols.push(ALPN.to_vec());
        Ok(Self {
            wrapped: Arc::new(wrapped),
            strict: Arc::new(strict),
        })
    }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(files: &CertificateFiles) -> Result<Pair, DoorError> {
    let bad = |path: &Path, cause: &dyn std::fmt::Display| DoorError::File {
        path: path.into(),
        cause: cause.to_string(),
    };
    let path = &files.certificate;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| bad(path, &error))?
        .collect();
    let chain = chain.map_err(|error| bad(path, &error))?;
    if chain.is_empty() {
        return Err(bad(path, &"holds no PEM certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| bad(&files.key, &error))?;
    Ok((chain, key))
}

fn make(listen: &Listen) -> Result<Pair, DoorError> {
    let mut names = vec!["localhost".to_owned()];
    if let Listen::Tcp(address) = listen {
        names.push(address.ip().to_string());
    }
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((vec![certificate.der().clone()], key.into()))
}

/// PRELOGIN packets around the records of a TLS handshake (MS-TDS 2.2.6.5).
pub(super) struct Packets;

/// What there is of them, for those who want one that lives for ever.
pub(super) static PACKETS: Packets = Packets;

impl Envelope for Packets {
    fn wrap(&self, records: &[u8], out: &mut Vec<u8>) {
        packet::split(out, Kind::Prelogin, 0, packet::DEFAULT, records);
    }

    fn unwrap(&self, input: &[u8], records: &mut Vec<u8>) -> io::Result<usize> {
        let invalid = |error: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidData, error.to_string())
        };
        let Some(header) = Header::read(input).map_err(|error| invalid(&error))? else {
            return Ok(0);
        };
        // Servers of old answer in packets of type 4.
        if !matches!(header.kind, Kind::Prelogin | Kind::Answer) {
            return Err(invalid(&"a TLS handshake was due"));
        }
        Ok(header.payload(input).map_or(0, |payload| {
            records.extend_from_slice(payload);
            header.total()
        }))
    }
}
