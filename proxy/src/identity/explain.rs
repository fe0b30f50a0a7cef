//! From an HTTP refusal to words that an operator can act on.
//!
//! The transport calls it for every status but 2xx. What we do next depends on the status alone;
//! the description in the body is quoted, never branched on (facts: entra 2.1). Entra's numeric
//! `error_codes` are documented, and only choose the hint.

use std::time::Duration;

use serde::Deserialize;

use super::failure::{Assignment, Failure, FailureClass, quoted};

/// What to try, where more than one part of the program says so.
pub(crate) mod advice {
    /// IMDS can't be reached.
    pub(crate) const IMDS_UNREACHABLE: &str = "is this an Azure VM? If so, check that nothing keeps this process from \
         169.254.169.254 (NetworkPolicy, iptables, the IMDS restriction of AKS); in Kubernetes use \
         identity = workload";
    /// App Service's endpoint can't be reached.
    pub(crate) const APP_SERVICE_UNREACHABLE: &str =
        "check that IDENTITY_ENDPOINT is that of this instance and that the app has an identity";
    /// Entra can't be reached.
    pub(crate) const ENTRA_UNREACHABLE: &str = "check DNS and outgoing port 443 to the authority host (firewall, NetworkPolicy); a proxy from \
         the environment is not used";
    /// IMDS answers 404 or 410.
    pub(crate) const IMDS_UPDATING: &str = "IMDS is being updated and is normally back within 70 s; if not, the VM has no identity endpoint";
    /// IMDS answers 429.
    pub(crate) const IMDS_THROTTLED: &str = "all processes and pods of a VM share 20 requests a second; look for one that asks too often";
    /// IMDS answers 401 or 403.
    pub(crate) const IMDS_FORBIDDEN: &str = "a local rule or a proxy on the way to IMDS refuses this process, or the identity is not authorized";
    /// App Service answers 401 or 403.
    pub(crate) const APP_SERVICE_FORBIDDEN: &str = "IDENTITY_HEADER is not that of this instance";
    /// The machine has no identity.
    pub(crate) const NO_IDENTITY: &str =
        "switch the machine's system-assigned identity on, or assign a user-assigned one to it";
    /// The identity that was named is another machine's.
    pub(crate) const NOT_ASSIGNED: &str =
        "the identity with this id is not assigned to this machine; assign it, or correct the id";
    /// The machine has several identities.
    pub(crate) const SEVERAL: &str = "the machine has several user-assigned identities and none is named: set client_id, object_id or \
         resource_id";
    /// Entra refuses the application, for a reason that has no words here.
    pub(crate) const ENTRA_REJECTED: &str = "check tenant, client id and credential; the AADSTS number is explained at \
         https://login.microsoftonline.com/error";
    /// The answer was no token.
    pub(crate) const NO_TOKEN: &str =
        "something else than the token endpoint may be answering at this address";
    /// The token was over when it came.
    pub(crate) const STALE: &str =
        "check the clock of this machine; a source that keeps old tokens is asked again";
}

/// Who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The VM's metadata service; whether the request named an identity.
    Imds { named: bool },
    /// App Service's local endpoint; whether the request named an identity.
    AppService { named: bool },
    /// Entra's token endpoint.
    Entra,
}

impl Speaker {
    /// As the subject of a sentence.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Imds { .. } => "IMDS",
            Self::AppService { .. } => "the App Service identity endpoint",
            Self::Entra => "Entra",
        }
    }

    /// What to try when it cannot be reached.
    pub(super) fn unreachable_hint(self) -> &'static str {
        match self {
            Self::Imds { .. } => advice::IMDS_UNREACHABLE,
            Self::AppService { .. } => advice::APP_SERVICE_UNREACHABLE,
            Self::Entra => advice::ENTRA_UNREACHABLE,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
    error_codes: Vec<u32>,
}

/// The failure that a status other than 2xx means.
pub(super) fn refusal(
    speaker: Speaker,
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
) -> Failure {
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    let said = match &refusal {
        Some(it) if !it.error_description.is_empty() => quoted(&it.error_description),
        Some(it) => quoted(&it.error),
        None => quoted(&String::from_utf8_lossy(body)),
    };
    let codes = refusal.map(|it| it.error_codes).unwrap_or_default();
    let mut assigned = None;
    let (class, hint) = match (status, speaker) {
        (429, _) => (FailureClass::Throttled, throttled(speaker)),
        (404 | 410, Speaker::Imds { .. }) => (FailureClass::Updating, advice::IMDS_UPDATING),
        (405, _) => (
            FailureClass::InvalidAnswer,
            "something else answers at this address",
        ),
        (300..=399, _) => (
            FailureClass::InvalidAnswer,
            "redirects are not followed; a captive portal or a proxy may be in the way",
        ),
        (408 | 500..=599, _) => (FailureClass::ServerError, "it is asked again by itself"),
        (400 | 401 | 404, Speaker::Entra) => (FailureClass::Rejected, entra_hint(&codes)),
        (400, Speaker::Imds { named } | Speaker::AppService { named }) => {
            let what = assignment(named, &said);
            assigned = Some(what);
            (FailureClass::Rejected, managed_hint(what))
        }
        (401 | 403, _) => (FailureClass::Forbidden, forbidden(speaker)),
        _ => (
            FailureClass::InvalidAnswer,
            "this status is not expected here",
        ),
    };
    let mut message = format!("{} answered {status}", speaker.name());
    if !said.is_empty() {
        message.push_str(": ");
        message.push_str(&said);
    }
    let mut failure = Failure::new(class, message, hint);
    failure.retry_after = retry_after;
    failure.assignment = assigned;
    failure
}

fn throttled(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Imds { .. } => advice::IMDS_THROTTLED,
        Speaker::AppService { .. } | Speaker::Entra => "it is asked again more slowly",
    }
}

fn forbidden(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Imds { .. } => advice::IMDS_FORBIDDEN,
        Speaker::AppService { .. } => advice::APP_SERVICE_FORBIDDEN,
        Speaker::Entra => "the authority's policy refuses this application",
    }
}

/// Whether the request named an identity is certain; that there are several is in the text alone.
fn assignment(named: bool, said: &str) -> Assignment {
    if named {
        Assignment::NotThisOne
    } else if said.to_ascii_lowercase().contains("multiple") {
        Assignment::Several
    } else {
        Assignment::None
    }
}

fn managed_hint(assignment: Assignment) -> &'static str {
    match assignment {
        Assignment::None => advice::NO_IDENTITY,
        Assignment::NotThisOne => advice::NOT_ASSIGNED,
        Assignment::Several => advice::SEVERAL,
    }
}

/// The codes that people meet (facts: entra 1.5, 2.4), and what to try.
pub(super) const ENTRA_CODES: [(&[u32], &str); 9] = [
    (
        &[700_024],
        "the federated token is not valid now: is its file still rotated, is the clock right?",
    ),
    (
        &[70_021, 700_211, 700_212, 700_213],
        "no federated credential of the identity matches: compare issuer, subject \
         (system:serviceaccount:NAMESPACE:NAME) and audience (api://AzureADTokenExchange)",
    ),
    (
        &[7_000_215],
        "the client secret is wrong: use the secret's value, not its id",
    ),
    (
        &[7_000_222],
        "the client secret has expired: make a new one",
    ),
    (
        &[700_016],
        "the tenant has no application with this client_id: check AZURE_CLIENT_ID and AZURE_TENANT_ID",
    ),
    (&[7_000_112], "the application is disabled in the tenant"),
    (
        &[90_002],
        "there is no such tenant: check AZURE_TENANT_ID and the cloud",
    ),
    (
        &[50_001, 500_011],
        "the tenant does not know the database resource: check the cloud setting",
    ),
    (
        &[53_003],
        "a Conditional Access policy blocks the application",
    ),
];

fn entra_hint(codes: &[u32]) -> &'static str {
    let known = |code: &u32| {
        let entry = ENTRA_CODES.iter().find(|(codes, _)| codes.contains(code));
        entry.map(|(_, hint)| *hint)
    };
    codes
        .iter()
        .find_map(known)
        .unwrap_or(advice::ENTRA_REJECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMDS: Speaker = Speaker::Imds { named: false };
    const NAMED: Speaker = Speaker::Imds { named: true };

    #[test]
    fn each_status_has_a_class() {
        use FailureClass::*;
        let table = [
            (IMDS, 400, Rejected),
            (IMDS, 401, Forbidden),
            (IMDS, 403, Forbidden),
            (IMDS, 404, Updating),
            (IMDS, 405, InvalidAnswer),
            (IMDS, 410, Updating),
            (IMDS, 429, Throttled),
            (IMDS, 500, ServerError),
            (IMDS, 503, ServerError),
            (IMDS, 302, InvalidAnswer),
            (IMDS, 418, InvalidAnswer),
            (Speaker::Entra, 400, Rejected),
            (Speaker::Entra, 401, Rejected),
            (Speaker::Entra, 404, Rejected),
            (Speaker::Entra, 429, Throttled),
            (Speaker::AppService { named: false }, 404, InvalidAnswer),
            (Speaker::AppService { named: false }, 400, Rejected),
        ];
        for (speaker, status, class) in table {
            let failure = refusal(speaker, status, b"", None);
            assert_eq!(failure.class, class, "{speaker:?} {status}");
            assert!(failure.message.contains(&status.to_string()));
            assert!(!failure.hint.is_empty());
        }
    }

    #[test]
    fn the_hint_of_a_400_depends_on_our_selector() {
        let body = br#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        let unnamed = refusal(IMDS, 400, body, None).to_string();
        let named = refusal(NAMED, 400, body, None).to_string();
        assert!(
            unnamed.starts_with("IMDS answered 400: Identity not found; "),
            "{unnamed}"
        );
        assert!(unnamed.contains("system-assigned"), "{unnamed}");
        assert!(named.contains("not assigned to this machine"), "{named}");
        let body =
            br#"{"error_description":"Multiple user assigned identities exist, please ..."}"#;
        let several = refusal(IMDS, 400, body, None);
        assert_eq!(several.assignment, Some(Assignment::Several));
        assert!(several.hint.contains("set client_id"), "{several}");
        // A name was given: that others exist is not the matter.
        let named = refusal(NAMED, 400, body, None);
        assert_eq!(named.assignment, Some(Assignment::NotThisOne));
    }

    #[test]
    fn entra_codes_choose_the_hint() {
        let hint = |body: &str| refusal(Speaker::Entra, 400, body.as_bytes(), None).hint;
        assert!(hint(r#"{"error_codes":[700024]}"#).contains("rotated"));
        assert!(hint(r#"{"error_codes":[70021]}"#).contains("subject"));
        assert!(hint(r#"{"error_codes":[1,7000215]}"#).contains("value, not its id"));
        assert!(hint(r#"{"error_codes":[1]}"#).contains("AADSTS"));
        assert!(hint("garbage").contains("AADSTS"));
    }

    #[test]
    fn an_echoed_assertion_is_removed() {
        let body = br#"{"error_description":"bad eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}"#;
        let shown = refusal(Speaker::Entra, 400, body, None).to_string();
        assert!(shown.contains("bad [removed]"), "{shown}");
    }
}
