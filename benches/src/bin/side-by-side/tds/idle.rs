//! Memory per client that does nothing, after it has run a batch.

use std::time::Duration;

use super::client::{Client, Work};
use super::poolers::ACCOUNT;
use crate::pooler::BACKENDS;
use crate::pooler::Pooler;
use crate::process::resident;

/// What a pooler gives back it gives back soon.
const SETTLE: Duration = Duration::from_secs(2);

/// Bytes of the pooler's for each of `count` clients.
pub(super) async fn run(pooler: &Pooler, count: u32) -> anyhow::Result<f64> {
    // All backends are there before the count begins.
    drop(crowd(pooler, BACKENDS * 4).await?);
    tokio::time::sleep(SETTLE).await;
    let before = resident(pooler.pid)?;
    let clients = crowd(pooler, count).await?;
    tokio::time::sleep(SETTLE).await;
    let after = resident(pooler.pid)?;
    drop(clients);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let grown = after.saturating_sub(before) as f64;
    Ok(grown / f64::from(count))
}

/// Clients that have run a batch, some at a time.
async fn crowd(pooler: &Pooler, count: u32) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for first in (0..count).step_by(BACKENDS as usize) {
        let some = (first..count.min(first + BACKENDS)).map(|_| {
            let address = pooler.address;
            tokio::spawn(async move {
                let mut client = Client::connect(address, ACCOUNT).await?;
                let exchange = client.begin(Work::Batch).await?;
                client.run(&exchange).await?;
                anyhow::Ok(client)
            })
        });
        for task in some.collect::<Vec<_>>() {
            clients.push(task.await??);
        }
    }
    Ok(clients)
}
