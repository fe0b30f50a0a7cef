//! The tenant's token issuer: what signs every access token in this emulator.
//!
//! IMDS, the App Service endpoint and the Entra endpoint mint here; tests may also mint tokens
//! that no endpoint would give out (expired, for another audience), by changing [`Claims`]
//! before [`Issuer::sign`]. Life and size of new tokens can be changed at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock;
use crate::directory::{Directory, Principal};
use crate::error::Error;
use crate::jwt::{self, PublicKey, SigningKey};
use crate::verifier::Verifier;

/// The audience of Azure Database for PostgreSQL and MySQL, public cloud.
pub const OSSRDBMS_AUDIENCE: &str = "https://ossrdbms-aad.database.windows.net";
/// The audience of Azure SQL, public cloud; the registered name ends in a slash.
pub const SQL_AUDIENCE: &str = "https://database.windows.net/";

/// Resources that exist in this tenant; a token for any other is refused (AADSTS500011).
const RESOURCES: [&str; 7] = [
    OSSRDBMS_AUDIENCE,
    SQL_AUDIENCE,
    "https://ossrdbms-aad.database.usgovcloudapi.net",
    "https://database.usgovcloudapi.net/",
    "https://ossrdbms-aad.database.chinacloudapi.cn",
    "https://database.chinacloudapi.cn/",
    "https://management.azure.com/",
];

/// The size of a usual managed-identity token.
const USUAL_SIZE: usize = 1_900;
const USUAL_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The claims of an access token (version 1.0, as managed identities get them).
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// The resource that the token is for.
    pub aud: String,
    /// The issuer, with the tenant in it.
    pub iss: String,
    /// When it was made, epoch seconds.
    pub iat: u64,
    /// When it starts to be valid.
    pub nbf: u64,
    /// When it stops.
    pub exp: u64,
    /// Filler; real tokens carry opaque text of varying length here.
    #[serde(default)]
    pub aio: String,
    /// The application's id.
    pub appid: String,
    /// The principal's object id.
    pub oid: String,
    /// The subject; equals `oid` for service principals.
    pub sub: String,
    /// The tenant.
    pub tid: String,
    /// Unique per token.
    pub uti: String,
    /// Token version.
    pub ver: String,
    /// ARM id of the machine or identity.
    pub xms_mirid: String,
}

/// A token and what it says.
#[derive(Clone)]
pub struct IssuedToken {
    /// The compact JWT. A credential: keep it out of logs.
    pub secret: String,
    /// What it says.
    pub claims: Claims,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken")
            .field("uti", &self.claims.uti)
            .field("exp", &self.claims.exp)
            .finish_non_exhaustive()
    }
}

/// Signs access tokens for the principals of one tenant.
#[derive(Debug)]
pub struct Issuer {
    key: SigningKey,
    directory: Arc<Directory>,
    /// Seconds.
    life: AtomicU64,
    /// Bytes.
    size: AtomicUsize,
}

impl Issuer {
    /// What checks this tenant's tokens for one resource.
    #[must_use]
    pub fn verifier(&self, audience: &str) -> Verifier {
        Verifier::new(self.public_key(), Arc::clone(&self.directory), audience)
    }

    /// An issuer with a fresh key, minting tokens of 24 h and about 1,900 bytes.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(directory: Arc<Directory>) -> Result<Self, Error> {
        Ok(Self {
            key: SigningKey::generate()?,
            directory,
            life: AtomicU64::new(USUAL_LIFE.as_secs()),
            size: AtomicUsize::new(USUAL_SIZE),
        })
    }

    /// From now on, tokens live this long (whole seconds).
    pub fn set_life(&self, life: Duration) {
        self.life.store(life.as_secs(), Ordering::Relaxed);
    }

    /// From now on, tokens have about this many bytes (never under what the claims need).
    pub fn set_size(&self, bytes: usize) {
        self.size.store(bytes, Ordering::Relaxed);
    }

    /// The tenant that this issuer speaks for.
    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// The key set document.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.key.public().jwk()] })
    }

    /// Claim `iss` of this tenant's tokens.
    #[must_use]
    pub fn name(&self) -> String {
        issuer_name(self.directory.tenant_id())
    }

    /// The claims that a token minted now would carry.
    ///
    /// # Errors
    /// When no random id can be drawn.
    pub fn claims(&self, principal: &Principal, audience: &str) -> Result<Claims, Error> {
        let now = clock::now();
        Ok(Claims {
            aud: audience.to_owned(),
            iss: self.name(),
            iat: now,
            nbf: now,
            exp: now + self.life.load(Ordering::Relaxed),
            aio: String::new(),
            appid: principal.client_id.clone(),
            oid: principal.object_id.clone(),
            sub: principal.object_id.clone(),
            tid: self.directory.tenant_id().to_owned(),
            uti: jwt::random_text(16)?,
            ver: "1.0".to_owned(),
            xms_mirid: principal.resource_id.clone(),
        })
    }

    /// Signs claims as they are, after filling them up to the wanted size.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn sign(&self, mut claims: Claims) -> Result<IssuedToken, Error> {
        let bare = self.key.sign(&claims)?.len();
        let missing = self.size.load(Ordering::Relaxed).saturating_sub(bare);
        // Twice base64: the filler is text in a payload that is encoded again, 4/3 each.
        claims.aio = jwt::random_text(missing * 9 / 16)?;
        Ok(IssuedToken {
            secret: self.key.sign(&claims)?,
            claims,
        })
    }

    /// A new token for a principal.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn mint(&self, principal: &Principal, audience: &str) -> Result<IssuedToken, Error> {
        self.sign(self.claims(principal, audience)?)
    }
}

/// Claim `iss` of a tenant's version 1.0 tokens.
pub(crate) fn issuer_name(tenant_id: &str) -> String {
    format!("https://sts.windows.net/{tenant_id}/")
}

/// Whether a resource exists in this tenant, with or without the slash at its end.
pub(crate) fn resource_exists(resource: &str) -> bool {
    RESOURCES.iter().any(|known| same_audience(known, resource))
}

/// Audiences are compared without a slash at the end: clients disagree about it.
pub(crate) fn same_audience(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
