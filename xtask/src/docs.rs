//! Links between documents and into the tree must lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use crate::tree;

const ALERTS: &str = "deploy/helm/entrapool-monitoring/files/rules.yaml";

/// Checks the relative links of every Markdown file outside `target`.
pub(crate) fn links() -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for document in documents(tree::root())? {
        let text = fs::read_to_string(&document)
            .with_context(|| format!("cannot read {}", document.display()))?;
        let directory = document.parent().context("a file without a directory")?;
        for link in relative_links(&text) {
            if !directory.join(link).exists() {
                broken.push(format!("{}: {link} does not exist", document.display()));
            }
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{}", broken.join("\n"))
}

/// Every alert has its section in the document for whoever is woken, and nothing else has.
pub(crate) fn alerts() -> anyhow::Result<()> {
    let read = |path: &str| {
        let path = tree::root().join(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (rules, document) = (read(ALERTS)?, read("docs/alerts.md")?);
    let rules = named(&rules, "- alert: ");
    let sections = named(&document, "## Entrapool");
    let sections: BTreeSet<String> = sections
        .iter()
        .map(|name| format!("Entrapool{name}"))
        .collect();
    ensure!(!rules.is_empty(), "{ALERTS} has no alert");
    ensure!(
        rules == sections,
        "docs/alerts.md and {ALERTS} differ: {:?}",
        rules.symmetric_difference(&sections).collect::<Vec<_>>()
    );
    Ok(())
}

/// What stands behind `prefix` in the lines that begin with it.
fn named(text: &str, prefix: &str) -> BTreeSet<String> {
    let names = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(prefix));
    names.map(|name| name.trim().to_owned()).collect()
}

fn documents(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            found.extend(documents(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The targets of `[text](target)` that are paths, without their anchors. What stands in a
/// fenced block or between backticks is no link.
fn relative_links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for plain in line.split('`').step_by(2) {
            links.extend(plain.split("](").skip(1).filter_map(path_of));
        }
    }
    links
}

fn path_of(link: &str) -> Option<&str> {
    let target = link.split([')', ' ', '#']).next()?;
    let elsewhere = target.contains(':') || target.is_empty();
    (!elsewhere).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::{named, relative_links};

    #[test]
    fn names_stand_behind_their_prefix() {
        let found = named(
            "groups:\n  - alert: A\n    expr: 1\n  - alert: B \n",
            "- alert: ",
        );
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn only_paths_are_followed() {
        let text = "[a](docs/a.md#x) [b](https://x.y/z) [c](#here) `[d](no)` ![e](e.svg \"t\")\n\
                    ```\n[f](no)\n```\n[g](../g)";
        assert_eq!(relative_links(text), ["docs/a.md", "e.svg", "../g"]);
    }

    #[test]
    fn a_link_split_by_backticks_is_still_one() {
        assert_eq!(relative_links("see [`a`](a.rs)"), ["a.rs"]);
    }
}
