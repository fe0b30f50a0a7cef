//! Whoever can't be served is told so at once, in PostgreSQL's own way, and what to try.

use std::time::{Duration, Instant};

use entrapool_emulator::postgres::Postgres;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_postgres::error::DbError;

use crate::sidecar::{
    CLEARTEXT_ROLE, Eighteen, Launch, MD5_ROLE, PASSWORD, PASSWORD_ROLE, SOMEONE_ELSE, Sidecar,
    connect, refusal, said, shared,
};

/// A login that takes longer is not refused at once.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Starts it; the only client is refused with this SQLSTATE, and both texts are in what it says.
async fn refused(launch: Launch, code: &str, message: &str, hint: &str) -> (Sidecar, DbError) {
    let proxy = launch.start().await;
    let began = Instant::now();
    let error = proxy.refusal().await;
    assert!(began.elapsed() < AT_ONCE, "{error:?}");
    assert_eq!(error.code().code(), code, "{error:?}");
    assert_eq!(error.severity(), "FATAL");
    assert!(error.message().starts_with("entrapool: "), "{error:?}");
    assert!(error.message().contains(message), "{error:?}");
    assert!(error.hint().unwrap().contains(hint), "{error:?}");
    (proxy, error)
}

fn failures(metrics: &crate::sidecar::Metrics, class: &str) -> f64 {
    metrics.value("entrapool_login_failures_total", &[("class", class)])
}

#[tokio::test]
async fn a_role_of_somebody_else() {
    let azure = shared().await;
    for role in [SOMEONE_ELSE, "nobody"] {
        let launch = Sidecar::on(&azure).user(role);
        let wanted = format!("pgaadauth_create_principal('{role}', false, false)");
        let (proxy, _) = refused(launch, "28000", role, &wanted).await;
        let metrics = proxy.metrics().await;
        assert!(failures(&metrics, "role") > 0.0);
        assert_eq!(metrics.ended("login_refused"), 1.0);
    }
}

#[tokio::test]
async fn a_role_with_a_password_is_not_given_the_token() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).user(PASSWORD_ROLE);
    let hint = "pgaadauth_create_principal";
    let (proxy, _) = refused(launch, "28000", PASSWORD_ROLE, hint).await;
    assert_eq!(failures(&proxy.metrics().await, "config"), 1.0);
}

#[tokio::test]
async fn a_database_that_is_missing_or_not_served() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).database("no-such-db");
    let hint = "Create the database \"no-such-db\"";
    let (proxy, _) = refused(launch, "3D000", "no-such-db", hint).await;
    assert_eq!(failures(&proxy.metrics().await, "database"), 1.0);

    let launch = Sidecar::on(&azure).key("databases", "appdb,other");
    let proxy = launch.start().await;
    drop(proxy.client().await);
    let mut config = proxy.config();
    let error = refusal(config.dbname("postgres")).await;
    assert_eq!(error.code().code(), "3D000");
    assert_eq!(error.hint(), Some("The route allows: appdb, other."));
    assert_eq!(proxy.metrics().await.ended("startup_refused"), 1.0);
}

#[tokio::test]
async fn a_server_without_a_free_slot() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let admin = azure.admin("postgres").await;
    let limit = format!("alter database {database} connection limit 0");
    admin.batch_execute(&limit).await.unwrap();
    let launch = Sidecar::on(&azure).database(&database);
    let (proxy, _) = refused(launch, "53300", "too many connections", "Lower pool_size").await;
    assert_eq!(failures(&proxy.metrics().await, "too_many"), 1.0);
}

#[tokio::test]
async fn a_server_that_is_down() {
    let azure = shared().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = closed.local_addr().unwrap().to_string();
    drop(closed);
    let launch = Sidecar::on(&azure).server(&server);
    let hint = "Check that the server is up";
    let (proxy, _) = refused(launch, "08001", &server, hint).await;
    let metrics = proxy.metrics().await;
    assert!(failures(&metrics, "network") > 0.0);
    assert_eq!(metrics.ended("unreachable"), 1.0);
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).server("no-such-server.invalid:5432");
    let launch = launch.key("allow_any_host", "true");
    refused(launch, "08001", "no-such-server.invalid", "DNS").await;
}

#[tokio::test]
async fn a_certificate_that_can_not_be_trusted() {
    let azure = shared().await;
    let hint = "The certificate must be valid for the host in the ROUTE";
    let unknown_root = Sidecar::on(&azure).without("ca_file");
    let other_name = Sidecar::on(&azure).key("server_name", "db.example.com");
    for launch in [unknown_root, other_name] {
        let logins = azure.logins().accepted();
        let (proxy, _) = refused(launch, "08001", "certificate", hint).await;
        let metrics = proxy.metrics().await;
        assert!(failures(&metrics, "tls") > 0.0);
        assert_eq!(metrics.logins(), 0.0);
        let _others_log_in_meanwhile = logins;
    }
}

#[tokio::test]
async fn a_server_without_tls_never_sees_the_token() {
    let azure = shared().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (request, rest)
    });
    let launch = Sidecar::on(&azure).server(&server);
    let hint = "A token or password is never sent without TLS";
    let (proxy, _) = refused(launch, "08001", &server, hint).await;
    let (request, rest) = seen.await.unwrap();
    assert_eq!(request, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
    assert_eq!(rest, b"", "nothing is sent after the refusal of TLS");
    assert_eq!(failures(&proxy.metrics().await, "tls"), 1.0);
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let azure = shared().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let launch = Sidecar::on(&azure).server(&server);
    let launch = launch.key("connect_timeout", "1s");
    let message = "no answer within connect_timeout (1s), during the TLS handshake";
    let (proxy, _) = refused(launch, "08001", message, "firewall").await;
    assert!(failures(&proxy.metrics().await, "timeout") > 0.0);
}

#[tokio::test]
async fn nobody_waits_longer_than_wait_timeout() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).transaction().pool(1);
    let proxy = launch.key("wait_timeout", "300ms").start().await;
    let busy = proxy.client().await;
    busy.batch_execute("begin").await.unwrap();
    let client = proxy.client().await;
    let began = Instant::now();
    let error = said(client.simple_query("select 1").await);
    let waited = began.elapsed();
    assert_eq!(error.code().code(), "53300");
    assert!(
        error.message().contains("wait_timeout (300ms)"),
        "{error:?}"
    );
    assert!(waited >= Duration::from_millis(300) && waited < AT_ONCE);
    // It counts when it has closed, a moment after its last words.
    proxy
        .until(|metrics| metrics.ended("wait_timeout") == 1.0)
        .await;
    busy.batch_execute("commit").await.unwrap();
    let next = proxy.client().await;
    next.simple_query("select 1").await.unwrap();
}

#[tokio::test]
async fn no_more_than_max_clients() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).key("max_clients", "2").start().await;
    let (one, _two) = (proxy.client().await, proxy.client().await);
    let error = proxy.refusal().await;
    assert_eq!(error.code().code(), "53300");
    assert!(error.message().contains("max_clients is 2"), "{error:?}");
    assert_eq!(proxy.metrics().await.ended("max_clients"), 1.0);
    drop(one);
    proxy.until(|metrics| metrics.clients() == 1.0).await;
    connect(&proxy.config()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_postgresql_client() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    let cases: [(&[u8], &str, &str); 4] = [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "0A000",
            "sslmode=disable",
        ),
        (&[0, 0, 0, 9, 0, 2, 0, 0, 0], "0A000", ""),
        (&[0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0], "08P01", ""),
        (&[0, 0, 0, 9, 0, 3, 0, 0, 0], "28000", ""),
    ];
    let count = cases.len();
    for (bytes, code, hint) in cases {
        let mut raw = proxy.dial().await;
        raw.send(bytes).await;
        let fields = raw.last_words().await;
        assert_eq!(fields[&'C'], code, "{fields:?}");
        assert_eq!(fields[&'V'], "FATAL");
        let said = fields.get(&'H').map_or("", String::as_str);
        assert!(said.contains(hint), "{fields:?}");
    }
    let malformed = proxy.metrics().await.ended("malformed");
    assert_eq!(malformed, count as f64);
}

#[tokio::test]
async fn replication() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    for (wish, refused) in [("true", true), ("database", true), ("off", false)] {
        let mut raw = proxy.dial().await;
        let parameters = [("user", "x"), ("replication", wish)];
        raw.startup(0x0003_0000, &parameters).await;
        if refused {
            assert_eq!(raw.last_words().await[&'C'], "0A000");
        } else {
            raw.greeting().await;
        }
    }
}

#[tokio::test]
async fn the_right_password_and_a_wrong_one() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let with_file = |role| {
        let launch = Sidecar::on(&azure).user(role).without("imds_endpoint");
        let launch = launch.key("identity", "password-file");
        launch.key("password_file", file.to_str().unwrap())
    };
    for role in [PASSWORD_ROLE, MD5_ROLE, CLEARTEXT_ROLE] {
        std::fs::write(&file, PASSWORD).unwrap();
        let proxy = with_file(role).start().await;
        let user = "select current_user";
        let said = proxy.program("psql", &["-XAtc", user]).await;
        assert_eq!(said, format!("{role}\n"));
        std::fs::write(&file, "open-sesame-0815").unwrap();
        let hint = "the password in password_file";
        let (proxy, _) = refused(with_file(role), "28P01", role, hint).await;
        let log = proxy.log().text();
        assert!(!log.contains("open-sesame"), "{log}");
    }
}

#[tokio::test]
async fn bytes_injected_in_front_of_tls_are_never_read() {
    let azure = shared().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.unwrap();
        // "Yes", and the beginning of a request for the password in clear.
        stream.write_all(b"SR\0\0\0\x08\0\0\0\x03").await.unwrap();
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest).await;
        rest
    });
    let launch = Sidecar::on(&azure).server(&server);
    let message = "unencrypted bytes came behind the server's answer";
    let (proxy, _) = refused(launch, "08001", message, "never sent without TLS").await;
    assert_eq!(seen.await.unwrap(), b"", "not even a handshake");
    assert_eq!(failures(&proxy.metrics().await, "tls"), 1.0);
}

#[tokio::test]
async fn a_server_that_is_shutting_down() {
    let server = Eighteen::start(Postgres::builder()).await;
    let proxy = Sidecar::with_password(&server).start().await;
    // A smart shutdown waits for the sessions that there are, and takes no new one.
    let admin = server.postgres.admin("appdb").await.unwrap();
    let file = server
        .postgres
        .socket_directory()
        .join("data/postmaster.pid");
    let text = std::fs::read_to_string(file).unwrap();
    let pid = text.lines().next().unwrap();
    let kill = format!("kill -TERM {pid}");
    let status = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status();
    assert!(status.unwrap().success());
    let began = Instant::now();
    let error = crate::sidecar::eventually(async || {
        let error = connect(&proxy.config()).await.err()?;
        error.as_db_error().cloned()
    })
    .await;
    assert!(began.elapsed() < AT_ONCE);
    assert_eq!(error.code().code(), "57P03", "{error:?}");
    assert!(error.message().contains("shutting down"), "{error:?}");
    drop(admin);
}
