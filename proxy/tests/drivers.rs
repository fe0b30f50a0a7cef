//! Drivers of other languages through the sidecar: any user, no password, a pool of two. Each
//! program in `drivers/` prints `OK`, or fails with what differed.
//!
//! `cargo xtask drivers` installs what they need; a missing driver is a failure. `auto` mode runs
//! always, the others in a full test.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod sidecar;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sidecar::{Sidecar, shared};
use tokio::process::Command;

/// The slowest program takes a tenth of this.
const LONGEST: Duration = Duration::from_secs(120);
/// Where Debian puts PostgreSQL's JDBC driver.
const JDBC_JAR: &str = "/usr/share/java/postgresql.jar";

/// Where Debian puts Go's packages.
const GO_PACKAGES: &str = "/usr/share/gocode";

/// Which pool mode, as in the configuration.
#[derive(Clone, Copy)]
enum Mode {
    Auto,
    Transaction,
    Session,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Transaction => "transaction",
            Self::Session => "session",
        }
    }
}

/// Runs `command` on a database and a sidecar of its own. Unless each client has a backend of its
/// own, many may not have led to more logins than the pool has backends.
async fn run(mode: Mode, mut command: Command) {
    let azure = shared().await;
    let database = azure.new_database().await;
    let proxy = Sidecar::on(&azure)
        .database(&database)
        .key("pool_mode", mode.word())
        .pool(2)
        .start()
        .await;
    command
        .env("PGHOST", proxy.address().ip().to_string())
        .env("PGPORT", proxy.port().to_string())
        .env("PGDATABASE", &database)
        .env("PGUSER", "legacy-app")
        .env("POOL_MODE", mode.word())
        .env_remove("PGPASSWORD")
        .env_remove("PGPASSFILE")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LONGEST, command.output()).await;
    let output = output.unwrap_or_else(|_| {
        panic!(
            "{command:?} takes more than {LONGEST:?}\n{}",
            proxy.log().text()
        )
    });
    let output = output.unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; `cargo xtask drivers` installs what it needs")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.lines().last() == Some("OK"),
        "{}\n{said}{}\nthe sidecar said:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        proxy.log().text()
    );
    if !matches!(mode, Mode::Session) {
        // Besides the two backends, one connection may listen for all who wait.
        let most = if matches!(mode, Mode::Auto) { 3.0 } else { 2.0 };
        assert!(proxy.logins().await <= most, "more logins than backends");
    }
    if let Mode::Auto = mode {
        println!("{}", cost(&proxy).await);
    }
    assert_eq!(proxy.stop().await, 0);
}

/// How often the server was asked what a session has left.
async fn cost(proxy: &Sidecar) -> String {
    let metrics = proxy.metrics().await;
    let transactions = metrics.value("entrapool_transaction_duration_seconds_count", &[]);
    let probes = metrics.value("entrapool_probes_total", &[]);
    let pins = metrics.value("entrapool_pins_total", &[]);
    format!("{transactions} transactions, {probes} probes, {pins} pins")
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/drivers")
        .join(name)
}

/// Where `cargo xtask drivers` puts packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-env")
}

fn python(name: &str) -> Command {
    let mut command = Command::new(packages().join("python/bin/python"));
    command.arg(program(name));
    command
}

fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(program(name))
        .env("NODE_PATH", packages().join("node/node_modules"));
    command
}

fn java() -> Command {
    let jar = Path::new(JDBC_JAR);
    assert!(
        jar.is_file(),
        "{JDBC_JAR} is missing; `cargo xtask drivers` installs it"
    );
    let mut command = Command::new("java");
    command
        .arg("--class-path")
        .arg(jar)
        .arg(program("JdbcClient.java"));
    command
}

/// Built as `cargo xtask drivers` does, in a directory of this run.
fn pgx(directory: &Path) -> Command {
    let binary = directory.join("pgx_client");
    let built = std::process::Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&binary)
        .arg(program("pgx_client.go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", GO_PACKAGES)
        .env("GOCACHE", packages().join("go/cache"))
        .env("CGO_ENABLED", "0")
        .env_remove("GOFLAGS")
        .output()
        .expect("Go is there; `cargo xtask drivers` installs it");
    assert!(
        built.status.success(),
        "pgx_client.go; `cargo xtask drivers` installs pgx\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    Command::new(binary)
}

fn psql(directory: &Path) -> Command {
    let bin = entrapool_emulator::postgres::find_installation().expect("PostgreSQL is installed");
    let mut variable = std::ffi::OsString::from("dir=");
    variable.push(directory);
    let mut command = Command::new(bin.bin.join("psql"));
    command
        .args(["--no-psqlrc", "--no-align", "--tuples-only"])
        .args(["--set", "ON_ERROR_STOP=1", "--set"])
        .arg(variable)
        .arg("--file")
        .arg(program("psql_client.sql"));
    command
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// One program in each mode.
macro_rules! driver {
    ($name:ident: $command:expr) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn auto() {
                run(Mode::Auto, $command).await;
            }

            #[tokio::test]
            #[ignore = "every pool mode: only in a full test"]
            async fn transaction() {
                run(Mode::Transaction, $command).await;
            }

            #[tokio::test]
            #[ignore = "every pool mode: only in a full test"]
            async fn session() {
                run(Mode::Session, $command).await;
            }
        }
    };
}

driver!(psycopg: python("psycopg_client.py"));
driver!(asyncpg: python("asyncpg_client.py"));
driver!(sqlalchemy: python("sqlalchemy_client.py"));
driver!(django: python("django_client.py"));
driver!(node: node("node_client.js"));
driver!(postgres_js: node("postgres_client.mjs"));
driver!(jdbc: java());
driver!(pgx: pgx(directory().path()));
driver!(psql: psql(directory().path()));
driver!(tools: python("tools_client.py"));

/// Rails' ActiveRecord, which only a full test installs.
mod rails {
    use super::*;

    fn rails() -> Command {
        let mut command = Command::new("ruby");
        command.arg(program("rails_client.rb"));
        command
    }

    #[tokio::test]
    #[ignore = "needs Ruby: only in a full test"]
    async fn auto() {
        run(Mode::Auto, rails()).await;
    }

    #[tokio::test]
    #[ignore = "needs Ruby: only in a full test"]
    async fn transaction() {
        run(Mode::Transaction, rails()).await;
    }

    #[tokio::test]
    #[ignore = "needs Ruby: only in a full test"]
    async fn session() {
        run(Mode::Session, rails()).await;
    }
}
