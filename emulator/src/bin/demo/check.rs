//! `--once`: the same as the demo, checked instead of shown.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use entrapool_emulator::LocalAzure;

use crate::metrics;
use crate::proxy::Proxy;

/// Refreshing at half of the life must have happened by then, with room for a slow machine.
const REFRESH_PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);

/// Every check in order; the first failure ends it.
pub(crate) async fn everything(azure: &LocalAzure, proxy: &mut Proxy) -> anyhow::Result<()> {
    query(azure, proxy).await?;
    println!(
        "ok  a query without a password was answered as {}",
        azure.role()
    );
    let logins = azure.logins();
    ensure!(
        logins.accepted() > 0 && logins.refused_in_all() == 0,
        "the database accepted {} logins by token and refused {}",
        logins.accepted(),
        logins.refused_in_all()
    );
    println!("ok  the database accepted the token of that login");
    let expiry = metrics::token_expiry(proxy.http()).await?;
    let now = metrics::now();
    ensure!(
        expiry > now,
        "the metrics say that the token expired {} s ago",
        now - expiry
    );
    println!(
        "ok  the metrics tell when the token expires: in {} s",
        expiry - now
    );
    refreshed(azure, proxy, expiry).await?;
    println!("ok  the token was refreshed before it expired");
    query(azure, proxy).await?;
    ensure!(
        azure.logins().refused_in_all() == 0,
        "the database refused a login after the refresh"
    );
    println!("ok  queries go on after the refresh");
    Ok(())
}

async fn query(azure: &LocalAzure, proxy: &Proxy) -> anyhow::Result<()> {
    let client = proxy.connect(azure.database()).await?;
    let row = client
        .query_one("select current_user, 40 + $1::int", &[&2_i32])
        .await
        .context("the query through entrapool failed")?;
    let (user, sum): (String, i32) = (row.get(0), row.get(1));
    ensure!(
        user == azure.role() && sum == 42,
        "the query was answered with {user} and {sum} instead of {} and 42",
        azure.role()
    );
    Ok(())
}

/// A later expiry in the metrics, and a second token at the issuer.
async fn refreshed(azure: &LocalAzure, proxy: &mut Proxy, first: u64) -> anyhow::Result<()> {
    let patience = Duration::from_secs(first.saturating_sub(metrics::now())) + REFRESH_PATIENCE;
    let started = Instant::now();
    loop {
        proxy.alive()?;
        let expiry = metrics::token_expiry(proxy.http()).await?;
        let minted = azure.identities().minted();
        if expiry > first && minted >= 2 {
            ensure!(metrics::now() <= first, "the refresh came after the expiry");
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
