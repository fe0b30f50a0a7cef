//! Instructions of the whole process for one transaction, from the client's bytes to its answer,
//! TLS to the server: counted by callgrind, so that they do not depend on what else the machine does.
//! What the kernel does for it is not in them.

use anyhow::Context as _;

use super::client::Client;
use super::poolers::entrapool;
use super::scene::{CLIENT, Scene};

/// What the client asks.
#[derive(Clone, Copy)]
enum Question {
    /// A text of its own each time.
    Simple,
    /// Bind, Execute and Sync of a statement that it has prepared.
    Prepared,
}

const KINDS: [(&str, Question); 2] = [
    ("process-simple", Question::Simple),
    ("process-prepared", Question::Prepared),
];

/// Prints each kind with its count. Two runs, one twice as long: the difference is the
/// transactions'.
pub(crate) async fn run(times: u32) -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    for (kind, question) in KINDS {
        let short = count(&scene, question, times).await?;
        let long = count(&scene, question, 2 * times).await?;
        println!("{kind}\t{}", long.saturating_sub(short) / u64::from(times));
    }
    Ok(())
}

async fn count(scene: &Scene, question: Question, times: u32) -> anyhow::Result<u64> {
    let mut pooler = entrapool::spawn_counted(scene)?;
    let connect = async |address| Client::connect(address, CLIENT, scene.database()).await;
    pooler
        .answers(async |address| connect(address).await.map(drop))
        .await?;
    let mut client = connect(pooler.address).await?;
    let select = "SELECT abalance FROM pgbench_accounts WHERE aid = ";
    client.prepare("of_one", &format!("{select}$1")).await?;
    for aid in 1..=times {
        let aid = aid.to_string();
        match question {
            Question::Simple => client.query(&format!("{select}{aid};")).await?,
            Question::Prepared => client.execute("of_one", &aid).await?,
        };
    }
    drop(client);
    let said = pooler.stop().await?;
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse().ok());
    count.with_context(|| format!("valgrind said {said}"))
}
