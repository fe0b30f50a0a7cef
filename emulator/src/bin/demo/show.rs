//! What the demo prints for a person.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use entrapool_emulator::{DatabaseServer, LocalAzure};

use crate::metrics;
use crate::proxy::{METRICS_PORT, POSTGRES_PORT, Proxy};

const POLL: Duration = Duration::from_secs(1);

/// What runs where, what to try, and how long the token lives.
pub(crate) async fn introduce(azure: &LocalAzure, proxy: &Proxy) -> anyhow::Result<()> {
    let database = azure.database();
    let asked = Instant::now();
    let client = proxy.connect(database).await?;
    let row = client
        .query_one("select current_user, version()", &[])
        .await
        .context("the first query failed")?;
    let (user, version): (String, String) = (row.get(0), row.get(1));
    let taken = asked.elapsed();
    let kind = match azure.server() {
        DatabaseServer::Real { .. } => "PostgreSQL",
        DatabaseServer::Embedded(_) => "embedded server",
    };
    let (listen, http) = (proxy.listen(), proxy.http());
    println!();
    line(
        "local Azure",
        &format!("metadata service at {}", azure.imds_endpoint()),
    );
    line(
        "",
        &format!(
            "{kind} at {}, TLS, logins by token only",
            azure.postgres_addr()
        ),
    );
    line(
        "entrapool",
        &format!("clients at {listen}{}", note(listen, POSTGRES_PORT)),
    );
    line(
        "",
        &format!(
            "metrics at http://{http}/metrics{}",
            note(http, METRICS_PORT)
        ),
    );
    line("", &format!("log in {}", proxy.log().display()));
    println!();
    line(
        "first query",
        &format!(
            "answered in {} ms as {user}, without a password",
            taken.as_millis()
        ),
    );
    line("", version.split(',').next().unwrap_or(&version));
    println!();
    line(
        "try",
        &format!(
            "psql -h {} -p {} -U anyone {database}",
            listen.ip(),
            listen.port()
        ),
    );
    line("", &format!("curl -s http://{http}/metrics"));
    println!();
    let expiry = metrics::token_expiry(http).await?;
    line("token", &format!("expires {}", moment(expiry)));
    line("", "each refresh is told below; Ctrl-C ends everything");
    Ok(())
}

/// A line for each refresh, for ever. Ends with an error when the proxy does.
pub(crate) async fn refreshes(azure: &LocalAzure, proxy: &mut Proxy) -> anyhow::Result<()> {
    let mut known = metrics::token_expiry(proxy.http()).await?;
    loop {
        tokio::time::sleep(POLL).await;
        proxy.alive()?;
        let expiry = metrics::token_expiry(proxy.http()).await?;
        if expiry != known {
            known = expiry;
            let logins = azure.logins();
            let text = format!(
                "refreshed, expires {}; logins so far: {} with {} different tokens",
                moment(expiry),
                logins.accepted(),
                logins.distinct_tokens()
            );
            line(&clock(metrics::now()), &text);
        }
    }
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
