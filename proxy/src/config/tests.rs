//! The configuration as a user meets it: arguments, variables and files in, values or errors out.

mod command_line;
mod documents;
mod files;
mod identities;
mod precedence;
mod round_trip;
mod routes;
mod sqlserver;
pub(crate) mod told;
mod urls;
mod values;

use clap::Parser as _;

use super::cli::{Cli, Command};
use super::{CliOptions, Config, ConfigErrors, Loaded, MapEnvironment, Route, load};

/// A ROUTE that is right and says nothing special.
const PLAIN: &str = "postgres://my-vm@db.postgres.database.azure.com/app";

fn options(arguments: &[&str]) -> CliOptions {
    let arguments = std::iter::once(&"entrapool").chain(arguments);
    match Cli::try_parse_from(arguments).unwrap().into_command() {
        Command::Run(options) | Command::Check(options) => options,
        other => panic!("{other:?}"),
    }
}

fn try_load(arguments: &[&str], env: &MapEnvironment) -> Result<Loaded, ConfigErrors> {
    load(&options(arguments), env)
}

fn config(arguments: &[&str]) -> Config {
    match try_load(arguments, &MapEnvironment::default()) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{arguments:?}: {errors}"),
    }
}

fn route(url: &str) -> Route {
    config(&[url]).routes.remove(0)
}

/// A route of [`PLAIN`] with a query.
fn plain(query: &str) -> Route {
    route(&format!("{PLAIN}?{query}"))
}

fn errors(arguments: &[&str], env: &MapEnvironment) -> Vec<String> {
    match try_load(arguments, env) {
        Ok(loaded) => panic!("{arguments:?} should be refused: {loaded:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The single error of a ROUTE, without its place.
fn route_error(url: &str) -> String {
    let found = errors(&[url], &MapEnvironment::default());
    assert_eq!(found.len(), 1, "{url}: {found:?}");
    let (place, message) = found[0].split_once("): ").unwrap();
    assert!(place.starts_with("ROUTE 1 ("), "{place}");
    message.to_owned()
}

/// The single error of [`PLAIN`] with a query.
fn plain_error(query: &str) -> String {
    route_error(&format!("{PLAIN}?{query}"))
}
