//! The command line: what can be typed, and `--help`.
//!
//! `main` parses [`Cli`] and hands [`CliOptions`] to [`super::load`]. Values stay text in here,
//! so that a bad one is reported together with those of the other sources.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use self::pages::{completions, manual};
use super::ctl::CtlOptions;
use super::error::Place;
use super::key::{Described, Scope};
use super::keys;
use super::reference::{long_help, short_help};
use super::route_url::RouteUrl;
use super::settings::{Raw, Settings};
use super::shape::{Shape, Span};

mod pages;

/// Connection-pooling sidecar for databases with Microsoft Entra identities.
///
/// Applications connect to localhost without a password. entrapool logs in to the server with
/// tokens of the machine's identity, keeps them fresh, and shares a few connections among many
/// clients.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "entrapool",
    version,
    args_conflicts_with_subcommands = true,
    after_help = short_help(),
    after_long_help = long_help(),
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: CliOptions,
}

impl Cli {
    /// What is to be done; `run` if nothing is said.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.options))
    }
}

/// What is to be done.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve the routes until SIGTERM (the default)
    #[command(after_help = short_help(), after_long_help = long_help())]
    Run(CliOptions),
    /// Print the effective configuration as TOML, or every error, and exit
    #[command(after_help = short_help(), after_long_help = long_help())]
    Check(CliOptions),
    /// Operate the running program through its control socket
    Ctl(CtlOptions),
    /// Walk the path to each server step by step; say where it breaks and what to try
    #[command(after_help = short_help(), after_long_help = long_help())]
    Doctor(DoctorOptions),
    /// Print the script that makes a shell complete entrapool's command line
    #[command(after_help = "Example, for bash: source <(entrapool completions bash)")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual pages into a directory, for those who make packages
    #[command(hide = true)]
    Man {
        /// Where entrapool.1 and the others go
        directory: PathBuf,
    },
}

/// What `doctor` takes: what `run` takes, where a ROUTE may also be the name of a route of the
/// environment or the file.
#[derive(Debug, Clone, Args)]
pub struct DoctorOptions {
    /// One JSON object instead of lines for people
    #[arg(long)]
    pub json: bool,
    /// How long each step may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = step_timeout)]
    pub timeout: Duration,
    /// As for `run`.
    #[command(flatten)]
    pub options: CliOptions,
}

impl DoctorOptions {
    /// The names of routes that were given, and everything else.
    #[must_use]
    pub fn names(&self) -> (Vec<String>, CliOptions) {
        let mut rest = self.options.clone();
        let (routes, names) = rest.routes.into_iter().partition(RouteUrl::is_url);
        rest.routes = routes;
        (names.iter().map(ToString::to_string).collect(), rest)
    }
}

fn step_timeout(text: &str) -> Result<Duration, String> {
    let span = Span {
        min: Duration::from_millis(100),
        max: Duration::from_secs(300),
    };
    span.read(&Raw::Text(text.to_owned()))
        .map_err(|problem| problem.to_string())
}

/// What `run`, `check` and `doctor` take.
#[derive(Debug, Clone, Default, Args)]
pub struct CliOptions {
    /// The configuration file
    #[arg(long, value_name = "FILE", long_help = keys::CONFIG.sentence())]
    pub config: Option<String>,
    /// Where metrics and probes are served, e.g. 0.0.0.0:9464
    #[arg(long, value_name = "ADDR", long_help = keys::HTTP.sentence())]
    pub http: Option<String>,
    /// How many worker threads
    #[arg(long, value_name = "N", long_help = keys::WORKERS.sentence())]
    pub workers: Option<String>,
    /// How the log looks
    #[arg(long, value_name = "text|json", long_help = keys::LOG_FORMAT.sentence())]
    pub log_format: Option<String>,
    /// A level such as info, or a filter such as info,entrapool=debug
    #[arg(long, value_name = "LEVEL", long_help = keys::LOG_LEVEL.sentence())]
    pub log_level: Option<String>,
    /// What is served, one listener each.
    #[arg(
        value_name = "ROUTE",
        help = "What to serve, one listener each: postgres://USER@HOST[:PORT][/DATABASE][?key=value&...] or sqlserver://[USER@]HOST[:PORT]/DATABASE[?key=value&...]"
    )]
    pub routes: Vec<RouteUrl>,
}

impl CliOptions {
    /// The flags that were given.
    pub(super) fn settings(&self) -> Settings {
        let flags: [(&dyn Described, &Option<String>); 5] = [
            (&keys::CONFIG, &self.config),
            (&keys::HTTP, &self.http),
            (&keys::WORKERS, &self.workers),
            (&keys::LOG_FORMAT, &self.log_format),
            (&keys::LOG_LEVEL, &self.log_level),
        ];
        let mut settings = Settings::new(Place::Whole);
        for (key, value) in flags {
            let (Scope::FlagVariable(flag) | Scope::FlagVariableFile(flag)) = key.scope() else {
                continue;
            };
            if let Some(text) = value {
                settings.insert(key.name(), Raw::Text(text.clone()), Place::Flag(flag));
            }
        }
        settings
    }
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Drained, or `check` found nothing wrong.
    Clean,
    /// Anything that has no code of its own.
    Failure,
    /// Usage or configuration.
    Configuration,
    /// No token within `start.timeout`.
    NoToken,
    /// A listener could not be bound.
    Bind,
    /// `doctor`: there is a token, and the server can't be used.
    Unusable,
    /// Nobody answers on the control socket.
    NotRunning,
}

impl Exit {
    /// All of them, by code.
    pub const ALL: [Self; 7] = [
        Self::Clean,
        Self::Failure,
        Self::Configuration,
        Self::NoToken,
        Self::Bind,
        Self::Unusable,
        Self::NotRunning,
    ];

    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failure => 1,
            Self::Configuration => 2,
            Self::NoToken => 3,
            Self::Bind => 4,
            Self::Unusable => 5,
            Self::NotRunning => 6,
        }
    }

    /// What it tells, for `--help` and the reference.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Clean => {
                "clean end, also after SIGTERM; check and doctor: all is good; ctl: done"
            }
            Self::Failure => "anything else; ctl: refused (configuration, rights), or not in time",
            Self::Configuration => "usage or configuration error",
            Self::NoToken => {
                "no token at start (start.timeout, start.on_failure=exit), or for doctor"
            }
            Self::Bind => "a listener could not be bound",
            Self::Unusable => "doctor: there is a token, and the server can't be used",
            Self::NotRunning => "ctl: nobody answers on the control socket",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
