//! The server goes away and comes back: whoever was in a transaction is told, nobody else
//! notices.

use std::time::Duration;

use entrapool_emulator::postgres::StopMode;
use entrapool_emulator::{DatabaseServer, LocalAzure, ServerChoice};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::sidecar::{Sidecar, said, shared};

/// The value that a query gives. Not by a prepared statement: the driver closes those later,
/// which asks for a backend as well.
async fn value(client: &Client, sql: &str) -> String {
    let answer = client.simple_query(sql).await;
    let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.expect("a value").to_owned()
}

async fn restart(azure: &mut LocalAzure, mode: StopMode) {
    let DatabaseServer::Real { postgres, .. } = azure.server_mut() else {
        panic!("a real PostgreSQL");
    };
    postgres.restart(mode).await.unwrap();
}

#[tokio::test]
async fn a_restart_is_noticed_in_transactions_only() {
    let mut azure = LocalAzure::builder()
        .server(ServerChoice::Real)
        .start()
        .await
        .unwrap();
    for mode in ["auto", "transaction", "session"] {
        for stop in [StopMode::Fast, StopMode::Immediate] {
            let launch = Sidecar::on(&azure).key("pool_mode", mode);
            let proxy = launch.pool(4).start().await;
            // In session mode the idle one has not asked for anything yet.
            let idle = proxy.client().await;
            let inside = proxy.client().await;
            inside.batch_execute("begin; select 1").await.unwrap();
            let running = proxy.client().await;
            let query = running.simple_query("select pg_sleep(60)");
            tokio::pin!(query);
            let started = proxy.until(|metrics| metrics.backends("active") == 2.0);
            tokio::select! {
                () = started => {}
                _ = &mut query => panic!("it sleeps"),
            }
            restart(&mut azure, stop).await;
            for result in [query.await, inside.simple_query("select 1").await] {
                // What the server said last, or that it went without a word. A client that was
                // told while it idled finds its connection closed.
                let error = result.unwrap_err();
                match error.code().map(tokio_postgres::error::SqlState::code) {
                    Some(code) => assert!(["57P01", "57P02", "08006"].contains(&code), "{code}"),
                    None => assert!(error.is_closed(), "{error:?}"),
                }
            }
            assert_eq!(value(&idle, "select 42").await, "42");
            let next = proxy.client().await;
            assert_eq!(value(&next, "select 43").await, "43");
            let metrics = proxy.metrics().await;
            let lost = [("reason", "server")];
            assert!(metrics.value("entrapool_upstream_closed_total", &lost) >= 2.0);
            assert_eq!(metrics.ended("server_closed"), 2.0);
        }
    }
}

#[tokio::test]
async fn while_it_is_down_new_logins_are_refused_and_heal_by_themselves() {
    let mut azure = LocalAzure::builder()
        .server(ServerChoice::Real)
        .start()
        .await
        .unwrap();
    let proxy = Sidecar::on(&azure).transaction().start().await;
    let idle = proxy.client().await;
    idle.simple_query("select 1").await.unwrap();
    let DatabaseServer::Real { postgres, .. } = azure.server_mut() else {
        panic!("a real PostgreSQL");
    };
    postgres.stop(StopMode::Fast).unwrap();
    // Greeted from memory; the query finds no server.
    let error = said(idle.simple_query("select 1").await);
    assert_eq!(error.code().code(), "08001");
    let other = proxy.client().await;
    let error = said(other.simple_query("select 1").await);
    assert_eq!(error.code().code(), "08001");
    postgres.start().await.unwrap();
    let began = std::time::Instant::now();
    loop {
        let client = proxy.client().await;
        if client.simple_query("select 1").await.is_ok() {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it does not heal"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_dead_idle_backend_is_never_lent() {
    let azure = shared().await;
    let postgres = azure.real_postgres().unwrap();
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let client = proxy.client().await;
    for round in 1..=20_u8 {
        let pid = value(&client, "select pg_backend_pid()").await;
        let pid: i32 = pid.parse().unwrap();
        assert!(postgres.terminate_backend(pid).await.unwrap());
        let gone = "select count(*) from pg_stat_activity where pid = $1";
        let admin = azure.admin("postgres").await;
        while admin
            .query_one(gone, &[&pid])
            .await
            .unwrap()
            .get::<_, i64>(0)
            > 0
        {
            tokio::task::yield_now().await;
        }
        assert_eq!(value(&client, "select 5").await, "5");
        assert_eq!(proxy.logins().await, f64::from(round) + 1.0);
    }
}

#[tokio::test]
async fn a_backend_ended_in_a_transaction_says_so() {
    let azure = shared().await;
    let postgres = azure.real_postgres().unwrap();
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut raw = proxy.raw().await;
    let answer = raw.query("begin; select pg_backend_pid()").await;
    let pid = answer[2].column().parse().unwrap();
    assert!(postgres.terminate_backend(pid).await.unwrap());
    let fields = raw.last_words().await;
    assert_eq!(
        (fields[&'C'].as_str(), fields[&'V'].as_str()),
        ("57P01", "FATAL")
    );
    let client = proxy.client().await;
    assert_eq!(value(&client, "select 6").await, "6");
}

#[tokio::test]
async fn the_servers_own_time_outs() {
    let azure = shared().await;
    for mode in ["auto", "session"] {
        let database = azure.new_database().await;
        let launch = Sidecar::on(&azure).database(&database);
        let proxy = launch.key("pool_mode", mode).pool(1).start().await;
        let with = async |options: &str| {
            let mut raw = proxy.dial().await;
            let parameters = [("user", "x"), ("database", &database), ("options", options)];
            raw.startup(0x0003_0000, &parameters).await;
            raw.greeting().await;
            raw
        };
        // An idle transaction: the server says so and closes, and so do we.
        let mut raw = with("-c idle_in_transaction_session_timeout=200ms").await;
        raw.query("begin; select 1").await;
        let fields = raw.last_words().await;
        assert_eq!(
            (fields[&'C'].as_str(), fields[&'V'].as_str()),
            ("25P03", "FATAL")
        );
        // A statement that takes too long: an error like any other.
        let mut raw = with("-c statement_timeout=200ms").await;
        let answer = raw.query("select pg_sleep(60)").await;
        assert_eq!(answer[1].fields()[&'C'], "57014");
        assert_eq!(raw.query("select 1").await.len(), 4);
        drop(raw);
        if mode == "session" {
            continue;
        }
        // The backend idles for too long, in nobody's hands: nobody hears of it.
        let mut raw = with("-c idle_session_timeout=100ms").await;
        raw.query("select 1").await;
        let logins = proxy.logins().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(raw.query("select 2").await[1].column(), "2");
        assert_eq!(proxy.logins().await, logins + 1.0);
    }
}
