//! Identity: who we are upstream, and the token that proves it.
//!
//! One refresh task per (identity, audience) owns all talking to the token source. Connection
//! set-up only reads the newest value through a [`TokenHandle`]; it never fetches. `main` makes
//! one [`Identities`], routes take handles from it, and its cancellation token ends all tasks.
//!
//! It knows no database protocol and no pool. It reads no environment, but azure_identity reads
//! `IDENTITY_ENDPOINT` and its like when a managed identity is asked (facts: entra 1.3).

mod answer;
mod audience;
mod clock;
mod explain;
mod failure;
mod handle;
mod journal;
mod observe;
mod refresh;
mod schedule;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod token;
mod transport;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use azure_core::credentials::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;
use tracing::info;
use url::{Host, Url};

use crate::config::{ClientSecret, IdentitySpec, Selector, Source, Workload};

pub use audience::Audience;
pub(crate) use explain::advice;
pub use failure::{Assignment, Failure, FailureClass, IdentityError, Unavailable};
pub use handle::{TokenHandle, TokenStatus};
pub use observe::{RefreshResult, Subject, TokenMetrics, TokenMetricsFactory};
pub use token::{CredentialKind, Token};

use clock::Clock;
use observe::NO_AUDIENCE;
use refresh::Surroundings;
use source::{AzCli, ManagedIdentity, PasswordFile, Proof, ServicePrincipal, TokenSource};
use transport::{Exchange, Patience, Peer, Wire};

/// Settings that no route has.
#[derive(Debug, Clone, Default)]
pub struct IdentityOptions {
    /// Trusted for requests to Entra, besides the built-in roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl IdentityOptions {
    /// Trusts the roots of a PEM file, too.
    ///
    /// # Errors
    /// [`IdentityError::AuthorityCaFile`]: the file can't be read or holds none.
    pub fn trusting(mut self, file: &Path) -> Result<Self, IdentityError> {
        let bad = |cause: String| IdentityError::AuthorityCaFile {
            path: file.into(),
            cause,
        };
        let read = CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))?;
        for root in read {
            self.extra_roots
                .push(root.map_err(|error| bad(error.to_string()))?);
        }
        if self.extra_roots.is_empty() {
            return Err(bad("holds no PEM certificate".to_owned()));
        }
        Ok(self)
    }
}

/// All identities of the process, each with one refresh task.
pub struct Identities {
    wire: Arc<Wire>,
    metrics: Arc<dyn TokenMetricsFactory>,
    cancel: CancellationToken,
    handles: HashMap<(IdentitySpec, Audience), TokenHandle>,
}

impl Identities {
    /// Nothing is asked yet. Cancelling `cancel` ends all tasks; handles then answer with errors
    /// once their token has expired.
    pub fn new(
        metrics: Arc<dyn TokenMetricsFactory>,
        cancel: CancellationToken,
        options: IdentityOptions,
    ) -> Result<Self, IdentityError> {
        Ok(Self {
            wire: Arc::new(Wire::new(options.extra_roots, Patience::default())?),
            metrics,
            cancel,
            handles: HashMap::new(),
        })
    }

    /// The handle of an identity for an audience. Equal ones share a refresh task, which starts at
    /// the first call, on the current tokio runtime.
    pub fn handle(
        &mut self,
        spec: &IdentitySpec,
        audience: Audience,
    ) -> Result<TokenHandle, IdentityError> {
        let key = (spec.clone(), audience);
        if let Some(handle) = self.handles.get(&key) {
            return Ok(handle.clone());
        }
        let subject = subject(spec, audience);
        let metrics = self.metrics.token_metrics(&subject);
        let source = self.source(spec, audience, &metrics)?;
        let Subject {
            identity,
            source: kind,
            audience: resource,
        } = &subject;
        info!(
            identity,
            source = kind,
            audience = resource,
            "token source chosen"
        );
        let surroundings = Surroundings {
            clock: Clock::System,
            metrics,
            cancel: self.cancel.clone(),
        };
        let handle = refresh::start(subject, source, surroundings);
        self.handles.insert(key, handle.clone());
        Ok(handle)
    }

    /// Lets go of all but these: a refresh task ends when its last handle is dropped.
    pub fn retain(&mut self, wanted: &[(&IdentitySpec, Audience)]) {
        self.handles.retain(|(spec, audience), _| {
            let key = (spec, *audience);
            wanted.contains(&key)
        });
    }

    fn source(
        &self,
        spec: &IdentitySpec,
        audience: Audience,
        metrics: &Arc<dyn TokenMetrics>,
    ) -> Result<TokenSource, IdentityError> {
        let scope = audience.scope(spec.cloud);
        let named = spec.selector.is_some();
        let exchange = |peer| {
            Arc::new(Exchange::new(
                Arc::clone(&self.wire),
                peer,
                Arc::clone(metrics),
            ))
        };
        let managed = |peer| {
            TokenSource::Managed(ManagedIdentity {
                exchange: exchange(peer),
                selector: spec.selector.clone(),
                scope: scope.clone(),
            })
        };
        Ok(match &spec.source {
            Source::Imds => {
                let endpoint = spec
                    .imds_endpoint
                    .as_deref()
                    .map(near_endpoint)
                    .transpose()?;
                managed(Peer::Imds { endpoint, named })
            }
            Source::AppService if matches!(spec.selector, Some(Selector::ResourceId(_))) => {
                return Err(IdentityError::ResourceIdOnAppService);
            }
            Source::AppService => managed(Peer::AppService { named }),
            Source::Workload(Workload {
                tenant_id,
                client_id,
                token_file,
                authority,
            }) => TokenSource::Principal(ServicePrincipal {
                exchange: exchange(Peer::Entra),
                tenant_id: tenant_id.clone(),
                client_id: client_id.clone(),
                proof: Proof::Federated(token_file.clone()),
                cloud: spec.cloud,
                authority: authority.as_deref().map(https_authority).transpose()?,
                scope,
            }),
            Source::Secret(ClientSecret {
                tenant_id,
                client_id,
                secret,
                authority,
            }) => TokenSource::Principal(ServicePrincipal {
                exchange: exchange(Peer::Entra),
                tenant_id: tenant_id.clone(),
                client_id: client_id.clone(),
                proof: Proof::Secret(Secret::new(secret.clone())),
                cloud: spec.cloud,
                authority: authority.as_deref().map(https_authority).transpose()?,
                scope,
            }),
            Source::AzCli => TokenSource::AzCli(AzCli::new(scope)),
            Source::PasswordFile => {
                let path = spec
                    .password_file
                    .clone()
                    .ok_or(IdentityError::NoPasswordFile)?;
                TokenSource::PasswordFile(PasswordFile::new(path))
            }
        })
    }
}

/// The identity in words, for labels, logs and errors.
fn subject(spec: &IdentitySpec, audience: Audience) -> Subject {
    let with = |kind: &str, id: Option<String>| match id {
        Some(id) => format!("{kind} {id}"),
        None => kind.to_owned(),
    };
    let selector = spec.selector.as_ref().map(|selector| match selector {
        Selector::ClientId(id) => format!("client_id={id}"),
        Selector::ObjectId(id) => format!("object_id={id}"),
        Selector::ResourceId(id) => format!("resource_id={id}"),
    });
    let principal =
        |client: &str, tenant: &str| Some(format!("client_id={client} tenant={tenant}"));
    let (source, id) = match &spec.source {
        Source::Imds => ("imds", selector),
        Source::AppService => ("app-service", selector),
        Source::Workload(it) => ("workload", principal(&it.client_id, &it.tenant_id)),
        Source::Secret(it) => ("secret", principal(&it.client_id, &it.tenant_id)),
        Source::AzCli => ("az-cli", None),
        Source::PasswordFile => {
            let path = spec.password_file.as_ref();
            ("password-file", path.map(|path| path.display().to_string()))
        }
    };
    let audience = match spec.source {
        Source::PasswordFile => NO_AUDIENCE,
        _ => audience.resource(spec.cloud),
    };
    Subject {
        identity: with(source, id),
        source,
        audience,
    }
}

/// An endpoint that a token request may go to without leaving this host or its link.
fn near_endpoint(text: &str) -> Result<Url, IdentityError> {
    let refused = || IdentityError::ImdsEndpoint(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let near = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local(),
        Some(Host::Ipv6(ip)) => {
            ip.is_loopback() || ip.is_unicast_link_local() || is_near_v4(&ip.to_canonical())
        }
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let bare = matches!(url.path(), "" | "/") && url.query().is_none();
    if near && bare && url.scheme() == "http" && url.username().is_empty() {
        return Ok(url);
    }
    Err(refused())
}

fn is_near_v4(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local())
}

fn https_authority(text: &str) -> Result<String, IdentityError> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "https" && url.has_host() => Ok(text.to_owned()),
        _ => Err(IdentityError::Authority(text.to_owned())),
    }
}
