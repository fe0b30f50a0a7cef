//! Programs that people use on PgBouncer's console: psql, psycopg 3, lib/pq.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::house;
use crate::sidecar::{Sidecar, shared};

const LONGEST: Duration = Duration::from_secs(60);
/// Where Debian puts Go's packages; lib/pq comes with pgx.
const GO_PACKAGES: &str = "/usr/share/gocode";

/// Where `cargo xtask drivers` puts packages.
pub(crate) fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-env")
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/drivers")
        .join(name)
}

/// Runs a program on the console; it prints OK, or what differed.
async fn run(proxy: &Sidecar, mut command: Command) {
    command
        .env("PGHOST", proxy.address().ip().to_string())
        .env("PGPORT", proxy.port().to_string())
        .env("PGDATABASE", "pgbouncer")
        .env("PGUSER", "pgbouncer")
        .env("PGSSLMODE", "disable")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LONGEST, command.output()).await;
    let output = output.expect("it ends").unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; `cargo xtask drivers` installs what it needs")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.lines().last() == Some("OK"),
        "{}\n{said}{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        proxy.log().tail()
    );
}

#[tokio::test]
async fn psql() {
    let azure = shared().await;
    let (proxy, _) = house(&azure).await;
    let psql = |command: &'static str| {
        let proxy = &proxy;
        async move {
            proxy
                .program("psql", &["-X", "-d", "pgbouncer", "-c", command])
                .await
        }
    };
    let pools = psql("SHOW POOLS;").await;
    assert!(
        pools.contains("| cl_waiting |") && pools.contains("(1 row)"),
        "{pools}"
    );
    let help = psql("show help").await;
    assert!(help.contains("RECONNECT [db]"), "{help}");
    let several = psql("PAUSE; SHOW STATE; RESUME").await;
    assert!(
        several.contains("paused    | yes") && several.ends_with("RESUME\n"),
        "{several}"
    );
    // Extended records, as with \x, and a file with comments.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("commands.sql");
    std::fs::write(
        &file,
        "\\x\n-- by route\nSHOW /* all */ STATS;\nset application_name to 'me';\n",
    )
    .unwrap();
    let told = proxy
        .program(
            "psql",
            &[
                "-X",
                "-d",
                "entrapool",
                "-v",
                "ON_ERROR_STOP=1",
                "-f",
                file.to_str().unwrap(),
            ],
        )
        .await;
    assert!(
        told.contains("-[ RECORD 1 ]") && told.contains("avg_wait_time"),
        "{told}"
    );
    assert!(told.ends_with("SET\n"), "{told}");
    let wrong = proxy
        .try_program("psql", &["-X", "-d", "pgbouncer", "-c", "SHOW FISH"])
        .await;
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        said.contains("there is no SHOW FISH") && said.contains("HINT:  There are HELP, VERSION"),
        "{said}"
    );
}

#[tokio::test]
async fn psycopg() {
    let azure = shared().await;
    let (proxy, _) = house(&azure).await;
    let mut command = Command::new(packages().join("python/bin/python"));
    command.arg(program("psycopg_console.py"));
    run(&proxy, command).await;
}

#[tokio::test]
async fn lib_pq() {
    let azure = shared().await;
    let (proxy, _) = house(&azure).await;
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("pq_console");
    let built = Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&binary)
        .arg(program("pq_console.go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", GO_PACKAGES)
        .env("GOCACHE", packages().join("go/cache"))
        .env("CGO_ENABLED", "0")
        .env_remove("GOFLAGS")
        .output()
        .await
        .expect("Go is there; `cargo xtask drivers` installs it");
    assert!(
        built.status.success(),
        "pq_console.go; `cargo xtask drivers` installs lib/pq\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    run(&proxy, Command::new(binary)).await;
}
