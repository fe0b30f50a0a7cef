//! A private certificate authority, with its files in a temporary directory.
//!
//! The database servers and the Entra endpoint get their certificates here; clients trust
//! [`Pki::ca_file`]. The files go when the value is dropped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS12;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

use crate::error::Error;

/// A private certificate authority.
#[derive(Debug)]
pub struct Pki {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
}

/// A server's certificate and key, as PEM files that live as long as their [`Pki`].
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The certificate.
    pub certificate_file: PathBuf,
    /// Its key, mode 0600.
    pub key_file: PathBuf,
}

/// Since when, until when.
#[derive(Debug, Clone, Copy)]
enum Validity {
    Current,
    Past,
    Future,
}

impl Pki {
    /// Makes the authority.
    ///
    /// # Errors
    /// When the directory or the key cannot be made.
    pub fn new() -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("entrapool-pki-")
            .tempdir()
            .map_err(Error::io("make a directory for certificates"))?;
        // Other users' clients (psql run by somebody else) must reach the CA file.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .map_err(Error::io("open the certificate directory for reading"))?;
        let failed = |source| Error::Certificate {
            names: "the authority itself".to_owned(),
            source,
        };
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "entrapool local Azure authority");
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let pki = Self {
            authority: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            directory,
        };
        write(&pki.ca_file(), &certificate.pem(), 0o644)?;
        Ok(pki)
    }

    /// The root that clients must trust, PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The directory of all files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A certificate for these names or addresses, valid now. For a certificate that does not
    /// fit its server, name another host.
    ///
    /// # Errors
    /// When a name is not one, or a file cannot be written.
    pub fn issue(&self, names: &[&str]) -> Result<ServerCertificate, Error> {
        self.issue_for(names, Validity::Current)
    }

    /// A certificate that expired in 2021.
    ///
    /// # Errors
    /// When a name is not one, or a file cannot be written.
    pub fn issue_expired(&self, names: &[&str]) -> Result<ServerCertificate, Error> {
        self.issue_for(names, Validity::Past)
    }

    /// A certificate that will be valid from 2090 on.
    ///
    /// # Errors
    /// When a name is not one, or a file cannot be written.
    pub fn issue_not_yet_valid(&self, names: &[&str]) -> Result<ServerCertificate, Error> {
        self.issue_for(names, Validity::Future)
    }

    fn issue_for(&self, names: &[&str], validity: Validity) -> Result<ServerCertificate, Error> {
        let failed = |source| Error::Certificate {
            names: names.join(", "),
            source,
        };
        let owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(owned).map_err(failed)?;
        params
            .distinguished_name
            .push(DnType::CommonName, names.first().copied().unwrap_or("-"));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let years = match validity {
            Validity::Current => None,
            Validity::Past => Some((2020, 2021)),
            Validity::Future => Some((2090, 2091)),
        };
        if let Some((from, to)) = years {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        }
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let folder = tempfile::Builder::new()
            .prefix("server-")
            .tempdir_in(self.directory.path())
            .map_err(Error::io("make a directory for a certificate"))?
            .keep();
        let issued = ServerCertificate {
            certificate_file: folder.join("server.crt"),
            key_file: folder.join("server.key"),
        };
        write(&issued.certificate_file, &certificate.pem(), 0o644)?;
        write(&issued.key_file, &key.serialize_pem(), 0o600)?;
        Ok(issued)
    }

    /// A client that trusts this authority and nobody else.
    ///
    /// # Errors
    /// When rustls refuses the authority.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, Error> {
        let failed = |source| Error::Tls {
            on: "as a client of the emulator".to_owned(),
            source,
        };
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).map_err(failed)?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

impl ServerCertificate {
    /// A server that presents this certificate.
    ///
    /// # Errors
    /// When a file cannot be read or rustls refuses it.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, Error> {
        Ok(Arc::new(self.config(ALL_VERSIONS)?))
    }

    /// The same with TLS 1.2 only.
    pub(crate) fn tls12_server_config(&self) -> Result<Arc<ServerConfig>, Error> {
        let mut config = self.config(&[&TLS12])?;
        // A resumed handshake ends with the client, whose next bytes are not the handshake's; they
        // can't be told apart here once TLS has read ahead.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    /// The same, speaking this protocol only to clients that offer any (ALPN).
    pub(crate) fn alpn_server_config(&self, protocol: &[u8]) -> Result<Arc<ServerConfig>, Error> {
        let mut config = self.config(ALL_VERSIONS)?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }

    fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<ServerConfig, Error> {
        let unreadable = |source: rustls::pki_types::pem::Error| Error::Io {
            action: format!("read the certificate {}", self.certificate_file.display()),
            source: std::io::Error::other(source),
        };
        let failed = |source| Error::Tls {
            on: format!("with {}", self.certificate_file.display()),
            source,
        };
        let certificate =
            CertificateDer::from_pem_file(&self.certificate_file).map_err(unreadable)?;
        let key = PrivateKeyDer::from_pem_file(&self.key_file).map_err(unreadable)?;
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(failed)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(Error::io(format!("set the mode of {}", path.display())))
}
