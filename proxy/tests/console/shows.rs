//! What SHOW shows, in both protocols.

use tokio_postgres::types::Type;

use crate::sidecar::{Sidecar, shared};
use crate::{console, house, number, rows};

const TEXT: Type = Type::TEXT;
const INT4: Type = Type::INT4;
const INT8: Type = Type::INT8;

/// What prometheus-community's exporter reads of each answer, and what it can make of it: labels
/// are texts (or numbers, which it prints), the rest numbers.
const EXPORTER: &[(&str, &[(&str, Type)])] = &[
    ("SHOW VERSION;", &[("version", TEXT)]),
    ("SHOW LISTS;", &[("list", TEXT), ("items", INT4)]),
    (
        "SHOW CONFIG;",
        &[
            ("key", TEXT),
            ("value", TEXT),
            ("default", TEXT),
            ("changeable", TEXT),
        ],
    ),
    (
        "SHOW CLIENTS;",
        &[
            ("database", TEXT),
            ("user", TEXT),
            ("state", TEXT),
            ("application_name", TEXT),
        ],
    ),
    (
        "SHOW DATABASES;",
        &[
            ("name", TEXT),
            ("host", TEXT),
            ("port", INT4),
            ("database", TEXT),
            ("force_user", TEXT),
            ("pool_size", INT4),
            ("reserve_pool_size", INT4),
            ("pool_mode", TEXT),
            ("max_connections", INT4),
            ("current_connections", INT4),
            ("paused", INT4),
            ("disabled", INT4),
        ],
    ),
    (
        "SHOW STATS_TOTALS;",
        &[
            ("database", TEXT),
            ("query_count", INT8),
            ("query_time", INT8),
            ("bytes_received", INT8),
            ("bytes_sent", INT8),
            ("wait_time", INT8),
            ("xact_count", INT8),
            ("xact_time", INT8),
            ("client_parse_count", INT8),
            ("server_parse_count", INT8),
            ("bind_count", INT8),
            ("server_assignment_count", INT8),
        ],
    ),
    (
        "SHOW POOLS;",
        &[
            ("database", TEXT),
            ("user", TEXT),
            ("cl_active", INT4),
            ("cl_active_cancel_req", INT4),
            ("cl_waiting", INT4),
            ("cl_waiting_cancel_req", INT4),
            ("sv_active", INT4),
            ("sv_active_cancel", INT4),
            ("sv_being_canceled", INT4),
            ("sv_idle", INT4),
            ("sv_used", INT4),
            ("sv_tested", INT4),
            ("sv_login", INT4),
            ("maxwait", INT4),
        ],
    ),
];

#[tokio::test]
async fn the_exporter_s_queries_in_both_protocols() {
    let azure = shared().await;
    let (proxy, database) = house(&azure).await;
    let client = proxy.client().await;
    for _ in 0..5 {
        client.simple_query("select pg_sleep(0.01)").await.unwrap();
    }
    let console = console(&proxy).await;
    // It begins with this one, and its driver prepares nothing without parameters.
    assert!(!rows(&console, "SHOW STATS").await.is_empty());
    for (sql, columns) in EXPORTER {
        let simple = rows(&console, sql).await;
        assert!(!simple.is_empty(), "{sql}");
        let statement = console.prepare(sql).await.expect(sql);
        let extended = console.query(&statement, &[]).await.expect(sql);
        assert_eq!(simple.len(), extended.len(), "{sql}");
        for (name, kind) in *columns {
            let mut found = statement.columns().iter();
            let at = found.position(|column| column.name() == *name);
            let at = at.unwrap_or_else(|| panic!("{sql} has no {name}"));
            assert_eq!(statement.columns()[at].type_(), kind, "{sql} {name}");
            assert_eq!(simple[0].columns()[at].name(), *name);
            // In binary, and the same as in text.
            let value = match *kind {
                INT4 => extended[0].get::<_, i32>(at).to_string(),
                INT8 => continue,
                _ => extended[0]
                    .get::<_, Option<&str>>(at)
                    .unwrap_or_default()
                    .to_owned(),
            };
            let text = simple[0].get(at).unwrap_or_default();
            assert_eq!(text, value, "{sql} {name}");
        }
    }
    // Data, not just columns.
    let stats = console.query("SHOW STATS_TOTALS", &[]).await.unwrap();
    let [row] = &stats[..] else {
        panic!("one route: {stats:?}");
    };
    assert_eq!(row.get::<_, &str>("database"), "main");
    assert_eq!(row.get::<_, i64>("query_count"), 5);
    assert_eq!(row.get::<_, i64>("xact_count"), 5);
    let micros: i64 = row.get("query_time");
    assert!(
        (50_000..5_000_000).contains(&micros),
        "{micros} us for 50 ms"
    );
    assert!(row.get::<_, i64>("bytes_received") > 100);
    assert!(row.get::<_, i64>("bytes_sent") > 100);
    assert!(row.get::<_, i64>("server_assignment_count") >= 5);
    let of_main = ("name", "main");
    assert_eq!(
        number(&console, "SHOW DATABASES", of_main, "pool_size").await,
        2
    );
    let databases = rows(&console, "SHOW DATABASES").await;
    assert_eq!(databases[0].get("database"), Some(database.as_str()));
    assert_eq!(databases[0].get("force_user"), Some(azure.role()));
}

#[tokio::test]
async fn what_clients_and_backends_do() {
    let azure = shared().await;
    let (proxy, database) = house(&azure).await;
    let mut config = proxy.config();
    config.application_name("worker");
    let (one, two, three) = (
        proxy.client_with(&config).await,
        proxy.client_with(&config).await,
        proxy.client_with(&config).await,
    );
    one.batch_execute("begin").await.unwrap();
    two.batch_execute("begin").await.unwrap();
    let waiting = tokio::spawn(async move { three.batch_execute("select 1").await });
    proxy
        .until(|metrics| metrics.value("entrapool_clients_waiting", &[]) == 1.0)
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let console = console(&proxy).await;
    let pools = rows(&console, "SHOW POOLS").await;
    let [pool] = &pools[..] else {
        panic!("one pool: {}", pools.len());
    };
    for (column, expected) in [
        ("database", "main"),
        ("user", azure.role()),
        ("cl_active", "2"),
        ("cl_waiting", "1"),
        ("sv_active", "2"),
        ("sv_idle", "0"),
        ("maxwait", "0"),
        ("pool_mode", "transaction"),
    ] {
        assert_eq!(pool.get(column), Some(expected), "{column}");
    }
    let micros: u32 = pool.get("maxwait_us").unwrap().parse().unwrap();
    assert!(micros >= 100_000, "{micros}");
    let clients = rows(&console, "SHOW CLIENTS").await;
    let mut states: Vec<_> = clients
        .iter()
        .map(|row| ["database", "application_name", "state"].map(|name| row.get(name).unwrap()))
        .collect();
    states.sort_unstable();
    assert_eq!(
        states,
        [
            ["main", "worker", "active"],
            ["main", "worker", "active"],
            ["main", "worker", "waiting"],
            ["pgbouncer", "watch", "active"],
        ]
    );
    // Pairs find each other.
    let servers = rows(&console, "SHOW SERVERS").await;
    assert_eq!(servers.len(), 2);
    let admin = azure.admin(&database).await;
    for server in &servers {
        let link = server.get("link").unwrap();
        let client = clients
            .iter()
            .find(|client| client.get("ptr") == Some(link));
        assert_eq!(client.unwrap().get("link"), server.get("ptr"));
        assert_eq!(server.get("state"), Some("active"));
        assert_eq!(server.get("close_needed"), Some("0"));
        let pid: i32 = server.get("remote_pid").unwrap().parse().unwrap();
        let known = admin
            .query("select 1 from pg_stat_activity where pid = $1", &[&pid])
            .await
            .unwrap();
        assert_eq!(known.len(), 1, "the server knows {pid}");
    }
    let lists = ("list", "used_servers");
    assert_eq!(number(&console, "SHOW LISTS", lists, "items").await, 2);
    one.batch_execute("commit").await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn tokens_and_pins() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database).pool(2);
    let proxy = launch.key("name", "main").start().await;
    let client = proxy.client().await;
    client
        .batch_execute("create temp table t (n int)")
        .await
        .unwrap();
    // The server is asked what is left behind the answer.
    proxy
        .until(|metrics| metrics.value("entrapool_sessions_pinned", &[]) == 1.0)
        .await;
    let console = console(&proxy).await;
    let tokens = console.query("SHOW TOKENS", &[]).await.unwrap();
    let [token] = &tokens[..] else {
        panic!("one identity: {tokens:?}");
    };
    assert_eq!(token.get::<_, &str>("source"), "imds");
    assert!(
        token
            .get::<_, &str>("audience")
            .starts_with("https://ossrdbms-aad")
    );
    assert_eq!(token.get::<_, &str>("routes"), "main");
    assert!(token.get::<_, i64>("expires_in") > 60);
    assert!(token.get::<_, i64>("generation") >= 1);
    assert_eq!(token.get::<_, Option<&str>>("last_failure"), None);
    let pins = console.query("SHOW PINS", &[]).await.unwrap();
    let pinned: Vec<_> = pins
        .iter()
        .filter(|row| row.get::<_, i64>("sessions") > 0)
        .map(|row| (row.get::<_, &str>("route"), row.get::<_, i64>("total")))
        .collect();
    assert_eq!(pinned, [("main", 1)]);
}

#[tokio::test]
async fn a_route_that_serves_a_database_of_that_name_has_it() {
    let azure = shared().await;
    let admin = azure.admin("postgres").await;
    let create = format!("create database pgbouncer owner \"{}\"", azure.role());
    admin.batch_execute(&create).await.unwrap();
    let named = Sidecar::on(&azure).database("pgbouncer").start().await;
    let listed = Sidecar::on(&azure)
        .key("databases", &format!("{},pgbouncer", azure.database()))
        .start()
        .await;
    for proxy in [named, listed] {
        let mut config = proxy.config();
        config.dbname("pgbouncer");
        let client = proxy.client_with(&config).await;
        let row = client.query_one("select current_database()", &[]).await;
        assert_eq!(row.unwrap().get::<_, &str>(0), "pgbouncer");
        // By its other name the console is still there.
        config.dbname("entrapool");
        let console = proxy.client_with(&config).await;
        assert_eq!(rows(&console, "SHOW STATE").await.len(), 3);
    }
}
