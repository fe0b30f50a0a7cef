//! Session mode: a client keeps its backend and everything it does there; the next one finds
//! nothing of it.

use crate::sidecar::raw::{query, tags};
use crate::sidecar::{PATIENCE, Sidecar, shared};

#[tokio::test]
async fn the_whole_session_state_is_kept() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).session().pool(2).start().await;
    let (mut raw, mut other) = (proxy.raw().await, proxy.raw().await);
    for command in [
        "set statement_timeout = '77s'",
        "create temp table mine(n int)",
        "insert into mine values (1), (2)",
        "prepare stmt(int) as select $1 + 1",
        "declare c cursor with hold for select generate_series(1, 3)",
        "listen news",
    ] {
        assert_eq!(
            raw.query(command).await.last().unwrap().body,
            b"I",
            "{command}"
        );
        other.query("select 1").await;
    }
    let value = |messages: Vec<crate::sidecar::Message>| messages[1].column();
    assert_eq!(value(raw.query("show statement_timeout").await), "77s");
    assert_eq!(value(raw.query("select count(*) from mine").await), "2");
    assert_eq!(value(raw.query("execute stmt(41)").await), "42");
    assert_eq!(value(raw.query("fetch 2 from c").await), "1");
    assert_eq!(value(other.query("show statement_timeout").await), "0");
    // A notification comes without being asked for.
    other.query("notify news, 'hello'").await;
    let heard = tokio::time::timeout(PATIENCE, raw.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(heard.tag, b'A');
    assert_eq!(String::from_utf8_lossy(&heard.body[4..]), "news\0hello\0");
}

#[tokio::test]
async fn the_next_client_finds_nothing() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).session().pool(1).start().await;
    let grant = "grant pg_read_all_data to \"my-vm\"";
    azure
        .admin("postgres")
        .await
        .batch_execute(grant)
        .await
        .unwrap();
    for leave in [
        "create temp table leftover(n int)",
        "set statement_timeout = '77s'",
        "set TimeZone = 'Asia/Tokyo'",
        "set my.secret = 'x'",
        "listen gossip",
        "prepare stmt as select 1",
        "declare c cursor with hold for select 1",
        "select pg_advisory_lock(4711)",
        "set role pg_read_all_data",
        "begin; select pg_advisory_lock(4712); create temp table leftover(n int)",
    ] {
        let mut raw = proxy.raw().await;
        let left = tags(&raw.query(leave).await);
        assert!(!left.contains('E'), "{leave}");
        drop(raw);
        let mut next = proxy.raw().await;
        assert_eq!(next.parameters["TimeZone"], "UTC");
        let state = "select concat_ws(',', \
             (select count(*) from pg_class where relname = 'leftover'), \
             current_setting('statement_timeout'), current_setting('TimeZone'), \
             coalesce(current_setting('my.secret', true), ''), \
             (select count(*) from pg_listening_channels()), \
             (select count(*) from pg_prepared_statements), \
             (select count(*) from pg_cursors where is_holdable), \
             (select count(*) from pg_locks where locktype = 'advisory' \
              and pid = pg_backend_pid()), current_user = session_user)";
        let seen = next.query(state).await;
        assert_eq!(seen[1].column(), "0,0,UTC,,0,0,0,0,t", "{leave}");
    }
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn a_backend_is_taken_at_the_first_query_only() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).session().pool(1).start().await;
    let mut first = proxy.raw().await;
    first.query("select 1").await;
    // Greeted, though the only backend is another's.
    let mut second = proxy.raw().await;
    second.send(&query("select 2")).await;
    proxy
        .until(|metrics| metrics.value("entrapool_clients_waiting", &[]) == 1.0)
        .await;
    drop(first);
    assert_eq!(tags(&second.until(b'Z').await), "TDCZ");
    assert_eq!(proxy.logins().await, 1.0);
}
