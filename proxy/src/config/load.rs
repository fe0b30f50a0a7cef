//! All sources together: flags over environment over file, and every error at once.
//!
//! `main` calls [`load`]; nothing is kept of what it read but the result.

use super::cli::CliOptions;
use super::environment::Environment;
use super::error::{ConfigErrors, Place};
use super::file::{FileContent, read_file};
use super::identity::AUTO_CHOSE;
use super::keys;
use super::model::{Config, ConsoleAccess, Control, Drain, Listen, Log, Start};
use super::route::{Claims, read_route};
use super::route_url::read_url;
use super::settings::{Reader, Settings};
use super::variables::read_variables;

/// A configuration, and what is worth telling about how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Validated.
    pub config: Config,
    /// One sentence each, for the log: choices that were made and not asked for.
    pub notes: Vec<String>,
}

impl Loaded {
    /// What is worth telling about one route.
    pub fn notes_on(&self, route: &str) -> impl Iterator<Item = &str> {
        let begin = format!("route {route}: ");
        self.notes
            .iter()
            .filter_map(move |note| note.strip_prefix(&begin))
    }

    /// Why the route has its source of tokens, if `auto` chose it.
    #[must_use]
    pub fn why_identity(&self, route: &str) -> Option<&str> {
        self.notes_on(route)
            .find_map(|note| note.strip_prefix(AUTO_CHOSE))
    }
}

/// Reads flags, environment and file; a flag wins over a variable, which wins over the file.
///
/// Routes are not merged: those of the command line replace those of the environment, which
/// replace those of the file.
///
/// # Errors
///
/// Everything that is wrong, each with its place; also values that another source overrides.
pub fn load(cli: &CliOptions, env: &dyn Environment) -> Result<Loaded, ConfigErrors> {
    let mut errors = ConfigErrors::default();
    let mut notes = Vec::new();
    let flags = cli.settings();
    let variables = read_variables(env, &mut errors);
    let path = Reader::new(vec![&flags, &variables.settings], &mut errors).given(&keys::CONFIG);
    let file = match path {
        Some(path) => read_file(&path, &mut errors),
        None => FileContent::none(),
    };

    let arguments = read_arguments(cli, &mut errors);
    let sources = [
        ("the command line", !cli.routes.is_empty(), arguments),
        ("the environment", variables.has_routes, variables.routes),
        ("the file", file.has_routes, file.routes),
    ];
    let written = pick_routes(sources, &mut errors, &mut notes);

    let layers = vec![&flags, &variables.settings, &file.settings];
    let mut program = Reader::new(layers, &mut errors);
    let rest = read_program(&mut program);
    let mut claims = Claims::default();
    if let Some(config) = &rest {
        claims.claim_for(&mut program, &keys::HTTP, Listen::Tcp(config.http));
        if let Some(listen) = &config.control.listen {
            claims.claim_for(&mut program, &keys::CONTROL_LISTEN, listen.clone());
        }
    }
    let mut routes = Vec::new();
    for settings in &written {
        routes.extend(
            read_route(settings, env, &mut claims, &mut errors).map(|read| {
                notes.extend(read.notes);
                read.route
            }),
        );
    }
    match rest {
        Some(config) if errors.is_empty() => Ok(Loaded {
            config: Config { routes, ..config },
            notes,
        }),
        _ => Err(errors),
    }
}

fn read_arguments(cli: &CliOptions, errors: &mut ConfigErrors) -> Vec<Settings> {
    cli.routes
        .iter()
        .enumerate()
        .filter_map(|(index, url)| {
            let place = Place::Route {
                origin: format!("ROUTE {}", index + 1),
                shown: url.to_string(),
            };
            read_url(url, &place, errors)
        })
        .collect()
}

/// The routes of the first source that has any; tells which others it replaces.
fn pick_routes(
    sources: [(&str, bool, Vec<Settings>); 3],
    errors: &mut ConfigErrors,
    notes: &mut Vec<String>,
) -> Vec<Settings> {
    let mut written = sources.into_iter().filter(|(_, has_routes, _)| *has_routes);
    let Some((winner, _, routes)) = written.next() else {
        errors.add(
            &Place::Whole,
            "there is no route; give one on the command line \
             (entrapool postgres://my-vm@myserver.postgres.database.azure.com/mydb, or \
             sqlserver://myserver.database.windows.net/mydb), in \
             ENTRAPOOL_ROUTE, or as [[route]] in the file",
        );
        return Vec::new();
    };
    for (loser, _, _) in written {
        notes.push(format!("the routes of {winner} replace those of {loser}"));
    }
    routes
}

/// Everything but the routes; `None` only if something was reported.
fn read_program(reader: &mut Reader<'_>) -> Option<Config> {
    let http = reader.value(&keys::HTTP);
    let workers = reader.value(&keys::WORKERS);
    let io_uring = reader.value(&keys::IO_URING);
    let authority_ca_file = reader.given(&keys::AUTHORITY_CA_FILE);
    let format = reader.value(&keys::LOG_FORMAT);
    let level = reader.value(&keys::LOG_LEVEL);
    let accept_for = reader.value(&keys::DRAIN_ACCEPT_FOR);
    let max_wait = reader.value(&keys::DRAIN_MAX_WAIT);
    let timeout = reader.value(&keys::START_TIMEOUT);
    let on_failure = reader.value(&keys::START_ON_FAILURE);
    let control = read_control(reader);
    let group = reader.given(&keys::CONSOLE_GROUP);
    Some(Config {
        http: http?,
        workers: usize::try_from(workers?).ok()?,
        io_uring: io_uring?,
        authority_ca_file,
        log: Log {
            format: format?,
            level: level?,
        },
        drain: Drain {
            accept_for: accept_for?,
            max_wait: max_wait?,
        },
        start: Start {
            timeout: timeout?,
            on_failure: on_failure?,
        },
        control,
        console: ConsoleAccess { group },
        routes: Vec::new(),
    })
}

fn read_control(reader: &mut Reader<'_>) -> Control {
    let listen = reader.given(&keys::CONTROL_LISTEN);
    let group = reader.given(&keys::CONTROL_GROUP);
    if group.is_some() && !matches!(listen, Some(Listen::Unix(_))) {
        reader.reject(
            &keys::CONTROL_GROUP,
            "only a Unix socket has a group; give control.listen a path, or leave this out",
        );
    }
    Control { listen, group }
}
