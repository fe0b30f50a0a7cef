//! Every error of PostgreSQL's side, for `docs/errors.md`.

use std::time::Duration;

use super::*;
use crate::identity::tests::no_token;
use crate::tests::told::{Told, dialling, encrypting, every, functions_that_report, phases};
use entrapool_protocol::postgres::refusal;

const HOST: &str = "myserver.postgres.database.azure.com";

/// What stands in front of the reason that there is no backend.
pub(crate) const PREFIX: &str =
    "entrapool: login to HOST:PORT as \"ROLE\" (database \"DATABASE\"): ";

/// Why no backend could be made.
pub(crate) fn logins() -> Vec<Told> {
    let mut told = Vec::new();
    for (failed, when) in failures() {
        told.push(login(CredentialKind::AccessToken, failed, when));
    }
    let error = server("28P01", "password authentication failed for user \"my-vm\"");
    let failed = Failed::Login(LoginError::Refused(error));
    let when = "With `identity=password-file`: the role or the password.";
    told.push(login(CredentialKind::Password, failed, when));
    told
}

fn login(credential: CredentialKind, failed: Failed, when: &'static str) -> Told {
    let target = HostPort {
        host: HOST.to_owned(),
        port: 5432,
    };
    let text = failed.to_string();
    let report = ConnectError::new("my-vm", "mydb", &target, credential, failed).report();
    assert!(report.message.ends_with(&text), "{}", report.message);
    Told {
        text: format!("... {text}"),
        ..of(report, when)
    }
}

fn of(report: Report, when: &'static str) -> Told {
    assert!(report.hint.is_some(), "{}", report.message);
    unhinted(report, when, "")
}

/// The server's or PostgreSQL's own words have no hint of ours.
fn unhinted(report: Report, when: &'static str, remedy: &str) -> Told {
    Told {
        code: report.code,
        text: report.message,
        when,
        remedy: report.hint.unwrap_or_else(|| remedy.to_owned()),
    }
}

fn server(code: &str, message: &str) -> ServerError {
    ServerError {
        severity: "FATAL".to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
        ..ServerError::default()
    }
}

fn failures() -> Vec<(Failed, &'static str)> {
    let limit = Duration::from_secs(15);
    every![
        Failed::NoToken(_) => [(Failed::NoToken(no_token()), "There is no valid token; [what follows](#identity-and-tokens) says why.")],
        Failed::Dial(_) => wrapped(dialling(HOST, 5432), Failed::Dial),
        Failed::Tls(_) => wrapped(encrypting(HOST), Failed::Tls),
        Failed::Ssl(_) => wrapped(ssl(), Failed::Ssl),
        Failed::Login(_) => wrapped(refused_logins(), Failed::Login),
        Failed::Io(_) => [(Failed::Io(io::Error::from_raw_os_error(104)), "The connection broke on the way.")],
        Failed::Timeout { .. } => wrapped(phases(), |phase| Failed::Timeout { phase, limit }),
    ]
}

fn wrapped<T>(
    examples: Vec<(T, &'static str)>,
    wrap: impl Fn(T) -> Failed,
) -> Vec<(Failed, &'static str)> {
    let wrapped = examples.into_iter().map(|(it, when)| (wrap(it), when));
    wrapped.collect()
}

fn ssl() -> Vec<(SslRefused, &'static str)> {
    every![
        SslRefused::NoTls => [(SslRefused::NoTls, "The server has TLS switched off.")],
        SslRefused::Injected => [(SslRefused::Injected, "Somebody in between writes into the connection.")],
        SslRefused::NotDirect => [(SslRefused::NotDirect, "`tls=direct` with a server before PostgreSQL 17.")],
        SslRefused::NotPostgres => [(SslRefused::NotPostgres, "What listens there is no PostgreSQL.")],
    ]
}

fn refused_logins() -> Vec<(LoginError, &'static str)> {
    let refused = |code, message, when| (LoginError::Refused(server(code, message)), when);
    every![
        LoginError::Refused(_) => [
            refused("28000", "The access token has expired", "The server refuses the token, and a newer one, too."),
            refused("28P01", "password authentication failed for user \"my-vm\"", "The role is not there, is no Entra role, or is another identity's."),
            refused("28000", "no pg_hba.conf entry for host \"10.0.0.5\", user \"my-vm\", database \"mydb\", no encryption", "The server's rules."),
            refused("3D000", "database \"mydb\" does not exist", "The client named it, or the ROUTE does."),
            refused("42501", "permission denied for database \"mydb\"", "The role may not connect to it."),
            refused("53300", "sorry, too many clients already", "The server is full."),
            refused("57P03", "the database system is starting up", "A restart or a failover is under way."),
            refused("XX000", "...", "Anything else that the server says, with its own SQLSTATE."),
        ],
        LoginError::TokenNotWanted(_) => [(LoginError::TokenNotWanted("SCRAM-SHA-256"), "The role has a password, or the server has no Entra authentication.")],
        LoginError::Unsupported(_) => [(LoginError::Unsupported("7".to_owned()), "GSSAPI, SSPI and the like.")],
        LoginError::Scram(_) => [(LoginError::Scram("the server does not know the password".to_owned()), "With `identity=password-file`.")],
        LoginError::Version { .. } => [(
            LoginError::Version { minor: 2, error: server("0A000", "unsupported frontend protocol") },
            "What stands in front of the server negotiates no version. entrapool asks again for 3.0 by itself.",
        )],
        LoginError::Violation(_) => [(LoginError::Violation(Violation::Tag { tag: '!' }), "What listens there is no PostgreSQL.")],
    ]
}

/// Everything else that a client may be told.
pub(crate) fn others() -> Vec<Told> {
    let mut told = vec![
        of(
            no_backend(&LeaseError::Timeout, Duration::from_secs(30)).1,
            "All of `pool_size` were busy for that long.",
        ),
        of(shutting_down(), "entrapool drains after SIGTERM."),
        of(
            server_closed("10.0.0.4:5432"),
            "A failover, an administrator, `idle_session_timeout`: the server ended the connection in the middle.",
        ),
        of(too_many_clients(10_000), "`max_clients` are connected."),
        of(
            database_not_allowed("other", &["sales".to_owned(), "stock".to_owned()]),
            "The client named a database that `databases=` does not list.",
        ),
        of(no_replication(), "`pg_basebackup`, logical replication."),
        unhinted(
            cancelled(),
            "The client took its request back while it still waited for a backend.",
            "Nothing.",
        ),
        unhinted(
            killed(),
            "`drain.max_wait` was over, or an operator ended the session.",
            "Connect again; if it was `drain.max_wait`, make transactions shorter.",
        ),
        of(
            no_randomness(&"Function not implemented (os error 38)"),
            "The kernel gives no random bytes.",
        ),
        unhinted(
            bad_settings(&server(
                "22023",
                "invalid value for parameter \"TimeZone\": \"Nowhere\"",
            )),
            "The client asked for a setting when it connected, and the server does not take it. SQLSTATE and text are the server's.",
            "Correct it in the connection string, `options` or `PGOPTIONS`.",
        ),
        of(
            refusal::leaves_state(),
            "`pool_mode=strict` only; the session goes on.",
        ),
        unhinted(
            refusal::unknown_statement(b"s1"),
            "As from a server: the client names a statement that it has not prepared, or has closed. The session goes on.",
            "Prepare it first: each connection has names of its own.",
        ),
        unhinted(
            refusal::duplicate_statement(b"s1"),
            "As from a server: the name is taken. The session goes on.",
            "Another name, or `DEALLOCATE` first.",
        ),
        of(
            server_malformed(&Violation::Tag { tag: '!' }),
            "Something between entrapool and the server.",
        ),
    ];
    told.push(of(
        turned_away(&Turned::Stranger(1001)),
        "`allow_uids` lets in some of this machine's users only.",
    ));
    told.push(of(
        turned_away(&Turned::TooMany {
            uid: Some(1001),
            limit: 20,
        }),
        "`max_clients_per_peer` are connected.",
    ));
    let startup = every![
        StartupError::DirectTls => [(StartupError::DirectTls, "`sslnegotiation=direct`.")],
        StartupError::Http => [(StartupError::Http, "A browser or a probe at the wrong port.")],
        StartupError::Length(_) => [(StartupError::Length(0x8000_0000), "What connects is no PostgreSQL client.")],
        StartupError::Version(..) => [(StartupError::Version(2, 0), "A client of before 2003.")],
        StartupError::Layout(_) => [(StartupError::Layout("expected terminator as last byte"), "What connects is no PostgreSQL client.")],
        StartupError::NoUser => [(StartupError::NoUser, "Any user name will do, but not none.")],
        StartupError::Options(_) => [(StartupError::Options("-x".to_owned()), "`options` (`PGOPTIONS`) with something else than settings.")],
    ];
    told.extend(
        startup
            .iter()
            .map(|(error, when)| of(bad_startup(error), when)),
    );
    let violations = every![
        Violation::Length { .. } => [(Violation::Length { tag: 'Q', length: 3 }, "A fault of the client's driver; the connection is closed.")],
        Violation::Tag { .. } => [(Violation::Tag { tag: '!' }, "A fault of the client's driver; the connection is closed.")],
        Violation::OutOfSync { .. } => [(Violation::OutOfSync { tag: 'd', expected: "CommandComplete" }, "A fault of the client's driver; the connection is closed.")],
        Violation::Malformed { .. } => [(Violation::Malformed { tag: 'B', what: "the number of formats" }, "A fault of the client's driver; the connection is closed.")],
        Violation::TooLarge { .. } => [(Violation::TooLarge { tag: 'P', length: 20_000_000, limit: 16_777_216 }, "A named prepared statement whose text is longer than entrapool keeps.")],
    ];
    told.extend(
        violations
            .iter()
            .map(|(violation, when)| of(client_malformed(violation), when)),
    );
    let lost = every![
        Lost::Connection(_) => [(Lost::Connection("the server closed the connection".into()), "The connection that listens for all who wait was lost.")],
        Lost::Overflow => [(Lost::Overflow, "The client does not read its notifications.")],
    ];
    told.extend(lost.iter().map(|(lost, when)| of(deaf(lost), when)));
    told
}

#[test]
fn no_report_is_missing_from_the_page() {
    let all: String = include_str!("tests.rs").split_whitespace().collect();
    let source = include_str!("../report.rs");
    let names = functions_that_report(source);
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let told = ["of", "unhinted"]
            .iter()
            .any(|by| all.contains(&format!("{by}({name}(")));
        assert!(told, "{name} is not told");
    }
}

#[test]
fn leases_end_in_one_of_these() {
    let closed: LeaseError<ConnectError> = LeaseError::Closed;
    let (cause, report) = no_backend(&closed, Duration::ZERO);
    assert_eq!((cause, report), (Cause::Drain, shutting_down()));
}
