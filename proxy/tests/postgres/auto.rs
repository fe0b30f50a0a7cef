//! Auto mode: backends are shared, and nobody can tell. What can be carried is carried; what
//! can't keeps the backend with its client, for as long as it is there.

use crate::sidecar::raw::tags;
use std::sync::Arc;

use crate::sidecar::{Message, Metrics, Raw, Shared, Sidecar, shared};

fn pinned(metrics: &Metrics, reason: &str) -> f64 {
    metrics.value("entrapool_sessions_pinned", &[("reason", reason)])
}

fn pins(metrics: &Metrics, reason: &str) -> f64 {
    metrics.value("entrapool_pins_total", &[("reason", reason)])
}

fn probes(metrics: &Metrics) -> f64 {
    metrics.value("entrapool_probes_total", &[])
}

async fn auto(size: usize) -> (Arc<Shared>, Sidecar) {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.pool(size).start().await;
    (azure, proxy)
}

/// The SQLSTATE of the error in an answer.
fn refused(answer: &[Message]) -> String {
    let error = answer.iter().find(|message| message.tag == b'E');
    let error = error.unwrap_or_else(|| panic!("no error in {answer:?}"));
    error.fields()[&'C'].clone()
}

/// Runs a command that must not fail; returns the first column of its first row, if any.
async fn run(raw: &mut Raw, sql: &str) -> Option<String> {
    let messages = raw.query(sql).await;
    if let Some(error) = messages.iter().find(|message| message.tag == b'E') {
        panic!("{sql}: {:?}", error.fields());
    }
    messages
        .iter()
        .find(|message| message.tag == b'D')
        .map(Message::column)
}

#[tokio::test]
async fn state_pins_while_it_is_there() {
    let (_azure, proxy) = auto(2).await;
    let (mut one, mut other) = (proxy.raw().await, proxy.raw().await);
    for (reason, makes, shows, value, ends) in [
        (
            "temp_table",
            "create temp table t as select 41 as n",
            "select n + 1 from t",
            "42",
            "drop table t",
        ),
        (
            "temp_table",
            "select 7 as n into temp t",
            "select n from t",
            "7",
            "discard temp",
        ),
        (
            "advisory_lock",
            "select pg_advisory_lock(4711)",
            "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
            "1",
            "select pg_advisory_unlock(4711)",
        ),
        (
            "cursor",
            "declare c cursor with hold for select generate_series(1, 3)",
            "fetch 2 from c",
            "1",
            "close c",
        ),
        (
            "prepared",
            "prepare p(int) as select $1 * 2",
            "execute p(21)",
            "42",
            "deallocate p",
        ),
        (
            "temp_table",
            "do $$ begin create temp table t as select 9 as n; end $$",
            "select n from t",
            "9",
            "discard all",
        ),
    ] {
        let before = proxy.metrics().await;
        run(&mut one, makes).await;
        run(&mut other, "select 1").await;
        proxy.until(|metrics| pinned(metrics, reason) == 1.0).await;
        run(&mut other, "select 1").await;
        assert_eq!(
            run(&mut one, shows).await.as_deref(),
            Some(value),
            "{shows}"
        );
        run(&mut one, ends).await;
        proxy.until(|metrics| pinned(metrics, reason) == 0.0).await;
        let after = proxy.metrics().await;
        assert_eq!(pins(&after, reason) - pins(&before, reason), 1.0, "{makes}");
        // Now it is shared again.
        let handovers = "entrapool_handovers_total";
        for _ in 0..3 {
            run(&mut other, "select 1").await;
            run(&mut one, "select 1").await;
        }
        let shared = proxy.metrics().await;
        assert!(
            shared.value(handovers, &[]) >= after.value(handovers, &[]) + 5.0,
            "{ends}"
        );
    }
}

#[tokio::test]
async fn what_no_server_shows_pins_to_the_end() {
    let (_azure, proxy) = auto(3).await;
    let admin = proxy.client().await;
    admin.batch_execute("create sequence s").await.unwrap();
    for (reason, makes, ends) in [
        (
            "sequence",
            "select nextval('s'); select lastval()",
            "select 1",
        ),
        ("hidden", "select setseed(0.5)", "reset all"),
        (
            "setting",
            "select set_config('a' || '.b', 'x', false)",
            "reset all",
        ),
    ] {
        let mut one = proxy.raw().await;
        run(&mut one, makes).await;
        proxy.until(|metrics| pinned(metrics, reason) == 1.0).await;
        run(&mut one, ends).await;
        run(&mut one, "select 1").await;
        assert_eq!(pinned(&proxy.metrics().await, reason), 1.0);
        drop(one);
        proxy.until(|metrics| pinned(metrics, reason) == 0.0).await;
    }
    // A seed is nothing that can be taken back: that backend is not lent again.
    proxy
        .until(|metrics| {
            metrics.value("entrapool_upstream_closed_total", &[("reason", "tainted")]) == 1.0
        })
        .await;
}

#[tokio::test]
async fn settings_go_along_to_another_backend() {
    let (_azure, proxy) = auto(2).await;
    let (mut one, mut blocker) = (proxy.raw().await, proxy.raw().await);
    run(&mut one, "create schema app; create schema other").await;
    run(
        &mut one,
        "set work_mem = '12345kB'; set app.name = 'o''brien'",
    )
    .await;
    run(&mut one, "set search_path = \"app\", \"$user\", pg_catalog").await;
    run(&mut one, "select set_config('app.tenant', 'ä\\', false)").await;
    run(&mut one, "begin; set statement_timeout = '7s'; rollback").await;
    run(&mut one, "begin; set local lock_timeout = '7s'; commit").await;
    run(
        &mut one,
        "set session characteristics as transaction isolation level serializable",
    )
    .await;
    // One that nobody has set on a backend is unknown there, or empty.
    let all = "select concat_ws('|', current_setting('work_mem'), \
               coalesce(current_setting('app.name', true), ''), \
               current_setting('search_path'), \
               coalesce(current_setting('app.tenant', true), ''), \
               current_setting('statement_timeout'), current_setting('lock_timeout'), \
               current_setting('default_transaction_isolation'))";
    let expected = "12345kB|o'brien|app, \"$user\", pg_catalog|ä\\|0|0|serializable";
    let mut backends = std::collections::BTreeSet::new();
    for round in 0..4 {
        if round % 2 == 0 {
            // The backend that was used last is taken away.
            run(&mut blocker, "begin").await;
        }
        assert_eq!(run(&mut one, all).await.as_deref(), Some(expected));
        backends.insert(run(&mut one, "select pg_backend_pid()").await);
        run(&mut blocker, "commit").await; // perhaps a warning
        let theirs = run(&mut blocker, all).await.unwrap();
        assert_eq!(
            theirs,
            "4MB|||\"$user\", public||0|0|read committed".replace("||\"", "|\"")
        );
    }
    assert_eq!(backends.len(), 2);
    run(&mut one, "reset all").await;
    run(&mut blocker, "begin").await;
    let reset = run(&mut one, all).await.unwrap();
    assert_eq!(reset, "4MB||\"$user\", public||0|0|read committed");
    let metrics = proxy.metrics().await;
    assert!(metrics.value("entrapool_settings_carried_total", &[]) >= 4.0);
    assert_eq!(pins(&metrics, "setting"), 0.0);
}

#[tokio::test]
async fn plain_queries_ask_nothing() {
    let (_azure, proxy) = auto(1).await;
    let client = proxy.client().await;
    client
        .batch_execute("create table t (id serial primary key, n int)")
        .await
        .unwrap();
    // For the table's sake.
    proxy.until(|metrics| probes(metrics) == 1.0).await;
    let mut other = proxy.raw().await;
    for number in 0..20_i32 {
        let sql = "insert into t (n) values ($1) returning id";
        client.query_one(sql, &[&number]).await.unwrap();
        client
            .query("select count(*), max(n) from t where n < $1", &[&number])
            .await
            .unwrap();
        run(
            &mut other,
            "begin; set local work_mem = '1MB'; update t set n = n + 1; commit",
        )
        .await;
    }
    let metrics = proxy.metrics().await;
    assert_eq!(probes(&metrics), 1.0);
    assert!(metrics.value("entrapool_handovers_total", &[]) >= 39.0);
}

#[tokio::test]
async fn what_a_set_leaves_is_asked_once() {
    let (_azure, proxy) = auto(1).await;
    let (mut one, mut other) = (proxy.raw().await, proxy.raw().await);
    let set = [
        "set work_mem = '1234kB'",
        "set datestyle = 'SQL, DMY'",
        // The order of day and month stays as it is.
        "set datestyle = 'ISO'",
        "set timezone to default",
        "set app.tenant to upper_case",
        "set role \"my-vm\"",
    ];
    let shows = "select concat_ws('|', current_setting('work_mem'), current_setting('datestyle'), \
                 current_setting('timezone'), current_setting('app.tenant', true), current_user)";
    let mut seen = Vec::new();
    for client in [&mut one, &mut other] {
        for text in set {
            run(client, text).await;
        }
        seen.push(run(client, shows).await.unwrap());
    }
    assert!(
        seen[0].starts_with("1234kB|ISO, DMY|") && seen[0].ends_with("|upper_case|my-vm"),
        "{seen:?}"
    );
    assert_eq!(seen[0], seen[1]);
    // The second client was not asked about.
    let mut asked = probes(&proxy.metrics().await);
    assert_eq!(asked, set.len() as f64);
    // From now on each text comes behind the others: that is asked about once, too.
    for _ in 0..3 {
        for client in [&mut one, &mut other] {
            for text in set {
                run(client, text).await;
            }
            assert_eq!(run(client, shows).await.unwrap(), seen[0]);
        }
        asked = probes(&proxy.metrics().await);
        assert_eq!(asked, 2.0 * set.len() as f64);
    }
    // A value of the client's own in a setting of its own is never asked about.
    for tenant in 0..20 {
        let client = if tenant % 2 == 0 {
            &mut one
        } else {
            &mut other
        };
        run(client, &format!("SET app.tenant = 'Tenant {tenant}'")).await;
    }
    let tenant = "select current_setting('app.tenant')";
    assert_eq!(run(&mut one, tenant).await.unwrap(), "Tenant 18");
    assert_eq!(run(&mut other, tenant).await.unwrap(), "Tenant 19");
    assert_eq!(probes(&proxy.metrics().await), asked);
    // One that fails leaves nothing.
    let refused_set = one.query("set work_mem = '-1'").await;
    assert_eq!(refused(&refused_set), "22023");
    assert_eq!(
        run(&mut one, shows).await.unwrap().split('|').next(),
        Some("1234kB")
    );
}

#[tokio::test]
async fn a_client_with_startup_settings_gets_them_back() {
    let (_azure, proxy) = auto(1).await;
    let mut plain = proxy.raw().await;
    run(&mut plain, "set timezone to default").await;
    run(&mut plain, "set timezone to default").await;
    let mut own = proxy.dial().await;
    let parameters = [("user", "legacy-app"), ("TimeZone", "Asia/Tokyo")];
    own.startup(196_608, &parameters).await;
    own.greeting().await;
    for _ in 0..3 {
        run(&mut own, "set timezone to 'Europe/Berlin'").await;
        run(&mut own, "set timezone to default").await;
        run(&mut plain, "select 1").await;
        let zone = run(&mut own, "show timezone").await;
        assert_eq!(zone.as_deref(), Some("Asia/Tokyo"));
    }
}

#[tokio::test]
async fn the_client_does_not_wait_for_the_question() {
    let (_azure, proxy) = auto(1).await;
    let mut one = proxy.raw().await;
    // Both in one write: the second arrives while the server is asked what the first has left.
    let both = [
        crate::sidecar::raw::query("set work_mem = '1234kB'"),
        crate::sidecar::raw::query("show work_mem"),
    ];
    for _ in 0..20 {
        one.send(&both.concat()).await;
        assert_eq!(tags(&one.until(b'Z').await), "CZ");
        assert_eq!(one.until(b'Z').await[1].column(), "1234kB");
        let mut other = proxy.raw().await;
        assert_eq!(
            run(&mut other, "show work_mem").await.as_deref(),
            Some("4MB")
        );
    }
}

#[tokio::test]
async fn what_a_function_hides_is_not_for_the_next_client() {
    let (_azure, proxy) = auto(1).await;
    let (mut one, mut other) = (proxy.raw().await, proxy.raw().await);
    let hides = "create function hide() returns void language sql as \
                 $$ select set_config('app.secret', 'mine', false) $$";
    run(&mut one, hides).await;
    run(&mut one, "select hide()").await;
    let secret = "select coalesce(current_setting('app.secret', true), '')";
    assert_eq!(run(&mut other, secret).await.as_deref(), Some(""));
    // The same client again finds its own, as long as nobody was there in between.
    run(&mut other, "select hide()").await;
    assert_eq!(run(&mut other, secret).await.as_deref(), Some("mine"));
}

#[tokio::test]
async fn a_client_that_goes_takes_its_state_with_it() {
    let (_azure, proxy) = auto(1).await;
    for leave in [
        "create temp table leftover(n int)",
        "set statement_timeout = '77s'",
        "set my.secret = 'x'",
        "listen gossip",
        "prepare stmt as select 1",
        "declare c cursor with hold for select 1",
        "select pg_advisory_lock(4711)",
        "begin; select pg_advisory_lock(4712); create temp table leftover(n int)",
    ] {
        let mut raw = proxy.raw().await;
        run(&mut raw, leave).await;
        drop(raw);
        let mut next = proxy.raw().await;
        let state = "select concat_ws(',', \
             (select count(*) from pg_class where relname = 'leftover'), \
             current_setting('statement_timeout'), \
             coalesce(current_setting('my.secret', true), ''), \
             (select count(*) from pg_listening_channels()), \
             (select count(*) from pg_prepared_statements where from_sql), \
             (select count(*) from pg_cursors where is_holdable), \
             (select count(*) from pg_locks where locktype = 'advisory' \
              and pid = pg_backend_pid()))";
        let seen = run(&mut next, state).await;
        assert_eq!(seen.as_deref(), Some("0,0,,0,0,0,0"), "{leave}");
    }
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn a_sequences_value_is_nobody_elses() {
    let (_azure, proxy) = auto(1).await;
    let (mut one, mut other) = (proxy.raw().await, proxy.raw().await);
    run(&mut one, "create table t (id serial, n int)").await;
    run(&mut one, "insert into t (n) values (1)").await;
    // Nobody was there in between.
    run(&mut one, "select 1").await;
    run(&mut other, "insert into t (n) values (2)").await;
    // Another was: better no value than a wrong one. From now on it is known that such values
    // are asked for, by whatever client.
    for sql in ["select lastval()", "select currval('t_id_seq')"] {
        assert_eq!(refused(&one.query(sql).await), "55000", "{sql}");
    }
    drop(one);
    run(&mut other, "insert into t (n) values (3)").await;
    proxy
        .until(|metrics| pinned(metrics, "sequence") == 1.0)
        .await;
    assert_eq!(
        run(&mut other, "select lastval()").await.as_deref(),
        Some("3")
    );
    drop(other);
    let mut third = proxy.raw().await;
    let asked = [
        crate::sidecar::raw::parse("", "select lastval()"),
        crate::sidecar::raw::bind("", &[]),
        crate::sidecar::raw::execute(),
        crate::sidecar::raw::sync(),
    ];
    third.send(&asked.concat()).await;
    assert_eq!(refused(&third.until(b'Z').await), "55000");
}

#[tokio::test]
async fn strict_refuses_what_would_pin() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.key("pool_mode", "strict").pool(1).start().await;
    let mut one = proxy.raw().await;
    for sql in [
        "create temp table t (n int)",
        "select pg_advisory_lock(1)",
        "declare c cursor with hold for select 1",
        "prepare p as select 1",
        "select 1; select lastval()",
    ] {
        let answer = one.query(sql).await;
        assert_eq!(tags(&answer), "EZ", "{sql}");
        assert_eq!(refused(&answer), "0A000", "{sql}");
        assert!(answer[0].fields()[&'H'].contains("pool_mode=auto"));
        let prepare = crate::sidecar::raw::parse("s", sql.split("; ").last().unwrap());
        one.send(&[prepare, crate::sidecar::raw::sync()].concat())
            .await;
        assert_eq!(refused(&one.until(b'Z').await), "0A000", "{sql}");
    }
    // It fails like any other statement.
    run(&mut one, "begin").await;
    assert_eq!(refused(&one.query("prepare p as select 1").await), "0A000");
    assert_eq!(refused(&one.query("select 1").await), "25P02");
    run(&mut one, "rollback").await;
    // What can be carried is.
    run(
        &mut one,
        "set work_mem = '1234kB'; create sequence s; select nextval('s')",
    )
    .await;
    let mut other = proxy.raw().await;
    run(&mut other, "select 1").await;
    assert_eq!(
        run(&mut one, "show work_mem").await.as_deref(),
        Some("1234kB")
    );
    let metrics = proxy.metrics().await;
    assert!(metrics.value("entrapool_handovers_total", &[]) >= 2.0);
}
