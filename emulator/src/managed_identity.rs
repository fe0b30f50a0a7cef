//! The platform side of managed identities on one machine: which are assigned to it, which of
//! them a request means, and the cache in front of the issuer.
//!
//! IMDS and the App Service endpoint are two faces of this. Like the real platform it hands out
//! the same token until a certain share of its life has passed, whoever asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;
use crate::directory::Principal;
use crate::error::Error;
use crate::faults::Twist;
use crate::issuer::{IssuedToken, Issuer, resource_exists};

/// How an identity came to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// The machine's own; there is at most one, and it answers requests without a selector.
    System,
    /// Added by somebody; there may be many.
    User,
}

/// Which identity a request means, by client, object or resource id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    Client(String),
    Object(String),
    Resource(String),
}

/// Why no token is given out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Identity not found")]
    IdentityNotFound,
    #[error(
        "Multiple user assigned identities exist, please specify the clientId / resourceId of \
         the identity in the token request"
    )]
    Ambiguous,
    #[error(
        "AADSTS500011: The resource principal named {0} was not found in the tenant named local"
    )]
    UnknownResource(String),
    #[error("the platform failed: {0}")]
    Platform(#[from] Error),
}

/// The identities of one machine.
#[derive(Debug)]
pub struct ManagedIdentities {
    issuer: Arc<Issuer>,
    assigned: Mutex<Vec<(Assignment, Principal)>>,
    cache: Mutex<HashMap<(String, String), IssuedToken>>,
    /// Percent of a token's life after which another one is minted.
    renew_at: AtomicU8,
    minted: AtomicU64,
}

impl ManagedIdentities {
    /// A machine without identities, whose cache renews tokens at 40 % of their life.
    #[must_use]
    pub fn new(issuer: Arc<Issuer>) -> Self {
        Self {
            issuer,
            assigned: Mutex::default(),
            cache: Mutex::default(),
            renew_at: AtomicU8::new(40),
            minted: AtomicU64::new(0),
        }
    }

    /// Gives the machine an identity, and the directory its principal.
    pub fn assign(&self, assignment: Assignment, principal: Principal) {
        self.issuer.directory().register(principal.clone());
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        assigned.retain(|(kind, known)| {
            known.object_id != principal.object_id
                && !(assignment == Assignment::System && *kind == Assignment::System)
        });
        assigned.push((assignment, principal));
    }

    /// Takes all identities off the machine; the tenant still knows them.
    pub fn unassign_all(&self) {
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        assigned.clear();
        drop(assigned);
        self.forget_tokens();
    }

    /// The cached token is replaced once it has lived this share of its life: 0 mints one per
    /// request, 100 keeps each until it expires. Higher values count as 100.
    pub fn renew_at_percent(&self, percent: u8) {
        self.renew_at.store(percent.min(100), Ordering::Relaxed);
    }

    /// Empties the cache.
    pub fn forget_tokens(&self) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clear();
    }

    /// Tokens minted so far for this machine.
    #[must_use]
    pub fn minted(&self) -> u64 {
        self.minted.load(Ordering::Relaxed)
    }

    pub(crate) fn token(
        &self,
        selector: Option<&Selector>,
        resource: &str,
    ) -> Result<IssuedToken, Refusal> {
        let principal = self.select(selector)?;
        if !resource_exists(resource) {
            return Err(Refusal::UnknownResource(resource.to_owned()));
        }
        let key = (principal.object_id.clone(), resource.to_owned());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = cache.get(&key).filter(|token| self.is_fresh(token)) {
            return Ok(token.clone());
        }
        let token = self.issuer.mint(&principal, resource)?;
        self.minted.fetch_add(1, Ordering::Relaxed);
        cache.insert(key, token.clone());
        Ok(token)
    }

    /// A token that may have something odd about it.
    pub(crate) fn twisted(
        &self,
        selector: Option<&Selector>,
        resource: &str,
        twist: Option<Twist>,
    ) -> Result<IssuedToken, Refusal> {
        match twist {
            Some(Twist::Resource(other)) => self.token(selector, other),
            Some(how @ (Twist::Overdue | Twist::Early)) => self.moved(selector, resource, how),
            Some(Twist::Opaque) => {
                let mut token = self.token(selector, resource)?;
                token.secret = token.secret.replace('.', "");
                Ok(token)
            }
            None | Some(Twist::NumericExpiry) => self.token(selector, resource),
        }
    }

    /// A token whose time is over, or has not come, in an answer that says nothing of it. It is not
    /// kept.
    fn moved(
        &self,
        selector: Option<&Selector>,
        resource: &str,
        twist: Twist,
    ) -> Result<IssuedToken, Refusal> {
        let principal = self.select(selector)?;
        let mut claims = self.issuer.claims(&principal, resource)?;
        let end = claims.exp;
        if twist == Twist::Early {
            claims.nbf += 3600;
        } else {
            claims.exp = claims.iat - 60;
            claims.iat -= 3600;
            claims.nbf = claims.iat;
        }
        let mut token = self.issuer.sign(claims)?;
        token.claims.exp = end;
        Ok(token)
    }

    fn is_fresh(&self, token: &IssuedToken) -> bool {
        let life = token.claims.exp - token.claims.iat;
        let share = u64::from(self.renew_at.load(Ordering::Relaxed));
        let now = clock::now();
        now < token.claims.exp && now < token.claims.iat + life * share / 100
    }

    fn select(&self, selector: Option<&Selector>) -> Result<Principal, Refusal> {
        let assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(selector) = selector else {
            let system = assigned
                .iter()
                .find(|(assignment, _)| *assignment == Assignment::System);
            return match (system, assigned.as_slice()) {
                (Some((_, principal)), _) | (None, [(_, principal)]) => Ok(principal.clone()),
                (None, []) => Err(Refusal::IdentityNotFound),
                (None, _) => Err(Refusal::Ambiguous),
            };
        };
        assigned
            .iter()
            .map(|(_, principal)| principal)
            .find(|principal| selector.means(principal))
            .cloned()
            .ok_or(Refusal::IdentityNotFound)
    }
}

impl Selector {
    fn means(&self, principal: &Principal) -> bool {
        match self {
            Self::Client(id) => principal.client_id.eq_ignore_ascii_case(id),
            Self::Object(id) => principal.object_id.eq_ignore_ascii_case(id),
            Self::Resource(id) => principal.resource_id.eq_ignore_ascii_case(id),
        }
    }
}
