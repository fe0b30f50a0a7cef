//! Every diagnosis there is: at which step, what it means, how it shows elsewhere, what to try.
//! `docs/troubleshooting.md` is made of this table.
//!
//! What clients are told says the same words: they come from `postgres::hint`, `tds::hint` and
//! `identity::advice`.

mod identity;
mod login;
mod network;

use super::report::Step;
use crate::config::Engine;

pub(super) use identity::*;
pub(super) use login::*;
pub(super) use network::*;

/// A diagnosis. There is one value of each, and it is known by its address.
#[derive(Debug)]
pub(super) struct Cause {
    /// Where it is found.
    pub(super) step: Step,
    /// Its name, for scripts.
    pub(super) code: &'static str,
    /// What is the matter, in a few words.
    pub(super) meaning: &'static str,
    /// How it shows in the log or to a client, where somebody may look first.
    pub(super) seen: &'static str,
    advice: Advice,
}

/// What to try.
#[derive(Debug)]
enum Advice {
    Say(&'static str),
    For(fn(&Names<'_>) -> String),
}

/// What remedies name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) engine: Engine,
    /// Who logs in; empty where only the token says.
    pub(super) user: &'a str,
    pub(super) database: &'a str,
}

impl Names<'static> {
    /// Those of documents.
    pub(super) const EXAMPLE: Self = Self {
        engine: Engine::Postgres,
        user: "my-vm",
        database: "mydb",
    };
}

impl Cause {
    const fn new(
        step: Step,
        code: &'static str,
        [meaning, seen]: [&'static str; 2],
        advice: Advice,
    ) -> Self {
        Self {
            step,
            code,
            meaning,
            seen,
            advice,
        }
    }

    /// What to try.
    pub(super) fn remedy(&self, names: &Names<'_>) -> String {
        match self.advice {
            Advice::Say(words) => words.to_owned(),
            Advice::For(words) => words(names),
        }
    }
}

/// All of them, in the order of the way.
pub(super) fn all() -> impl Iterator<Item = &'static Cause> {
    let tables = [
        ON_THE_WAY_TO_A_TOKEN,
        ON_THE_WAY_TO_THE_SERVER,
        IN_THE_SERVER,
    ];
    tables.into_iter().flatten().copied()
}

/// Names causes, and lists them.
macro_rules! causes {
    ($all:ident; $($name:ident = ($step:ident, $code:literal, $texts:expr, $advice:expr);)*) => {
        $(
            pub(in crate::doctor) static $name: Cause =
                Cause::new(Step::$step, $code, $texts, $advice);
        )*
        pub(super) const $all: &[&Cause] = &[$(&$name),*];
    };
}
use causes;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_cause_says_something_of_its_own() {
        let mut codes = HashSet::new();
        for cause in all() {
            assert!(codes.insert(cause.code), "{} is there twice", cause.code);
            let is_code = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(cause.code.chars().all(is_code), "{}", cause.code);
            assert!(!cause.meaning.is_empty() && !cause.meaning.ends_with('.'));
            assert!(!cause.remedy(&Names::EXAMPLE).is_empty());
            assert!(!cause.seen.is_empty());
        }
    }
}
