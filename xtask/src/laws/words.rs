//! Who may read arguments, environment and clock; no mutable globals (law 6, and 1 and 7 where
//! a clock hides behind another crate's name).

use super::Breach;
use super::scan::Source;

pub(super) fn check(source: &Source<'_>) -> Vec<Breach> {
    let in_source = source.file.starts_with(&format!("{}/src/", source.krate));
    if source.is_test || !in_source {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    match source.krate {
        "proxy" => {
            let is_main = source.file == "proxy/src/main.rs";
            if !is_main {
                let why = "law 6: only main reads arguments";
                forbid(source, &["env::args", "args_os("], why, &mut breaches);
            }
            if !source.is_in(&["config"]) {
                // `env!` is the compiler's environment: none of ours.
                let words = ["env::var", "env::set_var"];
                let why = "law 6: only config reads the environment";
                forbid(source, &words, why, &mut breaches);
            }
            if !source.is_in(&["session", "peer"]) {
                let words = ["peer_cred", "SOCK_DIAG"];
                let why = "law 6: only session::peer asks for clients' users";
                forbid(source, &words, why, &mut breaches);
            }
            globals(source, &mut breaches);
            if source.is_in(&["session", "pin"]) {
                let why = "law 7: the verdict knows no clock";
                forbid(source, &["Instant", "SystemTime"], why, &mut breaches);
            }
        }
        "protocol" => {
            globals(source, &mut breaches);
            let words = ["Instant", "SystemTime", "async fn", ".await"];
            let why = "law 1: protocol knows no clock and no runtime";
            forbid(source, &words, why, &mut breaches);
        }
        _ => {}
    }
    breaches
}

fn forbid(source: &Source<'_>, words: &[&str], why: &str, breaches: &mut Vec<Breach>) {
    let code = source.code.get(..source.tests_at).unwrap_or_default();
    for word in words {
        for (at, _) in code.match_indices(word) {
            let before = code.get(..at).and_then(|code| code.chars().next_back());
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            breaches.push(Breach {
                file: source.file.to_owned(),
                line: source.line(at),
                what: format!("{why} ({word})"),
            });
        }
    }
}

/// The globals that may change, each a thread's own.
const OF_A_THREAD: &[(&str, &str)] = &[
    // A scratch buffer: what was in it before is never read.
    ("proxy/src/session/wire.rs", "SCRATCH"),
    // What its sockets are to send, as the runtime has what they wait for: a socket that is
    // dropped leaves nothing in it.
    ("proxy/src/session/batch.rs", "BATCH"),
];

/// A `static` that can change: `mut`, or a type with interior mutability.
fn globals(source: &Source<'_>, breaches: &mut Vec<Breach>) {
    const CHANGING: &[&str] = &[
        "Mutex", "RwLock", "Atomic", "OnceLock", "OnceCell", "LazyLock", "LazyCell", "RefCell",
        "Cell<",
    ];
    let code = source.code.get(..source.tests_at).unwrap_or_default();
    for (at, _) in code.match_indices("static ") {
        let before = code.get(..at).and_then(|code| code.chars().next_back());
        // `'static ` is a lifetime.
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '\'') {
            continue;
        }
        let declaration = code.get(at..).unwrap_or_default();
        let declaration = declaration.split(['=', ';']).next().unwrap_or_default();
        let name = declaration.trim_start_matches("static ");
        let name = name.split(':').next().unwrap_or_default().trim();
        if OF_A_THREAD.contains(&(source.file, name)) {
            continue;
        }
        let changes = declaration.starts_with("static mut ")
            || CHANGING.iter().any(|word| declaration.contains(word));
        if changes {
            breaches.push(Breach {
                file: source.file.to_owned(),
                line: source.line(at),
                what: "law 6: no mutable globals".to_owned(),
            });
        }
    }
}
