//! Every command of the documents that can be run here is run, as a reader would type it, on a
//! local Azure; every configuration in them is accepted.
//!
//! Hosts, ports and users of the documents stand for those of the test: [`world`] has the table.
//! Commands of Azure and Kubernetes are not run: `docs/commands.md` lists them, and
//! `cargo xtask laws` compares.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod blocks;
mod elsewhere;
mod world;

use std::path::Path;
use std::process::Command;

use blocks::{Block, all_blocks};
use world::World;

/// What a program in a document does when it is run.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Serves until it is told to stop.
    Serves,
    /// Ends by itself, and well.
    Ends,
    /// Is run by something else.
    Elsewhere,
}

fn kind_of(command: &str) -> Kind {
    let words: Vec<_> = command
        .split_whitespace()
        .skip_while(|word| word.contains('=') && !word.starts_with('-'))
        .collect();
    let ends_itself = [
        "check",
        "completions",
        "man",
        "--help",
        "-h",
        "--version",
        "-V",
        "help",
    ];
    match words.as_slice() {
        ["entrapool", rest @ ..] if rest.iter().any(|word| ends_itself.contains(word)) => {
            Kind::Ends
        }
        ["entrapool", "doctor" | "ctl", ..] => Kind::Ends,
        ["entrapool", ..] => Kind::Serves,
        ["psql" | "curl" | "tsql", ..] => Kind::Ends,
        _ => Kind::Elsewhere,
    }
}

#[tokio::test]
async fn every_command_does_what_it_says() {
    let world = World::new().await;
    let mut run = 0;
    for block in all_blocks().iter().filter(|block| block.is_for_a_shell()) {
        run += run_block(&world, block).await;
    }
    assert!(run > 5, "only {run} commands were found");
}

/// Runs the commands of a block one after the other, and says how many there were.
async fn run_block(world: &World, block: &Block) -> usize {
    let mut run = 0;
    let mut serving = None;
    for command in block.commands() {
        let at = format!("{}:{}: {command}", block.file, block.line);
        match kind_of(&command) {
            Kind::Elsewhere => assert!(
                elsewhere::is_known(&command),
                "{at}\nis not run by any test: proxy/tests/documents says what is"
            ),
            Kind::Serves => {
                drop(serving.take());
                serving = Some(world.serve(&command, &at).await);
                run += 1;
            }
            Kind::Ends => {
                if serving.is_none() {
                    serving = Some(world.serve("entrapool --config entrapool.toml", &at).await);
                }
                world.run(&command, &at).await;
                run += 1;
            }
        }
    }
    if let Some(serving) = serving {
        serving.stop().await;
    }
    run
}

/// A configuration in a document, as it stands there.
#[test]
fn every_configuration_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entrapool.toml");
    let mut checked = 0;
    for block in all_blocks() {
        if block.language != "toml" || !block.text.contains("[[route]]") {
            continue;
        }
        std::fs::write(&file, &block.text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_entrapool"))
            .args(["check", "--config"])
            .arg(&file)
            // What the webhook of workload identity sets in a pod.
            .env("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/token")
            .env("AZURE_TENANT_ID", "tenant")
            .env("AZURE_CLIENT_ID", "client")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}:{}\n{}",
            block.file,
            block.line,
            String::from_utf8_lossy(&output.stderr)
        );
        checked += 1;
    }
    assert!(checked > 1, "only {checked} configurations were found");
}

/// Names of families of metrics in the documents are those of the program, or begin like them.
#[test]
fn every_metric_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let families = std::fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let families: Vec<_> = families
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert!(families.len() > 20, "docs/metrics.md has too few families");
    for (file, text) in blocks::all_documents() {
        for rest in text.split("entrapool_").skip(1) {
            let name = rest
                .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
                .next()
                .unwrap_or_default();
            let name = format!("entrapool_{}", name.trim_end_matches('_'));
            let known = families.iter().any(|family| {
                let suffixed = ["_bucket", "_count", "_sum"].map(|it| format!("{family}{it}"));
                family.starts_with(&name) || suffixed.contains(&name)
            });
            assert!(known || name == "entrapool_", "{file}: there is no {name}");
        }
    }
}

#[test]
fn what_is_run_elsewhere_is_run_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (command, file, needle) in elsewhere::BY_OTHERS {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(needle), "{file} does not run {command}");
    }
}

#[test]
fn kinds_are_told_by_the_words() {
    for (command, kind) in [
        ("entrapool postgres://a@b/c", Kind::Serves),
        ("ENTRAPOOL_HTTP=1:2 entrapool run x", Kind::Serves),
        ("entrapool check --config x", Kind::Ends),
        ("entrapool --help", Kind::Ends),
        ("PGPASSWORD=x psql -h y", Kind::Ends),
        ("cargo demo", Kind::Elsewhere),
    ] {
        assert_eq!(kind_of(command), kind, "{command}");
    }
}
