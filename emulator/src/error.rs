//! Why a part of the emulator could not be started or used.
//!
//! Refusals that the emulator exists to produce (a bad token, a wrong request) are not errors
//! of this kind; they have their own enums next to the code that decides them.

use std::io;

/// Why a part of the emulator could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, and on what.
        action: String,
        /// The reason.
        source: io::Error,
    },
    /// A key or a signature could not be made.
    #[error("cannot {action}: the cryptography library gives no reason; is there entropy?")]
    Crypto {
        /// What was tried.
        action: &'static str,
    },
    /// A certificate could not be made.
    #[error("cannot issue a certificate for {names}: {source}")]
    Certificate {
        /// The names in the certificate.
        names: String,
        /// The reason.
        source: rcgen::Error,
    },
    /// TLS could not be configured or established.
    #[error("cannot use TLS {on}: {source}")]
    Tls {
        /// Where.
        on: String,
        /// The reason.
        source: rustls::Error,
    },
    /// Claims could not be written as JSON.
    #[error("cannot encode the claims of a token: {0}")]
    Claims(#[from] serde_json::Error),
    /// No PostgreSQL server programs on this machine.
    #[error(
        "no PostgreSQL server programs found (looked at `pg_config --bindir` and \
         /usr/lib/postgresql/*/bin); install them (Debian: apt-get install postgresql-15) \
         or use the embedded server"
    )]
    PostgresMissing,
    /// A PostgreSQL program failed.
    #[error("{program} failed: {reason}\n{output}")]
    Postgres {
        /// `initdb`, `postgres` or `pg_ctl`.
        program: &'static str,
        /// Exit status, or what was waited for.
        reason: String,
        /// The end of its output, or of the server log.
        output: String,
    },
    /// A statement of the emulator's own failed.
    #[error("cannot {action}: {source}")]
    Sql {
        /// What was tried.
        action: String,
        /// The server's answer.
        source: tokio_postgres::Error,
    },
    /// The embedded server's store could not be opened.
    #[error("cannot open the embedded database {name}: {source}")]
    Store {
        /// The database.
        name: String,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The server refused TLS.
    #[error("the server at {address} answered {answer:?} to SSLRequest instead of S")]
    NoTls {
        /// The server.
        address: String,
        /// Its answer.
        answer: char,
    },
}

impl Error {
    /// Wraps an I/O error with what was tried.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// Wraps a server's error with what was tried.
    pub(crate) fn sql(action: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let action = action.into();
        move |source| Self::Sql { action, source }
    }
}
