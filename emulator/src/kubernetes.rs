//! A Kubernetes-like issuer of service account tokens, with the projected file that rotates.
//!
//! Workload identity reads the file and sends its content to Entra as a client assertion; the
//! Entra endpoint checks it here. Nothing else of Kubernetes is imitated.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::task::AbortHandle;

use crate::clock;
use crate::error::Error;
use crate::jwt::{self, PublicKey, SigningKey};

/// The audience of tokens that are meant for the exchange.
pub const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// Signs service account tokens of one cluster.
#[derive(Debug)]
pub struct Cluster {
    key: SigningKey,
    issuer: String,
}

/// The claims of a service account token that Entra looks at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Assertion {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: Vec<String>,
    pub(crate) iat: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
}

impl Cluster {
    /// A cluster with a fresh key.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            key: SigningKey::generate()?,
            issuer: "https://oidc.local.prod-aks.azure.com/cluster/".to_owned(),
        })
    }

    /// The issuer's name, as a federated credential names it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// A token for a service account, with this life.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn service_account_token(
        &self,
        namespace: &str,
        account: &str,
        life: Duration,
    ) -> Result<String, Error> {
        let now = clock::now();
        self.key.sign(&Assertion {
            iss: self.issuer.clone(),
            sub: subject(namespace, account),
            aud: vec![EXCHANGE_AUDIENCE.to_owned()],
            iat: now,
            nbf: now,
            exp: now + life.as_secs(),
            jti: jwt::random_text(16)?,
        })
    }
}

/// The subject of a service account.
#[must_use]
pub fn subject(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

/// A projected token file, rewritten when 80 % of a token's life has passed, as kubelet does.
/// The file goes and the rotation stops when this is dropped.
#[derive(Debug)]
pub struct TokenFile {
    volume: Arc<Volume>,
    rotation: AbortHandle,
}

#[derive(Debug)]
struct Volume {
    directory: TempDir,
    cluster: Arc<Cluster>,
    namespace: String,
    account: String,
    life: Duration,
}

impl TokenFile {
    /// Writes the first token and keeps rotating it. Needs a running tokio.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn mount(
        cluster: Arc<Cluster>,
        namespace: &str,
        account: &str,
        life: Duration,
    ) -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("entrapool-volume-")
            .tempdir()
            .map_err(Error::io("make a directory for a service account token"))?;
        let volume = Arc::new(Volume {
            directory,
            cluster,
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            life,
        });
        volume.write()?;
        let rotating = Arc::clone(&volume);
        let rotation = tokio::spawn(async move {
            loop {
                tokio::time::sleep(rotating.life.mul_f64(0.8)).await;
                // A full disk now may be gone at the next turn; the old token is still there.
                let _next_time = rotating.write();
            }
        })
        .abort_handle();
        Ok(Self { volume, rotation })
    }

    /// The value of `AZURE_FEDERATED_TOKEN_FILE`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.volume.path()
    }

    /// Writes a new token now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn rotate(&self) -> Result<(), Error> {
        self.volume.write()
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        self.rotation.abort();
    }
}

impl Volume {
    fn path(&self) -> PathBuf {
        self.directory.path().join("azure-identity-token")
    }

    /// Replaces the file in one step: a reader sees the old token or the new one.
    fn write(&self) -> Result<(), Error> {
        let token =
            self.cluster
                .service_account_token(&self.namespace, &self.account, self.life)?;
        let next = self.directory.path().join("next");
        fs::write(&next, token)
            .and_then(|()| fs::rename(&next, self.path()))
            .map_err(Error::io(format!("rotate {}", self.path().display())))
    }
}
