//! What PostgreSQL 18 brought: protocol 3.2 with long cancel keys, TLS from the first byte (17),
//! and a search_path that the server reports.

use std::collections::BTreeMap;

use entrapool_emulator::postgres::Postgres;

use crate::sidecar::eighteen::{ROLE, TRUSTED_ROLE, programs};
use crate::sidecar::raw::{self, bind, cancel, describe, execute, parse, query, sync, tags};
use crate::sidecar::{Eighteen, Launch, Message, Raw, Sidecar, count, eighteen, eventually};
use crate::tap::Tap;

/// Protocol 3.2, and the version that clients ask for to see whether servers negotiate.
const V3_2: u32 = 0x0003_0002;
const GREASE: u32 = 0x0003_270f;

/// The messages of an answer.
fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let Some((&[tag, a, b, c, d], rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize - 4;
        let body = rest[..length].to_vec();
        found.push(Message { tag, body });
        bytes = &rest[length..];
    }
    found
}

/// Without TLS, so that the tap can hear.
fn tapped(server: &Eighteen, tap: &Tap) -> Launch {
    Sidecar::with_password(server)
        .user(TRUSTED_ROLE)
        .key("tls", "off")
        .server(&tap.address.to_string())
        .pool(1)
}

async fn greeted(proxy: &Sidecar, version: u32) -> Raw {
    let mut raw = proxy.dial().await;
    let parameters = [("user", "legacy-app"), ("database", "appdb")];
    raw.startup(version, &parameters).await;
    raw.greeting().await;
    raw
}

/// Its query is cancelled by its own key.
async fn check_cancel(proxy: &Sidecar, raw: &mut Raw) {
    raw.send(&query("select pg_sleep(60)")).await;
    proxy
        .until(|metrics| metrics.backends("active") == 1.0)
        .await;
    loop {
        let mut asking = proxy.dial().await;
        asking.send(&cancel(&raw.key)).await;
        assert_eq!(asking.next().await, None);
        let next = tokio::time::timeout(std::time::Duration::from_millis(500), raw.next());
        if let Ok(message) = next.await {
            assert_eq!(message.unwrap().tag, b'T');
            break;
        }
    }
    let rest = raw.until(b'Z').await;
    assert_eq!(rest[0].fields()[&'C'], "57014");
    assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
}

#[tokio::test]
async fn servers_are_asked_for_3_2_and_their_keys_reach_the_query() {
    let new = Eighteen::start(Postgres::builder().programs(&programs())).await;
    let old = Eighteen::start(Postgres::builder()).await;
    for (server, is_stubborn, asked, negotiated, secret) in [
        (&new, false, &[V3_2][..], None, 32),
        (&old, false, &[V3_2], Some(&[0, 3, 0, 0, 0, 0, 0, 0][..]), 4),
        (&new, true, &[V3_2, 0x0003_0000], None, 4),
    ] {
        let tap = Tap::to(server.postgres.address(), is_stubborn).await;
        let proxy = tapped(server, &tap).start().await;
        let mut raw = greeted(&proxy, V3_2).await;
        check_cancel(&proxy, &mut raw).await;
        let heard = tap.heard();
        let logins = &heard[..asked.len()];
        let versions = logins.iter().map(|(bytes, _)| &bytes[4..8]);
        let versions: Vec<_> = versions.map(|word| word.try_into().unwrap()).collect();
        let versions: Vec<_> = versions.into_iter().map(u32::from_be_bytes).collect();
        assert_eq!(versions, asked);
        let answer = messages(&logins.last().unwrap().1);
        let said = answer.iter().find(|message| message.tag == b'v');
        assert_eq!(said.map(|message| &message.body[..]), negotiated);
        let key = answer.iter().find(|message| message.tag == b'K').unwrap();
        assert_eq!(key.body.len(), 4 + secret);
        // The server's own key went to the server; the client never had it.
        assert!(
            heard[asked.len()..]
                .iter()
                .all(|(asked, _)| *asked == cancel(&key.body))
        );
        assert!(heard.len() > asked.len());
        assert_ne!(raw.key, key.body);
        assert_eq!(proxy.logins().await, 1.0);
        if is_stubborn {
            // It is remembered: the next login asks for 3.0 at once.
            let before = tap.heard().len();
            end_backend(server, &mut raw).await;
            assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
            let next = &tap.heard()[before].0[4..8];
            assert_eq!(next, 0x0003_0000_u32.to_be_bytes());
        }
    }
}

/// Ends the backend that the client used last, and waits until it has gone.
async fn end_backend(server: &Eighteen, raw: &mut Raw) {
    let pid = raw.query("select pg_backend_pid()").await[1].column();
    let pid: i32 = pid.parse().unwrap();
    assert!(server.postgres.terminate_backend(pid).await.unwrap());
    let admin = server.postgres.admin("postgres").await.unwrap();
    let gone = format!("select count(*) from pg_stat_activity where pid = {pid}");
    eventually(async || (count(&admin, &gone).await == 0).then_some(())).await;
}

#[tokio::test]
async fn clients_that_ask_for_3_2_get_long_keys() {
    let server = eighteen().await;
    for mode in ["auto", "session"] {
        let launch = Sidecar::with_password(&server).key("pool_mode", mode);
        let proxy = launch.pool(1).start().await;
        for (version, secret) in [(0x0003_0000, 4), (V3_2, 32), (GREASE, 32)] {
            let mut raw = greeted(&proxy, version).await;
            assert_eq!(raw.key.len(), 4 + secret);
            assert!(raw.parameters["server_version"].starts_with("18"));
            check_cancel(&proxy, &mut raw).await;
            // A key that differs in its last byte hits nothing, nor does a part of a long one.
            let mut wrong = raw.key.clone();
            *wrong.last_mut().unwrap() ^= 1;
            let mut keys = vec![wrong];
            if secret == 32 {
                keys.extend([8, 35].map(|length| raw.key[..length].to_vec()));
            }
            let stale = proxy.metrics().await.cancels("stale");
            raw.send(&query("select pg_sleep(0.3)")).await;
            for key in &keys {
                let mut asking = proxy.dial().await;
                asking.send(&cancel(key)).await;
                assert_eq!(asking.next().await, None);
            }
            assert_eq!(tags(&raw.until(b'Z').await), "TDCZ");
            let expected = stale + keys.len() as f64;
            assert_eq!(proxy.metrics().await.cancels("stale"), expected);
            raw.send(&raw::terminate()).await;
            assert_eq!(raw.next().await, None);
        }
        // libpq of that version, which was told to accept nothing older.
        let said = proxy.program(
            "psql",
            &[
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--dbname",
                "min_protocol_version=3.2 max_protocol_version=latest sslmode=disable",
                "--command",
                "select 'by libpq'",
            ],
        );
        assert_eq!(said.await.trim(), "by libpq");
        assert_eq!(proxy.logins().await, 1.0);
    }
}

#[tokio::test]
async fn tls_from_the_first_byte() {
    let builder = Postgres::builder().programs(&programs());
    let server = Eighteen::start(builder.setting("trace_connection_negotiation", "on")).await;
    // Asked for first, once, for comparison.
    let proxy = Sidecar::with_password(&server).pool(1).start().await;
    let mut raw = greeted(&proxy, V3_2).await;
    check_cancel(&proxy, &mut raw).await;
    let log = server.postgres.server_log().unwrap();
    let asked = log.matches("SSLRequest accepted").count();
    assert!(asked >= 2, "{log}");
    drop(raw);
    assert_eq!(proxy.stop().await, 0);
    let launch = Sidecar::with_password(&server).key("tls", "direct");
    let proxy = launch.pool(1).start().await;
    let mut raw = greeted(&proxy, V3_2).await;
    let encrypted = "select version, cipher is not null from pg_stat_ssl \
                     where pid = pg_backend_pid()";
    let answer = raw.query(encrypted).await;
    assert_eq!(tags(&answer), "TDCZ");
    assert!(answer[1].column().starts_with("TLSv1.3"));
    check_cancel(&proxy, &mut raw).await;
    let log = server.postgres.server_log().unwrap();
    // The login, and at least one cancel request.
    assert!(
        log.matches("direct SSL connection accepted").count() >= 2,
        "{log}"
    );
    assert_eq!(log.matches("SSLRequest accepted").count(), asked, "{log}");
    // A server that does not know it is named, with what to do.
    let old = Eighteen::start(Postgres::builder()).await;
    let launch = Sidecar::with_password(&old).key("tls", "direct");
    let proxy = launch.start().await;
    let refusal = proxy.refusal().await;
    assert_eq!(refusal.code().code(), "08001", "{refusal:?}");
    assert!(
        refusal.hint().unwrap().contains("tls=negotiate"),
        "{refusal:?}"
    );
}

/// What the client was told last, of each setting.
fn note(told: &mut BTreeMap<String, String>, answer: &[Message]) {
    for message in answer.iter().filter(|message| message.tag == b'S') {
        let texts = message.texts();
        told.insert(texts[0].clone(), texts[1].clone());
    }
}

struct Walker {
    raw: Raw,
    told: BTreeMap<String, String>,
    path: &'static str,
}

impl Walker {
    async fn query(&mut self, sql: &str) -> Vec<Message> {
        let answer = self.raw.query(sql).await;
        note(&mut self.told, &answer);
        assert!(!tags(&answer).contains('E'), "{sql}: {answer:?}");
        answer
    }

    /// What its statements find, which were parsed under whatever path.
    async fn check(&mut self, round: usize) {
        let want = match self.path {
            "one, public" => "1",
            "two" => "2",
            _ => "0",
        };
        for batch in [
            [bind("s", &[]), execute(), sync()].concat(),
            [
                parse("", "select n from t"),
                bind("", &[]),
                execute(),
                sync(),
            ]
            .concat(),
            query("select n from t"),
        ] {
            self.raw.send(&batch).await;
            let answer = self.raw.until(b'Z').await;
            note(&mut self.told, &answer);
            let row = answer.iter().find(|message| message.tag == b'D');
            let row = row.unwrap_or_else(|| panic!("round {round}: {answer:?}"));
            assert_eq!(row.column(), want, "round {round}, {}", self.path);
        }
        let path = self.query("show search_path").await[1].column();
        assert_eq!(path, self.path, "round {round}");
        assert_eq!(self.told["search_path"], self.path, "round {round}");
    }
}

#[tokio::test]
async fn search_path_is_reported_and_goes_along() {
    let server = eighteen().await;
    for pool in [1, 2] {
        let database = server.new_database().await;
        let launch = Sidecar::with_password(&server).database(&database);
        let proxy = launch.pool(pool).start().await;
        let mut first = proxy.raw().await;
        first
            .query(
                "create schema one; create schema two; create table t as select 0 as n; \
                 create table one.t as select 1 as n; create table two.t as select 2 as n",
            )
            .await;
        drop(first);
        let mut walkers = Vec::new();
        for _ in 0..3 {
            let mut raw = proxy.raw().await;
            let told = raw.parameters.clone();
            assert_eq!(told["search_path"], "\"$user\", public");
            let prepare = [parse("s", "select n from t"), describe(b'S', "s"), sync()].concat();
            raw.send(&prepare).await;
            assert_eq!(tags(&raw.until(b'Z').await), "1tTZ");
            walkers.push(Walker {
                raw,
                told,
                path: "\"$user\", public",
            });
        }
        let mut random = fastrand::Rng::with_seed(4711 + pool as u64);
        for round in 0..120 {
            let walker = &mut walkers[random.usize(..3)];
            let path = ["one, public", "two", "\"$user\", public"][random.usize(..3)];
            match random.usize(..6) {
                0 => {
                    walker
                        .query(&format!("begin; set search_path = {path}"))
                        .await;
                    walker.query("select n from t").await;
                    walker.query("rollback").await;
                }
                1 => {
                    walker
                        .query(&format!("begin; set local search_path = {path}"))
                        .await;
                    walker.query("commit").await;
                }
                2 => {
                    walker.query("reset search_path").await;
                    walker.path = "\"$user\", public";
                }
                3 => {
                    let set = format!("select set_config('search_path', '{path}', false)");
                    walker.query(&set).await;
                    walker.path = path;
                }
                _ => {
                    let set = format!("set search_path = {path}");
                    let batch = [parse("", &set), bind("", &[]), execute(), sync()].concat();
                    walker.raw.send(&batch).await;
                    let answer = walker.raw.until(b'Z').await;
                    note(&mut walker.told, &answer);
                    walker.path = path;
                }
            }
            // Two at a time where there are two backends.
            let other = random.usize(..3);
            if pool == 2 {
                walkers[other].query("begin").await;
            }
            let who = (other + 1 + random.usize(..2)) % 3;
            walkers[who].check(round).await;
            if pool == 2 {
                walkers[other].query("commit").await;
            }
            walkers[other].check(round).await;
        }
        // Asked for at the start, in both ways.
        for parameters in [("search_path", "two"), ("options", "-c search_path=two")] {
            let mut raw = proxy.dial().await;
            let all = [("user", "legacy-app"), ("database", &database), parameters];
            raw.startup(V3_2, &all).await;
            raw.greeting().await;
            assert_eq!(raw.parameters["search_path"], "two");
            assert_eq!(raw.query("select n from t").await[1].column(), "2");
        }
        let metrics = proxy.metrics().await;
        assert!(metrics.logins() <= f64::from(pool as u8));
        assert_eq!(metrics.value("entrapool_pins_total", &[]), 0.0);
        assert!(metrics.value("entrapool_handovers_total", &[]) > 100.0);
    }
}

#[tokio::test]
async fn a_password_by_scram_and_the_wrong_one() {
    let server = eighteen().await;
    let proxy = Sidecar::with_password(&server).start().await;
    let mut raw = greeted(&proxy, V3_2).await;
    let user = raw.query("select session_user").await[1].column();
    assert_eq!(user, ROLE);
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "not this").unwrap();
    let launch = Sidecar::with_password(&server);
    let launch = launch.key("password_file", wrong.path().to_str().unwrap());
    let refusal = launch.start().await.refusal().await;
    assert_eq!(refusal.code().code(), "28P01", "{refusal:?}");
}
