//! Whom a source asks, and at which address.
//!
//! azure_identity takes addresses from constants and the environment; the last word is here, so
//! that a configured choice holds and a secret does not go where it does not belong.

use std::time::Duration;

use url::{Position, Url};

use crate::identity::answer::Dialect;
use crate::identity::explain::Speaker;
use crate::identity::failure::{Failure, FailureClass};

const IMDS: &str = "http://169.254.169.254";
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
/// Where the requests of one source go.
#[derive(Debug, Clone)]
pub(in crate::identity) enum Peer {
    /// The metadata service, or a stand-in of this host.
    Imds {
        /// Instead of 169.254.169.254.
        endpoint: Option<Url>,
        /// Whether the request names an identity.
        named: bool,
    },
    /// Where `IDENTITY_ENDPOINT` points.
    AppService {
        /// Whether the request names an identity.
        named: bool,
    },
    /// The authority host; https only.
    Entra,
}

impl Peer {
    pub(super) fn speaker(&self) -> Speaker {
        match *self {
            Self::Imds { named, .. } => Speaker::Imds { named },
            Self::AppService { named } => Speaker::AppService { named },
            Self::Entra => Speaker::Entra,
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Imds { .. } | Self::AppService { .. } => Dialect::Managed,
            Self::Entra => Dialect::Entra,
        }
    }

    /// Where a request for `url` is sent.
    pub(in crate::identity) fn target(&self, url: &Url) -> Result<Url, Failure> {
        let refuse = |message: &str, hint: &'static str| {
            Err(Failure::new(FailureClass::Misconfigured, message, hint))
        };
        let at_imds = url.host_str() == Some("169.254.169.254");
        match self {
            // azure_identity chooses by the environment: with IDENTITY_ENDPOINT set it asks App
            // Service although `imds` was wanted. Both take the same query.
            Self::Imds { endpoint, .. } => {
                let base = endpoint.clone().map_or_else(|| Url::parse(IMDS), Ok);
                let Ok(mut target) = base else {
                    return refuse("the address of IMDS is not a URL", "");
                };
                target.set_path(IMDS_PATH);
                target.set_query(url.query());
                Ok(target)
            }
            Self::AppService { .. } if at_imds => refuse(
                "identity app-service was chosen, but this process has no App Service identity",
                "IDENTITY_ENDPOINT and IDENTITY_HEADER must both be set; the platform does that once the \
                 app has an identity",
            ),
            Self::Entra if url.scheme() != "https" => {
                refuse("the authority host is not https", "use an https URL")
            }
            Self::AppService { .. } | Self::Entra => Ok(url.clone()),
        }
    }

    pub(in crate::identity) fn too_slow(
        &self,
        what: &str,
        target: &Url,
        limit: Duration,
    ) -> Failure {
        Failure::new(
            FailureClass::Timeout,
            format!("{what} from {} within {limit:?}", self.at(target)),
            self.speaker().unreachable_hint(),
        )
    }

    /// The peer and its address, for errors. No user, no path and no query.
    pub(super) fn at(&self, target: &Url) -> String {
        let host = &target[Position::BeforeHost..Position::AfterPort];
        format!("{} at {}://{host}", self.speaker().name(), target.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imds_is_asked_whatever_address_azure_identity_chose() {
        let url = Url::parse("http://127.0.0.1:4141/msi/token?resource=r&client_id=c").unwrap();
        let peer = Peer::Imds {
            endpoint: None,
            named: true,
        };
        assert_eq!(
            peer.target(&url).unwrap().as_str(),
            "http://169.254.169.254/metadata/identity/oauth2/token?resource=r&client_id=c"
        );
        let endpoint = Some(Url::parse("http://127.0.0.1:99").unwrap());
        let peer = Peer::Imds {
            endpoint,
            named: true,
        };
        assert_eq!(
            peer.target(&url).unwrap().as_str(),
            "http://127.0.0.1:99/metadata/identity/oauth2/token?resource=r&client_id=c"
        );
    }

    #[test]
    fn app_service_without_its_environment_never_asks_imds() {
        let url = Url::parse("http://169.254.169.254/metadata/identity/oauth2/token").unwrap();
        let failure = Peer::AppService { named: false }.target(&url).unwrap_err();
        assert_eq!(failure.class, FailureClass::Misconfigured);
        assert!(failure.to_string().contains("IDENTITY_ENDPOINT"));
    }

    #[test]
    fn a_secret_is_not_sent_to_an_authority_without_tls() {
        let url = Url::parse("http://login.microsoftonline.com/t/oauth2/v2.0/token").unwrap();
        assert!(Peer::Entra.target(&url).is_err());
    }
}
