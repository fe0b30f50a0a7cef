//! What can be typed, and what `--help` tells.

use clap::{CommandFactory as _, Parser as _};

use super::PLAIN;
use crate::config::cli::{Cli, Command, Exit};
use crate::config::key::Scope;
use crate::config::keys;

fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"entrapool").chain(arguments)).map(Cli::into_command)
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn run_is_the_default() {
    for arguments in [
        &["--workers", "2", PLAIN, "b"][..],
        &["run", "--workers", "2", PLAIN, "b"][..],
        &["run", PLAIN, "b", "--workers=2"][..],
    ] {
        match parse(arguments).unwrap() {
            Command::Run(options) => {
                assert_eq!(options.workers.as_deref(), Some("2"));
                let routes: Vec<String> = options.routes.iter().map(ToString::to_string).collect();
                assert_eq!(routes, [PLAIN, "b"]);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(parse(&[]).unwrap(), Command::Run(_)));
}

#[test]
fn doctor_takes_the_same_and_names() {
    let arguments = [
        "doctor",
        "--json",
        "--timeout",
        "2s",
        "--config",
        "x",
        PLAIN,
        "reports",
    ];
    let Command::Doctor(options) = parse(&arguments).unwrap() else {
        panic!("the doctor");
    };
    assert!(options.json);
    assert_eq!(options.timeout, std::time::Duration::from_secs(2));
    let (names, rest) = options.names();
    assert_eq!(names, ["reports"]);
    assert_eq!(rest.config.as_deref(), Some("x"));
    assert_eq!(rest.routes.len(), 1);
    for bad in ["5", "0s", "1h", "soon"] {
        assert!(parse(&["doctor", "--timeout", bad]).is_err(), "{bad}");
    }
}

#[test]
fn check_takes_the_same() {
    let arguments = [
        "check",
        "--config",
        "x.toml",
        "--http",
        "h",
        "--log-format",
        "json",
        "--log-level",
        "l",
    ];
    match parse(&arguments).unwrap() {
        Command::Check(options) => {
            assert_eq!(options.config.as_deref(), Some("x.toml"));
            assert_eq!(options.http.as_deref(), Some("h"));
            assert_eq!(options.log_format.as_deref(), Some("json"));
            assert_eq!(options.log_level.as_deref(), Some("l"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn usage_errors_have_the_code_of_configuration_errors() {
    for arguments in [&["--frobnicate"][..], &["check", "--workers"][..]] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(Exit::Configuration.code()));
    }
    for arguments in [&["--help"][..], &["--version"][..], &["check", "-h"][..]] {
        assert_eq!(parse(arguments).unwrap_err().exit_code(), 0);
    }
}

#[test]
fn debug_output_has_no_password() {
    let command = parse(&["postgres://vm:hunter2@h/db"]).unwrap();
    assert!(!format!("{command:?}").contains("hunter2"));
}

#[test]
fn help_tells_every_key_variable_and_exit_code() {
    for help in [
        Cli::command().render_long_help().to_string(),
        parse(&["check", "--help"]).unwrap_err().to_string(),
    ] {
        for key in keys::ROUTE {
            let in_query = key.scope() == Scope::UrlTable;
            let told = help.lines().any(|line| {
                let name = line
                    .strip_prefix("  ")
                    .and_then(|line| line.split(' ').next());
                name == Some(key.name())
            });
            assert!(!in_query || told, "{}", key.name());
        }
        for key in keys::PROGRAM {
            assert!(help.contains(&key.variable()), "{}", key.name());
        }
        for exit in Exit::ALL {
            let line = format!("\n  {}  {}", exit.code(), exit.meaning());
            assert!(help.contains(&line), "{exit:?}");
        }
        assert!(help.contains("ENTRAPOOL_ROUTE_0"), "{help}");
        assert!(help.contains("\n  sqlserver://[USER@]HOST"), "{help}");
        assert!(
            help.contains("\n  packet_size       sqlserver only. "),
            "{help}"
        );
        assert!(
            help.contains("\n                    1 to 10000; default 10\n"),
            "{help}"
        );
    }
}

#[test]
fn help_fits_a_terminal() {
    let help = crate::config::reference::long_help();
    for line in help.lines() {
        assert!(line.chars().count() <= 82, "{line}");
    }
}
