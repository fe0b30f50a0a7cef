//! The events that an operator should look into, and what to do about each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Level, text and remedy.
pub(super) const EVENTS: [(&str, &str, &str); 32] = [
    (
        "error",
        "the token has expired and there is no new one: logins to the server fail, open sessions go on",
        "The event before it has the cause: [identity and tokens](#identity-and-tokens). Nothing has to be restarted.",
    ),
    (
        "warn",
        "no token from the source",
        "As above; the last token stays in use until it expires. `cause` has words and a hint, `retry_in` says when it is asked again.",
    ),
    (
        "warn",
        "no upstream connection",
        "`error` is what clients are told: [PostgreSQL](#postgresql), [SQL Server](#sql-server).",
    ),
    (
        "warn, error",
        "session ended",
        "`cause` and `detail` say why: the [table of causes](metrics.md#whose-fault-a-sessions-end-is). At level `error` it is a fault of entrapool's; please report it.",
    ),
    (
        "warn",
        "serving without a token",
        "With `start.on_failure=serve`: `/readiness` is 503 until there is one.",
    ),
    (
        "warn",
        "the password file is open to others; make it 0640 or narrower",
        "`chmod 0640`, and the group of entrapool's user.",
    ),
    (
        "warn",
        "a core file of this process could be written, with its tokens in it",
        "The system refused to switch core files off: switch them off in the unit or the container.",
    ),
    (
        "warn",
        "idle clients need more memory than they should: nobody can watch them",
        "The system refused an epoll or a descriptor: mostly too many open files. Clients are served all the same.",
    ),
    (
        "error",
        "io_uring has failed; connections are lost, and it is not used any more",
        "The kernel refused what it had granted. Clients connect again and are served without it; if it comes again, say `io_uring = \"off\"`, and tell the project of it.",
    ),
    (
        "warn",
        "a client could not be accepted",
        "Mostly too many open files: raise `LimitNOFILE` (or `ulimit -n`) above `max_clients` + `pool_size`.",
    ),
    (
        "warn",
        "the HTTP listener could not accept a connection",
        "The same.",
    ),
    (
        "error",
        "an HTTP connection failed",
        "A fault of entrapool's; please report it.",
    ),
    ("error", "the metrics could not be rendered", "The same."),
    ("error", "the report could not be written", "The same."),
    (
        "warn",
        "stopped at once by a second signal",
        "Nothing, if you have sent two. Otherwise: who sends them?",
    ),
    (
        "warn",
        "drain.max_wait is over; sessions with an open transaction are cut off",
        "Raise `drain.max_wait` (and the grace period), or look for transactions that take so long.",
    ),
    (
        "warn",
        "the connection that listens for notifications is lost; sessions that wait for some are ended",
        "As after a restart of the server: clients connect and LISTEN again.",
    ),
    (
        "warn",
        "the server did not say what a session has left; it keeps its backend",
        "`error` is the server's; a statement time-out of the role is one. The session is pinned until the next question.",
    ),
    (
        "warn",
        "a cancel request did not reach the server",
        "The query runs on. If it comes often: firewalls that limit new connections.",
    ),
    (
        "warn",
        "the server did not take a cancel request",
        "The same.",
    ),
    (
        "warn",
        "the service manager can't be told that we are ready",
        "systemd waits and then ends the service: is `NOTIFY_SOCKET` reachable from inside the unit's restrictions?",
    ),
    (
        "warn",
        "a client was turned away",
        "`cause` and the text behind it say whose and by which rule: `allow_uids`, `max_clients_per_peer`, or HTTP on a database's port. Each cause is logged once in 10 s.",
    ),
    (
        "warn",
        "somebody who may not has called on the control socket",
        "`user` says who. Only the same user, root and `control.group` may.",
    ),
    (
        "warn, error",
        "the configuration was not reloaded; nothing was changed",
        "The errors stand behind it; correct them and reload again.",
    ),
    (
        "warn",
        "no reload",
        "What follows says why: a stop has begun, or another reload is under way.",
    ),
    (
        "warn",
        "the log level could not be changed",
        "Please report it.",
    ),
    (
        "error",
        "the answer could not be written",
        "A fault of entrapool's; please report it.",
    ),
    ("error", "the page could not be made", "The same."),
    (
        "error",
        "the runtime could not be started",
        "The system gives no threads: limits of the container or unit.",
    ),
    (
        "error",
        "route NAME: ADDRESS can't be bound: ...",
        "The last line before exit code 4.",
    ),
    (
        "error",
        "no token within start.timeout ...",
        "The last line before exit code 3.",
    ),
    (
        "error",
        "route NAME: ...",
        "The last line before exit code 2: a file or a name of that route.",
    ),
];

/// The texts of `warn!` and `error!` in the sources.
fn in_sources() -> BTreeSet<String> {
    let mut files = Vec::new();
    rust_files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut texts = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for event in ["warn!(", "error!("]
            .iter()
            .flat_map(|name| text.split(name).skip(1))
        {
            let event = event.split(");\n").next().unwrap();
            texts.extend(last_literal(event));
        }
        for fault in text.split(" fault(\"").skip(1) {
            texts.extend(fault.split('"').next().map(str::to_owned));
        }
    }
    texts
}

/// A message stands behind the fields. `"{what}"` is somebody else's text.
fn last_literal(event: &str) -> Option<String> {
    let event = event.replace("\\\n", "\n");
    let literal = event.rsplit('"').nth(1)?;
    let words: Vec<_> = literal.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.split(['{', ':']).next().unwrap_or_default().to_owned();
    (!text.is_empty()).then_some(text)
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_warning_is_on_the_page() {
    let texts = in_sources();
    assert!(texts.len() > 12, "{texts:?}");
    let missing: Vec<_> = texts
        .iter()
        .filter(|text| {
            !EVENTS
                .iter()
                .any(|(_, event, _)| event.starts_with(text.as_str()))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "say in this file what to do about {missing:?}"
    );
}
