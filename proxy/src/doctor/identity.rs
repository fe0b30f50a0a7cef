//! The second step: a token (or password) from the source that was chosen.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cause::{self, Cause, Names};
use super::report::{Finding, Step, StepReport};
use crate::identity::{
    Assignment, Failure, FailureClass, Identities, IdentityError, IdentityOptions, RefreshResult,
    Subject, Token, TokenHandle, TokenMetrics, TokenMetricsFactory,
};

/// Waits for the source's first answer.
pub(super) async fn examine(
    handle: &TokenHandle,
    why: Option<&str>,
    limit: Duration,
    names: &Names<'_>,
) -> (StepReport, Option<Arc<Token>>) {
    let began = Instant::now();
    let mut report = StepReport::new(Step::Identity);
    let status = handle.status();
    report.fact("source", status.source);
    report.fact("chosen", chosen(why));
    report.fact("identity", status.identity.as_str());
    if status.source != "password-file" {
        report.fact("asked for", status.audience);
    }
    let in_time = timeout(limit, handle.asked()).await.is_ok();
    match handle.current() {
        Ok(token) => {
            report.fact("got", got(&token));
            (report.since(began), Some(token))
        }
        Err(unavailable) => {
            let finding = match unavailable.failure() {
                Some(failure) => {
                    let cause = cause_of(status.source, failure);
                    Finding::new(cause, failure.message(), names).with_remedy(failure.hint())
                }
                None if in_time => {
                    Finding::new(&cause::TOKEN_STALE, unavailable.to_string(), names)
                }
                None => {
                    let detail = format!("{} did not answer within {limit:?}", status.source);
                    Finding::new(silent(status.source), detail, names)
                }
            };
            report.fail(finding);
            (report.since(began), None)
        }
    }
}

/// Who chose the source, and why.
fn chosen(why: Option<&str>) -> String {
    match why {
        Some(why) => format!("by auto: {why}"),
        None => "by the configuration".to_owned(),
    }
}

fn got(token: &Token) -> String {
    match token.expires_at() {
        None => "a password".to_owned(),
        Some(end) => {
            let left = end.duration_since(SystemTime::now()).unwrap_or_default();
            format!("a token that is valid for {} s more", left.as_secs())
        }
    }
}

/// The diagnosis of a source's refusal.
fn cause_of(source: &str, failure: &Failure) -> &'static Cause {
    match failure.assignment() {
        Some(Assignment::None) => return &cause::IDENTITY_NONE,
        Some(Assignment::NotThisOne) => return &cause::IDENTITY_NOT_ASSIGNED,
        Some(Assignment::Several) => return &cause::IDENTITY_SEVERAL,
        None => {}
    }
    let is_imds = source == "imds";
    match failure.class() {
        FailureClass::Unreachable | FailureClass::Timeout => silent(source),
        FailureClass::Updating => &cause::IMDS_UPDATING,
        FailureClass::Throttled if is_imds => &cause::IMDS_THROTTLED,
        FailureClass::Forbidden if is_imds => &cause::IMDS_FORBIDDEN,
        FailureClass::Forbidden if source == "app-service" => &cause::APP_SERVICE_FORBIDDEN,
        FailureClass::Rejected | FailureClass::Forbidden => &cause::ENTRA_REJECTED,
        FailureClass::ServerError | FailureClass::Throttled => &cause::SOURCE_FAILED,
        FailureClass::InvalidAnswer => &cause::SOURCE_ANSWER,
        FailureClass::Stale => &cause::TOKEN_STALE,
        FailureClass::File => &cause::CREDENTIAL_FILE,
        FailureClass::Tool => &cause::AZ_CLI,
        FailureClass::Misconfigured => &cause::IDENTITY_SETTINGS,
    }
}

/// It can't be reached, or says nothing.
fn silent(source: &str) -> &'static Cause {
    match source {
        "imds" => &cause::IMDS_UNREACHABLE,
        "app-service" => &cause::APP_SERVICE_UNREACHABLE,
        "az-cli" => &cause::AZ_CLI,
        "password-file" => &cause::CREDENTIAL_FILE,
        _ => &cause::ENTRA_UNREACHABLE,
    }
}

/// Identities that nobody counts, and that end with the process.
pub(super) fn identities() -> Result<Identities, IdentityError> {
    let end = CancellationToken::new();
    Identities::new(Arc::new(Uncounted), end, IdentityOptions::default())
}

struct Uncounted;

impl TokenMetricsFactory for Uncounted {
    fn token_metrics(&self, _: &Subject) -> Arc<dyn TokenMetrics> {
        Arc::new(Self)
    }
}

impl TokenMetrics for Uncounted {
    fn refreshed(&self, _: RefreshResult, _: Duration, _: SystemTime) {}
    fn token(&self, _: SystemTime, _: Duration) {}
    fn http_response(&self, _: Option<u16>, _: Duration) {}
}

#[cfg(test)]
mod tests {
    use entrapool_emulator::{LocalAzure, ServerChoice};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::config::{ClientSecret, Cloud, IdentitySpec, Source};
    use crate::identity::Audience;

    /// Here, because the program trusts no authority's certificate of a test.
    #[tokio::test]
    async fn entra_refuses_an_application() {
        let azure = LocalAzure::builder().server(ServerChoice::Embedded);
        let azure = azure.start().await.unwrap();
        let root = CertificateDer::from_pem_file(azure.ca_file()).unwrap();
        let options = IdentityOptions {
            extra_roots: vec![root],
        };
        let end = CancellationToken::new();
        let mut identities = Identities::new(Arc::new(Uncounted), end, options).unwrap();
        let spec = IdentitySpec {
            source: Source::Secret(ClientSecret {
                tenant_id: "local".into(),
                client_id: "nobody".into(),
                secret: "open-sesame".into(),
                authority: Some(azure.entra().authority()),
            }),
            selector: None,
            imds_endpoint: None,
            cloud: Cloud::Public,
            password_file: None,
        };
        let handle = identities.handle(&spec, Audience::AzureSql).unwrap();
        let limit = Duration::from_secs(10);
        let (report, token) = examine(&handle, None, limit, &Names::EXAMPLE).await;
        assert!(token.is_none());
        let finding = &report.findings[0];
        assert_eq!(finding.cause.code, "entra-rejected", "{finding:?}");
        assert!(
            finding.detail.starts_with("Entra answered 4"),
            "{finding:?}"
        );
        assert!(!finding.remedy.is_empty());
        assert!(!format!("{report:?}").contains("open-sesame"));
    }
}
