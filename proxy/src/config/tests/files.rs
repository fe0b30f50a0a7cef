//! The TOML file: line numbers, types, sections, unknown keys.

use std::path::Path;

use super::{options, try_load};
use crate::config::file::read_text;
use crate::config::{Config, ConfigErrors, MapEnvironment, load};

fn try_text(text: &str) -> Result<Config, ConfigErrors> {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("entrapool.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = load(
        &options(&["--config", path.to_str().unwrap()]),
        &MapEnvironment::default(),
    );
    loaded.map(|loaded| loaded.config)
}

fn config(text: &str) -> Config {
    match try_text(text) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

/// Each error with its line in front; the file's directory is left out.
fn errors(text: &str) -> Vec<String> {
    let errors = match try_text(text) {
        Ok(config) => panic!("should be refused: {config:?}"),
        Err(errors) => errors,
    };
    errors
        .iter()
        .map(|error| {
            let shown = error.to_string();
            let at = shown.find("entrapool.toml").unwrap_or(0);
            shown[at..].to_owned()
        })
        .collect()
}

#[test]
fn fields_alone() {
    let config = config(
        "
        [[route]]
        name = 'main'
        host = 'db.postgres.database.azure.com'
        port = 6432
        user = 'vm'
        database = 'app'
        databases = ['app', 'x,y']
        listen = '127.0.0.1:6000'
        pool_size = 1_0
        min_idle = 0x2
        wait_timeout = '5s'
        pool_mode = 'transaction'
        allow_remote = false
        ",
    );
    let route = &config.routes[0];
    assert_eq!(route.name, "main");
    assert_eq!(route.upstream.port, 6432);
    assert_eq!(route.databases.as_ref().unwrap(), &["app", "x,y"]);
    assert_eq!(route.pool.size, 10);
    assert_eq!(route.pool.min_idle, 2);
}

#[test]
fn url_and_fields_together() {
    let config = config(
        "
        route = [
            { url = 'postgres://vm@localhost:5432/db?pool_size=3', pool_size = 3, port = 5432, min_idle = 1 },
        ]
        ",
    );
    assert_eq!(config.routes[0].pool.size, 3);
    assert_eq!(config.routes[0].pool.min_idle, 1);
    let found = errors(
        "[[route]]\nurl = 'postgres://vm@localhost:5432/db?pool_size=3'\npool_size = 4\nhost = '127.0.0.9'\n",
    );
    assert_eq!(
        found,
        [
            "entrapool.toml:4: host is \"127.0.0.9\" here but \"localhost\" in the route's url; keep one of them",
            "entrapool.toml:3: pool_size is \"4\" here but \"3\" in the route's url; keep one of them",
        ]
    );
}

#[test]
fn every_error_with_its_line() {
    let text = "\
http = 9464
wokers = 2

[log]
fromat = 'json'
level = 'inof'

[drain]
max_wait = 30

[lgo]
level = 'info'

[[route]]
url = 'postgres://localhost/db?idel_timeout=1s'
pool_sise = 20

[[route]]
host = 'h2'
pool_size = 'many'
databases = 'db'
listen = ['127.0.0.1:1']
";
    let found = errors(text);
    let wanted = [
        "entrapool.toml:2: key \"wokers\" is not known; did you mean \"workers\"?",
        "entrapool.toml:5: key \"log.fromat\" is not known; did you mean \"log.format\"?",
        "entrapool.toml:11: key \"lgo\" is not known; ",
        "entrapool.toml:15: route key \"idel_timeout\" is not known; did you mean \"idle_timeout\"?",
        "entrapool.toml:16: route key \"pool_sise\" is not known; did you mean \"pool_size\"?",
        "entrapool.toml:1: http: a number is given, but an address such as \"127.0.0.1:9464\" is expected",
        "entrapool.toml:6: log.level: \"inof\" is not a level; ",
        "entrapool.toml:9: drain.max_wait: \"30\" has no unit; write \"30s\"",
        "entrapool.toml:14: user is missing; ",
        "entrapool.toml:22: listen: a list is given, but a text",
        "entrapool.toml:18: user is missing; ",
        "entrapool.toml:21: databases: a text is given, but a list such as [\"a\", \"b\"] is expected",
        "entrapool.toml:20: pool_size: \"many\" is not a whole number; ",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}\nshould be\n{wanted}");
    }
}

#[test]
fn keys_in_the_wrong_place() {
    let table = [
        (
            "[[route]]\nurl = 'postgres://vm@localhost'\nworkers = 2\n",
            "entrapool.toml:3: \"workers\" is not a key of a route but of the program; \
             write it above the first [[route]]",
        ),
        (
            "pool_size = 2\n[[route]]\nurl = 'postgres://vm@localhost'\n",
            "entrapool.toml:1: \"pool_size\" is a key of a route; write it below a [[route]]",
        ),
        (
            "log = 'json'\n[[route]]\nurl = 'postgres://vm@localhost'\n",
            "entrapool.toml:1: \"log\" is a section; write [log] and its keys below it",
        ),
        (
            "config = 'x'\n[[route]]\nurl = 'postgres://vm@localhost'\n",
            "entrapool.toml:1: key \"config\" is not known; entrapool --help lists all keys",
        ),
        (
            "[route]\nurl = 'postgres://vm@localhost'\n",
            "entrapool.toml:1: there can be several routes; write [[route]] with double brackets",
        ),
        (
            "route = ['postgres://vm@localhost']\n",
            "entrapool.toml:1: a route is a table, not a TOML string",
        ),
        (
            "[[route]]\nurl = 5\n",
            "entrapool.toml:2: url: a number is given, but a text in quotes is expected",
        ),
        (
            "[[route]]\nurl = 'nonsense'\n",
            "entrapool.toml:2: this is not a ROUTE; write \
             postgres://USER@HOST[:PORT][/DATABASE][?key=value&...]",
        ),
        (
            "[[route]]\nurl = 'postgres://vm@localhost'\npassword = 'hunter2'\n",
            "entrapool.toml:3: route key \"password\" is not known; a password is never written \
             here: use identity = \"password-file\" with password_file",
        ),
        (
            "[[route]]\nurl = 'postgres://vm@localhost'\npool_size = 1.5\n",
            "entrapool.toml:3: pool_size: a number with a fraction is given, but a whole number \
             is expected",
        ),
        (
            "[[route]]\nurl = 'postgres://vm@localhost'\ndatabases = []\n",
            "entrapool.toml:3: databases: the list is empty; name at least one, or leave the key \
             out",
        ),
        (
            "[[route]]\nurl = 'postgres://vm@localhost'\ntls = true\n",
            "entrapool.toml:3: tls: a boolean is given, but one of negotiate, direct, strict, off \
             is expected",
        ),
        ("[[route]]\n", "entrapool.toml:1: user is missing; "),
    ];
    for (text, wanted) in table {
        let found = errors(text);
        assert!(
            found[0].starts_with(wanted),
            "{text}\n{found:#?}\nshould be\n{wanted}"
        );
    }
}

#[test]
fn both_engines_with_fields() {
    let config = config(
        "
        [[route]]
        engine = 'sqlserver'
        host = 'db.database.windows.net'
        database = 'app'
        packet_size = 8_192
        [[route]]
        engine = 'postgres'
        host = 'db.postgres.database.azure.com'
        user = 'vm'
        [[route]]
        url = 'mssql://127.0.0.9/db'
        port = 1433
        engine = 'sqlserver'
        listen = '127.0.0.1:1434'
        ",
    );
    let names: Vec<&str> = config
        .routes
        .iter()
        .map(|route| route.name.as_str())
        .collect();
    assert_eq!(names, ["sqlserver-1433", "postgres-5432", "sqlserver-1434"]);
    assert_eq!(config.routes[0].upstream.port, 1433);
    assert_eq!(config.routes[1].upstream.port, 5432);
}

#[test]
fn errors_of_both_engines_with_their_lines() {
    let found = errors(
        "\
[[route]]
engine = 'sqlserver'
listen = '/run/x'
client_cert_file = 'c.pem'
trust_session_state = true
[[route]]
host = 'localhost'
user = 'vm'
name = 'orders'
client_tls = 'off'
[[route]]
engine = 'mysql'
[[route]]
url = 'sqlserver://vm@localhost/db'
engine = 'postgres'
listen = '127.0.0.1:5433'
",
    );
    let wanted = [
        "entrapool.toml:15: engine is \"postgres\" here but \"sqlserver\" in the route's url; \
         keep one of them",
        "entrapool.toml:3: listen: drivers of SQL Server know only TCP",
        "entrapool.toml:1: database is missing; ",
        "entrapool.toml:1: host is missing; name the server, such as host = \
         \"myserver.database.windows.net\"",
        "entrapool.toml:4: client_cert_file: needs client_key_file as well",
        "entrapool.toml:5: trust_session_state: a boolean is given, but one of off, on is expected",
        "entrapool.toml:10: client_tls: is only for sqlserver, but route orders is postgres",
        "entrapool.toml:12: engine: \"mysql\" is not known; allowed: postgres, sqlserver",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}\nshould be\n{wanted}");
    }
}

#[test]
fn dotted_keys_are_sections() {
    let config = config("log.level = 'warn'\nroute = [{ url = 'postgres://vm@localhost' }]\n");
    assert_eq!(config.log.level, "warn");
}

#[test]
fn syntax_errors_have_lines_and_hide_nothing_else() {
    let found = errors("workers = 2\nhttp = \n[[route]\nurl = 'x'\n");
    assert!(
        found[0].starts_with("entrapool.toml:2: this is not TOML: "),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|error| error.starts_with("entrapool.toml:3: this is not TOML: ")),
        "{found:#?}"
    );
    assert!(
        found.iter().all(|error| error.contains("this is not TOML")),
        "{found:#?}"
    );
    let found = errors("workers = 2\nworkers = 3\n");
    assert!(
        found[0].starts_with("entrapool.toml:2: this is not TOML: duplicate key"),
        "{found:#?}"
    );
}

#[test]
fn a_missing_or_huge_file() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("huge.toml");
    std::fs::write(&path, vec![b'#'; 5 * 1024 * 1024]).unwrap();
    let arguments = ["--config", path.to_str().unwrap()];
    let found = try_load(&arguments, &MapEnvironment::default()).unwrap_err();
    assert!(found.to_string().contains("larger than 4 MiB"), "{found}");
    let path = directory.path().to_str().unwrap();
    let found = try_load(&["--config", path], &MapEnvironment::default()).unwrap_err();
    assert!(found.to_string().contains("cannot be read"), "{found}");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let text =
        "a = \"\\u00e4\"\n[[route]]\nurl = 'postgres://ü@localhost'\nlog.level = [1, {}]\n\u{0}[x";
    for (end, _) in text.char_indices() {
        read_text(
            Path::new("x.toml"),
            &text[..end],
            &mut ConfigErrors::default(),
        );
    }
}
