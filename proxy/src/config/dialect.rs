//! What only one engine has: those keys become a [`Dialect`], and keys of the other engine are
//! refused.
//!
//! `route` calls it for each route. Nothing is opened or dialled.

use super::key::Described;
use super::keys;
use super::model::{
    CertificateFiles, ClientTls, Dialect, Engine, IdentitySpec, Listen, PostgresOptions, Source,
    TdsOptions, TlsMode,
};
use super::settings::Reader;

/// SQL Server's limit of a name (`sysname`), and LOGIN7's of a server's (MS-TDS 2.2.6.4).
const NAME_UNITS: usize = 128;

/// The words of the key `tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsWord {
    Negotiate,
    Direct,
    Strict,
    Off,
}

impl TlsWord {
    pub(super) const ALL: &'static [Self] =
        &[Self::Negotiate, Self::Direct, Self::Strict, Self::Off];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Negotiate => "negotiate",
            Self::Direct => "direct",
            Self::Strict => "strict",
            Self::Off => "off",
        }
    }
}

/// How TLS begins, in the word that the engine has for it.
pub(super) fn read_tls(reader: &mut Reader<'_>, engine: Engine) -> Option<TlsMode> {
    let word = reader.value(&keys::TLS)?;
    let mode = match word {
        TlsWord::Negotiate => TlsMode::Negotiate,
        TlsWord::Direct | TlsWord::Strict => TlsMode::Direct,
        TlsWord::Off => TlsMode::Off,
    };
    let own = mode.as_str(engine);
    if own != word.as_str() {
        let engine = engine.as_str();
        reader.reject(
            &keys::TLS,
            format!(
                "{} is not a word of {engine}; write {own} for TLS from the first byte",
                word.as_str()
            ),
        );
        return None;
    }
    Some(mode)
}

/// Refuses keys that a route of this engine has no use for.
pub(super) fn check_engine(reader: &mut Reader<'_>, engine: Engine, name: Option<&str>) {
    for key in keys::ROUTE {
        let Some(only) = keys::only_for(*key).filter(|only| *only != engine) else {
            continue;
        };
        if reader.has(*key) {
            let route =
                name.map_or_else(|| "this route".to_owned(), |name| format!("route {name}"));
            reader.reject(
                *key,
                format!(
                    "is only for {}, but {route} is {}; leave it out",
                    only.as_str(),
                    engine.as_str()
                ),
            );
        }
    }
}

/// Drivers of SQL Server can't be pointed at a socket file.
pub(super) fn check_listen(reader: &mut Reader<'_>, engine: Engine, listen: &Listen) -> Option<()> {
    match (engine, listen) {
        (Engine::Postgres, _) | (_, Listen::Tcp(_)) => Some(()),
        (Engine::Tds, Listen::Unix(_)) => {
            reader.reject(
                &keys::LISTEN,
                "drivers of SQL Server know only TCP, no Unix sockets; give an address, such as \
                 127.0.0.1:1433",
            );
            None
        }
    }
}

/// Names that a login may have to carry.
pub(super) struct Names<'a> {
    /// The server.
    pub(super) host: Option<&'a str>,
    /// Who logs in.
    pub(super) user: Option<String>,
    /// The database of clients that name none.
    pub(super) database: Option<String>,
    /// The databases that clients may name.
    pub(super) databases: Option<&'a [String]>,
}

/// Reads the rest of what only this engine has; `None` if something was reported.
pub(super) fn read_dialect(
    reader: &mut Reader<'_>,
    engine: Engine,
    names: Names<'_>,
    identity: Option<&IdentitySpec>,
    notes: &mut Vec<String>,
) -> Option<Dialect> {
    match engine {
        Engine::Postgres => Some(Dialect::Postgres(PostgresOptions {
            user: names.user?,
            database: names.database,
        })),
        Engine::Tds => {
            check_names(reader, &names);
            if let Some(identity) = identity {
                check_user(reader, &names, identity, notes);
            }
            read_tds(reader, names).map(Dialect::Tds)
        }
    }
}

fn read_tds(reader: &mut Reader<'_>, names: Names<'_>) -> Option<TdsOptions> {
    let client_tls = reader.value(&keys::CLIENT_TLS);
    let client_certificate = read_certificate(reader, client_tls);
    let packet_size = reader.value(&keys::PACKET_SIZE);
    let min_token_remainder = reader.value(&keys::MIN_TOKEN_REMAINDER);
    let trust_session_state = reader.value(&keys::TRUST_SESSION_STATE);
    let pin_on_exec = reader.value(&keys::PIN_ON_EXEC);
    Some(TdsOptions {
        user: names.user,
        database: names.database?,
        client_tls: client_tls?,
        client_certificate,
        packet_size: u16::try_from(packet_size?).ok()?,
        min_token_remainder: min_token_remainder?,
        trust_session_state: trust_session_state?,
        pin_on_exec: pin_on_exec?,
    })
}

/// A certificate is of no use without its key, nor the other way round.
fn read_certificate(
    reader: &mut Reader<'_>,
    client_tls: Option<ClientTls>,
) -> Option<CertificateFiles> {
    let certificate = reader.given(&keys::CLIENT_CERT_FILE);
    let key = reader.given(&keys::CLIENT_KEY_FILE);
    let written: [(&dyn Described, &dyn Described); 2] = [
        (&keys::CLIENT_CERT_FILE, &keys::CLIENT_KEY_FILE),
        (&keys::CLIENT_KEY_FILE, &keys::CLIENT_CERT_FILE),
    ];
    for (this, other) in written {
        if !reader.has(this) {
            continue;
        }
        if !reader.has(other) {
            let other = other.name();
            reader.reject(this, format!("needs {other} as well; give both or neither"));
        } else if client_tls == Some(ClientTls::Off) {
            reader.reject(
                this,
                "is of no use with client_tls=off; leave one of them out",
            );
        }
    }
    Some(CertificateFiles {
        certificate: certificate?,
        key: key?,
    })
}

/// Longer names could not be put into a login.
fn check_names(reader: &mut Reader<'_>, names: &Names<'_>) {
    let databases = names.databases.unwrap_or_default();
    let longest: [(&dyn Described, usize); 4] = [
        (&keys::HOST, longest(names.host)),
        (&keys::USER, longest(names.user.as_deref())),
        (&keys::DATABASE, longest(names.database.as_deref())),
        (
            &keys::DATABASES,
            longest(databases.iter().map(String::as_str)),
        ),
    ];
    for (key, units) in longest {
        if units > NAME_UNITS {
            reader.reject(
                key,
                format!("has {units} characters, but SQL Server's names have at most {NAME_UNITS}"),
            );
        }
    }
}

fn longest<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    let units = names.into_iter().map(|name| name.encode_utf16().count());
    units.max().unwrap_or(0)
}

/// A token says who it is for; a password does not.
fn check_user(
    reader: &mut Reader<'_>,
    names: &Names<'_>,
    identity: &IdentitySpec,
    notes: &mut Vec<String>,
) {
    let by_password = identity.source == Source::PasswordFile;
    match &names.user {
        None if by_password && !reader.has(&keys::USER) => reader.miss(
            &keys::USER,
            "identity=password-file logs in by name; write it, as in \
             sqlserver://sa@localhost/mydb",
        ),
        Some(user) if !by_password => notes.push(format!(
            "the user {user} is not sent, since a token names who it is for"
        )),
        _ => {}
    }
}
