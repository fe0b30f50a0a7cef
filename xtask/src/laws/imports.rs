//! Who may name whom (laws 1 to 5, and 7 to 9).

use super::Breach;
use super::scan::Source;

/// Modules that may not name some paths. A path is written from its crate: `crate` is the
/// module's own.
struct Law {
    number: u8,
    krate: &'static str,
    modules: &'static [&'static [&'static str]],
    forbidden: &'static [&'static str],
}

const EVERYWHERE: &[&[&str]] = &[&[]];
const PROTOCOLS: &[&[&str]] = &[&["pool"], &["upstream"], &["identity"]];
const ALL_BUT_THE_DOCTOR: &[&[&str]] = &[
    &["admin"],
    &["app"],
    &["config"],
    &["console"],
    &["control"],
    &["identity"],
    &["pool"],
    &["postgres"],
    &["server"],
    &["session"],
    &["status"],
    &["tds"],
    &["upstream"],
];
const RUNTIME_AND_WORLD: &[&str] = &[
    "tokio",
    "std::net",
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::time",
];

const LAWS: &[Law] = &[
    Law {
        number: 1,
        krate: "protocol",
        modules: EVERYWHERE,
        forbidden: RUNTIME_AND_WORLD,
    },
    Law {
        number: 1,
        krate: "protocol",
        modules: EVERYWHERE,
        forbidden: &["entrapool", "entrapool_metrics", "entrapool_emulator"],
    },
    Law {
        number: 2,
        krate: "metrics",
        modules: EVERYWHERE,
        forbidden: &["entrapool", "entrapool_protocol", "entrapool_emulator"],
    },
    Law {
        number: 3,
        krate: "proxy",
        modules: PROTOCOLS,
        forbidden: &["crate::postgres", "crate::tds", "entrapool_protocol"],
    },
    Law {
        number: 4,
        krate: "proxy",
        modules: &[&["postgres"]],
        forbidden: &["crate::tds", "entrapool_protocol::tds"],
    },
    Law {
        number: 4,
        krate: "proxy",
        modules: &[&["tds"]],
        forbidden: &["crate::postgres", "entrapool_protocol::postgres"],
    },
    Law {
        number: 4,
        krate: "protocol",
        modules: &[&["postgres"]],
        forbidden: &["crate::tds"],
    },
    Law {
        number: 4,
        krate: "protocol",
        modules: &[&["tds"]],
        forbidden: &["crate::postgres"],
    },
    Law {
        number: 5,
        krate: "proxy",
        modules: &[&["identity"]],
        forbidden: &["crate::pool"],
    },
    Law {
        number: 7,
        krate: "proxy",
        modules: &[&["session", "pin"]],
        forbidden: RUNTIME_AND_WORLD,
    },
    Law {
        number: 8,
        krate: "proxy",
        modules: EVERYWHERE,
        forbidden: &["entrapool_emulator"],
    },
    Law {
        number: 9,
        krate: "proxy",
        modules: ALL_BUT_THE_DOCTOR,
        forbidden: &["crate::doctor"],
    },
    Law {
        number: 9,
        krate: "proxy",
        modules: &[&["doctor"]],
        forbidden: &["crate::app", "crate::server", "crate::admin", "crate::pool"],
    },
];

pub(super) fn check(source: &Source<'_>) -> Vec<Breach> {
    let laws: Vec<&Law> = LAWS.iter().filter(|law| law.holds_for(source)).collect();
    if laws.is_empty() {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    for (at, path) in paths(source) {
        for law in &laws {
            if law.exempts_tests() && (source.is_test || at >= source.tests_at) {
                continue;
            }
            if let Some(forbidden) = law.forbidden.iter().find(|f| is_below(&path, f)) {
                breaches.push(Breach {
                    file: source.file.to_owned(),
                    line: source.line(at),
                    what: format!("law {}: {} may not be used here", law.number, forbidden),
                });
            }
        }
    }
    breaches.dedup();
    breaches
}

impl Law {
    fn holds_for(&self, source: &Source<'_>) -> bool {
        let in_source = source.file.starts_with(&format!("{}/src/", self.krate));
        let in_module = self.modules.iter().any(|module| source.is_in(module));
        source.krate == self.krate && in_source && in_module
    }

    /// Tests may need the world, and the emulator; which module knows which holds in tests too.
    fn exempts_tests(&self) -> bool {
        matches!(self.number, 1 | 7 | 8)
    }
}

fn is_below(path: &str, forbidden: &str) -> bool {
    path.strip_prefix(forbidden)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path in the code from a crate's root, those in `use` trees one by one, with where it is.
fn paths(source: &Source<'_>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code = source.code.as_str();
    let mut at = 0;
    while let Some(word) = word_at(code, at) {
        let (begin, end) = word;
        let mut reader = Reader {
            code,
            at: begin,
            paths: Vec::new(),
        };
        if code.get(begin..end) == Some("use") {
            reader.at = end;
            reader.tree("");
        } else {
            reader.path("");
        }
        at = reader.at.max(end);
        for (place, path) in reader.paths {
            found.push((place, absolute(&path, &source.module)));
        }
    }
    found
}

/// The next identifier at or behind `from`: where it begins and ends.
fn word_at(code: &str, from: usize) -> Option<(usize, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let begin = from + code.get(from..)?.find(is_word)?;
    let rest = code.get(begin..)?;
    let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    Some((begin, begin + length))
}

/// `self` and `super` at the start of a path, resolved.
fn absolute(path: &str, module: &[&str]) -> String {
    let mut base: Vec<&str> = module.to_vec();
    let mut parts = path.split("::").peekable();
    if !matches!(parts.peek(), Some(&("self" | "super"))) {
        return path.to_owned();
    }
    while let Some(&part) = parts.peek() {
        match part {
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => break,
        }
        parts.next();
    }
    let mut whole = vec!["crate"];
    whole.extend(base);
    whole.extend(parts);
    whole.join("::")
}

/// Reads paths and `use` trees.
struct Reader<'a> {
    code: &'a str,
    at: usize,
    paths: Vec<(usize, String)>,
}

impl Reader<'_> {
    /// A path, and the tree of braces that it may end with in a `use`.
    fn tree(&mut self, prefix: &str) {
        let path = self.path(prefix);
        self.blanks();
        if !self.take("{") {
            return;
        }
        loop {
            self.blanks();
            if self.at >= self.code.len() || self.take("}") {
                return;
            }
            let before = self.at;
            self.tree(&path);
            self.rename();
            self.take(",");
            if self.at == before {
                self.skip();
            }
        }
    }

    /// `a::b::c`, put down behind `prefix`; returns the whole.
    fn path(&mut self, prefix: &str) -> String {
        let mut path = prefix.to_owned();
        self.blanks();
        let begin = self.at;
        self.take("::");
        while let Some((from, to)) = word_at(self.code, self.at).filter(|word| word.0 == self.at) {
            if !path.is_empty() {
                path.push_str("::");
            }
            path.push_str(self.code.get(from..to).unwrap_or_default());
            self.at = to;
            self.blanks();
            if !self.take("::") {
                break;
            }
            self.blanks();
        }
        if !path.is_empty() {
            self.paths.push((begin, path.clone()));
        }
        path
    }

    /// `as name`, and the `*` of a glob.
    fn rename(&mut self) {
        self.blanks();
        if self.take("as ") {
            self.blanks();
            if let Some((_, end)) = word_at(self.code, self.at) {
                self.at = end;
            }
        }
        self.blanks();
    }

    fn blanks(&mut self) {
        let rest = self.code.get(self.at..).unwrap_or_default();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, text: &str) -> bool {
        let here = self.code.get(self.at..).unwrap_or_default();
        let taken = here.starts_with(text);
        if taken {
            self.at += text.len();
        }
        taken
    }

    fn skip(&mut self) {
        let here = self.code.get(self.at..).unwrap_or_default();
        self.at += here.chars().next().map_or(1, char::len_utf8);
    }
}
