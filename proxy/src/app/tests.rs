//! What is refused before anything runs.

use clap::Parser as _;

use super::App;
use crate::config::cli::{Cli, Command, Exit};
use crate::config::{Config, MapEnvironment, load};

fn config(routes: &[&str]) -> Config {
    let arguments = std::iter::once(&"entrapool").chain(routes);
    let Command::Run(options) = Cli::try_parse_from(arguments).unwrap().into_command() else {
        panic!("routes alone mean run");
    };
    load(&options, &MapEnvironment::default()).unwrap().config
}

// An endpoint where nobody listens: no token, and no wait for one.
const POSTGRES: &str =
    "postgres://vm@db.example.com/app?identity=imds&imds_endpoint=http://127.0.0.1:1";
const SQLSERVER: &str =
    "sqlserver://db.example.com/app?identity=imds&imds_endpoint=http://127.0.0.1:1&name=second";

#[tokio::test]
async fn a_route_that_can_t_run_is_refused_by_name() {
    let missing = format!("{SQLSERVER}&client_cert_file=/none.pem&client_key_file=/none.key");
    let Err(fault) = App::new(config(&[POSTGRES, &missing])) else {
        panic!("there is no such file: {missing}");
    };
    assert_eq!(fault.exit(), Exit::Configuration);
    let message = fault.to_string();
    assert!(
        message.starts_with("route second: /none.pem: "),
        "{message}"
    );
    assert!(App::new(config(&[POSTGRES, SQLSERVER])).is_ok());
}
