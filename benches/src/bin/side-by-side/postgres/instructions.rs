//! Instructions of the whole process for one transaction, from the client's bytes to its answer,
//! TLS to the server: counted by callgrind, so that they do not depend on what else the machine does.
//! What the kernel does for it is not in them.

use std::fs;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::client::Client;
use super::poolers::entrapool;
use super::scene::{CLIENT, Scene};
use crate::pooler::directory;

/// What the client asks.
#[derive(Clone, Copy)]
enum Question {
    /// A text of its own each time.
    Simple,
    /// Bind, Execute and Sync of a statement that it has prepared.
    Prepared,
}

const SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = ";

const KINDS: [(&str, Question); 2] = [
    ("process-simple", Question::Simple),
    ("process-prepared", Question::Prepared),
];

/// What comes before the count: backends, caches, statements.
const WARM_UP: u32 = 200;

/// Prints each kind with its count.
pub(crate) async fn run(times: u32) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    for (kind, question) in KINDS {
        let count = count(&scene, question, times).await?;
        println!("{kind}\t{}", count / u64::from(times));
    }
    Ok(())
}

/// Logins are not in it: handshakes differ from each other.
async fn count(scene: &Scene, question: Question, times: u32) -> anyhow::Result<u64> {
    let dumps = directory()?;
    let mut pooler = entrapool::spawn_counted(scene, &dumps.path().join("dump"))?;
    let connect = async |address| Client::connect(address, CLIENT, scene.database()).await;
    pooler
        .answers(async |address| connect(address).await.map(drop))
        .await?;
    let mut client = connect(pooler.address).await?;
    client.prepare("of_one", &format!("{SELECT}$1")).await?;
    ask(&mut client, question, WARM_UP).await?;
    control("--zero", pooler.pid).await?;
    ask(&mut client, question, times).await?;
    control("--dump", pooler.pid).await?;
    let text = fs::read_to_string(dumps.path().join("dump.1")).context("no dump of callgrind's")?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .and_then(|count| count.trim().parse().ok());
    count.context("callgrind's dump has no totals")
}

async fn ask(client: &mut Client, question: Question, times: u32) -> anyhow::Result<()> {
    for aid in 1..=times {
        let aid = aid.to_string();
        match question {
            Question::Simple => client.query(&format!("{SELECT}{aid};")).await?,
            Question::Prepared => client.execute("of_one", &aid).await?,
        };
    }
    Ok(())
}

async fn control(order: &str, pid: u32) -> anyhow::Result<()> {
    let output = Command::new("callgrind_control")
        .args([order, &pid.to_string()])
        .output()
        .await
        .context("cannot run callgrind_control")?;
    ensure!(
        output.status.success(),
        "callgrind_control {order}: {output:?}"
    );
    Ok(())
}
