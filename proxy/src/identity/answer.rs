//! The token endpoint's successful answer, checked before azure_identity sees it.
//!
//! The transport calls it. Nothing of the answer gets into an error: where the token should be,
//! anything could be. Numbers are put into the form that azure_identity parses: managed identity
//! endpoints are documented to send strings, and some stand-ins send numbers (facts: entra 1.4);
//! Entra sends numbers, its v1 endpoint and AD FS send strings.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::explain::advice;
use super::failure::{Failure, FailureClass};

/// Which form an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// IMDS and App Service: `expires_on`, epoch seconds.
    Managed,
    /// Entra's v2 endpoint: `expires_in`, seconds.
    Entra,
}

/// The last second of the year 9999: beyond it azure_identity's arithmetic could overflow.
const LAST_SECOND: u64 = 253_402_300_799;
/// Ten years: no token lives longer, and now + this is always a time.
const LONGEST_LIFE: u64 = 10 * 366 * 86_400;

/// The body in azure_identity's form, or why it is not a token.
pub(super) fn normalised(dialect: Dialect, body: &[u8]) -> Result<Bytes, Failure> {
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else {
        return Err(invalid("is not a JSON object"));
    };
    match answer.get("access_token") {
        Some(Value::String(token)) if fits(token) => {}
        Some(Value::String(_)) => return Err(invalid("has an access_token of unfit characters")),
        _ => return Err(invalid("has no access_token")),
    }
    match dialect {
        Dialect::Managed => {
            let seconds = number(&answer, "expires_on", LAST_SECOND)?;
            answer.insert("expires_on".to_owned(), Value::String(seconds.to_string()));
            // Neither is used, but azure_identity insists on both.
            for name in ["token_type", "resource"] {
                answer
                    .entry(name)
                    .or_insert_with(|| Value::String(String::new()));
            }
        }
        Dialect::Entra => {
            let seconds = number(&answer, "expires_in", LONGEST_LIFE)?;
            answer.insert("expires_in".to_owned(), Value::from(seconds));
            // Ignored there too, but as a string it would not parse.
            answer.remove("ext_expires_in");
        }
    }
    serde_json::to_vec(&Value::Object(answer))
        .map(Bytes::from)
        .map_err(|_| invalid("cannot be written as JSON again"))
}

/// A token travels as a password and as a header: visible ASCII only.
fn fits(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn number(answer: &Map<String, Value>, name: &str, most: u64) -> Result<u64, Failure> {
    let seconds = match answer.get(name) {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
        None => return Err(invalid(&format!("has no {name}"))),
    };
    seconds
        .filter(|seconds| *seconds <= most)
        .ok_or_else(|| invalid(&format!("has an {name} that is no number of seconds")))
}

fn invalid(what: &str) -> Failure {
    Failure::new(
        FailureClass::InvalidAnswer,
        format!("the answer (status 200) {what}"),
        advice::NO_TOKEN,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn managed(body: &str) -> Result<Value, Failure> {
        normalised(Dialect::Managed, body.as_bytes())
            .map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn a_number_becomes_the_string_that_azure_identity_wants() {
        for given in ["1700000000", "\"1700000000\""] {
            let body = format!(r#"{{"access_token":"abc","expires_on":{given}}}"#);
            let answer = managed(&body).unwrap();
            assert_eq!(answer["expires_on"], "1700000000");
            assert_eq!(answer["token_type"], "");
        }
    }

    #[test]
    fn entra_seconds_become_a_number() {
        for given in ["3599", "\"3599\""] {
            let body =
                format!(r#"{{"access_token":"abc","expires_in":{given},"ext_expires_in":"3599"}}"#);
            let bytes = normalised(Dialect::Entra, body.as_bytes()).unwrap();
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(answer["expires_in"], 3599);
            assert!(answer.get("ext_expires_in").is_none());
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused_without_being_quoted() {
        let bodies = [
            "",
            "<html>secret-looking</html>",
            "\"secret-looking\"",
            "[]",
            "{}",
            r#"{"access_token":"","expires_on":"1700000000"}"#,
            r#"{"access_token":"secret looking","expires_on":"1700000000"}"#,
            r#"{"access_token":"secret\u0000","expires_on":"1700000000"}"#,
            r#"{"access_token":{"secret":1},"expires_on":"1700000000"}"#,
            r#"{"access_token":"secret"}"#,
            r#"{"access_token":"secret","expires_on":"soon"}"#,
            r#"{"access_token":"secret","expires_on":-1}"#,
            r#"{"access_token":"secret","expires_on":1.5}"#,
            r#"{"access_token":"secret","expires_on":[1]}"#,
            r#"{"access_token":"secret","expires_on":253402300800}"#,
            r#"{"access_token":"secret","expires_on":"99999999999999999999999"}"#,
        ];
        for body in bodies {
            let failure = managed(body).unwrap_err();
            assert_eq!(failure.class, FailureClass::InvalidAnswer, "{body}");
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
    }
}
