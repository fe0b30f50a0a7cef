//! LISTEN in auto mode: sessions that wait hold no backend, and get what they would on a
//! connection of their own: all of it, once, in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::sidecar::raw::{query, tags};
use crate::sidecar::{Message, Metrics, Raw, Shared, Sidecar, shared};

/// Longer than a session that listens keeps its backend.
const QUIET: Duration = Duration::from_millis(250);

fn listening(metrics: &Metrics) -> f64 {
    metrics.value("entrapool_sessions_listening", &[])
}

fn connections(metrics: &Metrics, state: &str) -> f64 {
    metrics.value("entrapool_pool_connections", &[("state", state)])
}

async fn auto(size: usize) -> (Arc<Shared>, Sidecar) {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.pool(size).start().await;
    (azure, proxy)
}

/// Runs a command that must not fail.
async fn run(raw: &mut Raw, sql: &str) -> Vec<Message> {
    let messages = raw.query(sql).await;
    assert!(!tags(&messages).contains('E'), "{sql}: {messages:?}");
    messages
}

/// A session that listens, and has been quiet for long enough to hold no backend.
async fn listener(proxy: &Sidecar, sql: &str) -> Raw {
    let before = listening(&proxy.metrics().await);
    let mut raw = proxy.raw().await;
    run(&mut raw, sql).await;
    proxy.until(|metrics| listening(metrics) > before).await;
    raw
}

/// Channel and payload.
fn news(message: &Message) -> (String, String) {
    assert_eq!(message.tag, b'A', "{message:?}");
    let body = Message {
        tag: b'A',
        body: message.body[4..].to_vec(),
    };
    let texts = body.texts();
    assert!(!texts[0].starts_with("entrapool"), "{texts:?}");
    let payload = texts.get(1).cloned().unwrap_or_default();
    (texts[0].clone(), payload)
}

async fn hears(raw: &mut Raw, channel: &str, payload: &str) {
    let message = raw.next().await.expect("it is open");
    assert_eq!(news(&message), (channel.into(), payload.into()));
}

#[tokio::test]
async fn those_who_wait_hold_no_backend() {
    let (_azure, proxy) = auto(1).await;
    let mut all = Vec::new();
    for number in 0..5 {
        all.push(listener(&proxy, &format!("listen news; listen n{number}")).await);
    }
    let mut other = proxy.raw().await;
    run(&mut other, "notify news, 'one'").await;
    run(&mut other, "begin; notify n3, 'not this'; rollback").await;
    run(
        &mut other,
        "begin; notify n3, 'two'; notify news, 'three'; notify news; commit",
    )
    .await;
    for (number, raw) in all.iter_mut().enumerate() {
        hears(raw, "news", "one").await;
        if number == 3 {
            hears(raw, "n3", "two").await;
        }
        hears(raw, "news", "three").await;
        hears(raw, "news", "").await;
    }
    let metrics = proxy.metrics().await;
    assert_eq!(listening(&metrics), 5.0);
    assert_eq!(connections(&metrics, "listening"), 1.0);
    assert_eq!(metrics.value("entrapool_notifications_total", &[]), 16.0);
    let pinned = |metrics: &Metrics| metrics.value("entrapool_sessions_pinned", &[]);
    assert_eq!(pinned(&metrics), 0.0);
    assert_eq!(metrics.logins(), 2.0, "the pool's one, and the listener");
    // Those who leave are forgotten.
    drop(all);
    proxy.until(|metrics| listening(metrics) == 0.0).await;
    run(&mut other, "notify news").await;
}

/// A stream of notifications while its listeners work and rest, so that they change between
/// their backend and the listening connection at every moment.
#[tokio::test]
async fn nothing_is_lost_doubled_or_out_of_order() {
    const COUNT: usize = 3000;
    let (_azure, proxy) = auto(2).await;
    let mut listeners = Vec::new();
    for number in 0..3_u64 {
        let raw = listener(&proxy, "listen numbers").await;
        listeners.push(tokio::spawn(works_and_rests(raw, number, COUNT)));
    }
    let mut speaker = proxy.raw().await;
    for number in 0..COUNT {
        run(&mut speaker, &format!("notify numbers, '{number}'")).await;
        if number % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let expected: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
    for listener in listeners {
        let heard = tokio::time::timeout(Duration::from_secs(60), listener).await;
        let heard = heard.expect("everything comes").unwrap();
        let differs = heard
            .iter()
            .zip(&expected)
            .position(|(heard, sent)| heard != sent);
        let around = differs.map(|at| &heard[at.saturating_sub(3)..(at + 9).min(heard.len())]);
        assert_eq!((differs, around), (None, None));
    }
    let metrics = proxy.metrics().await;
    let by_mailbox = metrics.value("entrapool_notifications_total", &[]);
    let all = 3.0 * COUNT as f64;
    assert!(
        (1.0..all).contains(&by_mailbox),
        "{by_mailbox} of {all}: they came both ways"
    );
    assert!(metrics.value("entrapool_handovers_total", &[]) > 20.0);
}

/// Listens and asks in turn, until it has heard so many; what it heard.
async fn works_and_rests(mut raw: Raw, seed: u64, count: usize) -> Vec<String> {
    let (mut heard, mut random) = (Vec::new(), seed * 7919 + 1);
    while heard.len() < count {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let asks = Instant::now() + Duration::from_millis((random >> 33) % 220);
        while heard.len() < count
            && Instant::now() < asks
            && timeout_at(asks, raw.stream.readable()).await.is_ok()
        {
            heard.push(news(&raw.next().await.expect("it is open")).1);
        }
        let answer = run(&mut raw, "select 1").await;
        let told = answer.iter().filter(|message| message.tag == b'A');
        heard.extend(told.map(|message| news(message).1));
    }
    heard
}

#[tokio::test]
async fn channels_are_what_postgresql_says_they_are() {
    let (_azure, proxy) = auto(1).await;
    let mut one = listener(&proxy, "listen a; listen \"B\"\"b\"").await;
    let mut other = proxy.raw().await;
    let ends = "create function ends(name text) returns void language plpgsql \
                as $$ begin execute 'unlisten ' || name; end $$";
    run(&mut other, ends).await;
    // A backend of its own again: it has the channels, and no others.
    let rows = run(&mut one, "select pg_listening_channels() order by 1").await;
    assert_eq!(tags(&rows), "TDDCZ");
    assert_eq!(
        (rows[1].column(), rows[2].column()),
        ("B\"b".into(), "a".into())
    );
    // What it says to itself comes before the answer's end.
    tokio::time::sleep(QUIET).await;
    let answer = run(&mut one, "notify a, 'me'").await;
    assert_eq!(tags(&answer), "CAZ");
    assert_eq!(news(&answer[1]), ("a".into(), "me".into()));
    for (sql, heard) in [
        ("begin; unlisten a; rollback", vec!["a", "B\"b"]),
        (
            "begin; listen c; savepoint s; unlisten a; rollback to s; commit",
            vec!["a", "B\"b", "c"],
        ),
        ("select ends('c')", vec!["a", "B\"b"]),
        ("unlisten a", vec!["B\"b"]),
    ] {
        run(&mut one, sql).await;
        tokio::time::sleep(QUIET).await;
        run(&mut other, "notify a; notify \"B\"\"b\"; notify c").await;
        for channel in heard {
            hears(&mut one, channel, "").await;
        }
    }
    run(&mut one, "discard all").await;
    proxy.until(|metrics| listening(metrics) == 0.0).await;
    run(&mut other, "notify \"B\"\"b\"").await;
    assert_eq!(tags(&run(&mut one, "select 1").await), "TDCZ");
}

/// Inside a transaction nothing comes; it comes with the end of it.
#[tokio::test]
async fn notifications_wait_for_the_end_of_a_transaction() {
    let (_azure, proxy) = auto(2).await;
    let mut one = listener(&proxy, "listen a").await;
    let mut other = proxy.raw().await;
    run(&mut one, "begin").await;
    run(&mut other, "notify a, 'x'").await;
    assert_eq!(tags(&run(&mut one, "select 1").await), "TDCZ");
    assert_eq!(tags(&run(&mut one, "commit").await), "CAZ");
}

#[tokio::test]
async fn a_lost_connection_is_told_to_those_who_wait() {
    let (azure, proxy) = auto(1).await;
    let mut one = listener(&proxy, "listen a").await;
    let mut other = proxy.raw().await;
    let rows = run(
        &mut other,
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where pid <> pg_backend_pid() and datname = current_database()",
    )
    .await;
    assert_eq!(tags(&rows), "TDCZ");
    let words = one.last_words().await;
    assert_eq!(words[&'C'], "08006");
    assert!(words[&'H'].contains("LISTEN again"), "{words:?}");
    // The next one gets a new connection.
    let mut one = listener(&proxy, "listen a").await;
    run(&mut other, "notify a, 'again'").await;
    hears(&mut one, "a", "again").await;
    drop(azure);
}

/// Notifications that nobody reads are bounded, and their loss is told.
#[tokio::test]
async fn a_client_that_does_not_read_is_told_so() {
    let (_azure, proxy) = auto(1).await;
    let _deaf = listener(&proxy, "listen a").await;
    let mut hearing = listener(&proxy, "listen a").await;
    let mut other = proxy.raw().await;
    let flood =
        "select count(pg_notify('a', i || repeat('x', 7900))) from generate_series(1, 100) i";
    // What the kernel holds for it comes on top.
    for _ in 0..20 {
        run(&mut other, flood).await;
        for number in 1..=100 {
            let payload = news(&hearing.next().await.unwrap()).1;
            assert!(payload.starts_with(&format!("{number}x")), "{payload}");
        }
    }
    let deaf = [("cause", "deaf")];
    let ended = |metrics: &Metrics| metrics.value("entrapool_sessions_ended_total", &deaf);
    proxy.until(|metrics| ended(metrics) == 1.0).await;
}

/// A payload is told in the session's own encoding: where that is not the listening
/// connection's, the session keeps its backend.
#[tokio::test]
async fn another_encoding_stays_where_it_is_understood() {
    let (_azure, proxy) = auto(2).await;
    let mut one = proxy.raw().await;
    run(&mut one, "set client_encoding = latin1; listen a").await;
    let mut other = proxy.raw().await;
    tokio::time::sleep(QUIET).await;
    run(&mut other, "notify a, '\u{e4}'").await;
    let message = one.next().await.unwrap();
    assert_eq!(
        message.body.strip_suffix(b"a\0\xe4\0").map(<[u8]>::len),
        Some(4)
    );
    let metrics = proxy.metrics().await;
    assert_eq!(listening(&metrics), 0.0);
    let pinned = metrics.value("entrapool_sessions_pinned", &[("reason", "listen")]);
    assert_eq!(pinned, 1.0);
}

/// A client that dies on its way leaves nothing on the backend.
#[tokio::test]
async fn those_who_die_leave_no_channel_behind() {
    let (_azure, proxy) = auto(1).await;
    let mut other = proxy.raw().await;
    for round in 0..40 {
        let mut one = proxy.raw().await;
        run(&mut one, "listen a").await;
        if round % 2 == 0 {
            // On the way there.
            tokio::time::sleep(Duration::from_millis(95 + round / 2)).await;
        } else {
            // On the way back.
            tokio::time::sleep(QUIET).await;
            one.send(&query("select 1")).await;
        }
        one.reset();
        let rows = run(&mut other, "select count(*) from pg_listening_channels()").await;
        assert_eq!(rows[1].column(), "0");
        run(&mut other, "notify a").await;
    }
    proxy.until(|metrics| listening(metrics) == 0.0).await;
}

#[tokio::test]
async fn strict_mode_listens_too() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.key("pool_mode", "strict").pool(1).start().await;
    let mut one = listener(&proxy, "listen a").await;
    let mut other = proxy.raw().await;
    run(&mut other, "notify a, 'x'").await;
    hears(&mut one, "a", "x").await;
}
