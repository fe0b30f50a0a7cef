//! A token or password: the one secret that a login upstream sends.
//!
//! Made by the refresh task, read by connection set-up. It never prints itself.

use std::fmt;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::schedule;

/// What [`Token::secret`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// An Entra access token: sent as a cleartext password inside TLS.
    AccessToken,
    /// A static password: also good for SCRAM and md5.
    Password,
}

/// A credential for the upstream login; wiped from memory when the last holder drops it.
pub struct Token {
    secret: Zeroizing<String>,
    term: Option<Term>,
    generation: u64,
}

/// From when to when a token is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    /// As the source said.
    pub(super) expires_at: SystemTime,
    /// From when we first saw a token of this expiry. A source that hands out its cached token
    /// again does not shorten it, so that limits in proportion to it do not shrink to nothing.
    pub(super) lifetime: Duration,
}

impl Token {
    pub(super) fn new(secret: Zeroizing<String>, term: Option<Term>, generation: u64) -> Self {
        Self {
            secret,
            term,
            generation,
        }
    }

    /// The token or password itself. Not for logs, errors or labels.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// When the server stops accepting it for logins; `None` for a password.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.term.map(|term| term.expires_at)
    }

    /// How long it was valid when it came; `None` for a password.
    pub fn lifetime(&self) -> Option<Duration> {
        self.term.map(|term| term.lifetime)
    }

    /// 1, 2, 3 and so on for the different secrets that one handle has seen.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Token or password.
    pub fn kind(&self) -> CredentialKind {
        match self.term {
            Some(_) => CredentialKind::AccessToken,
            None => CredentialKind::Password,
        }
    }

    /// Whether a login that begins `now` can be expected to finish before the expiry.
    pub(super) fn usable_at(&self, now: SystemTime) -> bool {
        self.usable_until().is_none_or(|end| now < end)
    }

    /// The end of [`Token::usable_at`].
    pub(super) fn usable_until(&self) -> Option<SystemTime> {
        let term = self.term?;
        let margin = schedule::login_margin(term.lifetime);
        Some(
            term.expires_at
                .checked_sub(margin)
                .unwrap_or(SystemTime::UNIX_EPOCH),
        )
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("kind", &self.kind())
            .field("generation", &self.generation)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: &str, term: Option<Term>) -> Token {
        Token::new(Zeroizing::new(secret.to_owned()), term, 7)
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let shown = format!("{:?}", token("very-secret-value", None));
        assert!(!shown.contains("very-secret"), "{shown}");
        assert!(shown.contains("generation: 7"), "{shown}");
    }

    #[test]
    fn a_token_is_usable_until_shortly_before_its_expiry() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let after = |life: u64, passed: u64| {
            let lifetime = Duration::from_secs(life);
            let expires_at = now + lifetime;
            token(
                "t",
                Some(Term {
                    expires_at,
                    lifetime,
                }),
            )
            .usable_at(now + Duration::from_secs(passed))
        };
        assert!(after(3600, 3539));
        assert!(!after(3600, 3540), "60 s before the end of an hour");
        assert!(after(10, 8));
        assert!(!after(10, 9), "a tenth before the end of 10 s");
        assert!(token("password", None).usable_at(now));
    }
}
