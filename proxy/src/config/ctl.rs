//! `entrapool ctl`: what can be typed, and where the running program is found.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::endpoint::ControlListener;
use super::environment::Environment;
use super::key::Described as _;
use super::keys;
use super::model::Listen;
use super::settings::Raw;
use super::shape::Shape as _;
use super::span::parse_span;

/// Where the running program is looked for, if nothing else is said.
const USUAL: &str = "/run/entrapool/control.sock";

/// What `ctl` takes.
#[derive(Debug, Clone, Args)]
pub struct CtlOptions {
    /// The control socket or address of the running program: its control.listen [default:
    /// $ENTRAPOOL_CONTROL_LISTEN, else /run/entrapool/control.sock]
    #[arg(long, value_name = "PATH|IP:PORT", global = true)]
    pub socket: Option<String>,
    /// How the answer looks
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    pub output: CtlOutput,
    /// The same as -o json
    #[arg(long, global = true)]
    pub json: bool,
    /// What is asked.
    #[command(subcommand)]
    pub command: CtlCommand,
}

impl CtlOptions {
    /// How the answer looks, whichever option says it.
    #[must_use]
    pub fn output(&self) -> CtlOutput {
        match self.json {
            true => CtlOutput::Json,
            false => self.output,
        }
    }
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CtlOutput {
    /// For people.
    Table,
    /// As the program says it.
    Json,
}

/// What is asked of the running program.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum CtlCommand {
    /// Routes, tokens, and what went wrong lately
    Status,
    /// Backends and waiting clients, by route and database
    Pools,
    /// Clients: what each does, and why it keeps a backend
    Clients,
    /// Backends: what each does, and for whom
    Servers,
    /// Tokens: how long they last, and what failed
    Tokens,
    /// Wait until a new client would be served; exit code 1 if that takes too long
    Wait {
        /// How long to wait
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span)]
        timeout: Duration,
    },
    /// Stop as SIGTERM does: transactions may finish, then the program ends
    Drain {
        /// Return when it has ended
        #[arg(long)]
        wait: bool,
    },
    /// Stop at once: open transactions are cut off
    Quit,
    /// Read the configuration and the CA files again, as SIGHUP does; print what changes
    Reload,
    /// Show how much is logged, or change it until the next reload or start
    LogLevel {
        /// A level such as debug, or a filter such as info,entrapool=debug
        filter: Option<String>,
    },
}

/// Where the running program is operated: what `--socket` says, else what its own variable says,
/// else the usual place.
///
/// # Errors
/// What is wrong with it.
pub fn control_address(socket: Option<&str>, env: &dyn Environment) -> Result<Listen, String> {
    let variable = keys::CONTROL_LISTEN.variable();
    let (place, text) = match (socket, env.get(&variable)) {
        (Some(text), _) => ("--socket", text.to_owned()),
        (None, Some(text)) => (variable.as_str(), text),
        (None, None) => ("--socket", USUAL.to_owned()),
    };
    ControlListener
        .read(&Raw::Text(text))
        .map_err(|problem| format!("{place}: {problem}"))
}

fn span(text: &str) -> Result<Duration, String> {
    parse_span(text).map_err(|error| format!("{error}; write it like 30s or 5min"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MapEnvironment;

    #[test]
    fn the_running_program_is_found() {
        let nothing = MapEnvironment::default();
        let set = nothing
            .clone()
            .with("ENTRAPOOL_CONTROL_LISTEN", "127.0.0.1:7");
        let found = |socket, env: &MapEnvironment| {
            control_address(socket, env).map(|listen| listen.to_string())
        };
        assert_eq!(found(None, &nothing).unwrap(), USUAL);
        assert_eq!(found(None, &set).unwrap(), "127.0.0.1:7");
        assert_eq!(found(Some("/x"), &set).unwrap(), "/x");
        for (wrong, words) in [
            ("10.0.0.1:7", "not loopback"),
            ("x", "neither the path"),
            ("/run/", "is a directory"),
        ] {
            let error = found(Some(wrong), &set).unwrap_err();
            assert!(
                error.starts_with("--socket: ") && error.contains(words),
                "{error}"
            );
        }
    }
}
