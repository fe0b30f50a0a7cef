//! What the demo prints for a person.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use entrapool_emulator::tds::TdsServer;
use entrapool_emulator::{DatabaseServer, LocalAzure};

use crate::clients::{self, Answer};
use crate::metrics::{self, Token};
use crate::proxy::{METRICS_PORT, POSTGRES_PORT, Proxy, SQL_SERVER_PORT};

const POLL: Duration = Duration::from_secs(1);

/// What runs where, what to try, and how long the tokens live.
pub(crate) async fn introduce(
    azure: &LocalAzure,
    server: &TdsServer,
    proxy: &Proxy,
) -> anyhow::Result<()> {
    let database = azure.database();
    let asked = Instant::now();
    let postgres = clients::ask_postgres(proxy, database).await?;
    let between = Instant::now();
    let sql_server = clients::ask_sql_server(proxy, database).await?;
    let taken = [between - asked, between.elapsed()];
    places(azure, server, proxy);
    println!();
    answered("first queries", &postgres, taken[0]);
    answered("", &sql_server, taken[1]);
    println!();
    to_try(proxy, database);
    println!();
    for (index, token) in metrics::tokens(proxy.http()).await?.iter().enumerate() {
        let label = if index == 0 { "tokens" } else { "" };
        let end = moment(token.expires);
        line(label, &format!("for {} expires {end}", token.audience));
    }
    line("", "each refresh is told below; Ctrl-C ends everything");
    Ok(())
}

fn places(azure: &LocalAzure, server: &TdsServer, proxy: &Proxy) {
    let kind = match azure.server() {
        DatabaseServer::Real { .. } => "PostgreSQL",
        DatabaseServer::Embedded(_) => "embedded PostgreSQL",
    };
    let tokens_only = "TLS, logins by token only";
    let imds = azure.imds_endpoint();
    println!();
    line("local Azure", &format!("metadata service at {imds}"));
    let address = azure.postgres_addr();
    line("", &format!("{kind} at {address}, {tokens_only}"));
    let address = server.addr();
    line("", &format!("TDS server at {address}, {tokens_only}"));
    let address = proxy.postgres();
    let note_on = note(address, POSTGRES_PORT);
    line(
        "entrapool",
        &format!("PostgreSQL clients at {address}{note_on}"),
    );
    let address = proxy.sql_server();
    let note_on = note(address, SQL_SERVER_PORT);
    line("", &format!("TDS clients at {address}{note_on}"));
    let http = proxy.http();
    let note_on = note(http, METRICS_PORT);
    line("", &format!("metrics at http://{http}/metrics{note_on}"));
    line("", &format!("log in {}", proxy.log().display()));
}

fn answered(label: &str, answer: &Answer, taken: Duration) {
    let Answer { user, version, .. } = answer;
    let version = version.split([',', '(']).next().unwrap_or(version).trim();
    line(
        label,
        &format!(
            "{version}: answered in {} ms as {user}, without a password",
            taken.as_millis()
        ),
    );
}

/// Lines to paste. Each driver gets any user, and what else it wants to have for one.
fn to_try(proxy: &Proxy, database: &str) {
    let (postgres, sql_server) = (proxy.postgres(), proxy.sql_server());
    let (host, port) = (sql_server.ip(), sql_server.port());
    line(
        "try",
        &format!(
            "psql -h {} -p {} -U anyone {database}",
            postgres.ip(),
            postgres.port()
        ),
    );
    line(
        "",
        &format!("tsql -H {host} -p {port} -U anyone -P any -D {database}"),
    );
    line(
        "",
        &format!(
            "python3 -c \"import pymssql; \
             c = pymssql.connect('{host}', 'anyone', 'any', '{database}', port={port}).cursor(); \
             c.execute('select suser_sname()'); print(c.fetchone())\""
        ),
    );
    line(
        "",
        &format!(
            "node -e \"const {{Connection, Request}} = require('tedious'); \
             const c = new Connection({{server: '{host}', \
             authentication: {{type: 'default', options: {{userName: 'anyone', password: 'any'}}}}, \
             options: {{port: {port}, database: '{database}', encrypt: false}}}}); \
             c.connect(e => {{if (e) throw e; \
             c.execSql(new Request('select suser_sname()', e => {{if (e) throw e; c.close()}})\
             .on('row', r => console.log(r[0].value)))}})\""
        ),
    );
    line("", &format!("curl -s http://{}/metrics", proxy.http()));
}

/// A line for each refresh, for ever. Ends with an error when the proxy does.
pub(crate) async fn refreshes(azure: &LocalAzure, proxy: &mut Proxy) -> anyhow::Result<()> {
    let mut known = metrics::tokens(proxy.http()).await?;
    loop {
        tokio::time::sleep(POLL).await;
        proxy.alive()?;
        let tokens = metrics::tokens(proxy.http()).await?;
        for token in tokens.iter().filter(|token| !known.contains(token)) {
            tell_of(token, azure);
        }
        known = tokens;
    }
}

fn tell_of(token: &Token, azure: &LocalAzure) {
    let logins = azure.logins();
    let text = format!(
        "refreshed for {}, expires {}; logins so far: {} with {} different tokens",
        token.audience,
        moment(token.expires),
        logins.accepted(),
        logins.distinct_tokens()
    );
    line(&clock(metrics::now()), &text);
}

fn line(label: &str, text: &str) {
    println!("  {label:<13} {text}");
}

/// A word about a port that people do not expect.
fn note(address: SocketAddr, usual: u16) -> String {
    if address.port() == usual {
        String::new()
    } else {
        format!(" ({usual} was taken)")
    }
}

fn moment(epoch: u64) -> String {
    let left = epoch.saturating_sub(metrics::now());
    format!("{} UTC, in {left} s", clock(epoch))
}

fn clock(epoch: u64) -> String {
    let (hour, minute, second) = (epoch / 3600 % 24, epoch / 60 % 60, epoch % 60);
    format!("{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_of_the_day() {
        assert_eq!(clock(0), "00:00:00");
        assert_eq!(clock(86_400 * 3 + 3_600 * 23 + 60 * 5 + 9), "23:05:09");
    }
}
