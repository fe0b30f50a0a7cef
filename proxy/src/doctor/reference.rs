//! `docs/troubleshooting.md`: the table of causes as a document. A test keeps it up to date.

use super::cause::{self, Cause, Names};
use super::report::Step;
use crate::config::Engine;

/// The document, as it should be.
#[must_use]
pub fn troubleshooting_markdown() -> String {
    let mut page = INTRO.to_owned();
    for step in Step::ALL {
        page.push_str(&format!("\n## {}\n\n{}\n", step.as_str(), checks(step)));
        page.push_str("\n| cause | what it means | where it shows | what to try |\n");
        page.push_str("|---|---|---|---|\n");
        for cause in cause::all().filter(|cause| cause.step == step) {
            page.push_str(&row(cause));
        }
    }
    page
}

fn row(cause: &Cause) -> String {
    let remedy = |engine| {
        cause.remedy(&Names {
            engine,
            ..Names::EXAMPLE
        })
    };
    let (postgres, tds) = (remedy(Engine::Postgres), remedy(Engine::Tds));
    let remedy = match postgres == tds {
        true => postgres,
        false => format!("PostgreSQL: {postgres} SQL Server: {tds}"),
    };
    format!(
        "| `{}` | {} | {} | {} |\n",
        cause.code,
        cell(cause.meaning),
        cell(cause.seen),
        cell(&remedy)
    )
}

/// Text that can't end its cell; what stands in backquotes stays as it is.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '`';
        if c == '|' || (!quoted && matches!(c, '*' | '_' | '<' | '>' | '[' | ']')) {
            cell.push('\\');
        }
        cell.push(c);
    }
    cell
}

/// What a step looks at.
fn checks(step: Step) -> &'static str {
    match step {
        Step::Configuration => {
            "Flags, variables and file; the files that the route names. All errors at once, each with its place."
        }
        Step::Identity => {
            "Which source of tokens was chosen and why; whether it answers, and with a token."
        }
        Step::Claims => {
            "What the token says: audience, expiry, object id, application id, tenant, kind. It is read, not verified, and never shown itself."
        }
        Step::Resolve => {
            "The addresses of the server's name, whether they are private, and through which aliases the name servers lead to them. A warning here does not end the way."
        }
        Step::Tcp => "Each address in turn, as a login tries them.",
        Step::Tls => {
            "The server's certificate: the name, the dates, the chain, and the root that it leads to."
        }
        Step::Login => {
            "The login as the pool makes it. PostgreSQL does not say what is wrong with a role; where a managed identity's token has another name in it than the ROUTE, that is tried, too."
        }
        Step::Query => "A query, five times; the quickest round trip is told.",
    }
}

const INTRO: &str = "\
# Troubleshooting

This page is generated from the program's own table of causes; a test compares them.

```console
entrapool doctor 'postgres://my-vm@myserver.postgres.database.azure.com/mydb'
entrapool doctor --config entrapool.toml          # every route of a file
entrapool doctor --config entrapool.toml reports  # the one of this name
```

walks the way step by step, with the program's own look-up, TLS and login, and prints a tick and a time
for each step; where the way breaks, the cause and what to try. It takes the arguments, variables and
file of `entrapool run`, and can be run beside it: it listens on nothing. No token, password or secret is
ever shown. `--json` gives one object for scripts, `--timeout` limits each step (10 s). Steps behind a
failure are tried as far as they can be: without a token, name, TCP and TLS still are.

The process exits with 0 if every step went well, warnings included; 2 for the configuration, 3 if there
is no token that can be used, 5 if the server can't be used.

Where to begin:

| what you see | step | likely |
|---|---|---|
| authentication failed: `28P01`, `28000`, `18456` | [login](#login) | `role-refused`, `role-case`, `role-not-entra`, `user-missing`; `token-audience` in [claims](#claims) |
| connection time-out, `08001`, `40613` | [tcp](#tcp) | `tcp-filtered`; `redirect-blocked` in [login](#login) |
| it works from elsewhere, not from this network; a private endpoint | [resolve](#resolve) | `private-zone-not-linked`, `private-record-missing`, `privatelink-name`; `public-access-denied` in [login](#login) |
| the managed identity gives no token; `/readiness` says so | [identity](#identity) | `imds-unreachable`, `identity-none`, `identity-not-assigned`, `identity-several`, `imds-throttled` |
| certificate errors | [tls](#tls) | `tls-unknown-root`, `tls-wrong-name`, `tls-expired` |
| the process does not start, exit code 2 | [configuration](#configuration) | `configuration`, `route-files` |
| `too many connections`, `53300`, `10928` | [login](#login) | `too-many-connections` |
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `ENTRAPOOL_BLESS=1 cargo test -p entrapool --lib` writes the document anew.
    #[test]
    fn the_document_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
        if std::env::var_os("ENTRAPOOL_BLESS").is_some_and(|value| value == "1") {
            std::fs::write(&path, troubleshooting_markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(
            written == troubleshooting_markdown(),
            "docs/troubleshooting.md is out of date; ENTRAPOOL_BLESS=1 cargo test -p entrapool --lib writes it"
        );
    }

    #[test]
    fn every_cause_that_is_named_exists() {
        let codes: Vec<&str> = cause::all().map(|cause| cause.code).collect();
        let (_, table) = INTRO.split_once("| what you see").unwrap();
        let likely = table.lines().filter_map(|line| line.split('|').nth(3));
        let mut count = 0;
        for named in likely.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            assert!(codes.contains(&named), "{named}");
            count += 1;
        }
        assert!(count > 10);
    }

    #[test]
    fn a_cell_stays_in_its_row() {
        assert_eq!(cell("a|b `c_d` e_f <x>"), "a\\|b `c_d` e\\_f \\<x\\>");
    }
}
