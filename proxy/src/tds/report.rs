//! Everything that a client or the log is told when something fails: which error number, which
//! words, what to try. Nobody else makes up errors.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use entrapool_metrics::{Cause, LoginFailure, Phase};
use entrapool_protocol::tds::Violation;
use entrapool_protocol::tds::error::ServerError;
use entrapool_protocol::tds::login::LoginError;
use entrapool_protocol::tds::login7::LoginRefusal;
use entrapool_protocol::tds::message::{LIMIT_REACHED, NOT_AVAILABLE, Report};
use entrapool_protocol::tds::prelogin::PreloginError;

use crate::config::HostPort;
use crate::identity::Unavailable;
use crate::pool::LeaseError;
use crate::session::gate::Turned;
use crate::upstream::{DialError, TlsError};

/// "Login failed for user ...", SQL Server's answer to every login that it does not want.
const LOGIN_FAILED: i32 = 18_456;
/// "Cannot open database ... requested by the login."
const NO_DATABASE: i32 = 4060;
/// "The service has encountered an error processing your request. Please try again."
const TRY_AGAIN: i32 = 40_197;
/// "The incoming tabular data stream (TDS) protocol stream is incorrect."
const BAD_STREAM: i32 = 4002;
/// "Cannot continue the execution because the session is in the kill state."
const KILLED: i32 = 596;
/// "Client with IP address ... is not allowed to access the server."
const FIREWALL: i32 = 40_615;

/// What to try, for clients and for `entrapool doctor`.
pub(crate) mod hint {
    pub(crate) const NAME: &str = "Check the host in the ROUTE and the machine's DNS; for a private endpoint, whether its private DNS zone is linked to this network.";
    pub(crate) const NETWORK: &str = "Check that the server is up, and that its firewall and this network's rules let this machine reach that port (inside Azure also 11000 to 11999, where the gateway sends clients).";
    pub(crate) const TLS: &str = "The certificate must be valid for the host in the ROUTE (or server_name) and come from a known root (or one in ca_file). A token or password is never sent without TLS.";
    pub(crate) const NO_ENTRA: &str =
        "Turn on Entra authentication for the server, or use identity=password-file.";
    pub(crate) const NOT_SQL_SERVER: &str = "Check that host and port are those of a SQL Server.";
    pub(crate) const TOO_MANY: &str = "The server takes no more sessions. Lower pool_size: processes × pool_size must stay below its limit.";
    pub(crate) const TOKEN_EXPIRED: &str =
        "The server takes the token for expired: check this machine's clock.";
    pub(crate) const SERVER_NAME: &str = "The server's gateway does not know the name: the host in the ROUTE must be the server's full name (an address or a name of your own goes into connect_to).";
    pub(crate) const FIREWALL: &str =
        "Let this machine's address through the server's firewall, or use a private endpoint.";

    pub(crate) fn database(database: &str) -> String {
        format!(
            "Create the database {database:?} and a user in it, or name one that exists: a client that names none gets the one in the ROUTE."
        )
    }

    pub(crate) fn user(database: &str) -> String {
        format!(
            "The identity needs a user in the database {database:?}. As Entra administrator, in that database: CREATE USER [the identity's name] FROM EXTERNAL PROVIDER; master does not know it. The server's own log says more (it tells clients nothing)."
        )
    }

    pub(crate) fn login(user: &str, database: &str) -> String {
        format!(
            "Check the login {user:?}, the password in password_file, and that it has a user in the database {database:?}."
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
    /// The login did not come to its end.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// One gateway sends us to the next.
    #[error("the server's gateways have sent us on {0} times")]
    TooManyHops(usize),
    /// A gateway sends us to somebody who must not get the token.
    #[error(
        "the server sends us on to {0:?}, which is not a name of Azure's databases in this cloud: it got no token"
    )]
    StrangeHop(String),
    /// Clients have been told another packet size.
    #[error("the server wants packets of {now} bytes, and wanted {before} before")]
    PacketSize {
        /// In bytes.
        now: usize,
        /// In bytes.
        before: usize,
    },
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
        Phase::Tls => "PRELOGIN or the TLS handshake",
        Phase::Login => "the login",
    }
}

/// Why a backend could not be made: for whom, where, why. Cheap to clone: every client that
/// waits gets one.
#[derive(Debug, Clone)]
pub(super) struct ConnectError(Arc<Details>);

#[derive(Debug)]
struct Details {
    /// Who logs in with a password; `None` for the identity that a token names.
    user: Option<String>,
    database: String,
    server: String,
    failed: Failed,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            user,
            database,
            server,
            failed,
        } = &*self.0;
        write!(f, "login to {server}, database {database:?}, ")?;
        match user {
            Some(user) => write!(f, "as {user:?}: {failed}"),
            None => write!(f, "with the identity's token: {failed}"),
        }
    }
}

impl ConnectError {
    pub(super) fn new(
        user: Option<&str>,
        database: &str,
        target: &HostPort,
        failed: Failed,
    ) -> Self {
        Self(Arc::new(Details {
            user: user.map(Into::into),
            database: database.into(),
            server: format!("{}:{}", target.host, target.port),
            failed,
        }))
    }

    fn refusal(&self) -> Option<&ServerError> {
        match &self.0.failed {
            Failed::Login(LoginError::Refused(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether a newer token might change the server's mind.
    pub(super) fn is_about_the_token(&self) -> bool {
        self.0.user.is_none() && self.refusal().is_some_and(ServerError::is_about_the_token)
    }

    /// Whether another attempt may go well without anybody doing anything. A database that can't
    /// be opened is mostly one that is not there, though Azure counts it among what passes.
    pub(super) fn passes(&self) -> bool {
        self.refusal()
            .is_some_and(|error| error.is_transient() && error.number != NO_DATABASE)
    }

    /// The class under which it is counted.
    pub(super) fn class(&self) -> LoginFailure {
        match &self.0.failed {
            Failed::NoToken(_) => LoginFailure::Token,
            Failed::Dial(_) | Failed::Io(_) | Failed::TooManyHops(_) => LoginFailure::Network,
            Failed::Tls(_) => LoginFailure::Tls,
            Failed::Timeout { .. } => LoginFailure::Timeout,
            Failed::PacketSize { .. } => LoginFailure::Protocol,
            Failed::StrangeHop(_) => LoginFailure::Config,
            Failed::Login(error) => match error {
                LoginError::Refused(error) => self.refusal_class(error),
                LoginError::NoTls | LoginError::Injected => LoginFailure::Tls,
                LoginError::TokenIgnored => LoginFailure::Config,
                LoginError::NoAnswer(_) | LoginError::Violation(_) => LoginFailure::Protocol,
            },
        }
    }

    fn refusal_class(&self, error: &ServerError) -> LoginFailure {
        match error.number {
            LOGIN_FAILED if self.is_about_the_token() => LoginFailure::Token,
            LOGIN_FAILED | 18_452 | 18_470 | 18_486..=18_488 => LoginFailure::Role,
            NO_DATABASE | 4064 | 916 => LoginFailure::Database,
            10_928 | 10_929 | 49_918..=49_920 => LoginFailure::TooMany,
            FIREWALL | NOT_AVAILABLE => LoginFailure::Network,
            40_531 | 40_532 => LoginFailure::Config,
            _ => LoginFailure::Other,
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
        let text = format!("entrapool: {self}.");
        if let Some(error) = self.refusal() {
            return Report::login(error.number, text).hint(self.refusal_hint(error));
        }
        let (number, hint) = match &self.0.failed {
            Failed::NoToken(_) => (
                LOGIN_FAILED,
                "Sessions that are open go on. New ones are accepted again as soon as there is a token; see entrapool's log, and /readiness on its HTTP port.",
            ),
            Failed::Dial(DialError::Resolve { .. }) => (NOT_AVAILABLE, hint::NAME),
            Failed::Dial(_) | Failed::Io(_) | Failed::Timeout { .. } | Failed::TooManyHops(_) => {
                (NOT_AVAILABLE, hint::NETWORK)
            }
            Failed::Tls(_) | Failed::Login(LoginError::NoTls | LoginError::Injected) => {
                (NOT_AVAILABLE, hint::TLS)
            }
            Failed::StrangeHop(_) => (
                LOGIN_FAILED,
                "If that server may have the token, set allow_any_host=true.",
            ),
            Failed::Login(LoginError::TokenIgnored) => (LOGIN_FAILED, hint::NO_ENTRA),
            Failed::Login(_) | Failed::PacketSize { .. } => (NOT_AVAILABLE, hint::NOT_SQL_SERVER),
        };
        Report::login(number, text).hint(hint)
    }

    /// What to try when the server said no.
    fn refusal_hint(&self, error: &ServerError) -> String {
        let Details { user, database, .. } = &*self.0;
        match (self.refusal_class(error), user) {
            (LoginFailure::Database, _) => hint::database(database),
            (LoginFailure::TooMany, _) => hint::TOO_MANY.into(),
            (LoginFailure::Token, _) => hint::TOKEN_EXPIRED.into(),
            (LoginFailure::Role, None) => hint::user(database),
            (LoginFailure::Role, Some(user)) => hint::login(user, database),
            (LoginFailure::Config, _) => hint::SERVER_NAME.into(),
            (LoginFailure::Network, _) if error.number == FIREWALL => hint::FIREWALL.into(),
            _ => "The message is the server's own.".into(),
        }
    }
}

/// What a client is told that waited for a backend, and why its session ends.
pub(super) fn no_backend(error: &LeaseError<ConnectError>, waited: Duration) -> (Cause, Report) {
    match error {
        LeaseError::Connect(error) => (error.cause(), error.report()),
        LeaseError::Timeout => (
            Cause::WaitTimeout,
            Report::fatal(LIMIT_REACHED, format!("entrapool: no backend became free within wait_timeout ({waited:?})."))
                .hint("All pool_size backends of the route were busy. Look for long or idle transactions, and for sessions that keep a backend for their state (entrapool_sessions_pinned says why), or raise pool_size."),
        ),
        LeaseError::Closed => (Cause::Drain, shutting_down()),
    }
}

/// entrapool is stopping.
pub(super) fn shutting_down() -> Report {
    Report::fatal(NOT_AVAILABLE, "entrapool is shutting down.")
        .hint("Connect again; entrapool is being restarted or removed.")
}

/// An operator has ended the session.
pub(super) fn killed() -> Report {
    Report::fatal(KILLED, "The session was ended by an operator of entrapool.")
        .hint("Connect again; if it was drain.max_wait, make transactions shorter.")
}

/// The server went away while the client had it.
pub(super) fn server_closed(peer: impl fmt::Display) -> Report {
    Report::fatal(TRY_AGAIN, format!("entrapool: the server at {peer} closed the connection unexpectedly."))
        .hint("The transaction did not commit, unless its COMMIT was under way. Connect again; after a failover the new server is found by name.")
}

/// The server broke the protocol.
pub(super) fn server_malformed(violation: &Violation) -> Report {
    Report::fatal(
        TRY_AGAIN,
        format!("entrapool: the server broke the protocol: {violation}."),
    )
    .hint("This is a fault of entrapool or of a proxy in front of the server; please report it.")
}

/// The client broke the protocol.
pub(super) fn client_malformed(violation: &Violation) -> Report {
    Report::fatal(
        BAD_STREAM,
        format!("entrapool: the client broke the protocol: {violation}."),
    )
    .hint("The connection is closed. This is a fault of the client's driver or of entrapool.")
}

/// The session's settings can't be given to a backend.
pub(super) fn bad_settings(error: &ServerError) -> Report {
    Report::fatal(
        TRY_AGAIN,
        format!("entrapool: the server does not take the session's settings again: {error}."),
    )
    .hint("The settings are those that the client made with SET and USE. With pool_mode=session they are made once.")
}

/// The first bytes are no client's of ours.
pub(super) fn bad_prelogin(error: &PreloginError) -> Report {
    let report = Report::login(BAD_STREAM, format!("entrapool: {error}."));
    match error {
        // It does not get to read this: see `gate::NOT_HTTP`.
        PreloginError::Http => report,
        PreloginError::TooOld => report.hint("Use a driver of SQL Server 2008 or later."),
        PreloginError::Postgres => {
            report.hint("Point the client at the port of a postgres:// ROUTE.")
        }
        PreloginError::Violation(_) => {
            report.hint("Point a client of SQL Server at this port, and other clients elsewhere.")
        }
    }
}

/// A login that can't be served.
pub(super) fn bad_login(refusal: &LoginRefusal) -> Report {
    let report = Report::login(refusal.number(), format!("entrapool: {refusal}."));
    match refusal {
        LoginRefusal::Integrated => report.hint("Use SQL Server authentication with any user and any password: entrapool logs in with its own identity."),
        LoginRefusal::Version(_) => report.hint("Use a driver of SQL Server 2000 or later; for FreeTDS, set \"tds version\" to 7.4."),
        LoginRefusal::Layout(_) => report.hint("This is a fault of the client's driver or of entrapool."),
        LoginRefusal::ChangePassword => report.hint("Change a login's password on the server itself; here any password does."),
        LoginRefusal::AttachFile | LoginRefusal::UserInstance => report.hint("Leave it out of the connection string."),
    }
}

/// Client and route don't agree on TLS.
pub(super) fn no_common_tls(client_wants: bool) -> Report {
    let (text, hint) = match client_wants {
        true => (
            "entrapool: the client insists on TLS, and client_tls=off.",
            "Turn encryption off in the client (Encrypt=no): the connection does not leave this machine. Or set client_tls=auto.",
        ),
        false => (
            "entrapool: the client has no TLS, and client_tls=require.",
            "Turn encryption on in the client, or set client_tls=auto.",
        ),
    };
    Report::login(LOGIN_FAILED, text).hint(hint)
}

/// The route has its clients already.
pub(super) fn too_many_clients(limit: usize) -> Report {
    Report::login(
        LIMIT_REACHED,
        format!("entrapool: the route has max_clients ({limit}) clients already."),
    )
    .hint("Close connections that are not needed, or raise max_clients.")
}

/// The client's user is not let in.
pub(super) fn turned_away(turned: &Turned) -> Report {
    let number = match turned {
        Turned::Stranger(_) | Turned::Unknown(_) => LOGIN_FAILED,
        Turned::TooMany { .. } => LIMIT_REACHED,
    };
    Report::login(number, format!("entrapool: {turned}.")).hint(turned.hint())
}

/// The route does not serve this database.
pub(super) fn database_not_allowed(database: &str, allowed: &[String]) -> Report {
    Report::login(
        NO_DATABASE,
        format!("entrapool: the database {database:?} is not served here."),
    )
    .hint(format!("databases= allows {}.", allowed.join(", ")))
}

/// The system has no randomness for a session.
pub(super) fn no_randomness(error: &impl fmt::Display) -> Report {
    Report::fatal(
        TRY_AGAIN,
        format!("entrapool: the system has no randomness: {error}."),
    )
    .hint("The kernel's getrandom must work: look at the container's seccomp profile.")
}

#[cfg(test)]
pub(crate) mod tests;
