//! The grammar of ROUTE URLs, and that they are never shown with a password.

use super::{PLAIN, errors, plain, plain_error, route, route_error};
use crate::config::{MapEnvironment, RouteUrl};

#[test]
fn parts_of_a_url() {
    struct Case {
        url: &'static str,
        user: &'static str,
        host: &'static str,
        port: u16,
        database: Option<&'static str>,
    }
    let case = |url, user, host, port, database| Case {
        url,
        user,
        host,
        port,
        database,
    };
    let table = [
        case(
            "postgres://vm@h.postgres.database.azure.com",
            "vm",
            "h.postgres.database.azure.com",
            5432,
            None,
        ),
        case("postgresql://vm@[::1]/", "vm", "::1", 5432, None),
        case("postgres://vm@[::1]:6432/db", "vm", "::1", 6432, Some("db")),
        case(
            "postgres://Vm-A@127.0.0.4/db",
            "Vm-A",
            "127.0.0.4",
            5432,
            Some("db"),
        ),
        case(
            "postgres://vm@localhost/db",
            "vm",
            "localhost",
            5432,
            Some("db"),
        ),
        case("postgres://vm@[::1]:99/db", "vm", "::1", 99, Some("db")),
        case(
            "postgres://my%20app%40x@[::1]/d%2Fb",
            "my app@x",
            "::1",
            5432,
            Some("d/b"),
        ),
        case(
            "postgres://J%C3%B6rg@[::1]/%D0%B4",
            "Jörg",
            "::1",
            5432,
            Some("д"),
        ),
        case(
            "postgres://me@contoso.com@[::1]/db",
            "me@contoso.com",
            "::1",
            5432,
            Some("db"),
        ),
        case("postgres://a+b@[::1]/c+d", "a+b", "::1", 5432, Some("c+d")),
        case("POSTGRES://vm@[::1]/db", "vm", "::1", 5432, Some("db")),
        case("postgres://vm@[::1]/db?", "vm", "::1", 5432, Some("db")),
        case("postgres://vm@[::1]/db?&&", "vm", "::1", 5432, Some("db")),
    ];
    for case in table {
        let route = route(case.url);
        assert_eq!(route.user(), Some(case.user), "{}", case.url);
        assert_eq!(route.upstream.host, case.host, "{}", case.url);
        assert_eq!(route.upstream.port, case.port, "{}", case.url);
        assert_eq!(route.database(), case.database, "{}", case.url);
    }
}

#[test]
fn query_values_are_decoded() {
    assert_eq!(plain("name=a%20b%26c%3Dd").name, "a b&c=d");
    assert_eq!(plain("name=a+b").name, "a+b");
    assert_eq!(plain("name=a=b").name, "a=b");
    let databases = plain("databases=app,x%2Cy,z").databases;
    assert_eq!(databases.unwrap(), ["app", "x,y", "z"]);
}

#[test]
fn what_is_no_route_is_refused_with_advice() {
    let table = [
        (
            "postgres://h.example.com/db",
            "user is missing; it is the role",
        ),
        ("postgres://vm@localhost:0/db", "port: 0 is out of range"),
        ("postgres://vm@localhost:99999/db", "this is not a URL"),
        ("postgres://vm@localhost/a/b", "%2F"),
        ("postgres://vm@localhost/db#x", "%23"),
        ("mysql://vm@localhost/db", "\"mysql://\" is not supported"),
        ("chekc", "did you mean \"check\"?"),
        ("db.example.com", "write postgres://USER@HOST"),
        ("postgres://vm@a,b/db", "host: \"a,b\" is not a host name"),
        ("postgres://vm@h%2Fx/db", "host: \"h/x\" is not a host name"),
        (
            "postgres://v%zzm@localhost/db",
            "user: \"%\" must be followed by two hex digits",
        ),
        (
            "postgres://v%@localhost/db",
            "user: \"%\" must be followed by two hex digits",
        ),
        (
            "postgres://vm@localhost/%ff",
            "database: the %-escapes are not UTF-8",
        ),
        (
            "postgres://vm@localhost/a%00b",
            "database: contains a control character",
        ),
    ];
    for (url, wanted) in table {
        let message = errors(&[url], &MapEnvironment::default()).join("\n");
        assert!(message.contains(wanted), "{url}: {message}");
    }
}

#[test]
fn the_missing_user_is_explained() {
    let message = route_error("postgres://localhost/db");
    assert!(message.contains("display name in exact case"), "{message}");
}

#[test]
fn queries_are_strict() {
    let table = [
        (
            "pool_sise=3",
            "route key \"pool_sise\" is not known; did you mean \"pool_size\"?",
        ),
        ("poolmode=session", "did you mean \"pool_mode\"?"),
        (
            "xyzzyfoobar=3",
            "route key \"xyzzyfoobar\" is not known; entrapool --help",
        ),
        ("pool_size", "pool_size: has no value; write pool_size=..."),
        ("pool_size=3&pool_size=3", "pool_size: is given twice"),
        ("user=me", "\"user\" has its own place in a ROUTE"),
        ("url=x", "\"url\" has its own place in a ROUTE"),
        (
            "workers=2",
            "\"workers\" is not a key of a route but of the program",
        ),
        ("sslmode=require", "TLS is always used and always verified"),
        (
            "password=hunter2",
            "use identity = \"password-file\" with password_file",
        ),
        ("client_secret=hunter2", "set AZURE_CLIENT_SECRET"),
        ("name=", "name: is empty"),
        ("databases=app,,b", "databases: is empty"),
        ("name=%e4", "name: the %-escapes are not UTF-8"),
    ];
    for (query, wanted) in table {
        let message = plain_error(query);
        assert!(message.contains(wanted), "{query}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_password_is_refused_and_never_shown() {
    let urls = [
        "postgres://vm:hunter2@localhost/db",
        "postgres://vm:hunter2@localhost:5432/db?name=x",
        "postgres://vm:hunt?hunter2@localhost/db",
        "postgres://vm:a/hunter2@localhost/db",
        "postgres://vm:a#hunter2@localhost/db",
        "postgres://me@contoso.com:hunter2@localhost/db",
        "postgres://vm:hunter2@localhost:99999/db",
        "mysql://vm:hunter2@localhost/db",
        "vm:hunter2@localhost/db",
        "postgres://vm@localhost/db?password=hunter2",
    ];
    for url in urls {
        let found = errors(&[url], &MapEnvironment::default()).join("\n");
        assert!(!found.contains("hunter2"), "{url}: {found}");
        let shown = format!("{:?}", RouteUrl::from(url));
        assert!(!shown.contains("hunter2"), "{url}: {shown}");
    }
    let message = route_error("postgres://vm:hunter2@localhost/db");
    assert!(message.contains("password_file=FILE"), "{message}");
}

#[test]
fn a_url_is_shown_without_its_query() {
    let table = [
        (PLAIN, PLAIN),
        (
            "postgres://vm@localhost:6432/db?a=b:c",
            "postgres://vm@localhost:6432/db",
        ),
        (
            "postgres://vm:pw@localhost/db",
            "postgres://vm:***@localhost/db",
        ),
        ("postgres://vm@[::1]:5/db", "postgres://vm@[::1]:5/db"),
    ];
    for (url, shown) in table {
        assert_eq!(RouteUrl::from(url).to_string(), shown);
    }
}
