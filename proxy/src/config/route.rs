//! One route: its settings become a [`Route`], with everything checked that involves several keys.
//!
//! `load` calls this for each route that is in force. What the identity is, `identity` says.

use super::azure_host;
use super::dialect::{Names, check_engine, check_listen, read_dialect, read_tls};
use super::endpoint::is_loopback_host;
use super::environment::Environment;
use super::error::{ConfigErrors, Place};
use super::identity::read_identity;
use super::key::Described;
use super::keys;
use super::model::{
    Engine, HostPort, IdentitySpec, Listen, PoolLimits, Route, Source, TlsMode, Upstream,
};
use super::settings::{Reader, Settings};

/// A route, and what is worth telling about it.
pub(super) struct ReadRoute {
    pub(super) route: Route,
    pub(super) notes: Vec<String>,
}

/// Reads a route; `None` if something was reported.
pub(super) fn read_route(
    settings: &Settings,
    env: &dyn Environment,
    claims: &mut Claims,
    errors: &mut ConfigErrors,
) -> Option<ReadRoute> {
    let mut reader = Reader::new(vec![settings], errors);
    let mut notes = Vec::new();
    // A bad url is reported once; that the parts it should have are missing says nothing new.
    let url = reader.given(&keys::URL);
    if reader.has(&keys::URL) && (url.is_none() || !reader.has(&keys::ENGINE)) {
        return None;
    }
    let engine = reader.value(&keys::ENGINE)?;
    reader.set_engine(engine);
    let listen = read_listen(&mut reader, engine);
    let name = read_name(&mut reader, engine, listen.as_ref());
    claims.claim(&mut reader, listen.as_ref(), name.as_deref());
    check_engine(&mut reader, engine, name.as_deref());
    let user = reader.value(&keys::USER);
    let (database, databases) = read_databases(&mut reader);
    let identity = read_identity(&mut reader, env, &mut notes);
    let upstream = read_upstream(&mut reader, engine);
    let names = Names {
        host: upstream.as_ref().map(|upstream| upstream.host.as_str()),
        user,
        database,
        databases: databases.as_deref(),
    };
    let dialect = read_dialect(&mut reader, engine, names, identity.as_ref(), &mut notes);
    let pool = read_pool(&mut reader);
    if let (Some(upstream), Some(identity)) = (&upstream, &identity) {
        check_tls(&mut reader, upstream, identity);
        notes.extend(azure_host::doubt(&upstream.host, engine, identity.cloud));
    }
    let name = name?;
    Some(ReadRoute {
        notes: notes
            .into_iter()
            .map(|note| format!("route {name}: {note}"))
            .collect(),
        route: Route {
            name,
            dialect: dialect?,
            listen: listen?,
            upstream: upstream?,
            databases,
            identity: identity?,
            pool: pool?,
        },
    })
}

/// Which listeners and names are taken, and where that was written.
#[derive(Default)]
pub(super) struct Claims {
    listeners: Vec<(Listen, String)>,
    names: Vec<(String, Place)>,
}

impl Claims {
    /// A listener of the program, which `key` names; reports what is taken already.
    pub(super) fn claim_for(
        &mut self,
        reader: &mut Reader<'_>,
        key: &dyn Described,
        listen: Listen,
    ) {
        let taken = self.listeners.iter().find(|(it, _)| overlap(it, &listen));
        if let Some((_, owner)) = taken {
            reader.reject(key, format!("{listen} is already taken by {owner}"));
            return;
        }
        let owner = match reader.place(key) {
            Place::Whole => key.name().to_owned(),
            place => format!("{} ({place})", key.name()),
        };
        self.listeners.push((listen, owner));
    }

    /// A route's listener and name; reports what is taken already.
    fn claim(&mut self, reader: &mut Reader<'_>, listen: Option<&Listen>, name: Option<&str>) {
        if let Some(listen) = listen {
            let taken = self
                .listeners
                .iter()
                .find(|(other, _)| overlap(other, listen));
            if let Some((_, owner)) = taken {
                reader.reject(
                    &keys::LISTEN,
                    format!("{listen} is already taken by {owner}; give this route another one"),
                );
                return;
            }
            let place = reader.place(&keys::LISTEN);
            self.listeners.push((listen.clone(), place.to_string()));
        }
        let Some(name) = name else { return };
        match self.names.iter().find(|(other, _)| other == name) {
            Some((_, place)) => reader.reject(
                &keys::NAME,
                format!("\"{name}\" is already taken by {place}; give this route another one"),
            ),
            None => self
                .names
                .push((name.to_owned(), reader.place(&keys::NAME))),
        }
    }
}

/// Whether the second of two listeners could not be bound. Port 0 is a new port each time.
fn overlap(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::Unix(one), Listen::Unix(other)) => one == other,
        (Listen::Tcp(one), Listen::Tcp(other)) => {
            let wildcard = one.ip().is_unspecified() || other.ip().is_unspecified();
            let same = one.ip().to_canonical() == other.ip().to_canonical();
            one.port() != 0 && one.port() == other.port() && (same || wildcard)
        }
        _ => false,
    }
}

/// Whoever reaches a listener acts as the identity, so it stays on this machine.
fn read_listen(reader: &mut Reader<'_>, engine: Engine) -> Option<Listen> {
    let allow_remote = reader.value(&keys::ALLOW_REMOTE);
    let listen = reader.value(&keys::LISTEN)?;
    check_listen(reader, engine, &listen)?;
    let Listen::Tcp(address) = &listen else {
        return Some(listen);
    };
    if address.ip().to_canonical().is_loopback() {
        return Some(listen);
    }
    let elsewhere = match engine {
        Engine::Postgres => "127.0.0.1, [::1] or a Unix socket's directory",
        Engine::Tds => "127.0.0.1 or [::1]",
    };
    let reason = if allow_remote == Some(true) {
        "allow_remote=true also requires client TLS and a client credential, which are not \
         available yet"
    } else {
        "whoever reaches it would act as the identity"
    };
    reader.reject(
        &keys::LISTEN,
        format!("{address} is not a loopback address, and {reason}; use {elsewhere}"),
    );
    None
}

fn read_name(reader: &mut Reader<'_>, engine: Engine, listen: Option<&Listen>) -> Option<String> {
    if reader.has(&keys::NAME) {
        return reader.given(&keys::NAME);
    }
    Some(match listen? {
        Listen::Tcp(address) => format!("{}-{}", engine.as_str(), address.port()),
        Listen::Unix(path) => path.display().to_string(),
    })
}

fn read_databases(reader: &mut Reader<'_>) -> (Option<String>, Option<Vec<String>>) {
    let database = reader.value(&keys::DATABASE);
    let databases = reader.given(&keys::DATABASES);
    if let (Some(database), Some(databases)) = (&database, &databases)
        && !databases.contains(database)
    {
        reader.reject(
            &keys::DATABASES,
            format!("does not contain the default database \"{database}\"; add it"),
        );
    }
    (database, databases)
}

fn read_upstream(reader: &mut Reader<'_>, engine: Engine) -> Option<Upstream> {
    let host = reader.value(&keys::HOST);
    let port = reader.value(&keys::PORT);
    let connect_to = reader.given(&keys::CONNECT_TO);
    let server_name = reader.given(&keys::SERVER_NAME);
    let tls = read_tls(reader, engine);
    let ca_file = reader.given(&keys::CA_FILE);
    let connect_timeout = reader.value(&keys::CONNECT_TIMEOUT);
    let port = u16::try_from(port?).ok()?;
    Some(Upstream {
        host: host?,
        port,
        connect_to: connect_to.map(|dial| HostPort {
            host: dial.host,
            port: dial.port.unwrap_or(port),
        }),
        server_name,
        tls: tls?,
        ca_file,
        connect_timeout: connect_timeout?,
    })
}

fn read_pool(reader: &mut Reader<'_>) -> Option<PoolLimits> {
    let mode = reader.value(&keys::POOL_MODE);
    let size = reader.value(&keys::POOL_SIZE);
    let min_idle = reader.value(&keys::MIN_IDLE);
    let max_clients = reader.value(&keys::MAX_CLIENTS);
    let wait_timeout = reader.value(&keys::WAIT_TIMEOUT);
    let idle_timeout = reader.value(&keys::IDLE_TIMEOUT);
    let max_lifetime = reader.value(&keys::MAX_LIFETIME);
    if let (Some(size), Some(min_idle)) = (size, min_idle)
        && min_idle > size
    {
        reader.reject(
            &keys::MIN_IDLE,
            format!("{min_idle} is more than pool_size, which is {size}"),
        );
    }
    Some(PoolLimits {
        mode: mode?,
        size: usize::try_from(size?).ok()?,
        min_idle: usize::try_from(min_idle?).ok()?,
        max_clients: usize::try_from(max_clients?).ok()?,
        wait_timeout: wait_timeout?,
        idle_timeout: idle_timeout?,
        max_lifetime: max_lifetime?,
    })
}

/// Without TLS a token could be read on the way, so only a password on this machine may do so.
fn check_tls(reader: &mut Reader<'_>, upstream: &Upstream, identity: &IdentitySpec) {
    if upstream.tls != TlsMode::Off {
        return;
    }
    let dialled = upstream
        .connect_to
        .as_ref()
        .map_or(upstream.host.as_str(), |target| target.host.as_str());
    if !is_loopback_host(dialled) {
        reader.reject(
            &keys::TLS,
            format!("off is only for a server on a loopback address, and {dialled} is none"),
        );
    }
    if identity.source != Source::PasswordFile {
        reader.reject(
            &keys::TLS,
            format!(
                "off is only for identity=password-file, but the identity is {}; a token is never \
                 sent in the clear",
                identity.source.as_str()
            ),
        );
    }
}
