//! What a crate may depend on (laws 1, 2 and 8).

use super::Breach;

/// A dependency in a manifest.
struct Dependency<'a> {
    line: usize,
    name: &'a str,
    /// Whether it is only for tests.
    is_dev: bool,
}

/// The checks of one `Cargo.toml`; `file` is its path from the root.
pub(super) fn check(file: &str, text: &str) -> Vec<Breach> {
    let krate = file.split('/').next().unwrap_or_default();
    let mut breaches = Vec::new();
    for dependency in dependencies(text) {
        if let Some(what) = objection(krate, &dependency) {
            breaches.push(Breach {
                file: file.to_owned(),
                line: dependency.line,
                what,
            });
        }
    }
    breaches
}

fn objection(krate: &str, dependency: &Dependency<'_>) -> Option<String> {
    /// All that bytes in and facts out may need.
    const OF_PROTOCOL: &[&str] = &["bytes", "thiserror", "postgres-protocol"];
    let name = dependency.name;
    let ours = name == "entrapool" || name.starts_with("entrapool-");
    match krate {
        "protocol" if !dependency.is_dev && !OF_PROTOCOL.contains(&name) => Some(format!(
            "law 1: protocol depends on {} only, not on {name}",
            OF_PROTOCOL.join(", ")
        )),
        "protocol" if ours => Some(format!(
            "law 1: protocol imports nothing of ours, not {name}"
        )),
        "metrics" if ours => Some(format!(
            "law 2: metrics imports nothing of ours, not {name}"
        )),
        "proxy" if name == "entrapool-emulator" && !dependency.is_dev => {
            Some("law 8: the emulator is a dev-dependency only".to_owned())
        }
        "emulator" if ours => Some(format!(
            "law 8: the emulator shares no code with what it tests, so not {name}"
        )),
        "xtask" if ours => Some(format!("chores know no product crate, so not {name}")),
        _ => None,
    }
}

/// The keys of every `dependencies` table, and the tables of single dependencies.
fn dependencies(text: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut table = None; // whether we are in a table of dependencies, and of which kind
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default();
            let (head, single) = match header.rsplit_once("dependencies.") {
                Some((kind, name)) => (format!("{kind}dependencies"), Some(name)),
                None => (header.to_owned(), None),
            };
            let is_dev = head.ends_with("dev-dependencies");
            table = head.ends_with("dependencies").then_some(is_dev);
            if let Some(name) = single
                && let Some(is_dev) = table.take()
            {
                found.push(Dependency {
                    line: line_number,
                    name: name.trim_matches('"'),
                    is_dev,
                });
            }
            continue;
        }
        let (Some(is_dev), Some((key, _))) = (table, line.split_once('=')) else {
            continue;
        };
        let name = key.split('.').next().unwrap_or_default().trim();
        if !name.starts_with('#') {
            found.push(Dependency {
                line: line_number,
                name: name.trim_matches('"'),
                is_dev,
            });
        }
    }
    found
}
