//! What is wrong with a configuration, and where it was written.
//!
//! Everything that reads a part of the configuration adds to one [`ConfigErrors`]; `main` prints
//! it. A message never contains a password, a token or the value of an unknown key.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// No single place, e.g. for something that is missing everywhere.
    Whole,
    /// The configuration file.
    File {
        /// As it was given.
        path: PathBuf,
        /// Counted from 1; `None` if the file as a whole is meant.
        line: Option<usize>,
    },
    /// An environment variable, by name.
    Variable(String),
    /// A flag, with its dashes.
    Flag(&'static str),
    /// A route's URL.
    Route {
        /// `ROUTE 1` on the command line, or the variable's name.
        origin: String,
        /// The URL without its query, and without a password.
        shown: String,
    },
}

impl Place {
    /// Whether the place already names the key, so that a message need not.
    pub(super) fn names_key(&self) -> bool {
        matches!(self, Self::Variable(_) | Self::Flag(_))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("configuration"),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::Route { origin, shown } => write!(f, "{origin} ({shown})"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// Where it was written.
    pub place: Place,
    /// What is wrong, and what to try.
    pub message: String,
}

/// Everything that is wrong; displayed with one line each, in the order of reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// Each error, in the order of reading.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    #[track_caller]
    pub(super) fn add(&mut self, place: &Place, message: impl Into<String>) {
        #[cfg(test)]
        super::tests::told::made_at(std::panic::Location::caller());
        self.errors.push(ConfigError {
            place: place.clone(),
            message: message.into(),
        });
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
