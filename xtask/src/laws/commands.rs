//! `docs/commands.md`: the commands of the documents that nothing here can run (Azure's, those of
//! a cluster), each once; and no document has one that is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Breach, read};

/// The list, from the root.
const LIST: &str = "docs/commands.md";
/// The languages of blocks whose commands are listed.
const TOOLS: [&str; 3] = ["az", "kubectl", "helm"];
/// What they are called in the list.
const TITLES: [&str; 3] = ["Azure, and what is typed between", "kubectl", "helm"];
/// The list's beginning.
const HEAD: &str = "\
# Commands that are not run here

Every command of these documents that needs Azure, or a cluster, each once. Nothing here can run them:
they keep to Microsoft's documentation, to the Azure CLI's own help, and to the documentation of kubectl
and helm. Whoever checks a command against a new release of its tool has one place to look.

`cargo xtask laws` compares this list with the documents; `ENTRAPOOL_BLESS=1 cargo xtask laws` writes it
anew, and what is new in it wants to be looked up. All other commands of the documents are run by a test
(`proxy/tests/documents`).
";
/// Languages of blocks whose commands a test runs: none of [`TOOLS`] may hide in them.
const RUN: [&str; 3] = ["console", "sh", "bash"];

/// Every breach in the documents below `root`.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Breach>> {
    let mut files = vec![
        root.join("README.md"),
        root.join("SECURITY.md"),
        root.join("CONTRIBUTING.md"),
    ];
    markdown(&root.join("docs"), &mut files)?;
    let mut documents = BTreeMap::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        documents.insert(name.display().to_string(), read(&file)?);
    }
    if std::env::var_os("ENTRAPOOL_BLESS").is_some_and(|value| value == "1") {
        let list = list_of(&documents);
        fs::write(root.join(LIST), &list).with_context(|| format!("cannot write {LIST}"))?;
        documents.insert(LIST.to_owned(), list);
    }
    Ok(compare(&documents))
}

/// The list that the documents want.
fn list_of(documents: &BTreeMap<String, String>) -> String {
    let mut list = HEAD.to_owned();
    for (tool, title) in TOOLS.into_iter().zip(TITLES) {
        let mut lines: Vec<String> = Vec::new();
        for (_, text) in documents.iter().filter(|(file, _)| *file != LIST) {
            for (_, language, command) in commands(text) {
                if language == tool && !lines.contains(&command) {
                    lines.push(command);
                }
            }
        }
        if !lines.is_empty() {
            let lines = lines.join("\n");
            list += &format!("\n## {title}\n\n```{tool}\n{lines}\n```\n");
        }
    }
    list
}

fn markdown(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            markdown(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(())
}

/// The same of texts, by file.
fn compare(documents: &BTreeMap<String, String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut listed = BTreeMap::new();
    let mut used = BTreeSet::new();
    let list = documents.get(LIST).map(String::as_str).unwrap_or_default();
    for (line, _, command) in commands(list) {
        if listed.insert(command.clone(), line).is_some() {
            breaches.push(breach(LIST, line, format!("it is there twice: {command}")));
        }
    }
    for (file, text) in documents.iter().filter(|(file, _)| *file != LIST) {
        for (line, language, command) in commands(text) {
            let first = command.split(' ').next().unwrap_or_default();
            if RUN.contains(&language.as_str()) {
                if TOOLS.contains(&first) {
                    let what =
                        format!("a command of {first} belongs into a block of that language");
                    breaches.push(breach(file, line, what));
                }
            } else if listed.contains_key(&command) {
                used.insert(command);
            } else {
                let what = format!("it is not in {LIST} (ENTRAPOOL_BLESS=1 adds it): {command}");
                breaches.push(breach(file, line, what));
            }
        }
    }
    for (command, line) in listed
        .iter()
        .filter(|(command, _)| !used.contains(*command))
    {
        breaches.push(breach(
            LIST,
            *line,
            format!("no document has it: {command}"),
        ));
    }
    breaches
}

fn breach(file: &str, line: usize, what: String) -> Breach {
    Breach {
        file: file.to_owned(),
        line,
        what,
    }
}

/// The commands in the blocks of a text, with line and language. A line that ends in `\` goes on
/// in the next.
fn commands(text: &str) -> Vec<(usize, String, String)> {
    let mut found: Vec<(usize, String, String)> = Vec::new();
    let mut language: Option<String> = None;
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(info) = line.strip_prefix("```") {
            language = match language {
                Some(_) => None,
                None => Some(
                    info.split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                ),
            };
            goes_on = false;
            continue;
        }
        let Some(language) = language.as_ref().filter(|it| is_shell(it)) else {
            continue;
        };
        let line = line.split(" #").next().unwrap_or_default();
        let words = line.trim_end_matches('\\').split_whitespace();
        let words = words.collect::<Vec<_>>().join(" ");
        if words.is_empty() || words.starts_with('#') {
            continue;
        }
        match found.last_mut().filter(|_| goes_on) {
            Some((_, _, command)) => {
                command.push(' ');
                command.push_str(&words);
            }
            None => found.push((number, language.clone(), words)),
        }
        goes_on = line.ends_with('\\');
    }
    found
}

fn is_shell(language: &str) -> bool {
    TOOLS.contains(&language) || RUN.contains(&language)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(list: &str, document: &str) -> Vec<String> {
        let documents = [(LIST, list), ("README.md", document)];
        let documents = documents.map(|(file, text)| (file.to_owned(), text.to_owned()));
        let breaches = compare(&BTreeMap::from(documents));
        breaches.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_listed_and_used_is_good() {
        let list = "```az\naz vm list -g x\n```\n```kubectl\nkubectl get pods\n```\n";
        let document = "```az\n# all\naz vm list \\\n    -g x   # here\n```\n\
                        1.\n   ```kubectl\n   kubectl get pods\n   ```\n```sh\nls\n```\n";
        assert_eq!(said(list, document), Vec::<String>::new());
    }

    #[test]
    fn a_list_that_was_written_anew_is_good() {
        let document = "```az\naz vm list\n```\n```helm\nhelm list \\\n  -A\n```\n".to_owned();
        let mut documents = BTreeMap::from([("README.md".to_owned(), document)]);
        documents.insert(LIST.to_owned(), list_of(&documents));
        assert!(documents[LIST].contains("helm list -A\n"), "{documents:?}");
        assert!(compare(&documents).is_empty());
    }

    #[test]
    fn breaches_are_found() {
        let list = "```az\naz vm list\naz vm list\naz gone\n```\n";
        let document = "```az\naz vm list\naz vm show\n```\n```console\nhelm install x\n```\n";
        assert_eq!(
            said(list, document),
            [
                "docs/commands.md:3: it is there twice: az vm list",
                "README.md:3: it is not in docs/commands.md (ENTRAPOOL_BLESS=1 adds it): az vm show",
                "README.md:6: a command of helm belongs into a block of that language",
                "docs/commands.md:4: no document has it: az gone",
            ]
        );
    }
}
