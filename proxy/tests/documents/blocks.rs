//! The fenced blocks of the documents.

use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// The document, from the root.
    pub(crate) file: String,
    /// The line of its fence, 1 for the first.
    pub(crate) line: usize,
    /// The first word behind the fence.
    pub(crate) language: String,
    /// What is in it, without the indentation of its fence.
    pub(crate) text: String,
}

impl Block {
    /// Whether commands are in it.
    pub(crate) fn is_for_a_shell(&self) -> bool {
        matches!(self.language.as_str(), "console" | "sh" | "bash" | "shell")
    }

    /// Its commands: lines that go on are joined, comments are left out. If any line has a prompt,
    /// the others are output.
    pub(crate) fn commands(&self) -> Vec<String> {
        let joined = self.text.replace("\\\n", " ");
        let lines: Vec<_> = joined.lines().collect();
        let prompts = lines.iter().any(|line| line.starts_with("$ "));
        let mut commands = Vec::new();
        for line in lines {
            let line = match (prompts, line.strip_prefix("$ ")) {
                (true, Some(typed)) => typed,
                (true, None) => continue,
                (false, _) => line,
            };
            let line = line.split(" #").next().unwrap_or_default().trim();
            if !line.is_empty() && !line.starts_with('#') {
                commands.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
        commands
    }
}

/// All blocks of the documents that people read.
pub(crate) fn all_blocks() -> Vec<Block> {
    let documents = all_documents();
    let blocks = documents
        .iter()
        .flat_map(|(name, text)| blocks_of(name, text));
    blocks.collect()
}

/// The documents that people read: path from the root, and text.
pub(crate) fn all_documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files: Vec<_> = ["README.md", "SECURITY.md", "CONTRIBUTING.md"]
        .iter()
        .map(|name| root.join(name))
        .collect();
    markdown(&root.join("docs"), &mut files);
    files.sort();
    let document = |file: &PathBuf| {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        (name, fs::read_to_string(file).unwrap())
    };
    files.iter().map(document).collect()
}

fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

fn blocks_of(file: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside: Option<usize> = None;
    for (line, row) in (1..).zip(text.lines()) {
        let indent = row.len() - row.trim_start().len();
        match (row.trim_start().strip_prefix("```"), inside) {
            (Some(_), Some(_)) => inside = None,
            (Some(info), None) => {
                blocks.push(Block {
                    file: file.to_owned(),
                    line,
                    language: info
                        .split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                    text: String::new(),
                });
                inside = Some(indent);
            }
            (None, Some(indent)) => {
                let block = blocks.last_mut().expect("a fence began one");
                let begin = indent.min(row.len() - row.trim_start().len());
                block.text += &row[begin..];
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn blocks_are_read() {
    let text = "x\n```console\n# why\na b \\\n   c   # because\n```\n1.\n   ```sh\n   $ d\n   out\n   ```\n";
    let blocks = blocks_of("a.md", text);
    let commands: Vec<_> = blocks.iter().map(Block::commands).collect();
    assert_eq!(commands, [vec!["a b c"], vec!["d"]]);
    assert_eq!((blocks[1].line, blocks[1].is_for_a_shell()), (8, true));
}
