//! Clients that ask as fast as they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::client::{Client, Work};
use super::poolers::ACCOUNT;
use crate::pooler::Pooler;
use crate::process::cpu_seconds;
use crate::table::{Reading, Unit};

/// A client that hears nothing for so long has been forgotten.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Logs clients in, then lets them work.
pub(super) async fn run(
    pooler: &Pooler,
    (work, clients): (Work, u32),
    seconds: u32,
) -> anyhow::Result<Reading> {
    let mut ready = Vec::new();
    for _ in 0..clients {
        let login = async {
            let mut client = Client::connect(pooler.address, ACCOUNT).await?;
            let exchange = client.begin(work).await?;
            anyhow::Ok((client, exchange))
        };
        let login = tokio::time::timeout(PATIENCE, login).await;
        ready.push(login.context("a login without an answer")??);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let before = cpu_seconds(pooler.pid)?;
    let began = Instant::now();
    let mut working = JoinSet::new();
    for (mut client, exchange) in ready {
        let stop = Arc::clone(&stop);
        working.spawn(async move {
            let (mut requests, mut bytes) = (0_u64, 0_u64);
            while !stop.load(Ordering::Relaxed) {
                bytes += client.run(&exchange).await? as u64;
                requests += 1;
            }
            anyhow::Ok((requests, bytes))
        });
    }
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut bytes) = (0, 0);
    let ends = async {
        while let Some(done) = working.join_next().await {
            let (some, of_bytes) = done.context("a client")??;
            requests += some;
            bytes += of_bytes;
        }
        anyhow::Ok(())
    };
    let ended = tokio::time::timeout(PATIENCE, ends).await;
    ended.context("a request without an answer")??;
    let elapsed = began.elapsed().as_secs_f64();
    let microseconds = (cpu_seconds(pooler.pid)? - before) * 1e6;
    let (unit, count) = match work {
        Work::Large => (Unit::Megabyte, number(bytes) / 1e6),
        _ => (Unit::Request, number(requests)),
    };
    Ok(Reading::new(unit, microseconds / count, count / elapsed))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
