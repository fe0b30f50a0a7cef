//! Memory per client that does nothing, after it has run a query.

use std::time::Duration;

use super::client::Client;
use crate::poolers::Pooler;
use crate::process::resident;
use crate::scene::{BACKENDS, Scene};

/// What a pooler gives back it gives back soon.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn run(pooler: &Pooler, scene: &Scene, count: u32) -> anyhow::Result<()> {
    // All backends are there before the count begins.
    crowd(pooler, scene, BACKENDS * 4).await?;
    tokio::time::sleep(SETTLE).await;
    let before = resident(pooler.pid)?;
    let clients = crowd(pooler, scene, count).await?;
    tokio::time::sleep(SETTLE).await;
    let after = resident(pooler.pid)?;
    let each = after.saturating_sub(before) / u64::from(count);
    println!(
        "  {:<20} {each:>6} bytes each; {} KiB in all, {} KiB without them",
        pooler.name,
        after / 1024,
        before / 1024
    );
    drop(clients);
    Ok(())
}

/// Clients that have run a query, some at a time.
async fn crowd(pooler: &Pooler, scene: &Scene, count: u32) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    while (clients.len() as u64) < u64::from(count) {
        let some = (0..BACKENDS).map(|_| {
            let (address, database) = (pooler.address, scene.database().to_owned());
            tokio::spawn(async move {
                let mut client = Client::connect(address, &database).await?;
                client.query().await?;
                anyhow::Ok(client)
            })
        });
        for task in some.collect::<Vec<_>>() {
            clients.push(task.await??);
        }
    }
    clients.truncate(count as usize);
    Ok(clients)
}
