//! The check that a database server with Entra logins makes on a password.
//!
//! Called by the LDAP responder (for a real PostgreSQL) and by the embedded server. Knows the
//! issuer's public key and the directory, never its private key.

use std::sync::Arc;

use crate::clock;
use crate::directory::{Directory, Principal};
use crate::issuer::{Claims, issuer_name, same_audience};
use crate::jwt::{PublicKey, Unreadable};

/// Why a token does not log in as the wanted role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum TokenRefusal {
    /// Not an RS256 token with the usual claims.
    #[error("the password is not a well-formed access token")]
    Malformed,
    /// Signed by somebody else, or changed afterwards.
    #[error("the access token's signature is invalid")]
    BadSignature,
    /// From another tenant.
    #[error("the access token was issued by another tenant")]
    WrongIssuer,
    /// For another resource.
    #[error("the access token does not have a valid audience claim")]
    WrongAudience,
    /// Its `nbf` is in the future.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// Its `exp` has passed.
    #[error("the access token has expired")]
    Expired,
    /// A good token, but of another principal than the role's.
    #[error("the access token belongs to another principal than this role")]
    WrongPrincipal,
}

/// Checks tokens for one resource.
#[derive(Debug, Clone)]
pub struct Verifier {
    key: PublicKey,
    directory: Arc<Directory>,
    audience: String,
}

impl Verifier {
    /// A verifier of tokens that `key` signed for `audience`.
    #[must_use]
    pub fn new(key: PublicKey, directory: Arc<Directory>, audience: &str) -> Self {
        Self {
            key,
            directory,
            audience: audience.to_owned(),
        }
    }

    /// The resource that tokens must be for.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The claims of a token that may log in as `role` now.
    ///
    /// # Errors
    /// The first reason against it, in the order of the enum's variants.
    pub fn check(&self, token: &str, role: &str) -> Result<Claims, TokenRefusal> {
        match self.principal(token)? {
            (claims, principal) if principal.name == role => Ok(claims),
            _ => Err(TokenRefusal::WrongPrincipal),
        }
    }

    /// The claims of a token that is good now, and whose it is.
    ///
    /// # Errors
    /// The first reason against it, in the order of the enum's variants.
    pub fn principal(&self, token: &str) -> Result<(Claims, Principal), TokenRefusal> {
        let claims: Claims = self
            .key
            .open(token)
            .map_err(|unreadable| match unreadable {
                Unreadable::Malformed => TokenRefusal::Malformed,
                Unreadable::BadSignature => TokenRefusal::BadSignature,
            })?;
        let tenant = self.directory.tenant_id();
        let now = clock::now();
        if claims.tid != tenant || claims.iss != issuer_name(tenant) {
            return Err(TokenRefusal::WrongIssuer);
        }
        if !same_audience(&claims.aud, &self.audience) {
            return Err(TokenRefusal::WrongAudience);
        }
        if now < claims.nbf {
            return Err(TokenRefusal::NotYetValid);
        }
        if now >= claims.exp {
            return Err(TokenRefusal::Expired);
        }
        let principal = self
            .directory
            .find(|known| known.object_id == claims.oid && known.client_id == claims.appid);
        principal
            .map(|found| (claims, found))
            .ok_or(TokenRefusal::WrongPrincipal)
    }
}

#[cfg(test)]
mod tests;
