//! A thousand clients that log in at once, each with a query, onto a pooler that has no backend
//! yet.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::client::Client;
use super::poolers::{CONTENDERS, Contender, Running};
use super::scene::Scene;
use crate::Arguments;
use crate::process::cpu_seconds;
use crate::table::{Cell, Reading, Row, Unit};

pub(super) const NAME: &str = "1,000 logins at once, cold pool";
const CLIENTS: u32 = 1_000;
/// A client that hears nothing for so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(versions: &[Option<String>], scene: &Scene, arguments: &Arguments) -> Row {
    let mut cells: Vec<anyhow::Result<Vec<Reading>>> =
        CONTENDERS.iter().map(|_| Ok(Vec::new())).collect();
    let fit = |contender: Contender| contender != Contender::Haproxy;
    for _ in 0..arguments.rounds {
        for ((contender, version), cell) in CONTENDERS.iter().zip(versions).zip(&mut cells) {
            if version.is_none() || !fit(*contender) {
                continue;
            }
            let turn = async { crowd(&contender.spawn(scene).await?, scene).await };
            match (turn.await, &mut *cell) {
                (Ok(reading), Ok(readings)) => readings.push(reading),
                (Err(error), _) => *cell = Err(error),
                (Ok(_), Err(_)) => {}
            }
        }
    }
    let cells = CONTENDERS.iter().zip(versions).zip(cells);
    let cells = cells.map(|((contender, version), cell)| match version {
        None => Cell::Not(contender.missing()),
        Some(_) if !fit(*contender) => Cell::Not("a backend for each client".to_owned()),
        Some(_) => Cell::of(cell, contender.name()),
    });
    Row {
        name: NAME.to_owned(),
        cells: cells.collect(),
        bar: Some(1.0),
    }
}

/// All at once; CPU for each.
async fn crowd(running: &Running, scene: &Scene) -> anyhow::Result<Reading> {
    let before = cpu_seconds(running.pooler.pid)?;
    let began = Instant::now();
    let mut logins = JoinSet::new();
    for _ in 0..CLIENTS {
        let (address, user) = (running.pooler.address, running.user);
        let database = scene.database().to_owned();
        logins.spawn(async move {
            let mut client = Client::connect(address, user, &database).await?;
            client.query("select 1").await?;
            anyhow::Ok(client)
        });
    }
    let all = tokio::time::timeout(PATIENCE, logins.join_all()).await;
    let all = all.context("a login without an answer")?;
    let clients: Vec<Client> = all.into_iter().collect::<anyhow::Result<_>>()?;
    let elapsed = began.elapsed().as_secs_f64();
    let cpu = (cpu_seconds(running.pooler.pid)? - before) * 1e6;
    drop(clients);
    let clients = f64::from(CLIENTS);
    Ok(Reading::new(
        Unit::Request,
        cpu / clients,
        clients / elapsed,
    ))
}
