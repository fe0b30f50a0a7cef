//! The third step: what the token says of itself. It is read without being verified (the server
//! does that), and only claims that are no secret are shown.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde_json::{Map, Value};

use super::cause::{self, Names};
use super::report::{Finding, Step, StepReport};
use crate::identity::{CredentialKind, Token};

/// Clocks differ by so much without anybody's fault.
const SKEW: Duration = Duration::from_secs(300);
/// Of a claim that is shown, in characters.
const LONGEST: usize = 200;

/// What later steps want to know.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The name of the managed identity, or of its machine, that the token is for.
    pub(super) name: Option<String>,
}

/// Reads the token's claims; `audience` is what it was asked for.
pub(super) fn examine(token: &Token, audience: &str, names: &Names<'_>) -> (StepReport, Claims) {
    if token.kind() == CredentialKind::Password {
        let report = StepReport::skipped(Step::Claims, "a password has none");
        return (report, Claims::default());
    }
    let began = Instant::now();
    let mut report = StepReport::new(Step::Claims);
    let Some(claims) = payload(token.secret()) else {
        let detail = "the token is no JWT whose claims can be read";
        report.warn(Finding::new(&cause::TOKEN_OPAQUE, detail, names));
        return (report.since(began), Claims::default());
    };
    let now = SystemTime::now();
    judge(&claims, audience, now, (&mut report, names));
    let name = text(&claims, "xms_mirid").and_then(|id| Some(id.rsplit_once('/')?.1.to_owned()));
    (report.since(began), Claims { name })
}

fn judge(
    claims: &Map<String, Value>,
    audience: &str,
    now: SystemTime,
    (report, names): (&mut StepReport, &Names<'_>),
) {
    for (name, keys) in [
        ("audience", &["aud"][..]),
        ("object id", &["oid"]),
        ("app id", &["appid", "azp"]),
        ("tenant", &["tid"]),
        ("kind", &["idtyp"]),
    ] {
        if let Some(value) = keys.iter().find_map(|key| text(claims, key)) {
            report.fact(name, value);
        }
    }
    let at = |key: &str| {
        let seconds = claims.get(key)?.as_u64()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    };
    if let Some(expires) = at("exp") {
        report.fact("expires", moment(expires, now));
        if expires <= now {
            let detail = format!("the token has expired: {}", moment(expires, now));
            report.fail(Finding::new(&cause::TOKEN_EXPIRED, detail, names));
        }
    }
    if let Some(from) = at("nbf").filter(|from| *from > now + SKEW) {
        let detail = format!("the token is valid from {} on", moment(from, now));
        report.fail(Finding::new(&cause::CLOCK_BEHIND, detail, names));
    }
    // A token of version 2 names the audience by an id, which says nothing here.
    let said = text(claims, "aud").filter(|said| said.contains("://"));
    if let Some(said) = said.filter(|said| bare(said) != bare(audience)) {
        let detail = format!("the token is for {said}, and was asked for {audience}");
        report.fail(Finding::new(&cause::TOKEN_AUDIENCE, detail, names));
    }
}

/// Clients disagree about the slash at the end.
fn bare(audience: &str) -> &str {
    audience.trim_end_matches('/')
}

/// A claim's text; not more of it than anybody wants to see.
fn text(claims: &Map<String, Value>, key: &str) -> Option<String> {
    let text = claims.get(key)?.as_str()?;
    Some(text.chars().take(LONGEST).collect())
}

/// In UTC, and how far away.
fn moment(at: SystemTime, now: SystemTime) -> String {
    let shown = crate::upstream::utc(at);
    match at.duration_since(now) {
        Ok(left) => format!("{shown}, in {} s", left.as_secs()),
        Err(ago) => format!("{shown}, {} s ago", ago.duration().as_secs()),
    }
}

/// The claims of a JWT (RFC 7519 3).
fn payload(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, payload) = (parts.next()?, parts.next()?);
    parts.next()?;
    serde_json::from_slice(&decoded(payload)?).ok()
}

/// Base64url without padding (RFC 7515 2). What the last digit says too much is nobody's claim.
const ENCODING: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

fn decoded(text: &str) -> Option<Vec<u8>> {
    ENCODING.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::report::Outcome;

    const NOW: u64 = 1_700_000_000;

    fn judged(claims: Value) -> StepReport {
        let Value::Object(claims) = claims else {
            panic!("an object");
        };
        let mut report = StepReport::new(Step::Claims);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let names = Names::EXAMPLE;
        let audience = "https://database.windows.net/";
        judge(&claims, audience, now, (&mut report, &names));
        report
    }

    fn codes(report: &StepReport) -> Vec<&'static str> {
        report.findings.iter().map(|it| it.cause.code).collect()
    }

    #[test]
    fn a_good_token_shows_what_is_no_secret() {
        let report = judged(json!({
            "aud": "https://database.windows.net", "exp": NOW + 3600, "nbf": NOW + 10,
            "oid": "o", "azp": "a", "tid": "t", "idtyp": "app", "uti": "unique", "name": "n",
        }));
        assert_eq!(report.outcome, Outcome::Good);
        let shown = format!("{:?}", report.facts);
        for (name, value) in [
            ("object id", "o"),
            ("app id", "a"),
            ("tenant", "t"),
            ("kind", "app"),
            ("expires", "2023-11-14T23:13:20Z, in 3600 s"),
        ] {
            assert!(shown.contains(&format!("({name:?}, {value:?})")), "{shown}");
        }
        assert!(!shown.contains("unique"), "{shown}");
    }

    #[test]
    fn a_bad_one_is_told() {
        let other = json!({ "aud": "https://management.azure.com/", "exp": NOW + 1 });
        assert_eq!(codes(&judged(other)), ["token-audience"]);
        assert_eq!(codes(&judged(json!({ "exp": NOW }))), ["token-expired"]);
        let early = json!({ "nbf": NOW + 301, "aud": "00000000-0000-0000-0000-000000000000" });
        assert_eq!(codes(&judged(early)), ["clock-behind"]);
        let odd = json!({ "exp": "soon", "aud": ["x"], "oid": 7, "nbf": u64::MAX });
        assert!(codes(&judged(odd)).is_empty());
    }

    #[test]
    fn base64url() {
        assert_eq!(decoded("").unwrap(), b"");
        assert_eq!(decoded("-_8").unwrap(), [0xfb, 0xff]);
        assert_eq!(decoded("Zm9vYmFy").unwrap(), b"foobar");
        assert!(decoded("Zm9v+").is_none());
        assert!(payload("a.b").is_none());
        assert!(payload("e30.e30.x").unwrap().is_empty());
        assert!(payload("e30.W10.x").is_none(), "a list has no claims");
    }
}
