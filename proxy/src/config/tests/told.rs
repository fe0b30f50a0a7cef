//! Every error of a configuration, for `docs/errors.md`: each place in the code that makes one up
//! is met by an example.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::Location;
use std::path::Path;

use super::try_load;
use crate::config::MapEnvironment;
use crate::config::users::{self, User};
use crate::tests::told::Told;

thread_local! {
    /// File and line of each error that this thread has met.
    static MET: RefCell<BTreeSet<(String, u32)>> = const { RefCell::new(BTreeSet::new()) };
}

/// An error was made up here.
pub(in crate::config) fn made_at(place: &Location<'_>) {
    let at = (place.file().to_owned(), place.line());
    MET.with_borrow_mut(|met| met.insert(at));
}

/// A ROUTE and what may be wrong with its keys.
const ROUTES: &[&str] = &[
    "db.example.com",
    "chekc",
    "postgres://",
    "mysql://my-vm@db.postgres.database.azure.com/app",
    "postgres://my-vm:secret@db.postgres.database.azure.com/app",
    "postgres://my-vm@db.postgres.database.azure.com/app#x",
    "postgres://my-vm@db.postgres.database.azure.com:x/app",
    "postgres://my-vm@db.postgres.database.azure.com/a/b",
    "postgres://my-vm@db.postgres.database.azure.com/100%",
    "postgres://my-vm@db.postgres.database.azure.com/%ff",
    "postgres://db.postgres.database.azure.com/app",
    "jdbc:postgresql://db.postgres.database.azure.com/app",
    "sqlserver://db.database.windows.net",
    "sqlserver://db.database.windows.net;databaseName=app",
    "postgres://my-vm@db!.postgres.database.azure.com/app",
    "postgres://my-vm@db.example.com/app",
    "postgres://my-vm@db.postgres.database.azure.com/app?pool_size",
    "postgres://my-vm@db.postgres.database.azure.com/app?pool_sise=5",
    "postgres://my-vm@db.postgres.database.azure.com/app?host=x",
    "postgres://my-vm@db.postgres.database.azure.com/app?http=0.0.0.0:9464",
    "postgres://my-vm@db.postgres.database.azure.com/app?pool_size=5&pool_size=6",
    "postgres://my-vm@db.postgres.database.azure.com/app?name=%zz",
    "postgres://my-vm@db.postgres.database.azure.com/app?name=",
    "postgres://my-vm@db.postgres.database.azure.com/app?name=a%0Ab",
    "postgres://my-vm@db.postgres.database.azure.com/app?pool_size=many",
    "postgres://my-vm@db.postgres.database.azure.com/app?pool_size=0",
    "postgres://my-vm@db.postgres.database.azure.com/app?pool_size=5&min_idle=6",
    "postgres://my-vm@db.postgres.database.azure.com/app?pool_mode=statement",
    "postgres://my-vm@db.postgres.database.azure.com/app?allow_remote=yes",
    "postgres://my-vm@db.postgres.database.azure.com/app?wait_timeout=5",
    "postgres://my-vm@db.postgres.database.azure.com/app?wait_timeout=soon",
    "postgres://my-vm@db.postgres.database.azure.com/app?wait_timeout=99999999999999d",
    "postgres://my-vm@db.postgres.database.azure.com/app?wait_timeout=1ms",
    "postgres://my-vm@db.postgres.database.azure.com/app?listen=localhost",
    "postgres://my-vm@db.postgres.database.azure.com/app?listen=0.0.0.0:5432",
    "postgres://my-vm@db.postgres.database.azure.com/app?listen=0.0.0.0:5432&allow_remote=true",
    "postgres://my-vm@db.postgres.database.azure.com/app?listen=/run/.s.PGSQL.x",
    "postgres://my-vm@db.postgres.database.azure.com/app?databases=sales,stock",
    "postgres://my-vm@db.postgres.database.azure.com/app?connect_to=10.0.0.4:0",
    "postgres://my-vm@db.postgres.database.azure.com/app?tls=strict",
    "postgres://my-vm@db.postgres.database.azure.com/app?tls=off",
    "postgres://my-vm@db.postgres.database.azure.com/app?packet_size=8000",
    "postgres://my-vm@db.postgres.database.azure.com/app?identity=password-file",
    "postgres://my-vm@db.postgres.database.azure.com/app?password_file=/run/secrets/password",
    "postgres://my-vm@db.postgres.database.azure.com/app?identity=workload",
    "postgres://my-vm@db.postgres.database.azure.com/app?identity=secret",
    "postgres://my-vm@db.postgres.database.azure.com/app?identity=az-cli&client_id=1",
    "postgres://my-vm@db.postgres.database.azure.com/app?client_id=1&object_id=2",
    "postgres://my-vm@db.postgres.database.azure.com/app?identity=az-cli&imds_endpoint=http://127.0.0.1:8080",
    "postgres://my-vm@db.postgres.database.azure.com/app?imds_endpoint=metadata",
    "postgres://my-vm@db.postgres.database.azure.com/app?imds_endpoint=https://127.0.0.1",
    "postgres://my-vm@db.postgres.database.azure.com/app?imds_endpoint=http://10.0.0.9",
    "sqlserver://db.database.windows.net/app?listen=/run/entrapool",
    "sqlserver://db.database.windows.net/app?identity=password-file&password_file=/run/secrets/password",
    "sqlserver://db.database.windows.net/app?client_cert_file=/etc/entrapool/cert.pem",
    "sqlserver://db.database.windows.net/app?client_cert_file=/a.pem&client_key_file=/a.key&client_tls=off",
];

/// Arguments that are wrong together, or flags.
const ARGUMENTS: &[&str] = &[
    "",
    "--http localhost:9464 postgres://my-vm@db.postgres.database.azure.com/app",
    "--workers 0 postgres://my-vm@db.postgres.database.azure.com/app",
    "--log-level loud postgres://my-vm@db.postgres.database.azure.com/app",
    "--log-level info,entrapool=[ postgres://my-vm@db.postgres.database.azure.com/app",
    "--config /nowhere/entrapool.toml",
    "postgres://my-vm@one.postgres.database.azure.com/app postgres://my-vm@two.postgres.database.azure.com/app",
    "postgres://my-vm@one.postgres.database.azure.com/app?name=a postgres://my-vm@two.postgres.database.azure.com/app?name=a&listen=127.0.0.1:5433",
];

/// What is wrong in an environment, before a ROUTE that is right.
const VARIABLES: &[&[(&str, &str)]] = &[
    &[("ENTRAPOOL_WORKER", "2")],
    &[
        (
            "IDENTITY_ENDPOINT",
            "http://localhost:40342/metadata/identity/oauth2/token",
        ),
        ("IMDS_ENDPOINT", "http://localhost:40342"),
    ],
    &[
        ("AZURE_AUTHORITY_HOST", "http://login.example.com"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
    ],
];

/// What is wrong in a file.
const FILES: &[&str] = &[
    "http = ",
    "htpp = \"127.0.0.1:9464\"",
    "log = \"json\"",
    "pool_size = 5",
    "http = 9464",
    "route = \"postgres://my-vm@db.postgres.database.azure.com/app\"",
    "route = [\"postgres://my-vm@db.postgres.database.azure.com/app\"]",
    "[[route]]\nurl = \"postgres://my-vm@db.postgres.database.azure.com/app\"\npool_sise = 5",
    "[[route]]\nurl = \"postgres://my-vm@db.postgres.database.azure.com/app\"\nuser = \"other\"",
    "[[route]]\nurl = \"postgres://my-vm@db.postgres.database.azure.com/app\"\ndatabases = []",
    "[[route]]\nurl = \"postgres://my-vm@db.postgres.database.azure.com/app\"\nallow_uids = []",
    "[[route]]\nurl = \"postgres://my-vm@db.postgres.database.azure.com/app\"\nallow_uids = [-1]",
    "[[route]]\nurl = \"postgres://my-vm@db.postgres.database.azure.com/app\"\nallow_uids = [\"no-such-user\"]",
    "[control]\nlisten = \"/run/entrapool/\"",
    "[control]\nlisten = \"0.0.0.0:9465\"",
    "[control]\nlisten = \"control\"",
    "[control]\ngroup = \"operators\"",
    "[control]\nlisten = \"127.0.0.1:9464\"\n[[route]]\nurl = \"postgres://my-vm@db.postgres.database.azure.com/app\"",
];

/// What is written, and the last of the errors that it brings.
pub(crate) fn told() -> Vec<Told> {
    let mut told = Vec::new();
    let none = MapEnvironment::default();
    for route in ROUTES {
        told.push(wrong(route, &[route], &none));
    }
    for (begin, length) in [
        (
            "postgres://my-vm@db.postgres.database.azure.com/app?name=",
            129,
        ),
        (
            "postgres://my-vm@db.postgres.database.azure.com/app?listen=/",
            100,
        ),
        ("sqlserver://db.database.windows.net/", 129),
    ] {
        let route = format!("{begin}{}", "a".repeat(length));
        told.push(wrong(&format!("{begin}aaa..."), &[&route], &none));
    }
    for line in ARGUMENTS {
        let arguments: Vec<_> = line.split_whitespace().collect();
        let shown = if line.is_empty() { "(nothing)" } else { line };
        told.push(wrong(shown, &arguments, &none));
    }
    for pairs in VARIABLES {
        let mut env = MapEnvironment::default();
        for (name, value) in *pairs {
            env = env.with(name, value);
        }
        let shown: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        told.push(wrong(&shown.join(" "), &[super::PLAIN], &env));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entrapool.toml");
    for text in FILES {
        fs::write(&file, text).unwrap();
        let mut this = wrong(text, &["--config", file.to_str().unwrap()], &none);
        this.text = this.text.replace(file.to_str().unwrap(), "entrapool.toml");
        told.push(this);
    }
    told
}

fn wrong(shown: &str, arguments: &[&str], env: &MapEnvironment) -> Told {
    let Err(errors) = try_load(arguments, env) else {
        panic!("{shown} is not wrong");
    };
    let text: Vec<_> = errors
        .iter()
        .map(|error| {
            if error.place.to_string().starts_with("ROUTE 1 ") {
                error.message.clone()
            } else {
                error.to_string()
            }
        })
        .collect();
    Told {
        code: shown.replace('\n', " ⏎ "),
        text: text.join("; "),
        when: "",
        remedy: String::new(),
    }
}

/// The places in the sources of `config` where errors are made up.
fn places() -> BTreeSet<(String, u32)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut places = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".rs") || name == "tests.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // A file's own tests are at its end.
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let mut passes_on = false;
        for (line, code) in (1..).zip(text.lines()) {
            // What these report has been made up by their callers.
            if code.starts_with("    pub(super) fn ") {
                passes_on = ["fn miss(", "fn reject("]
                    .iter()
                    .any(|it| code.contains(it));
            }
            if is_place(code) && !passes_on {
                places.insert((format!("proxy/src/config/{name}"), line));
            }
        }
    }
    places
}

fn is_place(code: &str) -> bool {
    const MAKERS: [&str; 4] = [
        "errors.add(",
        "reader.reject(",
        "self.miss(",
        "Problem::new(",
    ];
    MAKERS.iter().any(|maker| code.contains(maker)) || code.trim() == ".add("
}

#[test]
fn every_error_has_an_example() {
    told();
    // A machine without users can't be had here.
    let _ = users::numbers_by(&[User::Name("app".into())], "/nowhere/passwd");
    let met = MET.with_borrow(Clone::clone);
    let met: BTreeSet<_> = met
        .into_iter()
        .map(|(file, line)| (file.trim_start_matches("../").to_owned(), line))
        .collect();
    let unmet: Vec<_> = places().difference(&met).cloned().collect();
    assert!(
        unmet.is_empty(),
        "add an example of each to this file: {unmet:?}\nmet: {met:?}"
    );
}
