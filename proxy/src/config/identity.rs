//! Which identity a route has: the chosen source with all its parameters, or what is missing.
//!
//! `route` calls it for each route. `auto` is settled here, from the environment alone, so that
//! `entrapool check` can show the choice. No token source is contacted.

use std::path::PathBuf;

use super::environment::Environment;
use super::keys;
use super::model::{ClientSecret, Cloud, IdentitySpec, Selector, Source, Workload};
use super::settings::Reader;

/// How the note begins that says what `auto` has come to.
pub(super) const AUTO_CHOSE: &str = "identity auto chose ";

/// The words of the key `identity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdentityKind {
    Auto,
    Imds,
    AppService,
    Workload,
    Secret,
    AzCli,
    PasswordFile,
}

impl IdentityKind {
    pub(super) const ALL: &'static [Self] = &[
        Self::Auto,
        Self::Imds,
        Self::AppService,
        Self::Workload,
        Self::Secret,
        Self::AzCli,
        Self::PasswordFile,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Imds => "imds",
            Self::AppService => "app-service",
            Self::Workload => "workload",
            Self::Secret => "secret",
            Self::AzCli => "az-cli",
            Self::PasswordFile => "password-file",
        }
    }
}

/// Settles a route's identity; `None` if something was reported.
///
/// `notes` gets what was taken from the environment without having been asked for.
pub(super) fn read_identity(
    reader: &mut Reader<'_>,
    env: &dyn Environment,
    notes: &mut Vec<String>,
) -> Option<IdentitySpec> {
    let azure = Azure { env };
    let asked = reader.value(&keys::IDENTITY);
    let cloud = reader.value(&keys::CLOUD);
    let imds_endpoint = reader.given(&keys::IMDS_ENDPOINT);
    let password_file = reader.given(&keys::PASSWORD_FILE);
    let selector = read_selector(reader);
    let (cloud, kind) = (cloud?, choose(asked?, reader, &azure, notes)?);

    check_companions(reader, kind);
    let selector = fit_selector(reader, kind, selector, &azure, notes);
    let source = match kind {
        IdentityKind::Auto | IdentityKind::Imds => Source::Imds,
        IdentityKind::AppService => azure.app_service(reader)?,
        IdentityKind::Workload => azure.workload(reader, cloud, selector.as_ref())?,
        IdentityKind::Secret => azure.secret(reader, cloud, selector.as_ref())?,
        IdentityKind::AzCli => Source::AzCli,
        IdentityKind::PasswordFile => Source::PasswordFile,
    };
    // Workload and secret carry their client id themselves; twice would make equal identities differ.
    let selects = matches!(source, Source::Imds | Source::AppService);
    Some(IdentitySpec {
        source,
        selector: selector.filter(|_| selects),
        imds_endpoint,
        cloud,
        password_file,
    })
}

/// Turns `auto` into a source and says why; anything else stays.
fn choose(
    asked: IdentityKind,
    reader: &mut Reader<'_>,
    azure: &Azure<'_>,
    notes: &mut Vec<String>,
) -> Option<IdentityKind> {
    if asked != IdentityKind::Auto {
        return Some(asked);
    }
    let (kind, why) = if reader.has(&keys::IMDS_ENDPOINT) {
        (IdentityKind::Imds, "imds_endpoint is given")
    } else if azure.has("AZURE_FEDERATED_TOKEN_FILE") {
        (IdentityKind::Workload, "AZURE_FEDERATED_TOKEN_FILE is set")
    } else if let Some(host) = azure.unsupported_host() {
        reader.reject(
            &keys::IDENTITY,
            format!("auto finds {host}, whose identity is not supported; name another source, such as identity=secret"),
        );
        return None;
    } else if azure.has("IDENTITY_ENDPOINT") && azure.has("IDENTITY_HEADER") {
        (
            IdentityKind::AppService,
            "IDENTITY_ENDPOINT and IDENTITY_HEADER are set",
        )
    } else {
        (
            IdentityKind::Imds,
            "neither AZURE_FEDERATED_TOKEN_FILE nor IDENTITY_ENDPOINT with IDENTITY_HEADER is set",
        )
    };
    notes.push(format!("{AUTO_CHOSE}{} because {why}", kind.as_str()));
    Some(kind)
}

/// Keys that belong to one source only.
fn check_companions(reader: &mut Reader<'_>, kind: IdentityKind) {
    let is_password = kind == IdentityKind::PasswordFile;
    if is_password && !reader.has(&keys::PASSWORD_FILE) {
        reader.reject(
            &keys::IDENTITY,
            "password-file needs password_file, the path of a file with the password",
        );
    }
    if !is_password && reader.has(&keys::PASSWORD_FILE) {
        reader.reject(
            &keys::PASSWORD_FILE,
            format!(
                "is only for identity=password-file, but the identity is {}",
                kind.as_str()
            ),
        );
    }
    if kind != IdentityKind::Imds && reader.has(&keys::IMDS_ENDPOINT) {
        reader.reject(
            &keys::IMDS_ENDPOINT,
            format!(
                "is only for identity=imds, but the identity is {}",
                kind.as_str()
            ),
        );
    }
}

/// At most one of the three keys that name an identity.
fn read_selector(reader: &mut Reader<'_>) -> Option<Selector> {
    let selectors: Vec<Selector> = [
        reader.given(&keys::CLIENT_ID).map(Selector::ClientId),
        reader.given(&keys::OBJECT_ID).map(Selector::ObjectId),
        reader.given(&keys::RESOURCE_ID).map(Selector::ResourceId),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let [first, second, ..] = selectors.as_slice() {
        let (first, second) = (selector_key(first), selector_key(second));
        reject_selector(
            reader,
            second,
            &format!("{first} names an identity already; keep one of them"),
        );
    }
    selectors.into_iter().next()
}

/// Refuses a selector that the source cannot use; fills one in from `AZURE_CLIENT_ID`.
fn fit_selector(
    reader: &mut Reader<'_>,
    kind: IdentityKind,
    selector: Option<Selector>,
    azure: &Azure<'_>,
    notes: &mut Vec<String>,
) -> Option<Selector> {
    use IdentityKind::{AppService, Auto, AzCli, Imds, PasswordFile, Secret, Workload};
    let advice = match (kind, &selector) {
        (AppService, Some(Selector::ResourceId(_))) => "use client_id or object_id",
        (Workload | Secret, Some(Selector::ObjectId(_) | Selector::ResourceId(_))) => {
            "use client_id"
        }
        (AzCli | PasswordFile, Some(_)) => "leave it out",
        (Imds | AppService | Auto, None) => {
            let client_id = azure.get("AZURE_CLIENT_ID")?;
            notes.push("AZURE_CLIENT_ID names the identity, since the route does not".to_owned());
            return Some(Selector::ClientId(client_id));
        }
        _ => return selector,
    };
    if let Some(selector) = &selector {
        let message = format!("identity={} cannot use it; {advice}", kind.as_str());
        reject_selector(reader, selector_key(selector), &message);
    }
    None
}

fn selector_key(selector: &Selector) -> &'static str {
    match selector {
        Selector::ClientId(_) => keys::CLIENT_ID.name,
        Selector::ObjectId(_) => keys::OBJECT_ID.name,
        Selector::ResourceId(_) => keys::RESOURCE_ID.name,
    }
}

fn reject_selector(reader: &mut Reader<'_>, key: &str, message: &str) {
    if let Some(key) = super::key::find(keys::ROUTE, key) {
        reader.reject(key, message);
    }
}

/// What Azure's hosts and webhooks put into the environment. A blank value counts as unset.
struct Azure<'a> {
    env: &'a dyn Environment,
}

impl Azure<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.env.get(name).filter(|value| !value.trim().is_empty())
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Hosts whose managed identity works in another way (azure_identity 1.x refuses them too).
    fn unsupported_host(&self) -> Option<&'static str> {
        let endpoint = self.has("IDENTITY_ENDPOINT");
        let header = self.has("IDENTITY_HEADER");
        if endpoint && header && self.has("IDENTITY_SERVER_THUMBPRINT") {
            Some("Service Fabric (IDENTITY_SERVER_THUMBPRINT is set)")
        } else if endpoint && !header && self.has("IMDS_ENDPOINT") {
            Some("Azure Arc (IDENTITY_ENDPOINT and IMDS_ENDPOINT are set)")
        } else if !endpoint && self.has("MSI_ENDPOINT") {
            Some("Azure ML or Cloud Shell (MSI_ENDPOINT is set)")
        } else {
            None
        }
    }

    fn app_service(&self, reader: &mut Reader<'_>) -> Option<Source> {
        self.require(
            reader,
            "app-service",
            &["IDENTITY_ENDPOINT", "IDENTITY_HEADER"],
            "App Service, Functions and Container Apps set both once the app has an identity",
        )?;
        Some(Source::AppService)
    }

    fn workload(
        &self,
        reader: &mut Reader<'_>,
        cloud: Cloud,
        selector: Option<&Selector>,
    ) -> Option<Source> {
        let authority = self.authority(reader, cloud);
        self.require(
            reader,
            "workload",
            &client_variables("AZURE_FEDERATED_TOKEN_FILE", selector),
            "the webhook sets them in pods with the label azure.workload.identity/use: \"true\"",
        )?;
        Some(Source::Workload(Workload {
            tenant_id: self.get("AZURE_TENANT_ID")?,
            client_id: self.client_id(selector)?,
            token_file: self.get("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from)?,
            authority: authority?,
        }))
    }

    fn secret(
        &self,
        reader: &mut Reader<'_>,
        cloud: Cloud,
        selector: Option<&Selector>,
    ) -> Option<Source> {
        let authority = self.authority(reader, cloud);
        self.require(
            reader,
            "secret",
            &client_variables("AZURE_CLIENT_SECRET", selector),
            "the secret is read from the environment only",
        )?;
        Some(Source::Secret(ClientSecret {
            tenant_id: self.get("AZURE_TENANT_ID")?,
            client_id: self.client_id(selector)?,
            secret: self.get("AZURE_CLIENT_SECRET")?,
            authority: authority?,
        }))
    }

    fn client_id(&self, selector: Option<&Selector>) -> Option<String> {
        match selector {
            Some(Selector::ClientId(id)) => Some(id.clone()),
            _ => self.get("AZURE_CLIENT_ID"),
        }
    }

    /// All that is missing, in one report.
    fn require(
        &self,
        reader: &mut Reader<'_>,
        source: &str,
        names: &[&str],
        advice: &str,
    ) -> Option<()> {
        let missing: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !self.has(name))
            .collect();
        if missing.is_empty() {
            return Some(());
        }
        reader.reject(
            &keys::IDENTITY,
            format!(
                "{source} needs {}, not set in the environment; {advice}",
                missing.join(" and ")
            ),
        );
        None
    }

    /// `Some(None)` if the cloud's own authority is meant; `None` if something was reported.
    fn authority(&self, reader: &mut Reader<'_>, cloud: Cloud) -> Option<Option<String>> {
        let Some(host) = self.get("AZURE_AUTHORITY_HOST") else {
            return Some(None);
        };
        let host = host.trim().trim_end_matches('/');
        let is_https = url::Url::parse(host)
            .is_ok_and(|url| url.scheme() == "https" && url.password().is_none());
        if !is_https {
            reader.reject(
                &keys::IDENTITY,
                "AZURE_AUTHORITY_HOST is not an https:// URL, such as \
                 https://login.microsoftonline.com/",
            );
            return None;
        }
        let differs = !host.eq_ignore_ascii_case(cloud.authority());
        Some(differs.then(|| host.to_owned()))
    }
}

/// The variables of a client of Entra's token endpoint; the route's `client_id` replaces one.
fn client_variables(credential: &'static str, selector: Option<&Selector>) -> Vec<&'static str> {
    let mut names = vec![credential, "AZURE_TENANT_ID"];
    if selector.is_none() {
        names.push("AZURE_CLIENT_ID");
    }
    names
}
