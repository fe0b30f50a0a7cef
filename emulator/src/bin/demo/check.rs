//! `--once`: the same as the demo, checked instead of shown.

use std::time::{Duration, Instant};

use anyhow::ensure;
use entrapool_emulator::LocalAzure;
use entrapool_emulator::tds::TdsServer;

use crate::clients::{self, Answer};
use crate::metrics::{self, Token};
use crate::proxy::Proxy;

/// Refreshing at half of the life must have happened by then, with room for a slow machine.
const REFRESH_PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);

/// Every check in order; the first failure ends it.
pub(crate) async fn everything(
    azure: &LocalAzure,
    sql_server: &TdsServer,
    proxy: &mut Proxy,
) -> anyhow::Result<()> {
    queries(azure, proxy).await?;
    println!(
        "ok  over both protocols a query without a password was answered as {}",
        azure.role()
    );
    let by_tds = sql_server.counters().logins();
    let logins = azure.logins();
    ensure!(
        by_tds > 0 && logins.accepted() > by_tds && logins.refused_in_all() == 0,
        "of {} logins by token that were accepted, {by_tds} were over TDS; {} were refused",
        logins.accepted(),
        logins.refused_in_all()
    );
    println!("ok  each server accepted the token of its login");
    let first = metrics::tokens(proxy.http()).await?;
    let now = metrics::now();
    ensure!(
        first.len() == 2 && first.iter().all(|token| token.expires > now),
        "the metrics should tell of two tokens that are valid at {now}, and tell of {first:?}"
    );
    println!(
        "ok  the metrics tell when the tokens expire: the first in {} s",
        soonest(&first) - now
    );
    refreshed(azure, proxy, &first).await?;
    println!("ok  both tokens were refreshed before they expired");
    queries(azure, proxy).await?;
    ensure!(
        azure.logins().refused_in_all() == 0,
        "a login was refused after the refresh"
    );
    println!("ok  queries go on after the refresh");
    Ok(())
}

async fn queries(azure: &LocalAzure, proxy: &Proxy) -> anyhow::Result<()> {
    let database = azure.database();
    right(azure, &clients::ask_postgres(proxy, database).await?)?;
    right(azure, &clients::ask_sql_server(proxy, database).await?)
}

fn right(azure: &LocalAzure, answer: &Answer) -> anyhow::Result<()> {
    let Answer { user, version, sum } = answer;
    ensure!(
        user == azure.role() && *sum == 42,
        "{version} answered with {user} and {sum} instead of {} and 42",
        azure.role()
    );
    Ok(())
}

/// Later expiries in the metrics, and as many new tokens at the issuer.
async fn refreshed(azure: &LocalAzure, proxy: &mut Proxy, first: &[Token]) -> anyhow::Result<()> {
    let end = soonest(first);
    let patience = Duration::from_secs(end.saturating_sub(metrics::now())) + REFRESH_PATIENCE;
    let started = Instant::now();
    loop {
        proxy.alive()?;
        let tokens = metrics::tokens(proxy.http()).await?;
        let minted = azure.identities().minted();
        let newer = tokens.iter().zip(first);
        let newer = newer.filter(|(token, first)| token.expires > first.expires);
        if newer.count() == first.len() && minted >= 4 {
            ensure!(metrics::now() <= end, "the refresh came after the expiry");
            return Ok(());
        }
        ensure!(
            started.elapsed() < patience,
            "no refresh within {patience:?}: the metadata service saw {} requests and minted \
             {minted} tokens",
            azure.imds().faults().requests()
        );
        tokio::time::sleep(POLL).await;
    }
}

fn soonest(tokens: &[Token]) -> u64 {
    let expiries = tokens.iter().map(|token| token.expires);
    expiries.min().unwrap_or_default()
}
