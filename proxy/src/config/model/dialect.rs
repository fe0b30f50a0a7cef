//! What only one engine has: the part of a route that depends on its protocol.

use std::path::PathBuf;
use std::time::Duration;

/// Which protocol is spoken on both sides of a route, with what only that one has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL's frontend/backend protocol 3.
    Postgres(PostgresOptions),
    /// SQL Server's tabular data stream.
    Tds(TdsOptions),
}

/// What only a route to PostgreSQL has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The role that logs in upstream: the identity's name in the database, exact case.
    pub user: String,
    /// The database of clients that name none.
    pub database: Option<String>,
}

/// What only a route to SQL Server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdsOptions {
    /// Who logs in upstream; always there for a password, never sent with a token, which names
    /// who it is for. At most 128 UTF-16 units.
    pub user: Option<String>,
    /// The database of clients that name none; at most 128 UTF-16 units.
    pub database: String,
    /// Whether clients get TLS.
    pub client_tls: ClientTls,
    /// What clients are shown in TLS; `None` for a certificate that is made at the start.
    pub client_certificate: Option<CertificateFiles>,
    /// Bytes of a packet with its header, on both sides, 512 to 32,767; default 4096.
    pub packet_size: u16,
    /// See [`TdsOptions::token_remainder`]; 0 s to 1 h; default 10 min.
    pub min_token_remainder: Duration,
    /// Whether the server's silence about a session's state is taken as proof that there is none.
    pub trust_session_state: bool,
    /// Whether a client that runs a procedure keeps its backend.
    pub pin_on_exec: PinOnExec,
}

impl TdsOptions {
    /// How long the token of a backend must still be valid for the backend to be lent, where the
    /// token was valid for `lifetime` when it was issued: `min_token_remainder`, but never more
    /// than a tenth of that, so that short tokens are of use too.
    #[must_use]
    pub fn token_remainder(&self, lifetime: Duration) -> Duration {
        self.min_token_remainder.min(lifetime / 10)
    }
}

/// Whether clients get TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTls {
    /// Those that insist on it; the others speak in the clear, on loopback.
    Auto,
    /// None does; a client that insists on it is turned away.
    Off,
    /// All must; a client that can't is turned away.
    Require,
}

impl ClientTls {
    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Require => "require",
        }
    }
}

/// A certificate and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether a client that runs a procedure keeps its backend: what a procedure leaves in its
/// session can't be read off the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinOnExec {
    /// No; the backend is cleaned before another client gets it.
    Never,
    /// Yes, until it ends or resets its connection.
    Always,
}

impl PinOnExec {
    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
        }
    }
}
