//! Routes to SQL Server: what is written otherwise than for PostgreSQL, and what only they have.

use std::time::Duration;

use super::{PLAIN, config, errors, plain_error, route, route_error, try_load};
use crate::config::{
    CertificateFiles, ClientTls, Dialect, Engine, Listen, MapEnvironment, PinOnExec, RouteUrl,
    TdsOptions, TlsMode, keys,
};

/// A ROUTE that is right and says nothing special.
const AZURE_SQL: &str = "sqlserver://db.database.windows.net/app";

fn options(query: &str) -> TdsOptions {
    match route(&format!("{AZURE_SQL}?{query}")).dialect {
        Dialect::Tds(options) => options,
        dialect @ Dialect::Postgres(_) => panic!("{dialect:?}"),
    }
}

/// The single error of [`AZURE_SQL`] with a query.
fn azure_error(query: &str) -> String {
    route_error(&format!("{AZURE_SQL}?{query}"))
}

#[test]
fn parts_of_a_url() {
    let table = [
        (
            "sqlserver://h.database.windows.net/db",
            None,
            "h.database.windows.net",
            1433,
            "db",
        ),
        ("mssql://localhost/db", None, "localhost", 1433, "db"),
        (
            "SqlServer://localhost:1444/db?",
            None,
            "localhost",
            1444,
            "db",
        ),
        (
            "sqlserver://my-vm@localhost/db",
            Some("my-vm"),
            "localhost",
            1433,
            "db",
        ),
        (
            "sqlserver://me@contoso.com@localhost/d%2Fb",
            Some("me@contoso.com"),
            "localhost",
            1433,
            "d/b",
        ),
        ("mssql://[::1]:5/a+b", None, "::1", 5, "a+b"),
    ];
    for (url, user, host, port, database) in table {
        let route = route(url);
        assert_eq!(route.engine(), Engine::Tds, "{url}");
        assert_eq!(route.user(), user, "{url}");
        assert_eq!(route.upstream.host, host, "{url}");
        assert_eq!(route.upstream.port, port, "{url}");
        assert_eq!(route.database(), Some(database), "{url}");
    }
}

#[test]
fn defaults() {
    let route = route(AZURE_SQL);
    assert_eq!(route.name, "sqlserver-1433");
    assert_eq!(route.listen, Listen::Tcp("127.0.0.1:1433".parse().unwrap()));
    assert_eq!(route.upstream.tls, TlsMode::Negotiate);
    assert_eq!(route.pool.idle_timeout, Duration::from_mins(15));
    assert_eq!(route.pool.max_lifetime, Duration::from_hours(1));
    assert_eq!(
        route.dialect,
        Dialect::Tds(TdsOptions {
            user: None,
            database: "app".to_owned(),
            client_tls: ClientTls::Auto,
            client_certificate: None,
            packet_size: 4096,
            min_token_remainder: Duration::from_mins(10),
            trust_session_state: false,
            pin_on_exec: PinOnExec::Never,
        })
    );
}

#[test]
fn values() {
    assert_eq!(options("client_tls=off").client_tls, ClientTls::Off);
    assert_eq!(options("client_tls=require").client_tls, ClientTls::Require);
    assert_eq!(options("packet_size=512").packet_size, 512);
    assert_eq!(options("packet_size=32767").packet_size, 32_767);
    assert!(options("trust_session_state=on").trust_session_state);
    assert!(!options("trust_session_state=off").trust_session_state);
    assert_eq!(options("pin_on_exec=always").pin_on_exec, PinOnExec::Always);
    let remainder = options("min_token_remainder=0s").min_token_remainder;
    assert_eq!(remainder, Duration::ZERO);
    let certificate = options("client_cert_file=/c.pem&client_key_file=/k.pem").client_certificate;
    assert_eq!(
        certificate,
        Some(CertificateFiles {
            certificate: "/c.pem".into(),
            key: "/k.pem".into(),
        })
    );
    for mode in ["auto", "strict", "transaction", "session"] {
        let route = route(&format!("{AZURE_SQL}?pool_mode={mode}"));
        assert_eq!(route.pool.mode.as_str(), mode);
    }
}

#[test]
fn bounds() {
    let table: &[(&str, &[&str])] = &[
        ("client_tls", &["on", "Auto", ""]),
        ("packet_size", &["511", "32768", "4k"]),
        ("min_token_remainder", &["61min", "10"]),
        ("trust_session_state", &["true", "yes"]),
        ("pin_on_exec", &["true", "sometimes"]),
    ];
    for (key, bad) in table {
        for value in *bad {
            let message = azure_error(&format!("{key}={value}"));
            assert!(
                message.starts_with(&format!("{key}: ")),
                "{value}: {message}"
            );
        }
    }
}

#[test]
fn a_token_is_needed_for_a_tenth_of_its_life_at_most() {
    let minutes = Duration::from_mins;
    let table = [
        ("min_token_remainder=10min", minutes(24 * 60), minutes(10)),
        ("min_token_remainder=10min", minutes(100), minutes(10)),
        ("min_token_remainder=10min", minutes(60), minutes(6)),
        ("min_token_remainder=1h", minutes(90), minutes(9)),
        ("min_token_remainder=0s", minutes(90), Duration::ZERO),
    ];
    for (query, lifetime, wanted) in table {
        assert_eq!(
            options(query).token_remainder(lifetime),
            wanted,
            "{query} {lifetime:?}"
        );
    }
}

#[test]
fn tls_from_the_first_byte_has_a_word_per_engine() {
    let tls = |url: String| route(&url).upstream.tls;
    assert_eq!(tls(format!("{AZURE_SQL}?tls=strict")), TlsMode::Direct);
    assert_eq!(
        tls(format!("{AZURE_SQL}?tls=negotiate")),
        TlsMode::Negotiate
    );
    assert_eq!(tls(format!("{PLAIN}?tls=direct")), TlsMode::Direct);
    assert_eq!(
        azure_error("tls=direct"),
        "tls: direct is not a word of sqlserver; write strict for TLS from the first byte"
    );
    assert_eq!(
        plain_error("tls=strict"),
        "tls: strict is not a word of postgres; write direct for TLS from the first byte"
    );
    let message = route_error("sqlserver://127.0.0.1/db?tls=off");
    assert!(
        message.contains("a token is never sent in the clear"),
        "{message}"
    );
    let password = "identity=password-file&password_file=/p";
    let off = route(&format!("sqlserver://sa@127.0.0.1/db?tls=off&{password}"));
    assert_eq!(off.upstream.tls, TlsMode::Off);
}

#[test]
fn who_logs_in() {
    let loaded = try_load(
        &["sqlserver://my-vm@localhost/db"],
        &MapEnvironment::default(),
    )
    .unwrap();
    let wanted = "route sqlserver-1433: the user my-vm is not sent, since a token names who it is \
                  for";
    assert!(
        loaded.notes.iter().any(|note| note == wanted),
        "{:?}",
        loaded.notes
    );
    let password = "identity=password-file&password_file=/p";
    let loaded = try_load(
        &[&format!("sqlserver://sa@localhost/db?{password}")],
        &MapEnvironment::default(),
    )
    .unwrap();
    assert_eq!(loaded.config.routes[0].user(), Some("sa"));
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    let message = route_error(&format!("sqlserver://localhost/db?{password}"));
    assert!(
        message.starts_with("user is missing; identity=password-file logs in by name"),
        "{message}"
    );
}

#[test]
fn the_database_is_needed() {
    for url in [
        "sqlserver://localhost",
        "sqlserver://my-vm@localhost:1433/",
        "mssql://localhost?pool_size=1",
    ] {
        let message = route_error(url);
        assert!(
            message.starts_with("database is missing; a login without one goes to master"),
            "{url}: {message}"
        );
    }
}

#[test]
fn drivers_know_only_tcp() {
    let message = azure_error("listen=/run/entrapool");
    assert!(
        message.starts_with("listen: drivers of SQL Server know only TCP"),
        "{message}"
    );
    let message = azure_error("listen=10.0.0.1:1433");
    assert!(message.contains("use 127.0.0.1 or [::1]"), "{message}");
    assert!(!message.contains("Unix"), "{message}");
    route(&format!("{AZURE_SQL}?listen=127.0.0.1:0"));
}

#[test]
fn a_certificate_and_its_key_come_together() {
    assert_eq!(
        azure_error("client_cert_file=/c"),
        "client_cert_file: needs client_key_file as well; give both or neither"
    );
    assert_eq!(
        azure_error("client_key_file=/k&client_tls=off"),
        "client_key_file: needs client_cert_file as well; give both or neither"
    );
    let both = "client_cert_file=/c&client_key_file=/k";
    let url = format!("{AZURE_SQL}?{both}&client_tls=off");
    let found = errors(&[&url], &MapEnvironment::default());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("client_cert_file: is of no use with client_tls=off"));
    options(&format!("{both}&client_tls=require"));
}

#[test]
fn keys_of_the_other_engine_are_refused_by_route() {
    for key in keys::SQLSERVER {
        let message = plain_error(&format!("name=orders&{}=x", key.name()));
        assert_eq!(
            message,
            format!(
                "{}: is only for sqlserver, but route orders is postgres; leave it out",
                key.name()
            )
        );
    }
}

#[test]
fn names_fit_into_a_login() {
    let right = "日".repeat(128);
    let long = "é".repeat(127) + "🐘";
    let table = [
        (
            format!("sqlserver://{long}@localhost/db"),
            "user: has 129 characters",
        ),
        (
            format!("sqlserver://localhost/{}", "d".repeat(129)),
            "database: has 129 characters",
        ),
        (
            format!("sqlserver://localhost/db?databases=db,{}", "d".repeat(129)),
            "databases: has 129 characters",
        ),
        (
            format!("sqlserver://{}/db?allow_any_host=true", "h.".repeat(65)),
            "host: has 130 characters",
        ),
    ];
    for (url, wanted) in table {
        let message = route_error(&url);
        assert!(message.starts_with(wanted), "{message}");
    }
    let route = route(&format!(
        "sqlserver://{right}@localhost/{right}?databases={right}"
    ));
    assert_eq!(route.user(), Some(right.as_str()));
    assert_eq!(route.database(), Some(right.as_str()));
}

#[test]
fn a_wrong_host_is_told_once() {
    let message = route_error("sqlserver://a,b/db");
    assert!(
        message.starts_with("host: \"a,b\" is not a host name"),
        "{message}"
    );
}

#[test]
fn urls_of_jdbc_are_recognised_and_their_passwords_not_shown() {
    let urls = [
        "jdbc:sqlserver://localhost:1433;databaseName=db;user=sa;password=hunter2",
        "sqlserver://localhost:1433;password=hunter2",
        "sqlserver://localhost;password=hunter2",
        "mssql://localhost;password=a@hunter2",
        "sqlserver://sa:a;hunter2@localhost/db",
        "jdbc:postgresql://localhost/db?user=a&password=hunter2",
    ];
    for url in urls {
        let found = errors(&[url], &MapEnvironment::default()).join("\n");
        assert!(found.contains("this is a URL of JDBC"), "{url}: {found}");
        assert!(!found.contains("hunter2"), "{url}: {found}");
    }
    for text in [
        "Server=tcp:h,1433;User ID=sa;Password=hunter2",
        "Password=hunter2;Server=h",
        "Password=a@hunter2;Server=tcp:h",
        "jdbc:sqlserver:h;password=hunter2",
        "password=hunter2",
    ] {
        let found = errors(&[text], &MapEnvironment::default()).join("\n");
        assert!(found.contains("this is not a ROUTE"), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    let shown = RouteUrl::from("sqlserver://vm@localhost:1433/db?name=a;b").to_string();
    assert_eq!(shown, "sqlserver://vm@localhost:1433/db");
}

#[test]
fn words_of_connection_strings_have_an_answer() {
    let table = [
        ("encrypt=true", "client_tls what clients get"),
        ("TrustServerCertificate=yes", "client_tls what clients get"),
        ("databaseName=x", "use database"),
        ("packetSize=512", "use packet_size"),
        (
            "database=x",
            "write sqlserver://[USER@]HOST[:PORT]/DATABASE",
        ),
    ];
    for (query, wanted) in table {
        let message = azure_error(query);
        assert!(message.contains(wanted), "{query}: {message}");
    }
}

#[test]
fn routes_of_both_engines_side_by_side() {
    let routes = config(&[PLAIN, AZURE_SQL]).routes;
    assert_eq!(routes[0].engine(), Engine::Postgres);
    assert_eq!(routes[1].engine(), Engine::Tds);
    let env = MapEnvironment::default()
        .with("ENTRAPOOL_ROUTE", AZURE_SQL)
        .with("ENTRAPOOL_ROUTE_0", PLAIN)
        .with(
            "ENTRAPOOL_ROUTE_1",
            "mssql://127.0.0.9/db?listen=127.0.0.1:1434",
        );
    let routes = try_load(&[], &env).unwrap().config.routes;
    let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["sqlserver-1433", "postgres-5432", "sqlserver-1434"]);
    // Those of the command line replace them, whatever they speak.
    let routes = try_load(&[PLAIN], &env).unwrap().config.routes;
    assert_eq!(routes.len(), 1);
    let found = errors(
        &[AZURE_SQL, "mssql://127.0.0.9/db"],
        &MapEnvironment::default(),
    );
    assert!(
        found[0].contains("listen: 127.0.0.1:1433 is already taken by ROUTE 1"),
        "{found:?}"
    );
}

#[test]
fn an_engine_that_does_not_fit_the_name_is_noted() {
    let notes = |url: &str| {
        try_load(&[url], &MapEnvironment::default())
            .unwrap()
            .notes
            .join("\n")
    };
    let engine = notes("postgres://vm@db.database.windows.net/app");
    assert!(
        engine.contains("is a name of Azure's for sqlserver"),
        "{engine}"
    );
    let fits = notes(AZURE_SQL);
    assert!(!fits.contains("is a name of Azure's"), "{fits}");
}
