//! Memory per client that does nothing, after it has run a query.

use std::time::Duration;

use super::client::Client;
use super::poolers::Running;
use super::scene::Scene;
use crate::pooler::BACKENDS;
use crate::process::resident;
use crate::table::{Reading, Unit};

/// What a pooler gives back it gives back soon.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) async fn run(running: &Running, scene: &Scene, count: u32) -> anyhow::Result<Reading> {
    let pid = running.pooler.pid;
    // All backends are there before the count begins.
    drop(crowd(running, scene, BACKENDS * 4).await?);
    tokio::time::sleep(SETTLE).await;
    let before = resident(pid)?;
    let clients = crowd(running, scene, count).await?;
    tokio::time::sleep(SETTLE).await;
    let after = resident(pid)?;
    drop(clients);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let grown = after.saturating_sub(before) as f64;
    let each = grown / f64::from(count);
    Ok(Reading::new(Unit::Client, each, f64::NAN))
}

/// Clients that have run a query, some at a time.
async fn crowd(running: &Running, scene: &Scene, count: u32) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for first in (0..count).step_by(BACKENDS as usize) {
        let some = (first..count.min(first + BACKENDS)).map(|_| {
            let (address, user) = (running.pooler.address, running.user);
            let database = scene.database().to_owned();
            tokio::spawn(async move {
                let mut client = Client::connect(address, user, &database).await?;
                client.query("select 1").await?;
                anyhow::Ok(client)
            })
        });
        for task in some.collect::<Vec<_>>() {
            clients.push(task.await??);
        }
    }
    Ok(clients)
}
