//! JSON Web Tokens signed with RS256 (RFC 7515, RFC 7518 3.3), in compact form.
//!
//! Used by the Entra issuer and by the Kubernetes-like issuer of client assertions. Looks at the
//! header and the signature only; what the claims must say is the caller's business.

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::Error;

/// A private key and its name. Debug shows the name alone.
pub struct SigningKey {
    pair: KeyPair,
    id: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a new 2048-bit key with a random name.
    ///
    /// # Errors
    /// When the cryptography library fails.
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Crypto {
            action: "make an RSA key",
        })?;
        Ok(Self {
            pair,
            id: random_text(20)?,
        })
    }

    /// Signs claims: header, payload and signature, joined by dots.
    ///
    /// # Errors
    /// When the claims are not JSON or the cryptography library fails.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, Error> {
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": self.id, "kid": self.id });
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .map_err(|_| Error::Crypto {
                action: "sign a token",
            })?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The half that verifies.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let key = self.pair.public_key();
        PublicKey {
            id: self.id.clone(),
            modulus: key.modulus().big_endian_without_leading_zero().to_vec(),
            exponent: key.exponent().big_endian_without_leading_zero().to_vec(),
        }
    }
}

/// What a verifier knows of a signing key.
#[derive(Debug, Clone)]
pub struct PublicKey {
    id: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl PublicKey {
    /// The key as a member of a JWKS document (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "n": URL_SAFE_NO_PAD.encode(&self.modulus),
            "e": URL_SAFE_NO_PAD.encode(&self.exponent),
        })
    }

    /// The claims of a token that this key signed.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn open<C: DeserializeOwned>(&self, token: &str) -> Result<C, Unreadable> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Unreadable::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Unreadable::Malformed)?;
        let header: Value = decode(header)?;
        if header["alg"] != "RS256" {
            return Err(Unreadable::Malformed);
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| Unreadable::Malformed)?;
        let key = RsaPublicKeyComponents {
            n: &self.modulus,
            e: &self.exponent,
        };
        if header["kid"] != self.id {
            return Err(Unreadable::BadSignature);
        }
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .map_err(|_| Unreadable::BadSignature)?;
        decode(payload)
    }
}

/// Why a token's claims cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not three base64url parts with JSON in them, or not RS256.
    #[error("not an RS256 token")]
    Malformed,
    /// Signed with another key, or changed afterwards.
    #[error("the signature is not ours")]
    BadSignature,
}

/// `bytes` random bytes as base64url text.
pub(crate) fn random_text(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0; bytes];
    rand::fill(&mut random).map_err(|_| Error::Crypto {
        action: "draw random bytes",
    })?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

fn decode<C: DeserializeOwned>(part: &str) -> Result<C, Unreadable> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Unreadable::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Unreadable::Malformed)
}
