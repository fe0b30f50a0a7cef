//! Everything that a client or the log is told when something fails: which SQLSTATE, which
//! words, what to try. Nobody else makes up errors.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use entrapool_metrics::{Cause, LoginFailure, Phase};
use entrapool_protocol::postgres::Violation;
use entrapool_protocol::postgres::error::ServerError;
use entrapool_protocol::postgres::login::{LoginError, SslRefused};
use entrapool_protocol::postgres::message::Report;
use entrapool_protocol::postgres::startup::StartupError;

use super::fanout::Lost;
use crate::config::HostPort;
use crate::identity::{CredentialKind, Unavailable};
use crate::pool::LeaseError;
use crate::session::gate::Turned;
use crate::upstream::{DialError, TlsError};

/// What to try, for clients and for `entrapool doctor`.
pub(crate) mod hint {
    pub(crate) const NAME: &str = "Check the host in the ROUTE and the machine's DNS; for a private endpoint, whether its private DNS zone is linked to this network.";
    pub(crate) const CERTIFICATE: &str = "The certificate must be valid for the host in the ROUTE (or server_name) and come from a known root (or one in ca_file).";
    pub(crate) const NOT_DIRECT: &str =
        "tls=direct needs PostgreSQL 17 or newer; tls=negotiate works with every version.";
    pub(crate) const NO_TLS: &str = "A token or password is never sent without TLS. Check that host and port are those of the PostgreSQL server.";
    pub(crate) const NOT_POSTGRES: &str =
        "Check that host and port are those of a PostgreSQL server.";
    pub(crate) const PASSWORD: &str = "Check the password in password_file.";
    pub(crate) const PASSWORD_LOGIN: &str =
        "Check the role in the ROUTE, the password in password_file, and the server's pg_hba.conf.";
    pub(crate) const TOO_MANY: &str = "The server has no connection slot left. Lower pool_size: processes × pool_size must stay below the server's max_connections less its reserved ones.";

    pub(crate) fn database(database: &str) -> String {
        format!(
            "Create the database {database:?}, or name one that exists: a client that names none gets the one in the ROUTE."
        )
    }

    pub(crate) fn role(user: &str) -> String {
        format!(
            "The role must be named exactly as the identity, in the same case, and be an Entra role. As Entra administrator, in database postgres: SELECT * FROM pgaadauth_create_principal('{user}', false, false); a plain CREATE ROLE is not enough. If the role exists, check that it belongs to this identity (client_id, object_id)."
        )
    }

    pub(crate) fn no_entra(user: &str) -> String {
        format!(
            "The role {user:?} exists with a password, or the server has no Entra authentication. Turn it on for the server, and make the role with pgaadauth_create_principal; for a password use identity=password-file."
        )
    }
}

/// What went wrong on the way to a backend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// There is no token to log in with.
    #[error(transparent)]
    NoToken(#[from] Unavailable),
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No TLS, or none that can be trusted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No TLS: the server does not offer it.
    #[error(transparent)]
    Ssl(#[from] SslRefused),
    /// The login did not come to its end.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// `connect_timeout` passed.
    #[error("no answer within connect_timeout ({limit:?}), during {}", phase_words(*phase))]
    Timeout {
        /// What was waited for.
        phase: Phase,
        /// The limit.
        limit: Duration,
    },
}

fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "name look-up or TCP connect",
        Phase::Tcp => "TCP connect",
        Phase::Tls => "the TLS handshake",
        Phase::Login => "the login",
    }
}

/// Why a backend could not be made: for whom, where, why. Cheap to clone: every client that
/// waits gets one.
#[derive(Debug, Clone)]
pub(super) struct ConnectError(Arc<Details>);

#[derive(Debug)]
struct Details {
    user: String,
    database: String,
    server: String,
    credential: CredentialKind,
    failed: Failed,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            user,
            database,
            server,
            failed,
            ..
        } = &*self.0;
        write!(
            f,
            "login to {server} as {user:?} (database {database:?}): {failed}"
        )
    }
}

impl ConnectError {
    pub(super) fn new(
        user: &str,
        database: &str,
        target: &HostPort,
        credential: CredentialKind,
        failed: Failed,
    ) -> Self {
        Self(Arc::new(Details {
            user: user.into(),
            database: database.into(),
            server: format!("{}:{}", target.host, target.port),
            credential,
            failed,
        }))
    }

    fn refusal(&self) -> Option<&ServerError> {
        match &self.0.failed {
            Failed::Login(LoginError::Refused(error) | LoginError::Version { error, .. }) => {
                Some(error)
            }
            _ => None,
        }
    }

    /// Whether a newer token might change the server's mind. Which SQLSTATE a token's refusal
    /// has differs between servers and poolers in front of them, so a role's refusal may be
    /// taken for a token's: that costs one early refresh, which is limited in rate.
    pub(super) fn is_about_the_token(&self) -> bool {
        self.0.credential == CredentialKind::AccessToken
            && self.refusal().is_some_and(|error| {
                error.code.starts_with("28")
                    || (error.code == "08P01" && error.message.contains("access token"))
            })
    }

    /// The class under which it is counted.
    pub(super) fn class(&self) -> LoginFailure {
        match &self.0.failed {
            Failed::NoToken(_) => LoginFailure::Token,
            Failed::Dial(_) | Failed::Io(_) => LoginFailure::Network,
            Failed::Tls(_) | Failed::Ssl(_) => LoginFailure::Tls,
            Failed::Timeout { .. } => LoginFailure::Timeout,
            Failed::Login(LoginError::TokenNotWanted(_) | LoginError::Unsupported(_)) => {
                LoginFailure::Config
            }
            Failed::Login(LoginError::Scram(_)) => LoginFailure::Role,
            Failed::Login(LoginError::Violation(_)) => LoginFailure::Protocol,
            Failed::Login(LoginError::Refused(error) | LoginError::Version { error, .. }) => {
                refusal_class(error)
            }
        }
    }

    /// Why a session ended that could not go on without a backend.
    pub(super) fn cause(&self) -> Cause {
        match &self.0.failed {
            Failed::NoToken(_) => Cause::NoToken,
            // A database is named by the client.
            Failed::Login(_) if self.class() == LoginFailure::Database => Cause::StartupRefused,
            Failed::Login(_) if self.class() == LoginFailure::Token => Cause::TokenRefused,
            Failed::Login(_) => Cause::LoginRefused,
            _ => Cause::Unreachable,
        }
    }

    /// What the client is told.
    pub(super) fn report(&self) -> Report {
        if let Some(error) = self.refusal() {
            let mut report = Report::fatal(&error.code, format!("entrapool: {self}"));
            report.detail.clone_from(&error.detail);
            return report.hint(self.refusal_hint(error));
        }
        let (code, hint) = match &self.0.failed {
            Failed::NoToken(_) => ("28000", "Sessions that are open go on. New ones are accepted again as soon as there is a token; see entrapool's log, and /readiness on its HTTP port.".into()),
            Failed::Dial(DialError::Resolve { .. }) => ("08001", hint::NAME.into()),
            Failed::Dial(_) | Failed::Io(_) | Failed::Timeout { .. } => ("08001", "Check that the server is up, and that its firewall and this network's rules let this machine reach that port; for a private endpoint set connect_to.".into()),
            Failed::Tls(_) => ("08001", hint::CERTIFICATE.into()),
            Failed::Ssl(SslRefused::NotDirect) => ("08001", hint::NOT_DIRECT.into()),
            Failed::Ssl(_) => ("08001", hint::NO_TLS.into()),
            Failed::Login(LoginError::TokenNotWanted(_)) => ("28000", hint::no_entra(&self.0.user)),
            Failed::Login(LoginError::Scram(_)) => ("28P01", hint::PASSWORD.into()),
            Failed::Login(_) => ("08P01", hint::NOT_POSTGRES.into()),
        };
        Report::fatal(code, format!("entrapool: {self}")).hint(hint)
    }

    /// What to try when the server said no.
    fn refusal_hint(&self, error: &ServerError) -> String {
        let Details { user, database, .. } = &*self.0;
        match (refusal_class(error), self.0.credential) {
            (LoginFailure::Database, _) => hint::database(database),
            (LoginFailure::TooMany, _) => hint::TOO_MANY.into(),
            (LoginFailure::Token | LoginFailure::Role, CredentialKind::AccessToken) => {
                hint::role(user)
            }
            (LoginFailure::Role, CredentialKind::Password) => hint::PASSWORD_LOGIN.into(),
            _ => error
                .hint
                .clone()
                .unwrap_or_else(|| "The message is the server's own; its log may say more.".into()),
        }
    }
}

/// The class of a server's refusal. Texts only tell classes apart within SQLSTATE class 28.
fn refusal_class(error: &ServerError) -> LoginFailure {
    match error.code.as_str() {
        "3D000" | "42501" => LoginFailure::Database,
        "53300" => LoginFailure::TooMany,
        "57P03" | "57P01" | "57P02" => LoginFailure::Network,
        code if code.starts_with("28") || code == "08P01" => {
            if error.message.contains("access token") {
                LoginFailure::Token
            } else {
                LoginFailure::Role
            }
        }
        _ => LoginFailure::Other,
    }
}

/// What a client is told that waited for a backend, and why its session ends.
pub(super) fn no_backend(error: &LeaseError<ConnectError>, waited: Duration) -> (Cause, Report) {
    match error {
        LeaseError::Connect(error) => (error.cause(), error.report()),
        LeaseError::Timeout => (
            Cause::WaitTimeout,
            Report::fatal("53300", format!("entrapool: no backend became free within wait_timeout ({waited:?})"))
                .hint("All pool_size backends of the route were busy. Look for long or idle transactions, and for sessions that keep a backend for their state (entrapool_sessions_pinned says why), or raise pool_size."),
        ),
        LeaseError::Closed => (Cause::Drain, shutting_down()),
    }
}

/// entrapool is stopping.
pub(super) fn shutting_down() -> Report {
    Report::fatal(
        "57P01",
        "terminating connection: entrapool is shutting down",
    )
    .hint("Connect again; entrapool is being restarted or removed.")
}

/// The server went away while the client had it.
pub(super) fn server_closed(peer: impl fmt::Display) -> Report {
    Report::fatal("08006", format!("entrapool: the server at {peer} closed the connection unexpectedly"))
        .hint("The transaction did not commit, unless its COMMIT was under way. Connect again; after a failover the new server is found by name.")
}

/// A session that listens would miss something from now on.
pub(super) fn deaf(lost: &Lost) -> Report {
    let (code, hint) = match lost {
        Lost::Connection(_) => (
            "08006",
            "Connect again and LISTEN again, as after a restart of the server.",
        ),
        Lost::Overflow => (
            "53400",
            "A client that listens has to read what comes. Connect again and LISTEN again.",
        ),
    };
    Report::fatal(code, format!("entrapool: {lost}")).hint(hint)
}

/// The server broke the protocol.
pub(super) fn server_malformed(violation: &Violation) -> Report {
    Report::fatal(
        "08P01",
        format!("entrapool: the server broke the protocol: {violation}"),
    )
    .hint("This is a fault of entrapool or of a proxy in front of the server; please report it.")
}

/// The client broke the protocol.
pub(super) fn client_malformed(violation: &Violation) -> Report {
    let (code, hint) = match violation {
        Violation::TooLarge { .. } => (
            "54000",
            "Make the statement shorter, or let the driver prepare it without a name.",
        ),
        _ => (
            "08P01",
            "The connection is closed. This is a fault of the client's driver or of entrapool.",
        ),
    };
    Report::fatal(code, format!("entrapool: {violation}")).hint(hint)
}

/// The settings that the client asked for at its start can't be had.
pub(super) fn bad_settings(error: &ServerError) -> Report {
    let mut report = Report::fatal(&error.code, error.message.clone());
    report.detail.clone_from(&error.detail);
    report.hint.clone_from(&error.hint);
    report
}

/// The route has all the clients it may have.
pub(super) fn too_many_clients(limit: usize) -> Report {
    Report::fatal("53300", format!("entrapool: too many clients: max_clients is {limit}"))
        .hint("Raise max_clients, or look for an application that opens connections without closing them.")
}

/// The client's user is not let in.
pub(super) fn turned_away(turned: &Turned) -> Report {
    let code = match turned {
        Turned::Stranger(_) | Turned::Unknown(_) => "28000",
        Turned::TooMany { .. } => "53300",
    };
    Report::fatal(code, format!("entrapool: {turned}")).hint(turned.hint())
}

/// The client named a database that the route does not serve.
pub(super) fn database_not_allowed(database: &str, allowed: &[String]) -> Report {
    Report::fatal(
        "3D000",
        format!("entrapool: database {database:?} is not served by this route"),
    )
    .hint(format!("The route allows: {}.", allowed.join(", ")))
}

/// Replication does not go through a pool.
pub(super) fn no_replication() -> Report {
    Report::fatal(
        "0A000",
        "entrapool: replication connections are not supported",
    )
    .hint("Connect to the server itself for replication.")
}

/// A request was cancelled before it reached a backend: PostgreSQL's own words.
pub(super) fn cancelled() -> Report {
    Report::error("57014", "canceling statement due to user request")
}

/// An operator ended the session.
pub(super) fn killed() -> Report {
    Report::fatal(
        "57P01",
        "terminating connection due to administrator command",
    )
}

/// The first packet is no client's of ours.
pub(super) fn bad_startup(error: &StartupError) -> Report {
    let hint = match error {
        StartupError::DirectTls => {
            "Use sslmode=disable or prefer: the connection to entrapool does not leave this machine."
        }
        StartupError::Http => {
            "entrapool serves HTTP (metrics and probes) on another port: see --http."
        }
        StartupError::Length(_) | StartupError::Layout(_) => {
            "Point a PostgreSQL client at this port, and other clients elsewhere."
        }
        StartupError::Version(..) => "Use a driver of PostgreSQL 7.4 or later.",
        StartupError::NoUser => "Set any user name in the client: it is not looked at.",
        StartupError::Options(_) => "Leave the rest out of options (PGOPTIONS).",
    };
    Report::fatal(error.sqlstate(), format!("entrapool: {error}")).hint(hint)
}

/// The system has no randomness for a session's key.
pub(super) fn no_randomness(error: &impl fmt::Display) -> Report {
    Report::fatal(
        "58000",
        format!("entrapool: the system has no randomness: {error}"),
    )
    .hint("The kernel's getrandom must work: look at the container's seccomp profile.")
}

#[cfg(test)]
pub(crate) mod tests;
