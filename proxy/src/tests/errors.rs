//! `docs/errors.md`, written from the errors that the code makes up.

use std::fmt::Write as _;
use std::path::Path;

use super::told::Told;
use crate::config::cli::Exit;
use crate::{config, identity, postgres, tds};

const HEAD: &str = "\
# Errors

Everything that entrapool itself says when something fails: to clients, at its start, in its log. Names
and numbers in the messages are examples. This page is generated from the program; a test fails when
they differ. What the server says is passed on unchanged.

Look for a few words of the message. A client's message begins with `entrapool:` where it is ours.

- [PostgreSQL](#postgresql), [SQL Server](#sql-server): what clients are told
- [Identity and tokens](#identity-and-tokens): why there is no token
- [The start](#the-start): exit codes, [configuration](#configuration)
- [The log](#the-log): warnings and errors
";

fn page(sources: &[Told]) -> String {
    let mut page = HEAD.to_owned();
    engine(&mut page, "PostgreSQL", "SQLSTATE", postgres::told::PREFIX);
    table(&mut page, "SQLSTATE", &postgres::told::logins());
    page.push_str("\n### All others\n");
    table(&mut page, "SQLSTATE", &postgres::told::others());
    engine(&mut page, "SQL Server", "number", tds::told::PREFIX);
    table(&mut page, "number", &tds::told::logins());
    page.push_str("\n### All others\n");
    table(&mut page, "number", &tds::told::others());
    page.push_str(
        "\n## Identity and tokens\n\n\
         A client's login that needs a token is told the first of these, and behind it what the last\n\
         attempt has failed with. `/readiness` and the log say the same; the class is the label\n\
         `class` there.\n",
    );
    table(&mut page, "class", &identity::tests::lacks());
    page.push_str("\n### What a source answers\n\nWhat it says itself stands behind the status.\n");
    table(&mut page, "class", &identity::tests::refusals());
    page.push_str("\n### What keeps a source from answering\n");
    table(&mut page, "class", sources);
    page.push_str("\n## The start\n\n| exit code | | what to do |\n|---|---|---|\n");
    for exit in Exit::ALL {
        row(
            &mut page,
            &[&exit.code().to_string(), exit.meaning(), exit_remedy(exit)],
        );
    }
    page.push_str(
        "\n### Configuration\n\n\
         All errors are told at once, each with its place (file and line, variable, flag, ROUTE);\n\
         `entrapool check` does nothing else. The words say what to write instead.\n\n\
         | what was written | what is said |\n|---|---|\n",
    );
    for told in config::tests::told::told() {
        row(&mut page, &[&code(&told.code), &text(&told.text)]);
    }
    page.push_str(
        "\n## The log\n\n\
         Events of the levels `error` and `warn`. Those of `info` and below need nobody.\n",
    );
    page.push_str("\n| level | event | what to do |\n|---|---|---|\n");
    for (level, event, remedy) in super::log::EVENTS {
        row(&mut page, &[level, &code(event), remedy]);
    }
    page
}

fn engine(page: &mut String, name: &str, what: &str, prefix: &str) {
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## {name}\n\n\
         ### No connection to the server\n\n\
         These begin with `{prefix}`. The {what} is the server's own where the server said no.\n\
         Sessions that are open go on; the next login is tried as soon as a client asks.\n",
    );
}

fn table(page: &mut String, code_name: &str, all: &[Told]) {
    let with_when = all.iter().any(|told| !told.when.is_empty());
    let with_remedy = all.iter().any(|told| !told.remedy.is_empty());
    let mut head = vec![code_name, "message"];
    head.extend(with_when.then_some("when"));
    head.extend(with_remedy.then_some("what to try"));
    page.push('\n');
    row(page, &head);
    let _ = writeln!(page, "{}|", "|---".repeat(head.len()));
    for told in all {
        let (number, said, remedy) = (code(&told.code), text(&told.text), text(&told.remedy));
        let mut cells = vec![number.as_str(), said.as_str()];
        cells.extend(with_when.then_some(told.when));
        cells.extend(with_remedy.then_some(remedy.as_str()));
        row(page, &cells);
    }
}

fn row(page: &mut String, cells: &[&str]) {
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn code(text: &str) -> String {
    let text = text.replace('|', "\\|");
    if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    }
}

/// Text that can't end a cell of a table or become markup.
fn text(text: &str) -> String {
    let mut cell = String::new();
    for c in text.chars() {
        if matches!(c, '|' | '*' | '_' | '<' | '>' | '[' | ']' | '`') {
            cell.push('\\');
        }
        cell.push(if c == '\n' { ' ' } else { c });
    }
    cell
}

fn exit_remedy(exit: Exit) -> &'static str {
    match exit {
        Exit::Clean => "Nothing.",
        Exit::Failure => {
            "The last line of the log says what has failed: signals or threads that the system does not give."
        }
        Exit::Configuration => {
            "stderr has a line for each error; [below](#configuration). A file that a ROUTE names (`ca_file`, `client_cert_file`) and that can't be read is one, too."
        }
        Exit::NoToken => {
            "The last line of the log has the reason: [identity and tokens](#identity-and-tokens). `start.timeout` makes it wait longer, `start.on_failure=serve` start without."
        }
        Exit::Unusable => {
            "The report of `entrapool doctor` says which step and what to try: [troubleshooting](troubleshooting.md)."
        }
        Exit::NotRunning => {
            "entrapool does not run, or listens elsewhere: `control.listen` of its configuration is what `--socket` has to name."
        }
        Exit::Bind => {
            "Another process has the address (`ss -ltnp`), or the Unix socket's directory is not there or not writable. Choose another `listen=`, or `--http`."
        }
    }
}

/// `ENTRAPOOL_BLESS=1 cargo test -p entrapool --lib` writes the page anew.
#[tokio::test]
async fn the_page_of_errors_is_up_to_date() {
    let generated = page(&identity::tests::sources().await);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    if std::env::var_os("ENTRAPOOL_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &generated).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "docs/errors.md is out of date; ENTRAPOOL_BLESS=1 cargo test -p entrapool --lib writes it"
    );
}
