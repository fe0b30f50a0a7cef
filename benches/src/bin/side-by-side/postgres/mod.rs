//! PostgreSQL: entrapool, PgBouncer and HAProxy in front of a real server, in turns.
//!
//! entrapool and PgBouncer verify the server's certificate and name, and pool transactions over
//! eight backends. HAProxy relays bytes, a backend for each client, in plain: what a process that
//! does nothing costs.

mod cases;
mod client;
mod idle;
pub(crate) mod instructions;
mod logins;
mod pgbench;
mod poolers;
mod scene;
mod stream;

use crate::Arguments;
use crate::table::{Cell, Row, Table};
use cases::CASES;
use poolers::{CONTENDERS, Contender};
use scene::Scene;

/// How many idle clients there are.
const CROWDS: [u32; 2] = [1_500, 10_000];

/// Measures everything, and prints it as Markdown.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    scene.describe()?;
    let mut versions = Vec::new();
    for contender in CONTENDERS {
        let version = contender.version().await?;
        let said = version.clone();
        println!("- {}", said.unwrap_or_else(|| contender.missing()));
        versions.push(version);
    }
    println!();
    let columns = CONTENDERS.iter().map(|one| one.name().to_owned());
    let mut table = Table::new(columns.collect(), vec![(0, 1), (0, 2)]);
    let wanted = |name: &str| name.contains(&arguments.case);
    let mut running = Vec::new();
    for (contender, version) in CONTENDERS.iter().zip(&versions) {
        running.push(match version {
            Some(_) => contender.start(&scene).await.map(Some),
            None => Ok(None),
        });
    }
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        eprintln!("{} ...", case.name);
        let row = case.run(&running, &versions, &scene, arguments).await;
        table.push(row);
    }
    drop(running);
    if wanted(logins::NAME) {
        eprintln!("{} ...", logins::NAME);
        table.push(logins::run(&versions, &scene, arguments).await);
    }
    for count in CROWDS {
        let name = format!("memory per idle client, {count} clients");
        if wanted(&name) {
            eprintln!("{name} ...");
            table.push(memory(name, &versions, &scene, count).await);
        }
    }
    arguments.publish("postgres", &table, 1)
}

/// Memory is measured on processes that have done nothing else.
async fn memory(name: String, versions: &[Option<String>], scene: &Scene, count: u32) -> Row {
    let mut cells = Vec::new();
    for (contender, version) in CONTENDERS.iter().zip(versions) {
        cells.push(match (version, contender) {
            (None, _) => Cell::Not(contender.missing()),
            (_, Contender::Haproxy) => Cell::Not("a backend for each client".to_owned()),
            _ => {
                let measured = async {
                    let running = contender.start(scene).await?;
                    anyhow::Ok(vec![idle::run(&running, scene, count).await?])
                };
                Cell::of(measured.await, contender.name())
            }
        });
    }
    Row {
        name,
        cells,
        bar: Some(1.0),
    }
}
