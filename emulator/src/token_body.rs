//! The success body of the managed-identity endpoints.

use serde_json::{Value, json};

use crate::clock;
use crate::faults::Twist;
use crate::issuer::IssuedToken;

/// The body for a token that was asked for as `resource`.
pub(crate) fn token_body(token: &IssuedToken, resource: &str, twist: Option<Twist>) -> Value {
    // As documented, every value is a string.
    let number = |value: u64| match twist {
        Some(Twist::NumericExpiry) => json!(value),
        _ => json!(value.to_string()),
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
