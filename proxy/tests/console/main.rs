//! The console, end to end: the real binary, real clients, the queries that exporters of PgBouncer
//! send, and one of those exporters. One test binary, so that the tests share one cluster.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../sidecar/mod.rs"]
mod sidecar;

mod commands;
mod exporters;
mod programs;
mod reload;
mod rights;
mod shows;

use std::sync::Arc;

use sidecar::{Shared, Sidecar};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// A sidecar whose route is called `main`, with a database and two backends of its own.
async fn house(azure: &Arc<Shared>) -> (Sidecar, String) {
    let database = azure.new_database().await;
    let launch = Sidecar::on(azure).database(&database).transaction().pool(2);
    (launch.key("name", "main").start().await, database)
}

/// A client of the console.
async fn console(proxy: &Sidecar) -> Client {
    let mut config = proxy.config();
    config.dbname("pgbouncer").application_name("watch");
    proxy.client_with(&config).await
}

/// The rows of a simple query.
async fn rows(console: &Client, sql: &str) -> Vec<SimpleQueryRow> {
    let messages = console.simple_query(sql).await;
    let messages = messages.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.collect()
}

/// A number in the only row whose column `key` is `value`.
async fn number(console: &Client, sql: &str, (key, value): (&str, &str), column: &str) -> i64 {
    let rows = rows(console, sql).await;
    let mut found = rows.iter().filter(|row| row.get(key) == Some(value));
    let row = found
        .next()
        .unwrap_or_else(|| panic!("{sql} has no {key} {value}"));
    assert!(found.next().is_none(), "{sql} has two of {key} {value}");
    let text = row
        .get(column)
        .unwrap_or_else(|| panic!("{column} is NULL"));
    text.parse().unwrap_or_else(|_| panic!("{column}: {text}"))
}

/// A client with one query.
async fn select_one(config: tokio_postgres::Config) {
    let client = sidecar::connect(&config).await.expect("it is let in");
    client
        .batch_execute("select 1")
        .await
        .expect("it is served");
}
