//! What is refused before anything runs.

use clap::Parser as _;

use super::App;
use crate::config::cli::{Cli, Command, Exit};
use crate::config::{Config, MapEnvironment, load};

fn config(routes: &[&str]) -> Config {
    let arguments = std::iter::once(&"entrapool").chain(routes);
    let (Command::Run(options) | Command::Check(options)) =
        Cli::try_parse_from(arguments).unwrap().into_command();
    load(&options, &MapEnvironment::default()).unwrap().config
}

// An endpoint where nobody listens: no token, and no wait for one.
const POSTGRES: &str =
    "postgres://vm@db.example.com/app?identity=imds&imds_endpoint=http://127.0.0.1:1";
const SQLSERVER: &str =
    "sqlserver://db.example.com/app?identity=imds&imds_endpoint=http://127.0.0.1:1&name=second";

#[tokio::test]
async fn a_route_without_an_engine_is_refused_by_name() {
    let Err(fault) = App::new(config(&[POSTGRES, SQLSERVER])) else {
        panic!("there is no engine for {SQLSERVER}");
    };
    assert_eq!(fault.exit(), Exit::Configuration);
    let message = fault.to_string();
    assert!(message.starts_with("route second: "), "{message}");
    assert!(message.contains("can't serve them yet"), "{message}");
    assert!(App::new(config(&[POSTGRES])).is_ok());
}
