//! The shapes that a value can have: what is accepted, in which range, and how that is told.
//!
//! Each key of `keys` has one shape; it reads the raw value and describes itself for messages,
//! `--help` and the reference, so that a range is written down once. Shapes look at one value
//! only; what depends on several keys is checked in `route` and `identity`. Shapes of things
//! that can be reached are in `endpoint`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::settings::Raw;
use super::span::{SpanError, format_span, parse_span};

/// What is wrong with a value; reads well after the key's name and a colon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Problem(String);

impl Problem {
    #[track_caller]
    pub(super) fn new(message: impl Into<String>) -> Self {
        #[cfg(test)]
        super::tests::told::made_at(std::panic::Location::caller());
        Self(message.into())
    }
}

/// What a key accepts.
pub(super) trait Shape: Sync {
    /// What the value becomes.
    type Out;

    /// Reads a value, or says what is wrong with it.
    fn read(&self, raw: &Raw) -> Result<Self::Out, Problem>;

    /// What is accepted, e.g. `1 to 256`.
    fn range(&self) -> String;

    /// Whether a text is cut at its commas.
    fn is_list(&self) -> bool {
        false
    }
}

/// A length of time between two bounds.
pub(super) struct Span {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Shape for Span {
    type Out = Duration;

    fn read(&self, raw: &Raw) -> Result<Duration, Problem> {
        let text = match raw {
            Raw::Text(text) => text.clone(),
            Raw::Integer(number) => number.to_string(),
            other => return Err(wrong_type(other, "a length of time such as \"30s\"")),
        };
        let span = parse_span(&text).map_err(|error| match error {
            SpanError::NoUnit => Problem::new(format!(
                "\"{text}\" {error}; write \"{text}s\", \"{text}min\" or \"{text}ms\""
            )),
            SpanError::NotASpan => Problem::new(format!(
                "\"{text}\" {error}; write it like \"500ms\", \"30s\", \"10min\" or \"1h30m\""
            )),
            SpanError::TooLong => {
                Problem::new(format!("\"{text}\" {error}; allowed: {}", self.range()))
            }
        })?;
        if span < self.min || span > self.max {
            return Err(Problem::new(format!(
                "\"{text}\" is out of range; allowed: {}",
                self.range()
            )));
        }
        Ok(span)
    }

    fn range(&self) -> String {
        format!("{} to {}", format_span(self.min), format_span(self.max))
    }
}

/// A whole number between two bounds.
pub(super) struct Count {
    pub(super) min: u32,
    pub(super) max: u32,
}

impl Shape for Count {
    type Out = u32;

    fn read(&self, raw: &Raw) -> Result<u32, Problem> {
        let number = match raw {
            Raw::Text(text) => text.parse::<i64>().map_err(|_| {
                Problem::new(format!("\"{text}\" is not a whole number; {}", self.hint()))
            })?,
            Raw::Integer(number) => *number,
            other => return Err(wrong_type(other, "a whole number")),
        };
        u32::try_from(number)
            .ok()
            .filter(|count| (self.min..=self.max).contains(count))
            .ok_or_else(|| Problem::new(format!("{number} is out of range; {}", self.hint())))
    }

    fn range(&self) -> String {
        format!("{} to {}", self.min, self.max)
    }
}

impl Count {
    fn hint(&self) -> String {
        format!("allowed: {}", self.range())
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Shape for Flag {
    type Out = bool;

    fn read(&self, raw: &Raw) -> Result<bool, Problem> {
        match raw {
            Raw::Boolean(flag) => Ok(*flag),
            Raw::Text(text) => text
                .parse()
                .map_err(|_| Problem::new(format!("\"{text}\" is not \"true\" or \"false\""))),
            other => Err(wrong_type(other, "true or false")),
        }
    }

    fn range(&self) -> String {
        "true or false".to_owned()
    }
}

/// One of several words.
pub(super) struct Choice<T: 'static> {
    /// All of them, in the order of telling.
    pub(super) all: &'static [T],
    /// How each is written.
    pub(super) word: fn(T) -> &'static str,
}

impl<T: Copy + Sync> Shape for Choice<T> {
    type Out = T;

    fn read(&self, raw: &Raw) -> Result<T, Problem> {
        let Raw::Text(text) = raw else {
            return Err(wrong_type(raw, &format!("one of {}", self.range())));
        };
        self.all
            .iter()
            .copied()
            .find(|value| (self.word)(*value) == text)
            .ok_or_else(|| {
                Problem::new(format!(
                    "\"{text}\" is not known; allowed: {}",
                    self.range()
                ))
            })
    }

    fn range(&self) -> String {
        let words: Vec<&str> = self.all.iter().map(|value| (self.word)(*value)).collect();
        words.join(", ")
    }
}

/// A text that is not empty and has no control characters.
pub(super) struct Text {
    /// Most bytes.
    pub(super) max: usize,
}

impl Shape for Text {
    type Out = String;

    fn read(&self, raw: &Raw) -> Result<String, Problem> {
        let Raw::Text(text) = raw else {
            return Err(wrong_type(raw, "a text in quotes"));
        };
        check_text(text, self.max)?;
        Ok(text.clone())
    }

    fn range(&self) -> String {
        format!("text, 1 to {} bytes", self.max)
    }
}

/// Several texts; cut at commas where there are no lists.
pub(super) struct TextList {
    /// Most bytes of each.
    pub(super) max: usize,
}

impl Shape for TextList {
    type Out = Vec<String>;

    fn read(&self, raw: &Raw) -> Result<Vec<String>, Problem> {
        let Raw::List(items) = raw else {
            return Err(wrong_type(raw, "a list such as [\"a\", \"b\"]"));
        };
        if items.is_empty() {
            return Err(Problem::new(
                "the list is empty; name at least one, or leave the key out",
            ));
        }
        for item in items {
            check_text(item, self.max)?;
        }
        Ok(items.clone())
    }

    fn range(&self) -> String {
        format!("list of texts, 1 to {} bytes each", self.max)
    }

    fn is_list(&self) -> bool {
        true
    }
}

/// The name of a file; whether it is there is found out by those who read it.
pub(super) struct FilePath;

impl Shape for FilePath {
    type Out = PathBuf;

    fn read(&self, raw: &Raw) -> Result<PathBuf, Problem> {
        Text { max: 4096 }.read(raw).map(PathBuf::from)
    }

    fn range(&self) -> String {
        "path of a file".to_owned()
    }
}

/// An IP address and a port.
pub(super) struct Address;

impl Shape for Address {
    type Out = SocketAddr;

    fn read(&self, raw: &Raw) -> Result<SocketAddr, Problem> {
        let Raw::Text(text) = raw else {
            return Err(wrong_type(raw, "an address such as \"127.0.0.1:9464\""));
        };
        text.parse().map_err(|_| {
            Problem::new(format!(
                "\"{text}\" is not an IP address with a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\""
            ))
        })
    }

    fn range(&self) -> String {
        "IP:PORT".to_owned()
    }
}

/// A log level, or a filter with a level per module.
pub(super) struct LogFilter;

/// What a directive without `=` may be; anything else would silently filter by module name.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Shape for LogFilter {
    type Out = String;

    fn read(&self, raw: &Raw) -> Result<String, Problem> {
        let text = Text { max: 1024 }.read(raw)?;
        for directive in text.split(',') {
            let bare = !directive.contains('=');
            if bare && !LEVELS.contains(&directive.to_ascii_lowercase().as_str()) {
                return Err(Problem::new(format!(
                    "\"{directive}\" is not a level; allowed: {}",
                    self.range()
                )));
            }
        }
        EnvFilter::try_new(&text)
            .map_err(|error| Problem::new(format!("\"{text}\" is not a filter: {error}")))?;
        Ok(text)
    }

    fn range(&self) -> String {
        format!(
            "{}, or a filter such as info,entrapool=debug",
            LEVELS.join(", ")
        )
    }
}

/// What may be given as `log.level`, from whoever changes it while the program runs.
///
/// # Errors
/// What is wrong with it, and what is allowed.
pub fn log_filter(text: &str) -> Result<String, String> {
    LogFilter
        .read(&Raw::Text(text.to_owned()))
        .map_err(|problem| format!("log.level: {problem}"))
}

/// Says that a TOML value is of the wrong type.
pub(super) fn wrong_type(raw: &Raw, wanted: &str) -> Problem {
    let kind = match raw {
        Raw::Text(_) => "a text",
        Raw::Integer(_) => "a number",
        Raw::Boolean(_) => "a boolean",
        Raw::List(_) => "a list",
        Raw::ListWithNumbers(_) => "a list with numbers in it",
        Raw::Other(kind) => kind,
    };
    Problem::new(format!("{kind} is given, but {wanted} is expected"))
}

/// Every text may end up in a protocol field or a log line, where control characters do harm.
pub(super) fn check_text(text: &str, max: usize) -> Result<(), Problem> {
    if text.is_empty() {
        return Err(Problem::new("is empty; give a value, or leave it out"));
    }
    if text.len() > max {
        return Err(Problem::new(format!(
            "has {} bytes, but at most {max} are allowed",
            text.len()
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::new("contains a control character"));
    }
    Ok(())
}
