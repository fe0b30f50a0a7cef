//! Who somebody is: by token, or by user and password.

use crate::tds::error::ServerError;
use crate::tds::server::{Access, Server};
use crate::tds::wire::features::{self, FEDAUTH, FedAuth};
use crate::tds::wire::login7::Login7;
use crate::verifier::TokenRefusal;

/// Azure says no more about the owner of a token.
const PRINCIPAL: &str = "<token-identified principal>";

/// Somebody who has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Identity {
    pub(in crate::tds) user: String,
    /// Claim `uti`; `None` for a SQL login.
    pub(in crate::tds) token_id: Option<String>,
    /// Epoch seconds; `None` for a SQL login.
    pub(in crate::tds) expires: Option<u64>,
}

/// `echo`: what the client must repeat of PRELOGIN's FEDAUTHREQUIRED.
pub(super) fn identify(
    server: &Server,
    login: &Login7,
    echo: Option<bool>,
) -> Result<Identity, ServerError> {
    if login.is_integrated() {
        let text = "Login failed. The login is from an untrusted domain and cannot be used with \
                    Integrated authentication.";
        return Err(ServerError::new(18452, 14, text));
    }
    match login.feature(FEDAUTH) {
        Some(asked) => by_token(server, login, &asked.data, echo),
        None => by_password(&server.setup.access, login),
    }
}

fn by_token(
    server: &Server,
    login: &Login7,
    data: &[u8],
    expected: Option<bool>,
) -> Result<Identity, ServerError> {
    let refused = || ServerError::login_failed(PRINCIPAL, "");
    let (echo, token) = match features::fedauth(data) {
        Ok(FedAuth::SecurityToken { echo, token }) => (echo, token),
        Ok(FedAuth::Other(library)) => {
            let what = format!("FEDAUTH library {library}; send the token itself (library 1)");
            return Err(ServerError::unsupported(&what));
        }
        Err(malformed) => return Err(ServerError::protocol(&malformed.to_string())),
    };
    // MS-TDS 3.3.5.5: fFedAuthEcho, and neither user nor password beside a token.
    if echo != expected.unwrap_or(false) {
        return Err(ServerError::protocol("fFedAuthEcho differs from PRELOGIN"));
    }
    if !login.user.is_empty() || !login.password.is_empty() {
        return Err(ServerError::protocol("a user or password beside a token"));
    }
    let access = &server.setup.access;
    let (verifier, record) = access.entra.as_ref().ok_or_else(refused)?;
    let outcome = verifier.principal(&token);
    // A good token of a principal without a user is refused, and counts so.
    let outcome = outcome.and_then(|(claims, principal)| {
        let known = access.users.is_empty() || access.users.contains(&principal.name);
        if known {
            Ok((claims, principal))
        } else {
            Err(TokenRefusal::WrongPrincipal)
        }
    });
    match outcome {
        Ok((claims, principal)) => {
            let identity = Identity {
                user: principal.name,
                token_id: Some(claims.uti.clone()),
                expires: Some(claims.exp),
            };
            record.note(&Ok(claims));
            Ok(identity)
        }
        Err(refusal) => {
            record.note(&Err(refusal));
            Err(match refusal {
                TokenRefusal::Expired => ServerError::login_failed(PRINCIPAL, " Token is expired."),
                _ => refused(),
            })
        }
    }
}

fn by_password(access: &Access, login: &Login7) -> Result<Identity, ServerError> {
    let known = access.passwords.iter().any(|(user, password)| {
        user.eq_ignore_ascii_case(&login.user) && *password == login.password
    });
    if !known {
        return Err(ServerError::login_failed(&login.user, ""));
    }
    Ok(Identity {
        user: login.user.clone(),
        token_id: None,
        expires: None,
    })
}
