//! Manual pages and completions, written from what clap knows of the command line, so that
//! neither can say what is not so. `main` calls them for `man` and `completions`; packages are
//! made with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::Cli;
use crate::config::reference::long_help;

/// The script that makes `shell` complete the command line.
///
/// # Errors
/// When `out` can't be written to.
pub fn completions(shell: Shell, out: &mut dyn io::Write) -> io::Result<()> {
    shell.try_generate(&whole(), out)
}

/// Writes a page for the program and for each of its commands, `entrapool.1` and so on, into a
/// directory; returns the pages' paths.
///
/// # Errors
/// When the directory can't be made or written to.
pub fn manual(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let mut written = Vec::new();
    for command in with_descendants(whole()) {
        // The end of --help is the same everywhere, and stands in the first page.
        let extra = if written.is_empty() {
            long_help()
        } else {
            String::new()
        };
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, page(&command, &extra)?)?;
        written.push(path);
    }
    Ok(written)
}

/// The command line with all that clap adds to it (`help`, names of commands).
fn whole() -> Command {
    let mut command = Cli::command()
        .bin_name("entrapool")
        .disable_help_subcommand(true);
    command.build();
    command
}

/// A command and those below it that are for people.
fn with_descendants(command: Command) -> Vec<Command> {
    let below: Vec<_> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .cloned()
        .collect();
    let mut all = vec![command];
    all.extend(below.into_iter().flat_map(with_descendants));
    all
}

fn page(command: &Command, extra: &str) -> io::Result<Vec<u8>> {
    // clap_mangen prints the end of --help as running text; what is in columns has to stay so.
    let command = command.clone().after_help("").after_long_help("");
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    for section in sections(extra) {
        section.to_writer(&mut page)?;
    }
    if command.get_version().is_some() {
        man.render_version_section(&mut page)?;
    }
    Ok(page)
}

/// The end of `--help`: a section begins with a line that is not indented.
fn sections(text: &str) -> Vec<Roff> {
    let mut sections: Vec<Roff> = Vec::new();
    for line in text.lines() {
        let is_title = !line.is_empty() && !line.starts_with(' ');
        if is_title {
            let mut roff = Roff::new();
            let title = line.trim_end_matches(':').to_uppercase();
            roff.control("SH", [title.as_str()]);
            roff.control("nf", []);
            sections.push(roff);
        } else if let Some(roff) = sections.last_mut() {
            // Without the indent of --help: pages have their own.
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
    }
    for roff in &mut sections {
        roff.control("fi", []);
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let pages = manual(directory.path()).unwrap();
        let names: Vec<_> = pages
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        for name in ["entrapool.1", "entrapool-run.1", "entrapool-check.1"] {
            assert!(names.iter().any(|page| page == name), "{name} in {names:?}");
        }
        let first = fs::read_to_string(&pages[0]).unwrap();
        for text in [".SH ROUTE", "pool_size", "ENTRAPOOL_ROUTE", "EXIT CODES"] {
            assert!(first.contains(text), "{text} is not in\n{first}");
        }
    }

    #[test]
    fn shells_learn_commands_and_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            completions(shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for word in ["entrapool", "check", "log-format"] {
                assert!(script.contains(word), "{word} is not in {shell}'s script");
            }
        }
    }
}
