//! Who gets in: decided by the user of the client's process, over TCP and over a Unix socket.

use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::sidecar::{Shared, Sidecar, shared};

/// A user that Debian always has, in a group of the same kind.
const STRANGER: &str = "65534";
const STRANGERS_GROUP: &str = "nogroup";

/// psql as somebody else; only root can do that.
async fn as_stranger(azure: &Shared, host: &str, port: u16, database: &str) -> Output {
    let postgres = azure.real_postgres().expect("a real PostgreSQL");
    let psql = postgres.bin_directory().join("psql");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"])
        .arg(psql)
        .args(["--no-psqlrc", "--no-align", "--tuples-only"])
        .args(["--command", "SHOW STATE"])
        .env_clear()
        .env("PGHOST", host)
        .env("PGPORT", port.to_string())
        .env("PGUSER", "pgbouncer")
        .env("PGDATABASE", database)
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.output().await.expect("setpriv and psql run")
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn assert_refused(output: &Output) {
    let said = said(output);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("no access to the console")
            && said.contains("user 65534")
            && said.contains("console.group"),
        "{said}"
    );
}

#[tokio::test]
async fn a_stranger_is_refused_on_tcp_and_a_member_of_the_group_is_not() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    for database in ["pgbouncer", "entrapool"] {
        let output = as_stranger(&azure, "127.0.0.1", proxy.port(), database).await;
        assert_refused(&output);
    }
    assert_eq!(proxy.metrics().await.ended("startup_refused"), 2.0);
    // To the database itself anybody may, as ever.
    let output = as_stranger(&azure, "127.0.0.1", proxy.port(), azure.database()).await;
    assert!(!said(&output).contains("console"), "{}", said(&output));
    let mine = proxy
        .program("psql", &["-d", "pgbouncer", "-Atc", "SHOW STATE"])
        .await;
    assert!(mine.starts_with("active|yes\n"), "{mine}");
    let wrong = Sidecar::on(&azure)
        .set("console.group", "no-such-group")
        .start()
        .await;
    let output = as_stranger(&azure, "127.0.0.1", wrong.port(), "pgbouncer").await;
    assert_refused(&output);
    assert!(
        said(&output).contains("/etc/group has no no-such-group"),
        "{}",
        said(&output)
    );
    let open = Sidecar::on(&azure)
        .set("console.group", STRANGERS_GROUP)
        .start()
        .await;
    let output = as_stranger(&azure, "127.0.0.1", open.port(), "pgbouncer").await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).starts_with("active|yes\n"),
        "{}",
        said(&output)
    );
}

#[tokio::test]
async fn a_stranger_is_refused_on_a_unix_socket() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).unwrap();
    let socket = folder.path().join(".s.PGSQL.5432");
    let path = socket.to_str().unwrap();
    let proxy = Sidecar::on(&azure).key("listen", path).start().await;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let host = folder.path().to_str().unwrap();
    assert_refused(&as_stranger(&azure, host, 5432, "pgbouncer").await);
    let mine = proxy
        .program("psql", &["-d", "pgbouncer", "-Atc", "SHOW STATE"])
        .await;
    assert!(mine.starts_with("active|yes\n"), "{mine}");
}
