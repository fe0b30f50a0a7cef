//! The seventh step: the login, and whose fault it is if there is none.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use entrapool_protocol::postgres::error::ServerError as PostgresError;
use entrapool_protocol::postgres::login::LoginError as PostgresLogin;
use entrapool_protocol::tds::error::ServerError as TdsError;
use entrapool_protocol::tds::login::LoginError as TdsLogin;
use tokio::time::timeout;

use super::cause::{self, Cause, Names};
use super::claims::Claims;
use super::report::{Finding, Step, StepReport};
use super::tls::of_tls;
use super::trial::{Fault, Line, Session, Stopped, Trial};
use crate::identity::{CredentialKind, Token};
use crate::{postgres, tds};

/// What the step works with.
pub(super) struct Entry<'a> {
    pub(super) trial: &'a Trial,
    pub(super) token: &'a Token,
    pub(super) claims: &'a Claims,
    pub(super) limit: Duration,
}

impl Entry<'_> {
    /// Logs in over a connection that is secured.
    pub(super) async fn examine(
        &self,
        (line, peer): (Line<'_>, SocketAddr),
        names: &Names<'_>,
    ) -> (StepReport, Option<Session>) {
        let began = Instant::now();
        let mut report = StepReport::new(Step::Login);
        report.fact("database", self.trial.database());
        let entering = self.trial.log_in(line, self.token);
        let entered = timeout(self.limit, Box::pin(entering)).await;
        report.elapsed = began.elapsed();
        match entered {
            Ok(Ok(session)) => {
                report.fact("server", session.server());
                if let Some(there) = session.elsewhere(peer) {
                    report.fact("sent on to", there.to_string());
                }
                (report, Some(session))
            }
            Ok(Err(stopped)) => {
                report.fail(self.judge(stopped, names).await);
                (report, None)
            }
            Err(_) => {
                let words = format!("the login did not end within {:?}", self.limit);
                report.fail(Finding::new(&cause::LOGIN_SILENT, words, names));
                (report, None)
            }
        }
    }

    async fn judge(&self, stopped: Stopped, names: &Names<'_>) -> Finding {
        let Stopped { sent_to, fault } = stopped;
        if let Some(target) = sent_to
            && is_on_the_way(&fault)
        {
            let words = format!("the gateway has sent us to {target}: {fault}");
            return Finding::new(&cause::REDIRECT_BLOCKED, words, names);
        }
        let cause = self.cause_of(&fault);
        if std::ptr::eq(cause, &cause::ROLE_REFUSED) || std::ptr::eq(cause, &cause::ROLE_MISSING) {
            return self.about_the_role(cause, &fault, names).await;
        }
        Finding::new(cause, fault.to_string(), names)
    }

    /// A server does not say what is wrong with a role. But a managed identity's token has the
    /// identity's name in it, and whether that is the role's can be tried.
    async fn about_the_role(
        &self,
        cause: &'static Cause,
        fault: &Fault,
        names: &Names<'_>,
    ) -> Finding {
        let other = self.claims.name.as_deref();
        let Some(other) = other.filter(|name| *name != names.user) else {
            return Finding::new(cause, fault.to_string(), names);
        };
        let trying = Box::pin(self.trial.is_welcome_as(other, self.token));
        let is_welcome = timeout(self.limit, trying).await.unwrap_or(false);
        let better = match (is_welcome, other.eq_ignore_ascii_case(names.user)) {
            (_, true) => &cause::ROLE_CASE,
            (true, false) => &cause::ROLE_OTHER,
            (false, false) => cause,
        };
        let tried = match is_welcome {
            true => "is let in",
            false => "is not let in either",
        };
        let words =
            format!("{fault}; the token is of the identity {other:?}, which as a role {tried}");
        let names = Names {
            user: other,
            ..*names
        };
        Finding::new(better, words, &names)
    }

    fn cause_of(&self, fault: &Fault) -> &'static Cause {
        let is_token = self.token.kind() == CredentialKind::AccessToken;
        match fault {
            Fault::Postgres(failed) => of_postgres(failed, is_token),
            Fault::Tds(failed) => of_tds(failed, is_token),
        }
    }
}

/// Whether nothing was heard of a server's opinion.
fn is_on_the_way(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Tds(
            tds::Failed::Dial(_)
                | tds::Failed::Io(_)
                | tds::Failed::Timeout { .. }
                | tds::Failed::TooManyHops(_)
        )
    )
}

fn of_postgres(failed: &postgres::Failed, is_token: bool) -> &'static Cause {
    match failed {
        postgres::Failed::Login(error) => match error {
            PostgresLogin::Refused(error) | PostgresLogin::Version { error, .. } => {
                of_postgres_error(error, is_token)
            }
            PostgresLogin::TokenNotWanted(_) => &cause::ROLE_NOT_ENTRA,
            PostgresLogin::Scram(_) => &cause::PASSWORD_WRONG,
            PostgresLogin::Unsupported(_) => &cause::METHOD_UNKNOWN,
            PostgresLogin::Violation(_) => &cause::NOT_THE_PROTOCOL,
        },
        postgres::Failed::Tls(error) => of_tls(error),
        _ => &cause::LOGIN_BROKEN,
    }
}

/// SQLSTATE first; the text tells causes apart within a class. Texts are those of Azure and of
/// PostgreSQL.
fn of_postgres_error(error: &PostgresError, is_token: bool) -> &'static Cause {
    let says = |words: &str| error.message.contains(words);
    match error.code.as_str() {
        "3D000" => &cause::DATABASE_MISSING,
        "42501" => &cause::DATABASE_DENIED,
        "53300" => &cause::TOO_MANY_CONNECTIONS,
        "57P01" | "57P02" | "57P03" => &cause::SERVER_NOT_READY,
        code if code.starts_with("28") || code == "08P01" => {
            if says("access token has expired") {
                &cause::TOKEN_REFUSED_EXPIRED
            } else if says("audience") {
                &cause::TOKEN_REFUSED_AUDIENCE
            } else if says("AAD_AUTH_TOKENTYPE") {
                &cause::ROLE_TYPE
            } else if says("access token") {
                &cause::TOKEN_REFUSED
            } else if says("pg_hba.conf") {
                &cause::NO_ENTRY
            } else if !is_token {
                &cause::PASSWORD_WRONG
            } else if says("does not exist") {
                &cause::ROLE_MISSING
            } else {
                &cause::ROLE_REFUSED
            }
        }
        _ => &cause::LOGIN_REFUSED,
    }
}

fn of_tds(failed: &tds::Failed, is_token: bool) -> &'static Cause {
    match failed {
        tds::Failed::Login(error) => match error {
            TdsLogin::Refused(error) => of_tds_error(error, is_token),
            TdsLogin::TokenIgnored => &cause::ENTRA_OFF,
            TdsLogin::NoTls | TdsLogin::Injected => &cause::TLS_NOT_OFFERED,
            TdsLogin::NoAnswer(_) | TdsLogin::Violation(_) => &cause::NOT_THE_PROTOCOL,
        },
        tds::Failed::Tls(error) => of_tls(error),
        _ => &cause::LOGIN_BROKEN,
    }
}

/// Numbers are documented; a text is looked at only where one number has several reasons.
fn of_tds_error(error: &TdsError, is_token: bool) -> &'static Cause {
    match error.number {
        // Azure SQL's logical server, and its virtual network rules.
        40_615 | 40_914 => &cause::SQL_FIREWALL,
        47_073 => &cause::PUBLIC_ACCESS_DENIED,
        40_531 | 40_532 => &cause::SERVER_NAME,
        4060 | 4064 => &cause::DATABASE_MISSING,
        916 => &cause::DATABASE_DENIED,
        10_928 | 10_929 | 49_918..=49_920 => &cause::TOO_MANY_CONNECTIONS,
        _ if error.is_about_the_token() => &cause::TOKEN_REFUSED_EXPIRED,
        18_456 if is_token => &cause::USER_MISSING,
        18_456 | 18_452 | 18_470 | 18_486..=18_488 => &cause::PASSWORD_WRONG,
        _ if error.is_transient() => &cause::SERVER_NOT_READY,
        _ => &cause::LOGIN_REFUSED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_postgresql_has_a_diagnosis() {
        let azure = "The access token has expired. Please acquire a new token and retry.";
        let audience = "The access token does not have a valid audience claim. Please acquire a new token for the resource ...";
        let table = [
            ("28000", azure, "token-refused-expired"),
            ("08P01", azure, "token-refused-expired"),
            ("28000", audience, "token-refused-audience"),
            (
                "28000",
                "The access token has invalid format.",
                "token-refused",
            ),
            (
                "28000",
                "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[x]",
                "role-type",
            ),
            (
                "28P01",
                "password authentication failed for user \"x\"",
                "role-refused",
            ),
            (
                "28000",
                "LDAP authentication failed for user \"x\"",
                "role-refused",
            ),
            ("28000", "role \"x\" does not exist", "role-missing"),
            (
                "28000",
                "no pg_hba.conf entry for host ...",
                "no-access-rule",
            ),
            ("3D000", "database \"x\" does not exist", "database-missing"),
            (
                "42501",
                "permission denied for database \"x\"",
                "database-denied",
            ),
            (
                "53300",
                "sorry, too many clients already",
                "too-many-connections",
            ),
            (
                "57P03",
                "the database system is starting up",
                "server-not-ready",
            ),
            ("XX000", "something", "login-refused"),
        ];
        for (code, message, wanted) in table {
            let error = PostgresError {
                code: code.into(),
                message: message.into(),
                ..PostgresError::default()
            };
            assert_eq!(of_postgres_error(&error, true).code, wanted, "{message}");
        }
        let wrong = PostgresError {
            code: "28P01".into(),
            ..PostgresError::default()
        };
        assert_eq!(of_postgres_error(&wrong, false).code, "password-wrong");
    }

    #[test]
    fn each_answer_of_sql_server_has_a_diagnosis() {
        let table = [
            (
                18_456,
                "Login failed for user '<token-identified principal>'.",
                "user-missing",
            ),
            (
                18_456,
                "Login failed ... Token is expired.",
                "token-refused-expired",
            ),
            (4060, "", "database-missing"),
            (916, "", "database-denied"),
            (40_615, "", "sql-firewall"),
            (40_914, "", "sql-firewall"),
            (47_073, "", "public-access-denied"),
            (40_532, "", "server-name"),
            (10_928, "", "too-many-connections"),
            (49_919, "", "too-many-connections"),
            (40_613, "", "server-not-ready"),
            (40_197, "", "server-not-ready"),
            (33_000, "", "login-refused"),
        ];
        for (number, message, wanted) in table {
            let error = TdsError {
                number,
                message: message.into(),
                ..TdsError::default()
            };
            assert_eq!(of_tds_error(&error, true).code, wanted, "{number}");
        }
        let wrong = TdsError {
            number: 18_456,
            ..TdsError::default()
        };
        assert_eq!(of_tds_error(&wrong, false).code, "password-wrong");
    }
}
