//! Transaction mode: what a client sets stays its own, whichever backend serves it.

use entrapool_emulator::postgres::Postgres;

use crate::sidecar::raw::{execute, message, query, sync, tags};
use crate::sidecar::{Eighteen, Message, Sidecar, count, eventually, shared};

#[tokio::test]
async fn queries_of_every_shape() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let mut raw = proxy.raw().await;
    assert_eq!(tags(&raw.query("").await), "IZ");
    assert_eq!(tags(&raw.query(" ; ").await), "IZ");
    let several = raw
        .query("select 1; select 2 where false; create temp table t(); select 3")
        .await;
    assert_eq!(tags(&several), "TDCTCCTDCZ");
    let failing = raw.query("select 1; select 1/0; select 2").await;
    assert_eq!(tags(&failing), "TDCEZ");
    assert_eq!(failing[3].fields()[&'C'], "22012");
    // Two queries at once: the second is not lost, and waits for nobody.
    raw.send(&[query("select 1"), query("begin"), query("select 2")].concat())
        .await;
    for (tag, status) in [("TDCZ", b'I'), ("CZ", b'T'), ("TDCZ", b'T')] {
        let answer = raw.until(b'Z').await;
        assert_eq!(tags(&answer), tag);
        assert_eq!(answer.last().unwrap().body, [status]);
    }
    let failed = raw.query("no such command").await;
    assert_eq!(
        (tags(&failed).as_str(), &failed[1].body[..]),
        ("EZ", &b"E"[..])
    );
    assert_eq!(raw.query("select 1").await[0].fields()[&'C'], "25P02");
    assert_eq!(raw.query("rollback").await.last().unwrap().body, b"I");
    // FunctionCall: int4pl(40, 2), all in binary (55.2.5).
    let mut call = 177_u32.to_be_bytes().to_vec();
    call.extend([0, 1, 0, 1, 0, 2]);
    for argument in [40_u32, 2] {
        call.extend(4_u32.to_be_bytes());
        call.extend(argument.to_be_bytes());
    }
    call.extend([0, 1]);
    raw.send(&message(b'F', &call)).await;
    let answer = raw.until(b'Z').await;
    assert_eq!(tags(&answer), "VZ");
    assert_eq!(answer[0].body, [0, 0, 0, 4, 0, 0, 0, 42]);
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn a_setting_goes_along_to_another_backend() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(2).start().await;
    let (mut raw, mut blocker) = (proxy.raw().await, proxy.raw().await);
    let set = raw.query("set TimeZone = 'Asia/Tokyo'").await;
    assert_eq!(tags(&set), "CSZ");
    assert_eq!(set[1].texts(), ["TimeZone", "Asia/Tokyo"]);
    let mut backends = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let held = blocker.query("begin; select pg_backend_pid()").await;
        backends.insert(held[2].column());
        let own = raw
            .query("select current_setting('TimeZone') || ' ' || pg_backend_pid()")
            .await;
        let own = own[1].column();
        let (zone, backend) = own.split_once(' ').unwrap();
        assert_eq!(zone, "Asia/Tokyo");
        backends.insert(backend.to_owned());
        let other = blocker.query("show TimeZone; commit").await;
        assert_eq!(other[1].column(), "UTC");
    }
    assert_eq!(backends.len(), 2);
    // What a rollback takes back does not come along; SET LOCAL ends with its transaction.
    raw.query("begin").await;
    raw.query("set TimeZone = 'Asia/Seoul'").await;
    let back = raw.query("rollback").await;
    assert!(back.contains(&Message {
        tag: b'S',
        body: b"TimeZone\0Asia/Tokyo\0".to_vec()
    }));
    raw.query("begin; set local TimeZone = 'Asia/Seoul'; commit")
        .await;
    blocker.query("begin").await;
    assert_eq!(raw.query("show TimeZone").await[1].column(), "Asia/Tokyo");
}

#[tokio::test]
async fn notices_come_to_their_client_only() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let (mut one, mut two) = (proxy.raw().await, proxy.raw().await);
    let notice = "do $$ begin raise notice 'for one'; raise warning 'and more'; end $$";
    one.send(&query(notice)).await;
    two.send(&query("select 1")).await;
    let heard = one.until(b'Z').await;
    assert_eq!(tags(&heard), "NNCZ");
    assert_eq!(heard[0].fields()[&'M'], "for one");
    assert_eq!(tags(&two.until(b'Z').await), "TDCZ");
}

#[tokio::test]
async fn nothing_is_left_for_the_next_client() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let (mut one, mut two) = (proxy.raw().await, proxy.raw().await);
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
        "set my.secret = 'x'",
        "listen gossip",
        "prepare stmt as select 1",
        "declare c cursor with hold for select 1",
        "select pg_advisory_lock(4711)",
        "set role pg_read_all_data",
    ] {
        let left = tags(&one.query(leave).await);
        assert!(!left.contains('E'), "{leave}");
        let state = "select concat_ws(',', \
             (select count(*) from pg_class where relname = 'leftover'), \
             current_setting('statement_timeout'), current_setting('my.secret', true), \
             (select count(*) from pg_listening_channels()), \
             (select count(*) from pg_prepared_statements where name not like 'entrapool%'), \
             (select count(*) from pg_cursors where is_holdable), \
             current_user = session_user)";
        let seen = two.query(state).await;
        let seen = seen[1].column();
        assert!(
            ["0,0,,0,0,0,t", "0,0,0,0,0,t"].contains(&seen.as_str()),
            "{leave}: {seen}"
        );
    }
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn random_settings_never_cross() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    let values: [(&str, &[&str]); 4] = [
        (
            "TimeZone",
            &["Asia/Tokyo", "Europe/Berlin", "America/Lima", "UTC"],
        ),
        (
            "DateStyle",
            &["ISO, DMY", "SQL, DMY", "German, DMY", "ISO, MDY"],
        ),
        ("application_name", &["one", "two's \\ way", "three", ""]),
        ("IntervalStyle", &["iso_8601", "postgres", "sql_standard"]),
    ];
    let mut clients = Vec::new();
    for _ in 0..2 {
        let raw = proxy.raw().await;
        let own: Vec<String> = values
            .iter()
            .map(|(name, _)| raw.parameters[*name].clone())
            .collect();
        clients.push((raw, own));
    }
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let show = values.map(|(name, _)| format!("current_setting('{name}')"));
    let show = format!("select concat_ws('|', {})", show.join(", "));
    for round in 0..500 {
        let (raw, own) = &mut clients[random.usize(..2)];
        let which = random.usize(..values.len());
        let (name, all) = values[which];
        let value = all[random.usize(..all.len())];
        let set = format!("set {name} = '{}'", value.replace('\'', "''"));
        match random.usize(..5) {
            0 => {
                raw.query(&format!("begin; {set}; rollback")).await;
            }
            1 => {
                raw.query(&set.replacen("set", "begin; set local", 1)).await;
                raw.query("commit").await;
            }
            2 => {}
            _ => {
                assert!(tags(&raw.query(&set).await).starts_with('C'), "{set}");
                value.clone_into(&mut own[which]);
            }
        }
        let seen = raw.query(&show).await;
        assert_eq!(
            seen[1].column(),
            own.join("|"),
            "round {round}, seed {seed}"
        );
    }
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn a_message_that_is_none_ends_its_client_alone() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.transaction().pool(1).start().await;
    let mut good = proxy.raw().await;
    good.query("create table t(n int)").await;
    for bytes in [&b"!\0\0\0\x04"[..], b"Q\0\0\0\x01", b"Q\xff\xff\xff\xff"] {
        let mut bad = proxy.raw().await;
        bad.send(&[&query("begin; insert into t values (1)"), bytes].concat())
            .await;
        let mut last = bad.until(b'E').await;
        assert_eq!(last.pop().unwrap().fields()[&'C'], "08P01");
        assert_eq!(bad.next().await, None);
        assert_eq!(tags(&good.query("select * from t").await), "TCZ");
    }
    assert_eq!(proxy.logins().await, 1.0);
    let client = proxy.client().await;
    assert_eq!(count(&client, "select count(*) from t").await, 0);
}

#[tokio::test]
async fn a_prepared_transaction_is_committed_on_any_backend() {
    let builder = Postgres::builder().setting("max_prepared_transactions", "5");
    let server = Eighteen::start(builder).await;
    for mode in ["auto", "transaction"] {
        let database = server.new_database().await;
        let launch = Sidecar::with_password(&server).database(&database);
        let proxy = launch.key("pool_mode", mode).pool(1).start().await;
        let (mut one, mut two) = (proxy.raw().await, proxy.raw().await);
        one.query("create table t (n int)").await;
        for (end, rows) in [("commit", "1"), ("rollback", "1")] {
            one.query("begin; savepoint a; insert into t values (1)")
                .await;
            let prepared = one.query("prepare transaction 'both'").await;
            // From here on nobody needs this backend.
            assert_eq!(prepared.last().unwrap().body, b"I");
            let held = two.query("begin; select count(*) from t").await;
            assert!(!tags(&held).contains('E'), "{held:?}");
            two.query("commit").await;
            let ended = two.query(&format!("{end} prepared 'both'")).await;
            assert_eq!(tags(&ended), "CZ", "{ended:?}");
            assert_eq!(one.query("select count(*) from t").await[1].column(), rows);
        }
        assert_eq!(proxy.logins().await, 1.0);
        assert_eq!(
            proxy.metrics().await.value("entrapool_pins_total", &[]),
            0.0
        );
    }
}

#[tokio::test]
async fn bytes_of_other_encodings_pass_as_they_are() {
    let azure = shared().await;
    let admin = azure.admin("postgres").await;
    let create = format!(
        "create database bytes encoding 'SQL_ASCII' template template0 owner \"{}\"",
        azure.role()
    );
    admin.batch_execute(&create).await.unwrap();
    for mode in ["auto", "transaction", "session"] {
        let launch = Sidecar::on(&azure).key("pool_mode", mode);
        let proxy = launch.pool(1).start().await;
        let (mut latin, mut other) = (proxy.raw().await, proxy.raw().await);
        latin.query("set client_encoding = 'LATIN1'").await;
        // Two texts in one: a literal and a name, a parameter, and an error that quotes it.
        let ask = b"select '\xe4' as \xf6\0";
        for _ in 0..3 {
            latin.send(&message(b'Q', ask)).await;
            let answer = latin.until(b'Z').await;
            assert_eq!(tags(&answer), "TDCZ");
            assert!(answer[0].body[2..].starts_with(b"\xf6\0"));
            assert!(answer[1].body.ends_with(b"\xe4"));
            if mode != "session" {
                let utf8 = other.query("select 'ä'").await;
                assert!(utf8[1].body.ends_with("ä".as_bytes()));
            }
            let named = message(b'P', b"\xe4\0select $1::text, '\xfc'\0\0\0");
            let bound = message(b'B', b"\0\xe4\0\0\0\0\x01\0\0\0\x01\xdf\0\0");
            let closed = message(b'C', b"S\xe4\0");
            let batch = [named, bound, execute(), closed, sync()].concat();
            latin.send(&batch).await;
            let answer = latin.until(b'Z').await;
            assert_eq!(tags(&answer), "12DC3Z");
            assert!(answer[2].body.ends_with(b"\xdf\0\0\0\x01\xfc"));
            latin.send(&message(b'Q', b"select \xe4\0")).await;
            let error = latin.until(b'Z').await;
            assert!(error[0].body.windows(3).any(|bytes| bytes == b"\"\xe4\""));
        }
    }
    // Where the server itself does not look at them: bytes that are no text in any encoding.
    let proxy = Sidecar::on(&azure).database("bytes").start().await;
    let mut raw = proxy.raw().await;
    assert_eq!(raw.parameters["client_encoding"], "SQL_ASCII");
    raw.send(&message(b'Q', b"select '\xff\xfe\x80'\0")).await;
    assert!(raw.until(b'Z').await[1].body.ends_with(b"\xff\xfe\x80"));
}

#[tokio::test]
async fn a_setting_that_the_server_changes_reaches_everybody() {
    let server = Eighteen::start(Postgres::builder()).await;
    let proxy = Sidecar::with_password(&server).pool(1).start().await;
    let (mut one, mut two) = (proxy.raw().await, proxy.raw().await);
    two.query("set TimeZone = 'Europe/Berlin'").await;
    one.query("select 1").await;
    // The backend idles in the pool while the server reads its configuration again.
    let admin = server.postgres.admin("postgres").await.unwrap();
    for sql in [
        "alter system set timezone = 'Asia/Tokyo'",
        "select pg_reload_conf()",
    ] {
        admin.simple_query(sql).await.unwrap();
    }
    let shown = eventually(async || {
        let mut new = proxy.raw().await;
        let shown = new.query("show TimeZone").await;
        let shown = shown.iter().find(|message| message.tag == b'D');
        let shown = shown.expect("a value").column();
        (shown != "UTC").then_some(shown)
    })
    .await;
    assert_eq!(shown, "Asia/Tokyo");
    // Who has a time zone of its own keeps it.
    assert_eq!(
        two.query("show TimeZone").await[1].column(),
        "Europe/Berlin"
    );
    let told = one.query("show TimeZone").await;
    let value = told.iter().find(|message| message.tag == b'D');
    assert_eq!(value.expect("a value").column(), "Asia/Tokyo");
    assert_eq!(proxy.logins().await, 1.0);
}
