//! A configuration as TOML that reads back as the same configuration.
//!
//! `entrapool check` prints it. Every key is there, with its default if nothing else was said;
//! secrets are not, since they have no key.

use super::key::{Absent, Described};
use super::keys;
use super::model::{Config, Dialect, Engine, IdentitySpec, Route, Selector, Source, TdsOptions};
use super::span::format_span;

/// Writes a configuration as TOML for `--config`.
#[must_use]
pub fn render(config: &Config) -> String {
    let mut page = Page::default();
    page.key(&keys::HTTP, text(config.http));
    page.key(&keys::WORKERS, config.workers);
    page.key(&keys::IO_URING, text(config.io_uring.as_str()));
    let authority = config.authority_ca_file.as_ref();
    let authority = authority.map(|path| text(path.display()));
    page.optional(&keys::AUTHORITY_CA_FILE, authority);
    page.section("\n[log]");
    page.key(&keys::LOG_FORMAT, text(config.log.format.as_str()));
    page.key(&keys::LOG_LEVEL, text(&config.log.level));
    page.section("\n[drain]");
    page.key(
        &keys::DRAIN_ACCEPT_FOR,
        text(format_span(config.drain.accept_for)),
    );
    page.key(
        &keys::DRAIN_MAX_WAIT,
        text(format_span(config.drain.max_wait)),
    );
    page.section("\n[start]");
    page.key(
        &keys::START_TIMEOUT,
        text(format_span(config.start.timeout)),
    );
    page.key(
        &keys::START_ON_FAILURE,
        text(config.start.on_failure.as_str()),
    );
    page.section("\n[control]");
    let control = &config.control;
    page.optional(&keys::CONTROL_LISTEN, control.listen.as_ref().map(text));
    page.optional(&keys::CONTROL_GROUP, control.group.as_ref().map(text));
    page.section("\n[console]");
    let group = config.console.group.as_ref();
    page.optional(&keys::CONSOLE_GROUP, group.map(text));
    for route in &config.routes {
        render_route(&mut page, route);
    }
    page.text
}

fn render_route(page: &mut Page, route: &Route) {
    let upstream = &route.upstream;
    page.section("\n[[route]]");
    page.key(&keys::NAME, text(&route.name));
    page.engine = Some(route.engine());
    page.key(&keys::ENGINE, text(route.engine().as_str()));
    page.key(&keys::LISTEN, text(&route.listen));
    // Nothing that was accepted is remote, so this is always right.
    page.key(&keys::ALLOW_REMOTE, false);
    let uids = route
        .admission
        .uids
        .as_ref()
        .map(|uids| format!("{uids:?}"));
    page.optional(&keys::ALLOW_UIDS, uids);
    page.key(&keys::HOST, text(&upstream.host));
    page.key(&keys::PORT, upstream.port);
    page.optional(&keys::USER, route.user().map(text));
    page.optional(&keys::DATABASE, route.database().map(text));
    let databases = route.databases.as_ref().map(|names| {
        let names: Vec<String> = names.iter().map(text).collect();
        format!("[{}]", names.join(", "))
    });
    page.optional(&keys::DATABASES, databases);
    render_identity(page, &route.identity);
    page.key(&keys::ALLOW_ANY_HOST, upstream.allow_any_host);
    page.key(&keys::TLS, text(upstream.tls.as_str(route.engine())));
    let ca_file = upstream.ca_file.as_ref().map(|path| text(path.display()));
    page.optional(&keys::CA_FILE, ca_file);
    page.optional(&keys::SERVER_NAME, upstream.server_name.as_ref().map(text));
    page.optional(&keys::CONNECT_TO, upstream.connect_to.as_ref().map(text));
    page.key(
        &keys::CONNECT_TIMEOUT,
        text(format_span(upstream.connect_timeout)),
    );
    if let Dialect::Tds(options) = &route.dialect {
        render_tds(page, options);
    }
    page.key(&keys::POOL_MODE, text(route.pool.mode.as_str()));
    page.key(&keys::POOL_SIZE, route.pool.size);
    page.key(&keys::MIN_IDLE, route.pool.min_idle);
    page.key(&keys::MAX_CLIENTS, route.pool.max_clients);
    let per_peer = route.admission.per_peer.map(|limit| limit.to_string());
    page.optional(&keys::MAX_CLIENTS_PER_PEER, per_peer);
    page.key(
        &keys::WAIT_TIMEOUT,
        text(format_span(route.pool.wait_timeout)),
    );
    page.key(
        &keys::IDLE_TIMEOUT,
        text(format_span(route.pool.idle_timeout)),
    );
    page.key(
        &keys::MAX_LIFETIME,
        text(format_span(route.pool.max_lifetime)),
    );
}

fn render_tds(page: &mut Page, options: &TdsOptions) {
    page.key(&keys::CLIENT_TLS, text(options.client_tls.as_str()));
    let files = options.client_certificate.as_ref();
    page.optional(
        &keys::CLIENT_CERT_FILE,
        files.map(|files| text(files.certificate.display())),
    );
    page.optional(
        &keys::CLIENT_KEY_FILE,
        files.map(|files| text(files.key.display())),
    );
    page.key(&keys::PACKET_SIZE, options.packet_size);
    page.key(
        &keys::MIN_TOKEN_REMAINDER,
        text(format_span(options.min_token_remainder)),
    );
    page.key(
        &keys::TRUST_SESSION_STATE,
        text(keys::on_off(options.trust_session_state)),
    );
    page.key(&keys::PIN_ON_EXEC, text(options.pin_on_exec.as_str()));
}

fn render_identity(page: &mut Page, identity: &IdentitySpec) {
    page.key(&keys::IDENTITY, text(identity.source.as_str()));
    let from_environment = match &identity.source {
        Source::Workload(workload) => Some((&workload.client_id, &workload.tenant_id)),
        Source::Secret(secret) => Some((&secret.client_id, &secret.tenant_id)),
        _ => None,
    };
    let client_id = match (&identity.selector, from_environment) {
        (Some(Selector::ClientId(id)), _) | (None, Some((id, _))) => Some(id),
        _ => None,
    };
    page.optional(&keys::CLIENT_ID, client_id.map(text));
    let object_id = match &identity.selector {
        Some(Selector::ObjectId(id)) => Some(id),
        _ => None,
    };
    page.optional(&keys::OBJECT_ID, object_id.map(text));
    let resource_id = match &identity.selector {
        Some(Selector::ResourceId(id)) => Some(id),
        _ => None,
    };
    page.optional(&keys::RESOURCE_ID, resource_id.map(text));
    if let Some((_, tenant_id)) = from_environment {
        page.comment("AZURE_TENANT_ID", &text(tenant_id));
    }
    match &identity.source {
        Source::Workload(workload) => page.comment(
            "AZURE_FEDERATED_TOKEN_FILE",
            &text(workload.token_file.display()),
        ),
        Source::Secret(_) => page.comment("AZURE_CLIENT_SECRET", "(set, not shown)"),
        _ => {}
    }
    let authority = match &identity.source {
        Source::Workload(workload) => workload.authority.as_ref(),
        Source::Secret(secret) => secret.authority.as_ref(),
        _ => None,
    };
    if let Some(authority) = authority {
        page.comment("AZURE_AUTHORITY_HOST", &text(authority));
    }
    page.key(&keys::CLOUD, text(identity.cloud.as_str()));
    page.optional(
        &keys::IMDS_ENDPOINT,
        identity.imds_endpoint.as_ref().map(text),
    );
    let password_file = identity.password_file.as_ref();
    page.optional(
        &keys::PASSWORD_FILE,
        password_file.map(|path| text(path.display())),
    );
}

/// TOML in the making.
#[derive(Default)]
struct Page {
    text: String,
    /// Of the route that is written.
    engine: Option<Engine>,
}

impl Page {
    fn section(&mut self, header: &str) {
        self.line(format_args!("{header}"));
    }

    fn key(&mut self, key: &dyn Described, value: impl std::fmt::Display) {
        let name = key.name();
        let name = name.split_once('.').map_or(name, |(_, inner)| inner);
        self.line(format_args!("{name} = {value}"));
    }

    /// A key without a value has no TOML, so its meaning is a comment.
    fn optional(&mut self, key: &dyn Described, value: Option<String>) {
        match (value, key.absent().of(self.engine)) {
            (Some(value), _) => self.key(key, value),
            (None, Some(Absent::Means(meaning))) => {
                self.line(format_args!("# {} is not set: {meaning}", key.name()));
            }
            (None, _) => self.line(format_args!("# {} is not set", key.name())),
        }
    }

    /// What holds, but is said by a variable.
    fn comment(&mut self, variable: &str, value: &str) {
        self.line(format_args!("# {variable} = {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }
}

/// A TOML string.
fn text(value: impl std::fmt::Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}
