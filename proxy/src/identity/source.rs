//! The sources of tokens: one file per kind, one closed enum for the refresh task.
//!
//! The refresh task is the only caller. A source keeps no token and no schedule; each call asks
//! anew, with a new credential object, because azure_identity's cache would hand back the old
//! token until five minutes before its expiry (facts: entra, 0).

mod az_cli;
mod managed;
mod password_file;
mod principal;

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, RetryOptions, Transport, UserAgentOptions};
use zeroize::Zeroizing;

pub(super) use az_cli::AzCli;
#[cfg(test)]
pub(super) use az_cli::HINT as AZ_CLI_HINT;
pub(super) use managed::ManagedIdentity;
pub(super) use password_file::PasswordFile;
pub(super) use principal::{Proof, ServicePrincipal};

use super::failure::{Failure, FailureClass, quoted};
use super::transport::Exchange;

/// What a source said.
pub(super) enum Fetched {
    /// A token, perhaps the one we have.
    Token {
        secret: Zeroizing<String>,
        /// `None` for a password.
        expires_at: Option<SystemTime>,
    },
    /// Nothing changed since the last call; only files can tell.
    Unchanged,
}

/// A place that tokens come from.
pub(super) enum TokenSource {
    Managed(ManagedIdentity),
    Principal(ServicePrincipal),
    AzCli(AzCli),
    PasswordFile(PasswordFile),
    #[cfg(test)]
    Scripted(super::tests::script::Script),
}

impl TokenSource {
    /// Asks once. Dropping the future abandons the question.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, Failure> {
        match self {
            Self::Managed(source) => source.fetch().await,
            Self::Principal(source) => source.fetch().await,
            Self::AzCli(source) => source.fetch().await,
            Self::PasswordFile(source) => source.fetch().await,
            #[cfg(test)]
            Self::Scripted(source) => source.fetch().await,
        }
    }
}

/// Options of a credential that speaks through our exchange, once.
fn client_options(exchange: &Arc<Exchange>) -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::clone(exchange) as _)),
        user_agent: UserAgentOptions {
            application_id: Some("entrapool".to_owned()),
        },
        ..ClientOptions::default()
    }
}

/// One question to a fresh credential.
async fn ask(credential: Arc<dyn TokenCredential>, scope: &str) -> Result<Fetched, Failure> {
    let token = credential
        .get_token(&[scope], None)
        .await
        .map_err(|error| told(&error))?;
    Ok(Fetched::Token {
        secret: Zeroizing::new(token.token.secret().to_owned()),
        expires_at: Some(token.expires_on.into()),
    })
}

/// Our own failure if the error carries one, else azure_identity's words.
fn told(error: &azure_core::Error) -> Failure {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = link {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.clone();
        }
        // Its message may quote the answer, and the answer may be a token.
        if cause.is::<serde_json::Error>() {
            let message = "the answer was not the expected JSON";
            return Failure::new(FailureClass::InvalidAnswer, message, "");
        }
        link = cause.source();
    }
    Failure::new(FailureClass::Misconfigured, quoted(&error.to_string()), "")
}

#[cfg(test)]
mod tests {
    use azure_core::error::{Error, ErrorKind};

    use super::*;

    #[test]
    fn our_failure_survives_the_wrapping_of_azure_identity() {
        let ours = Failure::new(FailureClass::Throttled, "IMDS answered 429", "wait");
        let error = Error::new(ErrorKind::Other, ours.clone())
            .with_context("not retried")
            .with_context("authentication failed");
        assert_eq!(told(&error), ours);
    }

    #[test]
    fn a_parser_that_quotes_is_not_quoted() {
        let parse = serde_json::from_str::<u8>("\"the-token\"").unwrap_err();
        assert!(
            parse.to_string().contains("the-token"),
            "the danger is real"
        );
        let error = Error::from(parse).with_context("failed: the-token");
        assert!(!told(&error).to_string().contains("the-token"));
    }
}
