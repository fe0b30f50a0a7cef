//! Users who are not listed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::{Scene, code};
use crate::sidecar::{Metrics, Sidecar, count, refusal, shared};
use crate::users::{NOBODY, as_stranger, own, stranger, text};

/// Root, who is not the stranger, whoever runs the tests.
const ROOT: &str = "0";

fn turned_away(metrics: &Metrics) -> f64 {
    metrics.value(
        "entrapool_sessions_ended_total",
        &[("blame", "client"), ("cause", "not_allowed")],
    )
}

fn everybody_may_use(path: &Path) {
    let mode = std::fs::Permissions::from_mode(if path.is_dir() { 0o755 } else { 0o666 });
    std::fs::set_permissions(path, mode).unwrap();
}

/// What psql says when it is run by the stranger.
async fn psql(host: &str, port: u16) -> String {
    let target = format!("host={host} port={port} user=legacy-app dbname=appdb");
    let output = as_stranger("psql", &["-XAtc", "select 1", &target]).await;
    assert!(!output.status.success(), "{}", text(&output));
    text(&output)
}

#[tokio::test]
async fn a_stranger_is_refused_at_the_tcp_port_of_postgresql() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).key("allow_uids", ROOT).start().await;
    let said = psql("127.0.0.1", proxy.port()).await;
    let wanted = format!("user {} of this machine is not in allow_uids", stranger());
    assert!(said.contains(&wanted), "{said}");
    assert!(said.contains("Add the user to allow_uids"), "{said}");
    proxy.until(|metrics| turned_away(metrics) == 1.0).await;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.value("entrapool_clients_total", &[]), 0.0);
    assert_eq!(metrics.logins(), 0.0, "no backend was made for it");
    // The operator hears of it, too.
    let found = |line: &crate::sidecar::Line| {
        let is_it = line.field("cause") == Some("not_allowed");
        is_it && line.field("level") == Some("WARN") && line.text.contains(&wanted)
    };
    assert!(proxy.log().find(found).await.is_some());
}

#[tokio::test]
async fn a_stranger_is_refused_at_the_unix_socket() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    everybody_may_use(folder.path());
    let directory = folder.path().to_str().unwrap();
    let launch = Sidecar::on(&azure).key("listen", directory);
    let proxy = launch.key("allow_uids", ROOT).start().await;
    let socket = folder.path().join(".s.PGSQL.5432");
    if own() == 0 {
        // The mode alone keeps out whoever is not of the group.
        let said = psql(directory, 5432).await;
        assert!(said.contains("Permission denied"), "{said}");
        assert_eq!(turned_away(&proxy.metrics().await), 0.0);
    }
    everybody_may_use(&socket);
    let said = psql(directory, 5432).await;
    let wanted = format!("user {} of this machine is not in allow_uids", stranger());
    assert!(said.contains(&wanted), "{said}");
    proxy.until(|metrics| turned_away(metrics) == 1.0).await;
}

#[tokio::test]
async fn a_stranger_is_refused_at_the_port_of_tds() {
    let scene = Scene::bare(|launch| launch.key("allow_uids", ROOT)).await;
    let port = scene.proxy.port().to_string();
    let arguments = [
        "-H",
        "127.0.0.1",
        "-p",
        &port,
        "-U",
        "any",
        "-P",
        "any",
        "-D",
        "appdb",
    ];
    let said = text(&as_stranger("tsql", &arguments).await);
    let wanted = format!("user {} of this machine is not in allow_uids", stranger());
    assert!(said.contains("18456") && said.contains(&wanted), "{said}");
    scene
        .proxy
        .until(|metrics| turned_away(metrics) == 1.0)
        .await;
    assert_eq!(scene.server.counters().logins(), 0);
}

/// The same without another user: the list has somebody else, and we are the stranger.
#[tokio::test]
async fn whoever_runs_the_tests_is_a_stranger_where_only_nobody_is_listed() {
    let azure = shared().await;
    let list = NOBODY.to_string();
    let proxy = Sidecar::on(&azure).key("allow_uids", &list).start().await;
    let error = proxy.refusal().await;
    assert_eq!(error.code().code(), "28000", "{error:?}");
    assert!(error.message().contains(&format!("user {} of", own())));
    // A cancel request is not even looked at; HTTP gets its answer.
    let mut raw = proxy.dial().await;
    raw.send(&crate::sidecar::raw::cancel(&[0; 8])).await;
    assert_eq!(raw.next().await, None);
    let mut raw = proxy.dial().await;
    raw.send(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut answer = String::new();
    raw.stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    proxy.until(|metrics| turned_away(metrics) == 3.0).await;

    let scene = Scene::bare(|launch| launch.key("allow_uids", &list)).await;
    let error = scene.try_client("appdb").await.err().unwrap();
    assert_eq!(code(&error), 18_456);
    assert!(error.to_string().contains(&format!("user {} of", own())));
}

#[tokio::test]
async fn a_listed_user_is_let_in_at_every_door() {
    let azure = shared().await;
    let list = format!("{NOBODY},{}", own());
    let with_list = |launch: crate::sidecar::Launch| launch.key("allow_uids", &list);
    let proxy = with_list(Sidecar::on(&azure)).start().await;
    assert_eq!(count(&proxy.client().await, "select 7::bigint").await, 7);
    if own() == 0 {
        let target = format!("host=127.0.0.1 port={} user=x dbname=appdb", proxy.port());
        let output = as_stranger("psql", &["-XAtc", "select 7", &target]).await;
        assert_eq!(text(&output), "7\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let launch = Sidecar::on(&azure).key("listen", folder.path().to_str().unwrap());
    let socket = with_list(launch).start().await;
    assert_eq!(socket.program("psql", &["-XAtc", "select 7"]).await, "7\n");
    let scene = Scene::bare(with_list).await;
    let mut client = scene.client().await;
    let said = crate::scene::run(&mut client, "select 7").await;
    assert_eq!(said.as_deref(), Some("7"));
    for proxy in [&proxy, &socket, &scene.proxy] {
        assert_eq!(turned_away(&proxy.metrics().await), 0.0);
    }
}

/// Everything is sent at once and the socket closed: from then on older kernels call it
/// root's. The server must not see a byte of it.
#[tokio::test]
async fn a_stranger_who_closes_at_once_is_not_taken_for_root() {
    const SCRIPT: &str = r#"
import socket, struct, sys
start = struct.pack('!I', 3 << 16) + b'user\0x\0database\0appdb\0\0'
sql = b"create table door_was_open (a int)\0"
for _ in range(20):
    client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    client.sendall(struct.pack('!I', len(start) + 4) + start
                   + b'Q' + struct.pack('!I', len(sql) + 4) + sql)
    client.close()
"#;
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.key("allow_uids", ROOT).start().await;
    // It wakes up when all is over: the sockets wait, closed, in the queue of its listener.
    proxy.signal("STOP").await;
    let output = as_stranger("python3", &["-c", SCRIPT, &proxy.port().to_string()]).await;
    proxy.signal("CONT").await;
    assert!(output.status.success(), "{}", text(&output));
    proxy.until(|metrics| turned_away(metrics) == 20.0).await;
    let admin = azure.admin(&database).await;
    let tables = "select count(*) from pg_class where relname = 'door_was_open'";
    assert_eq!(count(&admin, tables).await, 0);
}

/// Strangers take no client's place, and none is kept for long.
#[tokio::test]
async fn a_crowd_of_strangers_keeps_nobody_out() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).key("max_clients", "2");
    let proxy = launch.key("allow_uids", &NOBODY.to_string()).start().await;
    let began = Instant::now();
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(TcpStream::connect(proxy.address()).await.unwrap());
    }
    // Those who can't be told at once are closed at once.
    proxy.until(|metrics| turned_away(metrics) == 24.0).await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(proxy.metrics().await.clients(), 0.0);
    proxy.until(|metrics| turned_away(metrics) == 40.0).await;
    for mut one in crowd {
        let _reset = one.write_all(b"x").await;
        let mut rest = Vec::new();
        let _reset = one.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
    // There are three kinds of log lines at most, whatever the crowd.
    let lines = proxy.log().lines();
    let warnings = lines
        .iter()
        .filter(|line| line.field("cause") == Some("not_allowed"));
    let warnings = warnings.filter(|line| line.field("level") == Some("WARN"));
    assert_eq!(warnings.count(), 1);
    assert_eq!(refusal(&proxy.config()).await.code().code(), "28000");
}
