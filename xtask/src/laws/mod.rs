//! The laws of `docs/architecture.md`, kept by reading the tree: which module may import which,
//! who reads the environment or a clock, what a crate may depend on, how long a file may be. And
//! that the tests exist which a document claims, and the commands of documents are known.
//!
//! Text is read, not compiled: a breach hidden in a macro or behind a re-export is not found.

mod commands;
mod imports;
mod manifests;
mod scan;
mod situations;
mod sizes;
mod words;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use scan::Source;

/// A law that a file breaks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    file: String,
    /// 1 for the first; 0 where the whole file is meant.
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// The crates that laws are about; every other folder is read for sizes only.
const CRATES: &[&str] = &[
    "protocol", "metrics", "proxy", "emulator", "benches", "xtask",
];

/// Every breach in the tree below `root`.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn breaches(root: &Path) -> anyhow::Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for name in CRATES {
        let manifest = format!("{name}/Cargo.toml");
        breaches.extend(manifests::check(&manifest, &read(&root.join(&manifest))?));
        for path in rust_files(&root.join(name))? {
            let file = path.strip_prefix(root).unwrap_or(&path);
            let text = read(&path)?;
            breaches.extend(check_file(&file.display().to_string(), &text));
        }
    }
    breaches.extend(situations::check(root)?);
    breaches.extend(commands::check(root)?);
    Ok(breaches)
}

/// Every breach in one file; `file` is its path from the root.
fn check_file(file: &str, text: &str) -> Vec<Breach> {
    let source = Source::new(file, text);
    let mut breaches = Vec::from_iter(sizes::check(&source));
    breaches.extend(imports::check(&source));
    breaches.extend(words::check(&source));
    breaches
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn rust_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                found.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
