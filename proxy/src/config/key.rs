//! What a key is, and finding one by a name that may be mistyped.
//!
//! `keys` is the table of them; the readers of the file, the variables and the URLs look names
//! up in here. No value is read in here.

use super::model::Engine;
use super::shape::Shape;

/// A key and everything that is said about it.
pub(super) struct Key<S> {
    /// As it is written; `section.key` for a key in a section of the file.
    pub(super) name: &'static str,
    /// What it accepts.
    pub(super) shape: S,
    /// What holds when it is not written.
    pub(super) absent: Absent,
    /// Where it may be written.
    pub(super) scope: Scope,
    /// One or two sentences.
    pub(super) help: &'static str,
}

/// What holds when a key is not written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Absent {
    /// The same as if this had been written.
    Default(&'static str),
    /// Something that no value can say.
    Means(&'static str),
    /// An error, with this advice.
    Required(&'static str),
    /// What the route's engine makes of it.
    ByEngine {
        postgres: &'static Self,
        tds: &'static Self,
    },
}

impl Absent {
    /// What holds for a route of `engine`; `None` if that matters and is not known.
    pub(super) fn of(self, engine: Option<Engine>) -> Option<Self> {
        match (self, engine) {
            (Self::ByEngine { postgres, .. }, Some(Engine::Postgres)) => Some(*postgres),
            (Self::ByEngine { tds, .. }, Some(Engine::Tds)) => Some(*tds),
            (Self::ByEngine { .. }, None) => None,
            (plain, _) => Some(plain),
        }
    }

    /// `default 10`, or what absence means.
    fn told(self) -> String {
        match self {
            Self::Default(text) => format!("default {text}"),
            Self::Means(text) => format!("default: {text}"),
            Self::Required(_) => "required".to_owned(),
            Self::ByEngine { postgres, tds } => {
                let (one, other) = (postgres.told(), tds.told());
                if one == other {
                    return one;
                }
                let (engine, next) = (Engine::Postgres.as_str(), Engine::Tds.as_str());
                format!("{one} ({engine}); {other} ({next})")
            }
        }
    }
}

/// Where a key may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// A flag and a variable.
    FlagVariable(&'static str),
    /// A flag, a variable and the file.
    FlagVariableFile(&'static str),
    /// A variable and the file.
    VariableFile,
    /// A route's query and a `[[route]]`.
    UrlTable,
    /// A `[[route]]`; in a URL it has its own place.
    Table,
}

/// What every key tells about itself, whatever its shape.
pub(super) trait Described: Sync {
    /// As it is written.
    fn name(&self) -> &'static str;
    /// What holds when it is not written.
    fn absent(&self) -> Absent;
    /// Where it may be written.
    fn scope(&self) -> Scope;
    /// What it means.
    fn help(&self) -> &'static str;
    /// What is accepted.
    fn range(&self) -> String;
    /// Whether a text is cut at its commas.
    fn is_list(&self) -> bool;

    /// The variable of a key of the program.
    fn variable(&self) -> String {
        format!(
            "ENTRAPOOL_{}",
            self.name().to_ascii_uppercase().replace('.', "_")
        )
    }

    /// `default 10`, or what its absence means.
    fn absence(&self) -> String {
        self.absent().told()
    }

    /// Help, range and default in a row.
    fn sentence(&self) -> String {
        format!("{} [{}; {}]", self.help(), self.range(), self.absence())
    }
}

impl<S: Shape> Described for Key<S> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn absent(&self) -> Absent {
        self.absent
    }
    fn scope(&self) -> Scope {
        self.scope
    }
    fn help(&self) -> &'static str {
        self.help
    }
    fn range(&self) -> String {
        self.shape.range()
    }
    fn is_list(&self) -> bool {
        self.shape.is_list()
    }
}

/// Finds a key by its exact name.
pub(super) fn find(table: &[&'static dyn Described], name: &str) -> Option<&'static dyn Described> {
    table.iter().copied().find(|key| key.name() == name)
}

/// The known name that was probably meant; `None` if nothing is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = |text: &str| text.chars().count();
    known
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| distance * 5 <= length(name).max(length(candidate)) * 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to say about a name that is no key of `table`.
///
/// `what` is the kind of key, e.g. `route key`. The value is never shown: it may be a password.
pub(super) fn unknown(what: &str, name: &str, table: &[&'static dyn Described]) -> String {
    let advice = ADVICE
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    let near = nearest(name, table.iter().map(|key| key.name()));
    match (advice, near) {
        (Some((_, advice)), _) => format!("{what} \"{name}\" is not known; {advice}"),
        (None, Some(near)) => {
            format!("{what} \"{name}\" is not known; did you mean \"{near}\"?")
        }
        (None, None) => {
            format!("{what} \"{name}\" is not known; entrapool --help lists all keys")
        }
    }
}

/// Keys of other programs that have a better answer than the nearest name.
const ADVICE: &[(&str, &str)] = &[
    (
        "password",
        "a password is never written here: use identity = \"password-file\" with password_file",
    ),
    (
        "client_secret",
        "a secret is never written here: set AZURE_CLIENT_SECRET in the environment",
    ),
    ("tenant_id", "set AZURE_TENANT_ID in the environment"),
    ("dbname", "use database"),
    ("hostaddr", "use connect_to"),
    ("sslrootcert", "use ca_file"),
    (
        "sslmode",
        "TLS is always used and always verified, so leave it out (tls says how it begins)",
    ),
    ("encrypt", ENCRYPT_ADVICE),
    ("trustServerCertificate", ENCRYPT_ADVICE),
    ("databaseName", "use database"),
    ("packetSize", "use packet_size"),
];

const ENCRYPT_ADVICE: &str = "TLS to the server is always used and always verified, so leave it \
     out (tls says how it begins, client_tls what clients get)";
