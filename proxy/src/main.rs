//! The program: arguments become a configuration, which becomes an [`App`], which runs.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use entrapool::app::{App, Operation};
use entrapool::config::cli::{self, Cli, CliOptions, Command, DoctorOptions, Exit};
use entrapool::config::{self, CtlOptions, IoUring, Loaded, ProcessEnvironment, Supervisor};
use entrapool::doctor::{self, Look};
use entrapool::session::batch;
use entrapool::{ctl, log};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

fn main() -> ExitCode {
    let exit = match Cli::parse().into_command() {
        Command::Run(options) => {
            loaded(&options).map_or_else(|exit| exit, |loaded| run(loaded, options))
        }
        Command::Check(options) => {
            loaded(&options).map_or_else(|exit| exit, |loaded| check(&loaded))
        }
        Command::Ctl(options) => operate(&options),
        Command::Completions { shell } => {
            // A reader that has seen enough (`| head`) is no failure of ours to tell of.
            match cli::completions(shell, &mut std::io::stdout().lock()) {
                Ok(()) => Exit::Clean,
                Err(_) => Exit::Failure,
            }
        }
        Command::Man { directory } => manual(&directory),
        Command::Doctor(options) => examine(&options),
    };
    ExitCode::from(exit.code())
}

/// The configuration, or every error in it on stderr.
fn loaded(options: &CliOptions) -> Result<Loaded, Exit> {
    config::load(options, &ProcessEnvironment).map_err(|errors| {
        eprintln!("{errors}");
        Exit::Configuration
    })
}

fn check(loaded: &Loaded) -> Exit {
    let mut out = std::io::stdout().lock();
    let written = loaded
        .notes
        .iter()
        .try_for_each(|note| writeln!(out, "# {note}"))
        .and_then(|()| write!(out, "{}", config::render(&loaded.config)));
    // A reader that has seen enough (`| head`) is no failure.
    if written.is_ok() {
        Exit::Clean
    } else {
        Exit::Failure
    }
}

/// Asks a running program.
fn operate(options: &CtlOptions) -> Exit {
    let asked = runtime(1).map(|runtime| runtime.block_on(ctl::run(options, &ProcessEnvironment)));
    match asked {
        Ok(Ok(answer)) => {
            // A reader that has seen enough is no failure.
            let _ = write!(std::io::stdout(), "{answer}");
            Exit::Clean
        }
        Ok(Err(error)) => {
            eprintln!("{error}");
            error.exit()
        }
        Err(error) => {
            eprintln!("the runtime could not be started: {error}");
            Exit::Failure
        }
    }
}

fn manual(directory: &Path) -> Exit {
    match cli::manual(directory) {
        Ok(pages) => {
            let mut out = std::io::stdout().lock();
            for page in pages {
                // A reader that has seen enough is no failure.
                let _ = writeln!(out, "{}", page.display());
            }
            Exit::Clean
        }
        Err(error) => {
            eprintln!(
                "the manual can't be written to {}: {error}",
                directory.display()
            );
            Exit::Failure
        }
    }
}

/// `doctor` says everything in its report, so that nothing is logged.
fn examine(options: &DoctorOptions) -> Exit {
    let mut out = std::io::stdout();
    let look = match options.json {
        true => Look::Json,
        false => Look::Text {
            colours: out.is_terminal() && config::wants_colours(&ProcessEnvironment),
        },
    };
    let _ = forbid_core_files();
    let Ok(runtime) = runtime(1) else {
        eprintln!("the runtime could not be started");
        return Exit::Failure;
    };
    let exit = runtime.block_on(doctor::run(options, &ProcessEnvironment, look, &mut out));
    runtime.shutdown_background();
    exit
}

fn run(loaded: Loaded, options: CliOptions) -> Exit {
    let operation = Operation {
        log: Arc::new(log::start(&loaded.config.log)),
        load: Arc::new(move || config::load(&options, &ProcessEnvironment)),
    };
    if let Err(error) = forbid_core_files() {
        tracing::warn!(%error, "a core file of this process could be written, with its tokens in it");
    }
    for note in &loaded.notes {
        tracing::info!("{note}");
    }
    let result = runtime(loaded.config.workers)
        .map_err(|error| {
            tracing::error!(%error, "the runtime could not be started");
            Exit::Failure
        })
        .and_then(|runtime| {
            let supervisor = Supervisor::find(&ProcessEnvironment, std::process::id());
            let ended = runtime.block_on(async {
                if loaded.config.workers == 1 && loaded.config.io_uring == IoUring::Auto {
                    gather_sends();
                }
                let app = App::new(loaded.config)?.supervised(supervisor.as_ref());
                app.run(operation).await
            });
            runtime.shutdown_background();
            ended.map_err(|fault| {
                tracing::error!("{fault}");
                fault.exit()
            })
        });
    result.err().unwrap_or(Exit::Clean)
}

/// Memory holds tokens. The limit keeps the kernel from writing a core file, the other setting
/// also from handing it to a program (`core_pattern` with a pipe ignores the limit).
fn forbid_core_files() -> rustix::io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Must be called on a runtime of this thread alone.
fn gather_sends() {
    match batch::begin() {
        Ok(()) => tracing::info!("what is sent leaves together, by io_uring"),
        Err(error) => {
            tracing::info!(%error, "each send is a system call of its own: io_uring is not to be had here");
        }
    }
}

fn runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = if workers == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.worker_threads(workers).enable_all().build()
}
