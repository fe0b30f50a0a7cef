//! What is told about the configuration: the end of `--help`, and `docs/configuration.md`.
//!
//! Everything about keys comes from their table, so that neither can say what is not so. `cli`
//! takes the help, a test keeps the document up to date.

use super::cli::Exit;
use super::key::{Described, Scope};
use super::keys;

/// The end of `-h`.
pub(super) fn short_help() -> String {
    "Example: entrapool postgres://my-vm@myserver.postgres.database.azure.com/mydb\n\
     All keys of a ROUTE, the environment variables and the exit codes: entrapool --help"
        .to_owned()
}

/// The end of `--help`.
pub(super) fn long_help() -> String {
    let mut help = ROUTE_HELP.to_owned();
    push(&mut help, "\nKeys of a ROUTE:");
    for key in with_scope(keys::ROUTE, |scope| scope == Scope::UrlTable) {
        push(&mut help, &key_help(key.name(), key));
    }
    push(
        &mut help,
        "\nEnvironment variables (a flag wins over a variable, which wins over the file):",
    );
    for key in keys::PROGRAM {
        push(&mut help, &key_help(&key.variable(), *key));
    }
    push(&mut help, &entry("ENTRAPOOL_ROUTE", ROUTE_VARIABLES));
    push(&mut help, "\nAzure's own variables are read as well:");
    for (name, meaning) in AZURE_VARIABLES {
        push(&mut help, &entry(name, meaning));
    }
    push(&mut help, EXAMPLES);
    push(&mut help, "Exit codes:");
    for exit in Exit::ALL {
        push(&mut help, &format!("  {}  {}", exit.code(), exit.meaning()));
    }
    help
}

/// `docs/configuration.md`, as it should be.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = MARKDOWN_INTRO.to_owned();
    push(
        &mut page,
        "## The program\n\n| file | variable | flag | accepted | if absent | |",
    );
    push(&mut page, "|---|---|---|---|---|---|");
    for key in keys::PROGRAM {
        push(&mut page, &program_row(*key));
    }
    push(&mut page, MARKDOWN_ROUTES);
    push(
        &mut page,
        "### What is written in front of the query\n\n| `[[route]]` | accepted | if absent | |",
    );
    push(&mut page, "|---|---|---|---|");
    for key in with_scope(keys::ROUTE, |scope| scope == Scope::Table) {
        push(&mut page, &route_row(key));
    }
    push(&mut page, "\n### Keys\n\n| key | accepted | if absent | |");
    push(&mut page, "|---|---|---|---|");
    for key in with_scope(keys::ROUTE, |scope| scope == Scope::UrlTable) {
        push(&mut page, &route_row(key));
    }
    push(&mut page, MARKDOWN_IDENTITY);
    push(&mut page, "| variable | |\n|---|---|");
    for (name, meaning) in AZURE_VARIABLES {
        push(&mut page, &format!("| `{name}` | {} |", cell(meaning)));
    }
    push(&mut page, "\n## Exit codes\n\n| code | |\n|---|---|");
    for exit in Exit::ALL {
        push(
            &mut page,
            &format!("| {} | {} |", exit.code(), cell(exit.meaning())),
        );
    }
    page
}

fn push(page: &mut String, line: &str) {
    page.push_str(line);
    page.push('\n');
}

fn with_scope(
    table: &'static [&'static dyn Described],
    wanted: impl Fn(Scope) -> bool,
) -> impl Iterator<Item = &'static dyn Described> {
    table.iter().copied().filter(move |key| wanted(key.scope()))
}

fn program_row(key: &dyn Described) -> String {
    let (in_file, flag) = match key.scope() {
        Scope::FlagVariable(flag) => (false, Some(flag)),
        Scope::FlagVariableFile(flag) => (true, Some(flag)),
        _ => (true, None),
    };
    let code = |text: Option<&str>| text.map_or_else(String::new, |text| format!("`{text}`"));
    format!(
        "| {} | `{}` | {} | {} | {} | {} |",
        code(in_file.then(|| key.name())),
        key.variable(),
        code(flag),
        cell(&key.range()),
        cell(&key.absence()),
        cell(key.help()),
    )
}

fn route_row(key: &dyn Described) -> String {
    format!(
        "| `{}` | {} | {} | {} |",
        key.name(),
        cell(&key.range()),
        cell(&key.absence()),
        cell(&meaning(key)),
    )
}

/// A key's help, and the engine that it is for.
fn meaning(key: &dyn Described) -> String {
    keys::only_for(key).map_or_else(
        || key.help().to_owned(),
        |engine| format!("{} only. {}", engine.as_str(), key.help()),
    )
}

/// Text that cannot end a cell of a table or become markup.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in text.chars() {
        if matches!(c, '|' | '*' | '_' | '<' | '>' | '[' | ']') {
            cell.push('\\');
        }
        cell.push(c);
    }
    cell
}

fn key_help(name: &str, key: &dyn Described) -> String {
    let limits = format!("{}; {}", key.range(), key.absence());
    format!("{}\n{}", entry(name, &meaning(key)), entry("", &limits))
}

const WIDTH: usize = 78;
const INDENT: usize = 20;

/// A name, and beside it (or below, if it is long) an explanation in a column of its own.
fn entry(name: &str, explanation: &str) -> String {
    let mut text = format!("  {name}");
    let mut column = 2 + name.len();
    if column >= INDENT {
        text.push('\n');
        column = 0;
    }
    let mut at_start = true;
    for word in explanation.split_whitespace() {
        if !at_start && column + 1 + word.len() > WIDTH {
            text.push('\n');
            (column, at_start) = (0, true);
        }
        let gap = if at_start { INDENT - column } else { 1 };
        text.extend(std::iter::repeat_n(' ', gap));
        text.push_str(word);
        column += gap + word.len();
        at_start = false;
    }
    text
}

const ROUTE_VARIABLES: &str = "A ROUTE; more of them in ENTRAPOOL_ROUTE_0, ENTRAPOOL_ROUTE_1 and so \
     on. They replace the routes of the file, and are replaced by those of the command line.";

const AZURE_VARIABLES: [(&str, &str); 7] = [
    (
        "AZURE_CLIENT_ID",
        "The identity's client id, where the route names none.",
    ),
    ("AZURE_TENANT_ID", "The tenant, for workload and secret."),
    (
        "AZURE_FEDERATED_TOKEN_FILE",
        "The file with the service account's token; makes auto choose workload.",
    ),
    (
        "AZURE_AUTHORITY_HOST",
        "Entra's address for workload and secret, if it is not the cloud's own.",
    ),
    (
        "AZURE_CLIENT_SECRET",
        "The secret of identity=secret. There is no flag and no key for it.",
    ),
    (
        "IDENTITY_ENDPOINT",
        "Set by App Service, Functions and Container Apps; makes auto choose app-service.",
    ),
    ("IDENTITY_HEADER", "Comes with IDENTITY_ENDPOINT."),
];

const ROUTE_HELP: &str = "\
ROUTE:
  postgres://USER@HOST[:PORT][/DATABASE][?key=value&key=value...]
  sqlserver://[USER@]HOST[:PORT]/DATABASE[?key=value&key=value...]

  USER is the role in PostgreSQL and must be given: for Entra it is the
  identity's display name in exact case (for a VM's own identity the VM's
  name). SQL Server takes it from the token. PORT is 5432 or 1433 if left out.
  DATABASE is that of clients that name none; SQL Server's must be given.
  There is no password: it comes from the identity. Special characters are
  percent-encoded (%40 for @, %20 for a space). postgresql:// and mssql:// are
  the same as postgres:// and sqlserver://.

  Lengths of time have a unit: 500ms, 30s, 10min (or 10m), 1h, 7d, 1h30m.
  Quote a ROUTE with a query in the shell: 'postgres://...?a=b&c=d'.
";

const EXAMPLES: &str = "
Examples:
  On an Azure VM with a managed identity; psql -h localhost mydb then works:
    entrapool postgres://my-vm@myserver.postgres.database.azure.com/mydb

  Two servers, one behind a Unix socket, with probes for a pod:
    entrapool --http 0.0.0.0:9464 \\
      'postgres://app@one.postgres.database.azure.com/db?pool_mode=transaction' \\
      'postgres://app@two.postgres.database.azure.com/db?listen=/run/entrapool'

  PostgreSQL and Azure SQL, each on its usual port:
    entrapool postgres://app@one.postgres.database.azure.com/db \\
      sqlserver://two.database.windows.net/db

  A private endpoint, dialled by address and verified by name:
    entrapool \\
      'postgres://app@db.postgres.database.azure.com?connect_to=10.0.0.4'

  From a file, and what that comes to:
    entrapool --config entrapool.toml
    entrapool check --config entrapool.toml

  Whether the way to each server is open, and if not, why:
    entrapool doctor --config entrapool.toml
";

const MARKDOWN_INTRO: &str = "\
# Configuration

This page is generated from the table of keys that the program itself uses; a test compares them.

The same keys can be written in three places. A flag wins over an environment variable, which wins
over the file named by `--config` or `ENTRAPOOL_CONFIG`. Routes are not merged: those of the
command line replace those of the environment, which replace those of the file. A value that is
wrong is an error even where another place overrides it.

An unknown key, section or `ENTRAPOOL_*` variable is an error that names the nearest known one.
(The variables that Kubernetes derives from Services, such as `ENTRAPOOL_SERVICE_HOST`, are
ignored.) `entrapool check` takes the same options as `entrapool run`; it prints the effective
configuration as TOML that could be fed back, or every error at once, each with its place, and
exits with code 2.

Lengths of time have a unit: `500ms`, `30s`, `10min` (or `10m`), `1h`, `7d`, `1h30m`. Paths are
relative to the working directory.

";

const MARKDOWN_ROUTES: &str = "
In the file, `log.format` is the key `format` of the section `[log]`, and so on.

## Routes

A route is one listener and the server behind it:

```text
postgres://USER@HOST[:PORT][/DATABASE][?key=value&key=value...]
sqlserver://[USER@]HOST[:PORT]/DATABASE[?key=value&key=value...]
```

on the command line or in `ENTRAPOOL_ROUTE`, `ENTRAPOOL_ROUTE_0`, `ENTRAPOOL_ROUTE_1` and so on.
`postgresql://` and `mssql://` are the same. Special characters are percent-encoded (`%40` for `@`);
a password is refused. Routes of both engines can stand side by side. In the file, each route is a
`[[route]]` with a `url`, or fields, or both as long as they do not contradict each other:

```toml
[[route]]
url = \"postgres://my-vm@myserver.postgres.database.azure.com/mydb?pool_size=20\"

[[route]]
host = \"other.postgres.database.azure.com\"
user = \"my-vm\"
listen = \"/run/entrapool\"
databases = [\"one\", \"two\"]

[[route]]
url = \"sqlserver://myserver.database.windows.net/mydb\"
```

A key that only one engine has is refused for routes of the other. Runnable files are in
`proxy/examples/`.
";

const MARKDOWN_IDENTITY: &str = "
## Azure's variables
";
