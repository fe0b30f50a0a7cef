//! The reference is what the table of keys says, and the examples work.

use std::path::{Path, PathBuf};

use super::try_load;
use crate::config::{MapEnvironment, reference_markdown, render};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// `ENTRAPOOL_BLESS=1 cargo test -p entrapool` writes the document anew.
#[test]
fn the_reference_is_up_to_date() {
    let path = in_repository("docs/configuration.md");
    if std::env::var_os("ENTRAPOOL_BLESS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, reference_markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == reference_markdown(),
        "docs/configuration.md is out of date; ENTRAPOOL_BLESS=1 cargo test -p entrapool --lib writes it"
    );
}

#[test]
fn every_example_loads_and_renders() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let arguments = ["--config", path.to_str().unwrap()];
            match try_load(&arguments, &example_env()) {
                Ok(loaded) => assert!(render(&loaded.config).contains("[[route]]")),
                Err(errors) => panic!("{errors}"),
            }
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort();
    assert_eq!(names, ["kubernetes.toml", "local.toml", "vm.toml"]);
}

/// What the webhook of workload identity sets in a pod.
fn example_env() -> MapEnvironment {
    MapEnvironment::default()
        .with("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/token")
        .with("AZURE_TENANT_ID", "tenant")
        .with("AZURE_CLIENT_ID", "client")
}
