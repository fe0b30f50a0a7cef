//! Cancel requests hit the query that was meant, or nothing.

use std::time::{Duration, Instant};

use crate::sidecar::raw::{bind, cancel, execute, parse, query, sync, tags};
use crate::sidecar::{Message, Raw, Sidecar, shared};

/// Asks for a cancel with this BackendKeyData and waits until the proxy has dealt with it.
async fn ask(proxy: &Sidecar, key: &[u8]) {
    let mut raw = proxy.dial().await;
    raw.send(&cancel(key)).await;
    assert_eq!(raw.next().await, None, "a cancel request is never answered");
}

/// Cancels until the client's query ends; its answer. The query may not have begun the first
/// time: as with a server, the client asks again then.
async fn stop(proxy: &Sidecar, raw: &mut Raw) -> Vec<Message> {
    let began = Instant::now();
    let key = raw.key.clone();
    let mut answer = Vec::new();
    loop {
        ask(proxy, &key).await;
        let rest = tokio::time::timeout(Duration::from_millis(500), raw.next());
        if let Ok(message) = rest.await {
            answer.push(message.unwrap());
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    answer.extend(raw.until(b'Z').await);
    answer
}

#[tokio::test]
async fn a_running_query_is_stopped() {
    for mode in ["auto", "transaction", "session"] {
        let azure = shared().await;
        let launch = Sidecar::on(&azure).key("pool_mode", mode);
        let proxy = launch.pool(1).start().await;
        let mut raw = proxy.raw().await;
        for _ in 0..3 {
            raw.send(&query("select pg_sleep(60)")).await;
            proxy
                .until(|metrics| metrics.backends("active") == 1.0)
                .await;
            let stopped = stop(&proxy, &mut raw).await;
            let error = stopped.iter().find(|message| message.tag == b'E').unwrap();
            assert_eq!(error.fields()[&'C'], "57014");
            assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
        }
        proxy.until(|metrics| metrics.cancels("sent") >= 3.0).await;
        assert_eq!(proxy.logins().await, 1.0);
    }
}

#[tokio::test]
async fn libpq_and_tokio_postgres_can_cancel() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().start().await;
    let client = proxy.client().await;
    let token = client.cancel_token();
    let sleep = client.simple_query("select pg_sleep(60)");
    let stop = async {
        proxy
            .until(|metrics| metrics.backends("active") == 1.0)
            .await;
        let mut stop = tokio::time::interval(Duration::from_millis(300));
        loop {
            stop.tick().await;
            token.cancel_query(tokio_postgres::NoTls).await.unwrap();
        }
    };
    let result = tokio::select! {
        result = sleep => result,
        () = stop => unreachable!(),
    };
    let error = crate::sidecar::said(result);
    assert_eq!(error.code().code(), "57014");
}

#[tokio::test]
async fn a_stale_key_hits_nothing() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut ended = proxy.raw().await;
    ended.query("select 1").await;
    let stale = ended.key.clone();
    drop(ended);
    proxy.until(|metrics| metrics.clients() == 0.0).await;
    let mut raw = proxy.raw().await;
    let mut wrong = raw.key.clone();
    wrong[7] ^= 1;
    let mut long = raw.key.clone();
    long.push(0);
    raw.send(&query("select pg_sleep(1)")).await;
    proxy
        .until(|metrics| metrics.backends("active") == 1.0)
        .await;
    for key in [&stale, &wrong, &long] {
        ask(&proxy, key).await;
    }
    assert_eq!(tags(&raw.until(b'Z').await), "TDCZ");
    let metrics = proxy.metrics().await;
    assert_eq!(
        (metrics.cancels("stale"), metrics.cancels("sent")),
        (3.0, 0.0)
    );
}

#[tokio::test]
async fn a_late_cancel_never_hits_the_next_client() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let (mut one, mut two) = (proxy.raw().await, proxy.raw().await);
    let key = one.key.clone();
    let mut hits = 0;
    for round in 0..300_u64 {
        // The end of the first query and the cancel request race, at many distances.
        let micros = (round % 30) * 100;
        let mut asking = proxy.dial().await;
        one.send(&query(&format!("select pg_sleep({micros} / 1e6)")))
            .await;
        two.send(&query("select pg_sleep(0.002)")).await;
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
        asking.send(&cancel(&key)).await;
        let first = tags(&one.until(b'Z').await);
        assert!(["TDCZ", "EZ", "TEZ"].contains(&first.as_str()), "{first}");
        hits += i32::from(first.contains('E'));
        assert_eq!(tags(&two.until(b'Z').await), "TDCZ", "round {round}");
    }
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.logins(), 1.0);
    assert_eq!(metrics.cancels("failed"), 0.0);
    assert!(
        metrics.cancels("sent") > 0.0 && hits > 0,
        "the race was never close"
    );
}

#[tokio::test]
async fn a_late_cancel_never_hits_its_own_clients_next_query() {
    let azure = shared().await;
    for mode in ["auto", "transaction", "session"] {
        let launch = Sidecar::on(&azure).key("pool_mode", mode);
        let proxy = launch.pool(1).start().await;
        let mut raw = proxy.raw().await;
        let key = raw.key.clone();
        for round in 0..100_u64 {
            let micros = (round % 20) * 100;
            raw.send(&query(&format!("select pg_sleep({micros} / 1e6)")))
                .await;
            // As libpq does: once the request's connection is closed, what comes next is safe.
            ask(&proxy, &key).await;
            raw.until(b'Z').await;
            let next = tags(&raw.query("select pg_sleep(0.003)").await);
            assert_eq!(next, "TDCZ", "round {round}");
        }
        proxy.until(|metrics| metrics.cancels("sent") > 0.0).await;
    }
}

#[tokio::test]
async fn a_request_that_still_waits_is_taken_back() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut busy = proxy.raw().await;
    busy.query("begin").await;
    let waiting = || proxy.until(|metrics| metrics.value("entrapool_clients_waiting", &[]) == 1.0);
    let mut raw = proxy.raw().await;
    let batch = [parse("", "select 2"), bind("", &[]), execute(), sync()].concat();
    for request in [query("select 1"), batch, query(&"x".repeat(200_000))] {
        // What comes behind the request stays.
        raw.send(&[request, query("select 3")].concat()).await;
        waiting().await;
        ask(&proxy, &raw.key).await;
        let answer = raw.until(b'Z').await;
        assert_eq!(tags(&answer), "EZ");
        assert_eq!(answer[0].fields()[&'C'], "57014");
        waiting().await;
        ask(&proxy, &raw.key).await;
        assert_eq!(tags(&raw.until(b'Z').await), "EZ");
    }
    busy.query("commit").await;
    assert_eq!(tags(&raw.query("select 4").await), "TDCZ");
    let metrics = proxy.metrics().await;
    assert_eq!(
        (metrics.cancels("waiting"), metrics.cancels("sent")),
        (6.0, 0.0)
    );
}

#[tokio::test]
async fn over_a_unix_socket() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let launch = Sidecar::on(&azure).key("listen", directory);
    let proxy = launch.pool(1).start().await;
    // libpq sends the request over the socket, too: psql does when it is interrupted.
    let psql = azure.real_postgres().unwrap().bin_directory().join("psql");
    let mut psql = std::process::Command::new(psql)
        .args(["-XAtc", "select pg_sleep(60)"])
        .env_clear()
        .env("PGHOST", directory)
        .env("PGUSER", "legacy-app")
        .env("PGDATABASE", azure.database())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    proxy
        .until(|metrics| metrics.backends("active") == 1.0)
        .await;
    let began = Instant::now();
    while psql.try_wait().unwrap().is_none() {
        let interrupt = format!("kill -INT {}", psql.id());
        let _gone = std::process::Command::new("sh")
            .args(["-c", &interrupt])
            .stderr(std::process::Stdio::null())
            .status();
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let said = psql.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("canceling statement due to user request"),
        "{said}"
    );
    proxy.until(|metrics| metrics.cancels("sent") >= 1.0).await;
}

#[tokio::test]
async fn a_key_is_of_one_route_whichever_listener_hears_it() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entrapool.toml");
    let database = azure.new_database().await;
    let first = Sidecar::on(&azure).pool(1).key("name", "first");
    let second = Sidecar::on(&azure).pool(1).key("name", "second");
    let second = second.database(&database).toml();
    let launch = first.config(&file);
    let both = std::fs::read_to_string(&file).unwrap() + &second;
    std::fs::write(&file, both).unwrap();
    let proxy = launch.start().await;
    let of_route = |route: &'static str| {
        move |line: &crate::sidecar::Line| {
            line.is("listening") && line.field("route") == Some(route)
        }
    };
    let address = async |route| {
        let line = proxy.log().find(of_route(route)).await.expect("it listens");
        line.field("listen").unwrap().parse().unwrap()
    };
    let (one, two) = (address("first").await, address("second").await);
    let (mut mine, mut other) = (Raw::dial(one).await, Raw::dial(two).await);
    mine.log_in(azure.database()).await;
    other.log_in(&database).await;
    for raw in [&mut mine, &mut other] {
        raw.send(&query("select pg_sleep(1.5)")).await;
    }
    proxy
        .until(|metrics| metrics.backends("active") == 2.0)
        .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut asking = Raw::dial(one).await;
    asking.send(&cancel(&other.key)).await;
    assert_eq!(asking.next().await, None);
    let stopped = other.until(b'Z').await;
    let error = stopped.iter().find(|message| message.tag == b'E');
    assert_eq!(error.expect("it was stopped").fields()[&'C'], "57014");
    assert_eq!(tags(&mine.until(b'Z').await), "TDCZ");
}
