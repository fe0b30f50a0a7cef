//! The process environment behind a trait, so that tests bring their own.
//!
//! [`ProcessEnvironment`] is the only reader of the real one. Nothing in here knows what a
//! variable means, and nothing writes one.

use std::collections::BTreeMap;

/// A set of environment variables.
pub trait Environment {
    /// The value of one variable; `None` if it is not set.
    fn get(&self, name: &str) -> Option<String>;

    /// The names of all variables, sorted.
    fn names(&self) -> Vec<String>;
}

/// The variables of this process.
///
/// Bytes that are not UTF-8 become U+FFFD, so that a bad value is seen and refused instead of
/// being taken for an unset one.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::env::vars_os()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Whether a terminal may get colours (<https://no-color.org>).
#[must_use]
pub fn wants_colours(env: &dyn Environment) -> bool {
    env.get("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A fixed set of variables, for tests and embedders.
#[derive(Clone, Default)]
pub struct MapEnvironment {
    variables: BTreeMap<String, String>,
}

impl MapEnvironment {
    /// The same set with one variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Environment for MapEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.variables.keys().cloned().collect()
    }
}

/// Values may be secrets, so only the names are shown.
impl std::fmt::Debug for MapEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
