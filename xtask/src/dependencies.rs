//! Licences, sources and bans of `deny.toml`, read from `cargo metadata`.
//!
//! cargo-deny does the same and more, and is run in a full test; it takes minutes to build. This
//! needs nothing but cargo, so that each run of the tests knows of a dependency that may not be.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use crate::tree::{self, cargo};

#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    allow: Vec<String>,
    #[serde(rename = "crate")]
    krate: String,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    krate: String,
    /// Who may use it all the same.
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for a path, which is the workspace.
    source: Option<String>,
}

/// Where crates may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn check() -> anyhow::Result<()> {
    let path = tree::root().join("deny.toml");
    let text = fs::read_to_string(&path).context("cannot read deny.toml")?;
    let rules: Rules = toml::from_str(&text).context("deny.toml")?;
    let mut command = cargo(["metadata", "--format-version", "1", "--locked"]);
    for target in &rules.graph.targets {
        command.args(["--filter-platform", target]);
    }
    let output = command.output().context("cannot run cargo metadata")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata: {said}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    ensure!(
        metadata.packages.len() > 100,
        "cargo metadata names too few packages"
    );
    let mut breaches: Vec<_> = metadata
        .packages
        .iter()
        .filter_map(|package| objection(&rules, package))
        .collect();
    for ban in &rules.bans.deny {
        let users = users(&ban.krate, &rules.graph.targets)?;
        breaches.extend(banned(ban, &users));
    }
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{}", breaches.join("\n"))
}

/// Who uses a crate directly. `cargo metadata` would also name those whose feature for it is off.
fn users(krate: &str, targets: &[String]) -> anyhow::Result<Vec<String>> {
    let mut command = cargo(["tree", "--workspace", "--locked", "--prefix", "none"]);
    command.args(["--depth", "1", "--invert", krate]);
    for target in targets {
        command.args(["--target", target]);
    }
    let output = command.output().context("cannot run cargo tree")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let absent = said.contains("did not match any packages");
    ensure!(output.status.success() || absent, "cargo tree: {said}");
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = tree.lines().filter(|line| !line.starts_with('['));
    let names = names.filter_map(|line| line.split_whitespace().next());
    // Each target's tree names its own.
    let names: BTreeSet<_> = names.filter(|name| *name != krate).collect();
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn banned(ban: &Ban, users: &[String]) -> Vec<String> {
    let users = users.iter().filter(|user| !ban.wrappers.contains(user));
    let krate = &ban.krate;
    users
        .map(|user| format!("{user} uses {krate}, which deny.toml bans"))
        .collect()
}

/// What is wrong with a package by itself.
fn objection(rules: &Rules, package: &Package) -> Option<String> {
    let Package {
        name,
        version,
        license,
        source,
        ..
    } = package;
    if source.as_deref().is_some_and(|source| source != REGISTRY) {
        return Some(format!("{name} {version} is not from crates.io"));
    }
    let Some(license) = license else {
        return Some(format!("{name} {version} names no licence"));
    };
    let exception = rules
        .licenses
        .exceptions
        .iter()
        .find(|it| it.krate == *name);
    let extra = exception.map(|it| it.allow.as_slice()).unwrap_or_default();
    let allowed = |id: &str| rules.licenses.allow.iter().chain(extra).any(|it| it == id);
    let good = satisfied(license, &allowed);
    (!good).then(|| format!("{name} {version}: the licence {license} is not allowed"))
}

/// Whether an SPDX expression can be met. `/` is how old crates write OR.
fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut good = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        good |= all(words, allowed);
    }
    good
}

fn all(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut good = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        good &= one(words, allowed);
    }
    good
}

fn one(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let good = any(words, allowed);
        return words.next() == Some(")") && good;
    }
    let Some(id) = words.next() else {
        return false;
    };
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        Some(exception) => allowed(&format!("{id} WITH {exception}")) || allowed(id),
        None => allowed(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood() {
        let allowed = |id: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&id);
        for (expression, good) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND ISC", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("ISC AND (GPL-2.0 OR GPL-3.0)", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("MIT ISC", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), good, "{expression}");
        }
    }

    const RULES: &str = "[graph]\ntargets = []\n[licenses]\nallow = [\"MIT\"]\n\
                         exceptions = [{ allow = [\"MPL-2.0\"], crate = \"odd\" }]\n\
                         [bans]\ndeny = [{ crate = \"ring\", wrappers = [\"odd\"] }]\n";

    fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
        }
    }

    #[test]
    fn breaches_are_found() {
        let rules: Rules = toml::from_str(RULES).unwrap();
        let said: Vec<_> = [
            package("good", Some("MIT"), Some(REGISTRY)),
            package("odd", Some("MPL-2.0"), Some(REGISTRY)),
            package("copyleft", Some("GPL-3.0"), Some(REGISTRY)),
            package("silent", None, None),
            package("forked", Some("MIT"), Some("git+https://example.com/x")),
        ]
        .iter()
        .filter_map(|package| objection(&rules, package))
        .collect();
        assert_eq!(
            said,
            [
                "copyleft 1.0.0: the licence GPL-3.0 is not allowed",
                "silent 1.0.0 names no licence",
                "forked 1.0.0 is not from crates.io",
            ]
        );
        let users = ["odd", "good"].map(str::to_owned);
        let said = banned(&rules.bans.deny[0], &users);
        assert_eq!(said, ["good uses ring, which deny.toml bans"]);
    }
}
