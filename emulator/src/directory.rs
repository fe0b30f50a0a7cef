//! The tenant's directory: which principals exist, and by which ids they are known.
//!
//! The issuer reads it to mint, IMDS and the token endpoint to find who asks, the verifier to
//! learn which database role a token's object id stands for (the mapping is by object id, not by
//! name, as in Azure Database for PostgreSQL).

use std::sync::{PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};

/// A service principal: a managed identity or an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Display name; also the name of its database role, exact case.
    pub name: String,
    /// Claim `oid`.
    pub object_id: String,
    /// Claim `appid`.
    pub client_id: String,
    /// Claim `xms_mirid`: the ARM id of the machine or of the identity.
    pub resource_id: String,
}

impl Principal {
    /// A principal whose ids follow from its name, so that they are stable between runs.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            object_id: guid("object", name),
            client_id: guid("client", name),
            resource_id: format!(
                "/subscriptions/{}/resourcegroups/local/providers/\
                 Microsoft.ManagedIdentity/userAssignedIdentities/{name}",
                guid("subscription", "local")
            ),
        }
    }
}

/// One tenant and its principals.
#[derive(Debug)]
pub struct Directory {
    tenant_id: String,
    principals: RwLock<Vec<Principal>>,
}

impl Directory {
    /// A tenant without principals.
    #[must_use]
    pub fn new(tenant: &str) -> Self {
        Self {
            tenant_id: guid("tenant", tenant),
            principals: RwLock::default(),
        }
    }

    /// Claim `tid`.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// Adds a principal; one with the same object id is replaced.
    pub fn register(&self, principal: Principal) {
        let mut all = self
            .principals
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.object_id != principal.object_id);
        all.push(principal);
    }

    /// The first principal that fits.
    pub fn find(&self, fits: impl Fn(&Principal) -> bool) -> Option<Principal> {
        self.principals
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|principal| fits(principal))
            .cloned()
    }
}

/// A GUID that follows from its arguments, in the usual form.
pub(crate) fn guid(kind: &str, name: &str) -> String {
    let hash = digest(&SHA256, format!("{kind}/{name}").as_bytes());
    let hex: String = hash.as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}
