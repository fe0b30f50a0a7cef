//! The keys that only routes to SQL Server have.

use std::time::Duration;

use crate::config::key::{Absent, Described, Key, Scope};
use crate::config::model::{ClientTls, PinOnExec};
use crate::config::shape::{Choice, Count, FilePath, Span};

/// All of them.
pub(in crate::config) static SQLSERVER: &[&dyn Described] = &[
    &CLIENT_TLS,
    &CLIENT_CERT_FILE,
    &CLIENT_KEY_FILE,
    &PACKET_SIZE,
    &MIN_TOKEN_REMAINDER,
    &TRUST_SESSION_STATE,
    &PIN_ON_EXEC,
];

pub(in crate::config) static CLIENT_TLS: Key<Choice<ClientTls>> = Key {
    name: "client_tls",
    shape: Choice {
        all: &[ClientTls::Auto, ClientTls::Off, ClientTls::Require],
        word: ClientTls::as_str,
    },
    absent: Absent::Default("auto"),
    scope: Scope::UrlTable,
    help: "Whether clients get TLS: those that insist on it (auto), none, or all. Whoever is not \
           served is told so. Drivers that insist also verify, unless told to trust the \
           certificate (TrustServerCertificate=yes).",
};

pub(in crate::config) static CLIENT_CERT_FILE: Key<FilePath> = Key {
    name: "client_cert_file",
    shape: FilePath,
    absent: Absent::Means("a certificate is made at each start"),
    scope: Scope::UrlTable,
    help: "PEM file of the certificate that clients are shown, with those that lead to its root; \
           together with client_key_file.",
};

pub(in crate::config) static CLIENT_KEY_FILE: Key<FilePath> = Key {
    name: "client_key_file",
    shape: FilePath,
    absent: Absent::Means("a key is made at each start"),
    scope: Scope::UrlTable,
    help: "PEM file of the private key of client_cert_file.",
};

/// MS-TDS 2.2.6.4 has the bounds.
pub(in crate::config) static PACKET_SIZE: Key<Count> = Key {
    name: "packet_size",
    shape: Count {
        min: 512,
        max: 32_767,
    },
    absent: Absent::Default("4096"),
    scope: Scope::UrlTable,
    help: "Bytes of a packet, asked of the server and told to clients; what they ask for does not \
           matter. JDBC refuses more than 16384 with TLS.",
};

pub(in crate::config) static MIN_TOKEN_REMAINDER: Key<Span> = Key {
    name: "min_token_remainder",
    shape: Span {
        min: Duration::ZERO,
        max: Duration::from_hours(1),
    },
    absent: Absent::Default("10min"),
    scope: Scope::UrlTable,
    help: "A backend whose token is valid for less than this is not lent any more but replaced, \
           since Azure SQL may check tokens again in open sessions. Never more than a tenth of \
           the token's whole life, whatever is written here.",
};

pub(in crate::config) static TRUST_SESSION_STATE: Key<Choice<bool>> = Key {
    name: "trust_session_state",
    shape: Choice {
        all: &[false, true],
        word: on_off,
    },
    absent: Absent::Default("off"),
    scope: Scope::UrlTable,
    help: "Whether a session counts as unchanged when the server reports no change of its state \
           (the feature that drivers use to recover connections). When off, only what the text \
           of a request shows to be harmless does; the rest is cleaned.",
};

pub(in crate::config) static PIN_ON_EXEC: Key<Choice<PinOnExec>> = Key {
    name: "pin_on_exec",
    shape: Choice {
        all: &[PinOnExec::Never, PinOnExec::Always],
        word: PinOnExec::as_str,
    },
    absent: Absent::Default("never"),
    scope: Scope::UrlTable,
    help: "Whether a client that runs a stored procedure keeps its backend from then on: for \
           procedures that leave state which later requests need, such as CONTEXT_INFO.",
};

/// How a switch is written.
pub(in crate::config) fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
