//! The success body of the managed-identity endpoints.

use serde_json::{Value, json};

use crate::clock;
use crate::issuer::IssuedToken;

/// How `expires_on` and its like are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// As documented: every value is a string.
    Text,
    /// As some look-alikes do.
    Json,
}

/// The body for a token that was asked for as `resource`.
pub(crate) fn token_body(token: &IssuedToken, resource: &str, numbers: Numbers) -> Value {
    let number = |value: u64| match numbers {
        Numbers::Text => json!(value.to_string()),
        Numbers::Json => json!(value),
    };
    let claims = &token.claims;
    json!({
        "access_token": token.secret,
        "client_id": claims.appid,
        "expires_in": number(claims.exp.saturating_sub(clock::now())),
        "expires_on": number(claims.exp),
        "not_before": number(claims.nbf),
        "refresh_token": "",
        "resource": resource,
        "token_type": "Bearer",
    })
}
