//! Every error of the SQL Server side, for `docs/errors.md`.

use std::time::Duration;

use super::*;
use crate::identity::tests::no_token;
use crate::tests::told::{Told, dialling, encrypting, every, functions_that_report, phases};
use entrapool_protocol::tds::refusal;

const HOST: &str = "myserver.database.windows.net";

/// What stands in front of the reason that there is no backend.
pub(crate) const PREFIX: &str =
    "entrapool: login to HOST:PORT, database \"DATABASE\", with the identity's token: ";

/// Why no backend could be made.
pub(crate) fn logins() -> Vec<Told> {
    let told = failures()
        .into_iter()
        .map(|(failed, when)| login(None, failed, when));
    let mut told: Vec<_> = told.collect();
    let failed = Failed::Login(LoginError::Refused(server(
        LOGIN_FAILED,
        "Login failed for user 'app'.",
    )));
    told.push(login(
        Some("app"),
        failed,
        "With `identity=password-file`: the login or the password.",
    ));
    told
}

fn login(user: Option<&str>, failed: Failed, when: &'static str) -> Told {
    let target = HostPort {
        host: HOST.to_owned(),
        port: 1433,
    };
    let text = failed.to_string();
    let report = ConnectError::new(user, "mydb", &target, failed).report();
    assert!(
        report.message.ends_with(&format!("{text}.")),
        "{}",
        report.message
    );
    Told {
        text: format!("... {text}"),
        ..of(report, when)
    }
}

fn of(report: Report, when: &'static str) -> Told {
    Told {
        code: report.number.to_string(),
        text: report.message,
        when,
        remedy: report.hint.expect("what to try"),
    }
}

fn server(number: i32, message: &str) -> ServerError {
    ServerError {
        number,
        state: 1,
        class: 14,
        message: message.to_owned(),
    }
}

fn failures() -> Vec<(Failed, &'static str)> {
    let limit = Duration::from_secs(15);
    every![
        Failed::NoToken(_) => [(Failed::NoToken(no_token()), "There is no valid token; [what follows](#identity-and-tokens) says why.")],
        Failed::Dial(_) => wrapped(dialling(HOST, 1433), Failed::Dial),
        Failed::Tls(_) => wrapped(encrypting(HOST), Failed::Tls),
        Failed::Login(_) => wrapped(refused_logins(), Failed::Login),
        Failed::Io(_) => [(Failed::Io(io::Error::from_raw_os_error(104)), "The connection broke on the way.")],
        Failed::TooManyHops(_) => [(Failed::TooManyHops(5), "The gateways' redirects go round in circles.")],
        Failed::StrangeHop(_) => [(Failed::StrangeHop("db.example.com".to_owned()), "A gateway sends entrapool to a server that may not be Azure's.")],
        Failed::PacketSize { .. } => [(Failed::PacketSize { now: 4096, before: 8000 }, "After a failover the server wants another `packet_size` than the one that clients were told. Restart entrapool.")],
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

fn refused_logins() -> Vec<(LoginError, &'static str)> {
    let refused = |number, message, when| (LoginError::Refused(server(number, message)), when);
    every![
        LoginError::Refused(_) => [
            refused(LOGIN_FAILED, "Login failed for user '<token-identified principal>'.", "The identity has no user in this database. The server says no more than that."),
            refused(LOGIN_FAILED, "Login failed for user '<token-identified principal>'. Token is expired.", "The server refuses the token, and a newer one, too."),
            refused(NO_DATABASE, "Cannot open database \"mydb\" requested by the login. The login failed.", "It is not there, or the identity has no user in it."),
            refused(FIREWALL, "Cannot open server 'myserver' requested by the login. Client with IP address '10.0.0.5' is not allowed to access the server.", "The server's firewall."),
            refused(40_532, "Cannot open server requested by the login. The login failed.", "The gateway does not know the name (also 40531)."),
            refused(LIMIT_REACHED, "Resource ID : 1. The request limit for the database is 30 and has been reached.", "The server's tier takes no more sessions or workers (also 10929, 49918 to 49920)."),
            refused(NOT_AVAILABLE, "Database 'mydb' on server 'myserver' is not currently available. Please retry the connection later.", "A failover, or a serverless database that wakes up. entrapool has tried again for about 15 s before it tells this."),
            refused(50_999, "...", "Anything else that the server says, with its own number."),
        ],
        LoginError::NoTls => [(LoginError::NoTls, "The server has TLS switched off.")],
        LoginError::Injected => [(LoginError::Injected, "Somebody in between writes into the connection.")],
        LoginError::TokenIgnored => [(LoginError::TokenIgnored, "Not Azure SQL, or a SQL Server without Entra.")],
        LoginError::NoAnswer(_) => [(LoginError::NoAnswer("a LOGINACK is missing"), "What listens there is no SQL Server.")],
        LoginError::Violation(_) => [(LoginError::Violation(Violation::Kind { kind: 99 }), "What listens there is no SQL Server.")],
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
            killed(),
            "`drain.max_wait` was over, or an operator ended the session.",
        ),
        of(
            server_closed("10.0.0.4:1433"),
            "A failover, an administrator: the server ended the connection in the middle.",
        ),
        of(
            server_malformed(&Violation::Kind { kind: 99 }),
            "Something between entrapool and the server.",
        ),
        of(
            bad_settings(&server(911, "Database 'gone' does not exist.")),
            "A setting that the session made before can't be made on its next backend.",
        ),
        of(
            no_common_tls(true),
            "`client_tls=off` and a driver that insists.",
        ),
        of(
            no_common_tls(false),
            "`client_tls=require` and a driver without TLS.",
        ),
        of(too_many_clients(10_000), "`max_clients` are connected."),
        of(
            database_not_allowed("other", &["sales".to_owned(), "stock".to_owned()]),
            "The client named a database that `databases=` does not list.",
        ),
        of(
            no_randomness(&"Function not implemented (os error 38)"),
            "The kernel gives no random bytes.",
        ),
        of(
            refusal::leaves_state(),
            "`pool_mode=strict` only; the session goes on.",
        ),
        of(
            refusal::recalls(),
            "The value would be another client's; the session goes on.",
        ),
        of(
            refusal::too_large(16_777_216),
            "Clients of TDS 7.1 to 7.3A only; the session goes on.",
        ),
    ];
    told.extend(at_the_door());
    let beginnings = every![
        PreloginError::TooOld => [(PreloginError::TooOld, "A driver of Sybase's time.")],
        PreloginError::Http => [(PreloginError::Http, "A browser or a probe at the wrong port.")],
        PreloginError::Postgres => [(PreloginError::Postgres, "A client of the other route.")],
        PreloginError::Violation(_) => [(PreloginError::Violation(Violation::Kind { kind: 99 }), "What connects is no client of SQL Server.")],
    ];
    told.extend(beginnings.iter().map(|(error, when)| match error {
        // It is answered with HTTP 400.
        PreloginError::Http => of(
            bad_prelogin(error).hint("entrapool serves HTTP on another port: see --http."),
            when,
        ),
        _ => of(bad_prelogin(error), when),
    }));
    let logins = every![
        LoginRefusal::Layout(_) => [(LoginRefusal::Layout("the fixed part"), "A fault of the client's driver.")],
        LoginRefusal::Version(_) => [(LoginRefusal::Version(0x7000_0000), "TDS 7.0 or older.")],
        LoginRefusal::Integrated => [(LoginRefusal::Integrated, "`Integrated Security`, `Trusted_Connection`, or an empty user name.")],
        LoginRefusal::ChangePassword => [(LoginRefusal::ChangePassword, "The client's login changes its password.")],
        LoginRefusal::AttachFile => [(LoginRefusal::AttachFile, "`AttachDBFilename`.")],
        LoginRefusal::UserInstance => [(LoginRefusal::UserInstance, "`User Instance`.")],
    ];
    told.extend(
        logins
            .iter()
            .map(|(refusal, when)| of(bad_login(refusal), when)),
    );
    let violations = every![
        Violation::Length { .. } => [(Violation::Length { kind: 1, length: 3 }, "A fault of the client's driver; the connection is closed.")],
        Violation::Kind { .. } => [(Violation::Kind { kind: 99 }, "A fault of the client's driver; the connection is closed.")],
        Violation::OutOfSync { .. } => [(Violation::OutOfSync { kind: 1, expected: "LOGIN7" }, "A fault of the client's driver; the connection is closed.")],
        Violation::Malformed { .. } => [(Violation::Malformed { what: "a call", why: "the procedure's name" }, "A fault of the client's driver; the connection is closed.")],
        Violation::TooLarge { .. } => [(Violation::TooLarge { what: "LOGIN7", limit: 131_072 }, "More than any driver sends; the connection is closed.")],
    ];
    told.extend(
        violations
            .iter()
            .map(|(violation, when)| of(client_malformed(violation), when)),
    );
    told
}

fn at_the_door() -> [Told; 2] {
    let many = Turned::TooMany {
        uid: Some(1001),
        limit: 20,
    };
    [
        of(
            turned_away(&Turned::Stranger(1001)),
            "`allow_uids` lets in some of this machine's users only.",
        ),
        of(turned_away(&many), "`max_clients_per_peer` are connected."),
    ]
}

#[test]
fn no_report_is_missing_from_the_page() {
    let all: String = include_str!("tests.rs").split_whitespace().collect();
    let source = include_str!("../report.rs");
    let names = functions_that_report(source);
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(all.contains(&format!("of({name}(")), "{name} is not told");
    }
}
