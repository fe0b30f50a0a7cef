//! Starting: exit codes, waiting for the first token, Unix sockets.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::{Duration, Instant};

use entrapool_emulator::faults::Fault;
use entrapool_emulator::{LocalAzure, ServerChoice};
use tokio::net::{TcpListener, UnixDatagram, UnixListener, UnixStream};

use crate::sidecar::{PATIENCE, Sidecar, connect, shared};

async fn own_azure() -> LocalAzure {
    let azure = LocalAzure::builder()
        .server(ServerChoice::Real)
        .start()
        .await;
    azure.unwrap()
}

#[tokio::test]
async fn a_service_manager_is_told_when_clients_can_connect() {
    let azure = own_azure().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let hear = async || {
        let mut buffer = [0; 512];
        let heard = tokio::time::timeout(PATIENCE, manager.recv(&mut buffer)).await;
        let length = heard.expect("a word").unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    azure.imds().faults().set(Fault::Status(404));
    let launch = Sidecar::on(&azure).variable("NOTIFY_SOCKET", path.to_str().unwrap());
    let proxy = launch.set("drain.max_wait", "2s").begin().await;
    assert!(hear().await.starts_with("EXTEND_TIMEOUT_USEC=40000000\n"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let nothing = manager.try_recv(&mut [0; 16]).unwrap_err().kind();
    assert_eq!(nothing, std::io::ErrorKind::WouldBlock, "no token yet");
    azure.imds().faults().clear();
    let ready = hear().await;
    assert!(
        ready.starts_with("READY=1\nSTATUS=listening for "),
        "{ready}"
    );
    assert_eq!(proxy.get("/startup").await.status, 200);
    proxy.terminate().await;
    assert_eq!(
        hear().await,
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000\nSTATUS=stopping with 0 clients"
    );
    assert_eq!(proxy.exit().await, 0);
}

#[tokio::test]
async fn every_error_of_a_configuration_is_told_and_the_code_is_2() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure)
        .key("pool_size", "0")
        .key("pol_mode", "session");
    let proxy = launch.set("drain.max_wait", "soon").run();
    let log = proxy.log().clone();
    assert_eq!(proxy.exit().await, 2);
    let log = log.whole().await;
    for error in [
        "pool_size",
        "pol_mode",
        "pool_mode",
        "ENTRAPOOL_DRAIN_MAX_WAIT",
    ] {
        assert!(log.contains(error), "{error} in {log}");
    }
}

#[tokio::test]
async fn a_configuration_file_says_the_same_as_a_url() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entrapool.toml");
    let launch = Sidecar::on(&azure).transaction().pool(3);
    let proxy = launch.config(&file).start().await;
    let said = proxy
        .program("psql", &["-XAtc", "select current_user"])
        .await;
    assert_eq!(said, "my-vm\n");
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.value("entrapool_pool_size", &[]), 3.0);
    // An error in it is told with its line.
    let launch = Sidecar::on(&azure).key("pool_size", "99999");
    let line = 1 + launch
        .toml()
        .lines()
        .position(|line| line.starts_with("pool_size"))
        .unwrap();
    let proxy = launch.config(&file).run();
    let log = proxy.log().clone();
    assert_eq!(proxy.exit().await, 2);
    let log = log.whole().await;
    let place = format!("{}:{line}", file.display());
    assert!(
        log.contains(&place) && log.contains("99999"),
        "{place} in {log}"
    );
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_a_configuration_error() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, "nothing in here").unwrap();
    let missing = folder.path().join("missing.pem");
    for path in [&file, &missing] {
        let path = path.to_str().unwrap();
        let proxy = Sidecar::on(&azure).key("ca_file", path).run();
        let log = proxy.log().clone();
        assert_eq!(proxy.exit().await, 2);
        assert!(log.whole().await.contains(path));
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_code_4() {
    let azure = shared().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken
        .local_addr()
        .map(|address| (taken, address.to_string()));
    let (_taken, address) = taken.unwrap();
    for launch in [
        Sidecar::on(&azure).key("listen", &address),
        Sidecar::on(&azure).http(&address),
    ] {
        let proxy = launch.run();
        let log = proxy.log().clone();
        assert_eq!(proxy.exit().await, 4);
        assert!(log.whole().await.contains(&address));
    }
}

#[tokio::test]
async fn no_token_in_time_is_code_3() {
    let azure = own_azure().await;
    azure.imds().faults().set(Fault::Status(404));
    let began = Instant::now();
    let proxy = Sidecar::on(&azure).set("start.timeout", "1s").begin().await;
    assert_eq!(proxy.get("/startup").await.status, 503);
    assert_eq!(proxy.get("/readiness").await.status, 503);
    assert_eq!(proxy.get("/liveness").await.status, 200);
    let log = proxy.log().clone();
    assert_eq!(proxy.exit().await, 3);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(began.elapsed() < Duration::from_secs(4));
    let log = log.whole().await;
    assert!(log.contains("no token within start.timeout (1s)"), "{log}");
    assert!(!log.contains("\"listening\""), "{log}");
}

#[tokio::test]
async fn or_it_serves_says_why_not_and_heals() {
    let azure = own_azure().await;
    azure.imds().refuse_connections().await;
    let launch = Sidecar::on(&azure).set("start.timeout", "1s");
    let proxy = launch.set("start.on_failure", "serve").start().await;
    assert_eq!(proxy.get("/readiness").await.status, 503);
    let refused = proxy.refusal().await;
    assert_eq!(refused.code().code(), "28000", "{refused:?}");
    assert!(
        refused
            .hint()
            .unwrap()
            .contains("as soon as there is a token")
    );
    azure.imds().accept_connections().await.unwrap();
    let began = Instant::now();
    while connect(&proxy.config()).await.is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{}",
            proxy.log().tail()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(proxy.get("/readiness").await.status, 200);
    assert_eq!(proxy.get("/startup").await.status, 200);
    assert_eq!(proxy.stop().await, 0);
}

#[tokio::test]
async fn a_signal_during_the_start_is_a_clean_end() {
    let azure = own_azure().await;
    azure.imds().faults().set(Fault::BlackHole);
    let proxy = Sidecar::on(&azure).begin().await;
    assert_eq!(proxy.stop().await, 0);
}

#[tokio::test]
async fn a_unix_socket() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let socket = folder.path().join(".s.PGSQL.5432");
    // Left behind by a process that was killed.
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let proxy = Sidecar::on(&azure).key("listen", directory).start().await;
    let file = std::fs::metadata(&socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    let said = proxy
        .program("psql", &["-XAtc", "select current_user"])
        .await;
    assert_eq!(said, "my-vm\n");
    // A second one does not take it away.
    let second = Sidecar::on(&azure).key("listen", directory).run();
    assert_eq!(second.exit().await, 4);
    assert!(UnixStream::connect(&socket).await.is_ok());
    assert_eq!(proxy.stop().await, 0);
    assert!(!socket.exists());
    // What is no socket is left alone.
    std::fs::write(&socket, "precious").unwrap();
    let third = Sidecar::on(&azure).key("listen", directory).run();
    assert_eq!(third.exit().await, 4);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn backends_are_kept_warm() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).transaction();
    let proxy = launch.key("min_idle", "3").start().await;
    proxy.until(|metrics| metrics.backends("idle") == 3.0).await;
    let client = proxy.client().await;
    client.simple_query("select 1").await.unwrap();
    assert_eq!(proxy.logins().await, 3.0);
}
