//! Service principals at Entra's token endpoint: Kubernetes workload identity, client secret.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{ClientMethodOptions, ClientOptions};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions,
};

use crate::config::Cloud;
use crate::identity::failure::{Failure, FailureClass};
use crate::identity::transport::Exchange;

use super::{Fetched, ask, client_options, told};

/// An application that proves itself to Entra.
pub(in crate::identity) struct ServicePrincipal {
    pub(in crate::identity) exchange: Arc<Exchange>,
    pub(in crate::identity) tenant_id: String,
    pub(in crate::identity) client_id: String,
    pub(in crate::identity) proof: Proof,
    pub(in crate::identity) cloud: Cloud,
    /// Instead of the cloud's own; https.
    pub(in crate::identity) authority: Option<String>,
    pub(in crate::identity) scope: String,
}

/// How it does.
pub(in crate::identity) enum Proof {
    /// With the file that Kubernetes rotates.
    Federated(PathBuf),
    /// With a client secret.
    Secret(Secret),
}

impl ServicePrincipal {
    pub(super) async fn fetch(&self) -> Result<Fetched, Failure> {
        let credential: Arc<dyn TokenCredential> = match &self.proof {
            Proof::Federated(path) => ClientAssertionCredential::new(
                self.tenant_id.clone(),
                self.client_id.clone(),
                AssertionFile(path.clone()),
                Some(ClientAssertionCredentialOptions {
                    client_options: self.options(),
                }),
            )
            .map_err(|error| told(&error))?,
            Proof::Secret(secret) => ClientSecretCredential::new(
                &self.tenant_id,
                self.client_id.clone(),
                secret.clone(),
                Some(ClientSecretCredentialOptions {
                    client_options: self.options(),
                }),
            )
            .map_err(|error| told(&error))?,
        };
        ask(credential, &self.scope).await
    }

    /// The cloud is always given, so that azure_identity does not look at the environment.
    fn options(&self) -> ClientOptions {
        let cloud = match (&self.authority, self.cloud) {
            (Some(host), _) => {
                let mut custom = CustomConfiguration::default();
                custom.authority_host.clone_from(host);
                CloudConfiguration::Custom(custom)
            }
            (None, Cloud::Public) => CloudConfiguration::AzurePublic,
            (None, Cloud::UsGov) => CloudConfiguration::AzureGovernment,
            (None, Cloud::China) => CloudConfiguration::AzureChina,
        };
        ClientOptions {
            cloud: Some(Arc::new(cloud)),
            ..client_options(&self.exchange)
        }
    }
}

/// The federated token, read anew for each request: the kubelet rotates the file, and a copy that
/// is kept for too long is refused (AADSTS700024).
struct AssertionFile(PathBuf);

impl AssertionFile {
    async fn read(&self) -> Result<String, Failure> {
        let path = self.0.display();
        let hint = "the pod needs the label azure.workload.identity/use: \"true\" and a service account \
                    with a client-id; check AZURE_FEDERATED_TOKEN_FILE and skip-containers";
        let text = tokio::fs::read_to_string(&self.0).await.map_err(|error| {
            let message = format!("the federated token file {path} cannot be read: {error}");
            Failure::new(FailureClass::File, message, hint)
        })?;
        let assertion = text.trim();
        if assertion.is_empty() {
            let message = format!("the federated token file {path} is empty");
            return Err(Failure::new(FailureClass::File, message, hint));
        }
        Ok(assertion.to_owned())
    }
}

#[async_trait]
impl ClientAssertion for AssertionFile {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.read()
            .await
            .map_err(|failure| Error::new(ErrorKind::Credential, failure))
    }
}

impl fmt::Debug for AssertionFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AssertionFile").field(&self.0).finish()
    }
}
