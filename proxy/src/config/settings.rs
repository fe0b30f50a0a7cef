//! Raw values with their places, before they mean anything; and reading them by key.
//!
//! The file, the variables, the flags and the URLs each become [`Settings`]; `load` and `route`
//! read them through a [`Reader`]. Nothing in here knows a particular key.

use super::error::{ConfigErrors, Place};
use super::key::{Absent, Described, Key};
use super::model::Engine;
use super::shape::Shape;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// Text; all that flags, variables and URLs can hold.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Boolean(bool),
    /// A list of texts.
    List(Vec<String>),
    /// A list of texts and TOML integers.
    ListWithNumbers(Vec<String>),
    /// Some TOML that no key wants, by the name of its type.
    Other(&'static str),
}

impl Raw {
    /// Whether both say the same, though one may be a TOML number and the other text.
    fn says_the_same(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl std::fmt::Display for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(flag) => write!(f, "{flag}"),
            Self::List(items) | Self::ListWithNumbers(items) => f.write_str(&items.join(",")),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// What was written about one thing: a route, or the program.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Where the thing as a whole was written.
    pub(super) place: Place,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: &'static str,
    raw: Raw,
    place: Place,
}

impl Settings {
    /// Nothing written yet.
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            entries: Vec::new(),
        }
    }

    /// Whether the key was written, even if wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Notes a value; `false` if the key has one already.
    pub(super) fn insert(&mut self, key: &'static str, raw: Raw, place: Place) -> bool {
        if self.has(key) {
            return false;
        }
        self.entries.push(Entry { key, raw, place });
        true
    }

    /// Takes in what a route's URL says besides its fields; the same key may not differ.
    pub(super) fn merge(&mut self, url: Self, errors: &mut ConfigErrors) {
        for entry in url.entries {
            match self.find(entry.key) {
                None => self.entries.push(entry),
                Some(field) if field.raw.says_the_same(&entry.raw) => {}
                Some(field) => errors.add(
                    &field.place,
                    format!(
                        "{} is \"{}\" here but \"{}\" in the route's url; keep one of them",
                        entry.key, field.raw, entry.raw
                    ),
                ),
            }
        }
    }

    fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Reads keys from layers of settings; a layer wins over those behind it.
///
/// A value that is wrong is reported even when another layer overrides it: it would bite as soon
/// as that other layer is gone.
pub(super) struct Reader<'a> {
    layers: Vec<&'a Settings>,
    errors: &'a mut ConfigErrors,
    /// Of the route that is read; decides some defaults.
    engine: Option<Engine>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: Vec<&'a Settings>, errors: &'a mut ConfigErrors) -> Self {
        Self {
            layers,
            errors,
            engine: None,
        }
    }

    /// From now on, defaults are those of a route of `engine`.
    pub(super) fn set_engine(&mut self, engine: Engine) {
        self.engine = Some(engine);
    }

    /// Whether any layer wrote the key, even if wrongly.
    pub(super) fn has(&self, key: &dyn Described) -> bool {
        self.layers.iter().any(|layer| layer.has(key.name()))
    }

    /// The value as written; `None` if there is none, or if it is wrong (which is reported).
    pub(super) fn given<S: Shape>(&mut self, key: &Key<S>) -> Option<S::Out> {
        let mut value = None;
        for layer in &self.layers {
            let Some(entry) = layer.find(key.name) else {
                continue;
            };
            match key.shape.read(&entry.raw) {
                Ok(read) => value = value.or(Some(read)),
                Err(problem) if entry.place.names_key() => {
                    self.errors.add(&entry.place, problem.to_string());
                }
                Err(problem) => {
                    self.errors
                        .add(&entry.place, format!("{}: {problem}", key.name));
                }
            }
        }
        value
    }

    /// The value as written or the default; `None` if something was reported, or if the key
    /// has no default (here: for the engine).
    pub(super) fn value<S: Shape>(&mut self, key: &Key<S>) -> Option<S::Out> {
        if self.has(key) {
            return self.given(key);
        }
        match key.absent.of(self.engine)? {
            Absent::Default(text) => match key.shape.read(&Raw::Text(text.to_owned())) {
                Ok(value) => Some(value),
                Err(problem) => {
                    self.reject(key, format!("its default is wrong: {problem}"));
                    None
                }
            },
            Absent::Means(_) | Absent::ByEngine { .. } => None,
            Absent::Required(advice) => {
                self.miss(key, advice);
                None
            }
        }
    }

    /// Reports that a key should have been written.
    #[track_caller]
    pub(super) fn miss(&mut self, key: &dyn Described, advice: &str) {
        let place = self.place(key);
        self.errors
            .add(&place, format!("{} is missing; {advice}", key.name()));
    }

    /// Reports something about a key, at its place.
    #[track_caller]
    pub(super) fn reject(&mut self, key: &dyn Described, message: impl std::fmt::Display) {
        let place = self.place(key);
        if place.names_key() {
            self.errors.add(&place, message.to_string());
        } else {
            self.errors
                .add(&place, format!("{}: {message}", key.name()));
        }
    }

    /// Where the key was written, or else where the whole thing was.
    pub(super) fn place(&self, key: &dyn Described) -> Place {
        self.layers
            .iter()
            .find_map(|layer| layer.find(key.name()))
            .map(|entry| &entry.place)
            .or_else(|| self.layers.first().map(|layer| &layer.place))
            .cloned()
            .unwrap_or(Place::Whole)
    }
}
