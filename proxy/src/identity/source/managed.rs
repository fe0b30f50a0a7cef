//! Managed identity: IMDS on a VM, and App Service with Functions and Container Apps.

use std::sync::Arc;

use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};

use crate::config::Selector;
use crate::identity::failure::Failure;
use crate::identity::transport::Exchange;

use super::{Fetched, ask, client_options, told};

/// A machine's or app's own identity. Whether IMDS or App Service is asked is the exchange's
/// business: azure_identity would decide by the environment.
pub(in crate::identity) struct ManagedIdentity {
    pub(in crate::identity) exchange: Arc<Exchange>,
    pub(in crate::identity) selector: Option<Selector>,
    pub(in crate::identity) scope: String,
}

impl ManagedIdentity {
    pub(super) async fn fetch(&self) -> Result<Fetched, Failure> {
        let user_assigned_id = self.selector.clone().map(|selector| match selector {
            Selector::ClientId(id) => UserAssignedId::ClientId(id),
            Selector::ObjectId(id) => UserAssignedId::ObjectId(id),
            Selector::ResourceId(id) => UserAssignedId::ResourceId(id),
        });
        let credential = ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
            user_assigned_id,
            client_options: client_options(&self.exchange),
        }))
        .map_err(|error| told(&error))?;
        ask(credential, &self.scope).await
    }
}
