//! What commands do to real clients.

use std::time::Duration;

use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::sidecar::{backends, connect, eventually, said, shared};
use crate::{console, house, number, rows, select_one};

const MAIN: (&str, &str) = ("name", "main");

#[tokio::test]
async fn pause_waits_for_transactions_and_resume_lets_clients_on() {
    let azure = shared().await;
    let (proxy, database) = house(&azure).await;
    let admin = azure.admin("postgres").await;
    let (busy, idle) = (proxy.client().await, proxy.client().await);
    idle.batch_execute("select 1").await.unwrap();
    busy.batch_execute("begin").await.unwrap();
    let (console, other) = (console(&proxy).await, console(&proxy).await);
    let pausing = tokio::spawn(async move {
        console.batch_execute("PAUSE").await.unwrap();
        console
    });
    eventually(|| async {
        (number(&other, "SHOW DATABASES", MAIN, "paused").await == 1).then_some(())
    })
    .await;
    // What is open goes on; everybody else waits.
    busy.batch_execute("select 2").await.unwrap();
    let waiting = tokio::spawn(async move { idle.batch_execute("select 3").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!pausing.is_finished() && !waiting.is_finished());
    assert_eq!(backends(&admin, &database).await, 1);
    let again = said(other.batch_execute("PAUSE main").await);
    assert_eq!(again.code(), &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    busy.batch_execute("commit").await.unwrap();
    let console = pausing.await.unwrap();
    eventually(|| async { (backends(&admin, &database).await == 0).then_some(()) }).await;
    let state = rows(&console, "SHOW STATE").await;
    let state: Vec<_> = state.iter().map(|row| row.get("value").unwrap()).collect();
    assert_eq!(state, ["no", "yes", "no"]);
    // Clients that come now wait, too; with their greeting already.
    let late = proxy.client().await;
    let late = tokio::spawn(async move { late.batch_execute("select 4").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished() && !late.is_finished());
    assert_eq!(backends(&admin, &database).await, 0);
    console.batch_execute("RESUME").await.unwrap();
    waiting.await.unwrap().unwrap();
    late.await.unwrap().unwrap();
    let not = said(console.batch_execute("RESUME").await);
    assert_eq!(not.code(), &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    let closed = proxy.metrics().await;
    let closed = closed.value("entrapool_upstream_closed_total", &[("reason", "operator")]);
    // Both had the same one.
    assert_eq!(closed, 1.0);
}

#[tokio::test]
async fn a_pause_that_is_cancelled_holds_nobody_back() {
    let azure = shared().await;
    let (proxy, _) = house(&azure).await;
    let (busy, idle) = (proxy.client().await, proxy.client().await);
    busy.batch_execute("begin").await.unwrap();
    let console = console(&proxy).await;
    let cancel = console.cancel_token();
    let pausing = tokio::spawn(async move { console.batch_execute("PAUSE").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!pausing.is_finished());
    cancel.cancel_query(NoTls).await.unwrap();
    let error = said(pausing.await.unwrap());
    assert_eq!(error.code(), &SqlState::QUERY_CANCELED);
    assert!(error.hint().unwrap().contains("go on"));
    idle.batch_execute("select 1").await.unwrap();
    busy.batch_execute("commit").await.unwrap();
}

#[tokio::test]
async fn reconnect_replaces_backends_as_they_come_back() {
    let azure = shared().await;
    let (proxy, _) = house(&azure).await;
    let (busy, idle) = (proxy.client().await, proxy.client().await);
    let pid = "select pg_backend_pid()";
    busy.batch_execute("begin").await.unwrap();
    let old: i32 = busy.query_one(pid, &[]).await.unwrap().get(0);
    let old_idle: i32 = idle.query_one(pid, &[]).await.unwrap().get(0);
    let (console, other) = (console(&proxy).await, console(&proxy).await);
    console.batch_execute("RECONNECT main").await.unwrap();
    let new_idle: i32 = idle.query_one(pid, &[]).await.unwrap().get(0);
    assert_ne!(old_idle, new_idle);
    // The transaction keeps what it has, which is marked.
    assert_eq!(
        busy.query_one(pid, &[]).await.unwrap().get::<_, i32>(0),
        old
    );
    let servers = rows(&console, "SHOW SERVERS").await;
    for server in &servers {
        let is_old = server.get("remote_pid") == Some(old.to_string().as_str());
        assert_eq!(
            server.get("close_needed"),
            Some(if is_old { "1" } else { "0" })
        );
    }
    let closing = tokio::spawn(async move { other.batch_execute("WAIT_CLOSE").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!closing.is_finished());
    busy.batch_execute("commit").await.unwrap();
    closing.await.unwrap().unwrap();
    let new: i32 = busy.query_one(pid, &[]).await.unwrap().get(0);
    assert_ne!(old, new);
}

#[tokio::test]
async fn kill_ends_clients_and_backends_and_waits_for_resume() {
    let azure = shared().await;
    let (proxy, database) = house(&azure).await;
    let admin = azure.admin("postgres").await;
    let (mut busy, mut idle) = (proxy.raw().await, proxy.raw().await);
    idle.query("select 1").await;
    busy.query("begin").await;
    let console = console(&proxy).await;
    console.batch_execute("KILL main").await.unwrap();
    for client in [&mut busy, &mut idle] {
        assert_eq!(client.last_words().await[&'C'], "57P01");
    }
    eventually(|| async { (backends(&admin, &database).await == 0).then_some(()) }).await;
    proxy.until(|metrics| metrics.ended("killed") == 2.0).await;
    // Its greeting may have to come from a backend as well.
    let late = tokio::spawn(select_one(proxy.config()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!late.is_finished());
    // The console itself is not ended.
    console.batch_execute("RESUME main").await.unwrap();
    late.await.unwrap();
}

#[tokio::test]
async fn kill_client_ends_one() {
    let azure = shared().await;
    let (proxy, _) = house(&azure).await;
    let mut victim = proxy.raw().await;
    victim.query("begin").await;
    let console = console(&proxy).await;
    let id = number(&console, "SHOW CLIENTS", ("database", "main"), "id").await;
    let other = proxy.client().await;
    console
        .batch_execute(&format!("KILL_CLIENT {id}"))
        .await
        .unwrap();
    assert_eq!(victim.last_words().await[&'C'], "57P01");
    other.batch_execute("select 1").await.unwrap();
    let unknown = said(console.batch_execute("KILL_CLIENT 999999").await);
    assert_eq!(unknown.code(), &SqlState::UNDEFINED_OBJECT);
}

#[tokio::test]
async fn names_that_stand_for_nothing_and_what_is_not_here() {
    let azure = shared().await;
    let (proxy, database) = house(&azure).await;
    let console = console(&proxy).await;
    // The database of one route stands for it.
    console
        .batch_execute(&format!("PAUSE {database}"))
        .await
        .unwrap();
    console.batch_execute("RESUME main").await.unwrap();
    for (command, code, words) in [
        ("PAUSE nowhere", "3D000", "main"),
        ("KILL pgbouncer", "42809", "route"),
        ("SHUTDOWN WAIT_FOR_CLIENTS", "0A000", "drain.accept_for"),
        ("DISABLE main", "0A000", "PAUSE"),
        ("SHOW MEM", "0A000", "process_resident_memory_bytes"),
        ("SHOW BOATS", "42601", "POOLS"),
        ("select now()", "42601", "SHOW HELP"),
    ] {
        let error = said(console.batch_execute(command).await);
        assert_eq!(error.code().code(), code, "{command}");
        assert!(
            error.hint().unwrap().contains(words),
            "{command}: {error:?}"
        );
        // And the same, prepared.
        let error = match console.query(command, &[]).await {
            Ok(rows) => panic!("{command}: {rows:?}"),
            Err(error) => error,
        };
        assert_eq!(error.code().unwrap().code(), code, "{command}");
    }
}

#[tokio::test]
async fn shutdown_drains() {
    let azure = shared().await;
    let (proxy, _) = house(&azure).await;
    let (busy, mut idle) = (proxy.client().await, proxy.raw().await);
    busy.batch_execute("begin").await.unwrap();
    let console = console(&proxy).await;
    console.batch_execute("SHUTDOWN").await.unwrap();
    assert_eq!(idle.last_words().await[&'C'], "57P01");
    busy.batch_execute("select 1").await.unwrap();
    busy.batch_execute("commit").await.unwrap();
    assert_eq!(proxy.exit().await, 0);
}

#[tokio::test]
async fn the_console_opens_where_clients_have_no_room() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = crate::sidecar::Sidecar::on(&azure).database(&database);
    let proxy = launch.key("max_clients", "1").start().await;
    let _client = proxy.client().await;
    assert!(connect(&proxy.config()).await.is_err());
    let console = console(&proxy).await;
    assert_eq!(rows(&console, "SHOW CLIENTS").await.len(), 2);
    // And nobody has less room for it.
    assert_eq!(proxy.metrics().await.clients(), 1.0);
}
