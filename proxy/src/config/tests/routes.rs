//! What involves several keys of a route, or several routes.

use super::{PLAIN, config, errors, plain, plain_error, route, route_error};
use crate::config::{Admission, HostPort, Listen, MapEnvironment, TlsMode};

const OTHER: &str = "postgres://my-vm@other.postgres.database.azure.com/app";

#[test]
fn sockets() {
    let table = [
        ("/run/entrapool", "/run/entrapool/.s.PGSQL.5432"),
        ("/run/entrapool/", "/run/entrapool/.s.PGSQL.5432"),
        (
            "/run/entrapool/.s.PGSQL.6432",
            "/run/entrapool/.s.PGSQL.6432",
        ),
        ("/", "/.s.PGSQL.5432"),
    ];
    for (listen, path) in table {
        let route = plain(&format!("listen={listen}"));
        assert_eq!(route.listen, Listen::Unix(path.into()), "{listen}");
        assert_eq!(route.name, path);
    }
    let long = format!("listen=/{}", "x".repeat(95));
    assert!(plain_error(&long).contains("use a shorter directory"));
    let bad = plain_error("listen=/run/.s.PGSQL.x");
    assert!(
        bad.contains("\"x\" in the socket's name is not a port"),
        "{bad}"
    );
}

#[test]
fn remote_listeners_are_refused() {
    for listen in [
        "0.0.0.0:5432",
        "10.1.2.3:5432",
        "[::]:5432",
        "[::ffff:10.0.0.1]:1",
    ] {
        let message = plain_error(&format!("listen={listen}"));
        assert!(message.contains("act as the identity"), "{message}");
        let message = plain_error(&format!("listen={listen}&allow_remote=true"));
        let wanted = "client TLS and a client credential, which are not available yet";
        assert!(message.contains(wanted), "{message}");
    }
    plain("listen=[::ffff:127.0.0.1]:5432");
    plain("listen=127.0.0.1:5432&allow_remote=true");
}

#[test]
fn listeners_are_distinct() {
    let env = MapEnvironment::default();
    let found = errors(&[PLAIN, OTHER], &env);
    assert_eq!(
        found,
        [format!(
            "ROUTE 2 ({OTHER}): listen: 127.0.0.1:5432 is already taken by ROUTE 1 ({PLAIN}); \
             give this route another one"
        )]
    );
    let found = errors(&[&format!("{PLAIN}?listen=127.0.0.1:9464")], &env);
    assert!(found[0].contains("already taken by http;"), "{found:?}");
    let found = errors(&["--http", "0.0.0.0:5432", PLAIN], &env);
    assert!(
        found[0].contains("already taken by http (--http)"),
        "{found:?}"
    );
    let socket = format!("{PLAIN}?listen=/run/a");
    let same = format!("{OTHER}?listen=/run/a/.s.PGSQL.5432");
    let found = errors(&[&socket, &same], &env);
    assert!(
        found[0].contains("/run/a/.s.PGSQL.5432 is already taken"),
        "{found:?}"
    );
}

#[test]
fn free_ports_never_clash_but_names_do() {
    let one = format!("{PLAIN}?listen=127.0.0.1:0");
    let two = format!("{OTHER}?listen=127.0.0.1:0");
    let found = errors(&[&one, &two], &MapEnvironment::default());
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("name: \"postgres-0\" is already taken by ROUTE 1"),
        "{found:?}"
    );
    let named = format!("{two}&name=second");
    let routes = config(&[&one, &named]).routes;
    assert_eq!(routes[0].name, "postgres-0");
    assert_eq!(routes[1].name, "second");
}

#[test]
fn min_idle_fits_into_the_pool() {
    assert_eq!(plain("min_idle=10").pool.min_idle, 10);
    assert_eq!(
        plain_error("pool_size=5&min_idle=6"),
        "min_idle: 6 is more than pool_size, which is 5"
    );
}

#[test]
fn the_default_database_is_allowed() {
    plain("databases=other,app");
    let message = plain_error("databases=other");
    assert!(
        message.contains("does not contain the default database \"app\""),
        "{message}"
    );
    let route = route("postgres://vm@localhost?databases=other");
    assert_eq!(route.databases.unwrap(), ["other"]);
}

#[test]
fn connect_to_takes_the_port_of_the_route() {
    let target = |host: &str, port| {
        Some(HostPort {
            host: host.to_owned(),
            port,
        })
    };
    let table = [
        ("10.0.0.4", target("10.0.0.4", 6000)),
        ("10.0.0.4:7000", target("10.0.0.4", 7000)),
        ("[fd00::1]:7000", target("fd00::1", 7000)),
        ("fd00::1", target("fd00::1", 6000)),
    ];
    for (text, wanted) in table {
        let url = format!("postgres://vm@db.postgres.database.azure.com:6000/db?connect_to={text}");
        assert_eq!(route(&url).upstream.connect_to, wanted, "{text}");
    }
}

#[test]
fn no_tls_only_with_a_password_on_this_machine() {
    let password = "tls=off&identity=password-file&password_file=/p";
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let route = route(&format!("postgres://vm@{host}/db?{password}"));
        assert_eq!(route.upstream.tls, TlsMode::Off);
    }
    plain(&format!("{password}&connect_to=127.0.0.1:1"));
    let message = plain_error(password);
    assert!(
        message.contains("db.postgres.database.azure.com is none"),
        "{message}"
    );
    let message = route_error(&format!(
        "postgres://vm@127.0.0.1/db?{password}&connect_to=10.0.0.1"
    ));
    assert!(message.contains("10.0.0.1 is none"), "{message}");
    let message = route_error("postgres://vm@127.0.0.1/db?tls=off&identity=imds");
    assert!(
        message.contains("a token is never sent in the clear"),
        "{message}"
    );
}

#[test]
fn every_error_of_every_route_is_told() {
    let found = errors(
        &[
            "--workers",
            "0",
            "postgres://localhost/db?pool_size=0&frob=1&wait_timeout=x",
            "postgres://vm@h2?listen=1.2.3.4:5&min_idle=11",
            "nonsense",
        ],
        &MapEnvironment::default().with("ENTRAPOOL_LOG_FROMAT", "json"),
    );
    let places: Vec<&str> = found
        .iter()
        .map(|error| error.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "ENTRAPOOL_LOG_FROMAT",
            "ROUTE 1 (postgres://localhost/db)",
            "ROUTE 3 (nonsense)",
            "--workers",
            "ROUTE 1 (postgres://localhost/db)",
            "ROUTE 1 (postgres://localhost/db)",
            "ROUTE 1 (postgres://localhost/db)",
            "ROUTE 2 (postgres://vm@h2)",
            "ROUTE 2 (postgres://vm@h2)",
        ],
        "{found:#?}"
    );
}

#[test]
fn a_token_goes_to_names_of_azure_only() {
    let table = [
        // A name that anybody could have got a certificate for.
        (
            "postgres://vm@db.example.com/app",
            "host: db.example.com gets no token",
        ),
        (
            "sqlserver://db.example.com/app",
            "host: db.example.com gets no token",
        ),
        ("sqlserver://10.0.0.4/app", "host: 10.0.0.4 gets no token"),
        (
            "postgres://vm@db.postgres.database.azure.com.example.com/app",
            "allow_any_host=true",
        ),
        // Of another cloud.
        (
            "sqlserver://db.database.usgovcloudapi.net/app",
            "set cloud=usgov if it is the right server",
        ),
        (
            "postgres://vm@db.postgres.database.azure.com/app?cloud=china",
            "cloud=china end in .postgres.database.chinacloudapi.cn; set cloud=public",
        ),
        // What is proven counts, not what is written in front.
        (
            "postgres://vm@db.postgres.database.azure.com/app?server_name=db.example.com",
            "server_name: db.example.com gets no token",
        ),
        // A name of this machine proves nothing about another one.
        (
            "postgres://vm@10.0.0.4/app?server_name=localhost",
            "server_name: localhost",
        ),
        (
            "postgres://vm@localhost/app?connect_to=10.0.0.4",
            "host: localhost gets no token",
        ),
    ];
    for (url, wanted) in table {
        let message = route_error(url);
        assert!(message.contains(wanted), "{url}: {message}");
        let question = if url.contains('?') { '&' } else { '?' };
        assert!(route(&format!("{url}{question}allow_any_host=true")).trusts("evil.example.com"));
    }
    for url in [
        "postgres://vm@db.postgres.database.azure.com/app?connect_to=10.0.0.4",
        "postgres://vm@10.0.0.4/app?server_name=db.postgres.database.azure.com",
        "sqlserver://db.database.usgovcloudapi.net/app?cloud=usgov",
        "sqlserver://pool-ondemand.sql.azuresynapse.net/app",
        "postgres://vm@127.0.0.1/app?server_name=db.example.com",
        "sqlserver://db.example.com/app?connect_to=127.0.0.1:1",
    ] {
        let route = route(url);
        assert!(!route.trusts("evil.example.com"), "{url}");
        assert!(route.trusts("localhost"), "{url}");
    }
}

#[test]
fn users_are_numbers_and_names() {
    assert_eq!(plain("name=x").admission, Admission::default());
    let admission = plain("allow_uids=1000,root,0&max_clients_per_peer=3").admission;
    assert_eq!(admission.uids, Some(vec![0, 1000]));
    assert_eq!(admission.per_peer, Some(3));
    let message = plain_error("allow_uids=no-such-user");
    assert!(message.contains("id -u no-such-user"), "{message}");
}
