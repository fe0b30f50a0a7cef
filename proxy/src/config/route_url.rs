//! ROUTE URLs: `postgres://USER@HOST[:PORT][/DATABASE][?key=value&...]`, and with other schemes
//! for other engines.
//!
//! `load` reads those of the command line and the environment, `file` those of `url` keys. They
//! become the same settings as the fields of a `[[route]]`. A URL is never shown as a whole.

use std::fmt;

use url::Url;

use super::error::{ConfigErrors, Place};
use super::key::{Scope, find, nearest, unknown};
use super::keys;
use super::model::Engine;
use super::settings::{Raw, Settings};
use super::shape::Problem;

/// A ROUTE as it was written. It should hold no password, but may, so it is shown without.
#[derive(Clone, PartialEq, Eq)]
pub struct RouteUrl {
    text: String,
}

impl From<String> for RouteUrl {
    fn from(text: String) -> Self {
        Self { text }
    }
}

impl From<&str> for RouteUrl {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl RouteUrl {
    /// Whether it is a URL, or something that is meant as one; else it may be the name of a route.
    #[must_use]
    pub(super) fn is_url(&self) -> bool {
        self.text.contains([':', '?', '=', ';', '@'])
    }
}

/// Without the query, and without anything that may be a password.
///
/// Works on the text, since it also has to show what cannot be parsed: from the first colon after
/// the scheme up to the last `@` all is hidden; where JDBC's properties seem to begin, all from the
/// first colon or semicolon on.
impl fmt::Display for RouteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.text.find("://").map_or(0, |at| at + 3);
        let (scheme, rest) = self.text.split_at(start);
        let shown = match (rest.find(':'), rest.rfind('@')) {
            _ if before_query(rest).contains(';') => {
                let host = rest.split([':', ';']).next().unwrap_or_default();
                format!("{host};***")
            }
            (Some(colon), Some(at)) if colon < at => {
                format!("{}:***{}", &rest[..colon], &rest[at..])
            }
            _ => rest.to_owned(),
        };
        let shown = before_query(&shown);
        // Without a scheme it may be another kind of connection string: `password=...`.
        let is_url = !scheme.is_empty();
        let end = shown.find('=').filter(|_| !is_url);
        write!(f, "{scheme}{}", &shown[..end.unwrap_or(shown.len())])
    }
}

fn before_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

impl fmt::Debug for RouteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteUrl({self})")
    }
}

/// Reads a URL into settings; `None` if it is none at all (which is reported).
pub(super) fn read_url(
    route: &RouteUrl,
    place: &Place,
    errors: &mut ConfigErrors,
) -> Option<Settings> {
    let (url, engine) = match parse(&route.text) {
        Ok(parsed) => parsed,
        Err(problem) => {
            errors.add(place, problem.to_string());
            return None;
        }
    };
    if url.password().is_some() {
        errors.add(
            place,
            "a password in a ROUTE would be seen in process lists and backups; use \
             identity=password-file with password_file=FILE",
        );
    }
    if url.fragment().is_some() {
        errors.add(
            place,
            "\"#\" begins a fragment, which a ROUTE has not; write %23",
        );
    }
    let mut settings = Settings::new(place.clone());
    for (key, part) in parts(&url, engine) {
        match decode(part) {
            Ok(text) => {
                settings.insert(key, Raw::Text(text), place.clone());
            }
            Err(problem) => errors.add(place, format!("{key}: {problem}")),
        }
    }
    for pair in url.query().unwrap_or_default().split('&') {
        if pair.is_empty() {
            continue;
        }
        if let Err(problem) = read_pair(pair, engine, &mut settings) {
            errors.add(place, problem.to_string());
        }
    }
    Some(settings)
}

const FORM: &str = "postgres://USER@HOST[:PORT][/DATABASE][?key=value&...] or \
     sqlserver://[USER@]HOST[:PORT]/DATABASE[?key=value&...]";

fn form_of(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "postgres://USER@HOST[:PORT][/DATABASE][?key=value&...]",
        Engine::Tds => "sqlserver://[USER@]HOST[:PORT]/DATABASE[?key=value&...]",
    }
}

fn engine_of(scheme: &str) -> Option<Engine> {
    match scheme {
        "postgres" | "postgresql" => Some(Engine::Postgres),
        "sqlserver" | "mssql" => Some(Engine::Tds),
        _ => None,
    }
}

fn parse(text: &str) -> Result<(Url, Engine), Problem> {
    if !text.contains("://") {
        let command = nearest(text, ["run", "check"].into_iter());
        return Err(Problem::new(match command {
            Some(command) => format!("this is not a ROUTE; did you mean \"{command}\"?"),
            None => format!("this is not a ROUTE; write {FORM}"),
        }));
    }
    check_jdbc(text)?;
    let url = Url::parse(text)
        .map_err(|error| Problem::new(format!("this is not a URL ({error}); write {FORM}")))?;
    let engine = engine_of(url.scheme()).ok_or_else(|| {
        Problem::new(format!(
            "\"{}://\" is not supported; postgres:// and sqlserver:// are",
            url.scheme()
        ))
    })?;
    if url.path().trim_start_matches('/').contains('/') {
        return Err(Problem::new(
            "more than a database follows the host; write a \"/\" in a database's name as %2F",
        ));
    }
    Ok((url, engine))
}

/// JDBC's URLs look like ours but hold everything, passwords too, behind semicolons.
fn check_jdbc(text: &str) -> Result<(), Problem> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    let is_jdbc = scheme.starts_with("jdbc:");
    let has_properties =
        engine_of(&scheme) == Some(Engine::Tds) && before_query(rest).contains(';');
    if is_jdbc || has_properties {
        let form = form_of(engine_of(scheme.trim_start_matches("jdbc:")).unwrap_or(Engine::Tds));
        return Err(Problem::new(format!(
            "this is a URL of JDBC, with properties of its own; write {form}"
        )));
    }
    Ok(())
}

/// The keys that have a place of their own in a URL, with their text, still encoded.
fn parts(url: &Url, engine: Engine) -> Vec<(&'static str, &str)> {
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .and_then(|_| url.authority().rsplit_once(':'))
        .map_or("", |(_, port)| port);
    let parts = [
        (keys::ENGINE.name, engine.as_str()),
        (keys::USER.name, url.username()),
        (
            keys::HOST.name,
            host.trim_start_matches('[').trim_end_matches(']'),
        ),
        (keys::PORT.name, port),
        (keys::DATABASE.name, url.path().trim_start_matches('/')),
    ];
    parts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

fn read_pair(pair: &str, engine: Engine, settings: &mut Settings) -> Result<(), Problem> {
    let (name, value) = match pair.split_once('=') {
        Some((name, value)) => (decode(name)?, Some(value)),
        None => (decode(pair)?, None),
    };
    let known: Vec<_> = keys::ROUTE
        .iter()
        .copied()
        .filter(|key| key.scope() == Scope::UrlTable)
        .collect();
    let Some(key) = find(&known, &name) else {
        return Err(Problem::new(if find(keys::ROUTE, &name).is_some() {
            format!(
                "\"{name}\" has its own place in a ROUTE; write {}",
                form_of(engine)
            )
        } else if find(keys::PROGRAM, &name).is_some() {
            format!("\"{name}\" is not a key of a route but of the program")
        } else {
            unknown("route key", &name, &known)
        }));
    };
    let Some(value) = value else {
        return Err(Problem::new(format!(
            "{name}: has no value; write {name}=..."
        )));
    };
    let raw = if key.is_list() {
        // Cut before decoding, so that %2C stays a comma of the name.
        let items: Result<_, _> = value.split(',').map(decode).collect();
        Raw::List(items.map_err(|problem| named(&name, &problem))?)
    } else {
        Raw::Text(decode(value).map_err(|problem| named(&name, &problem))?)
    };
    if settings.insert(key.name(), raw, settings.place.clone()) {
        Ok(())
    } else {
        Err(Problem::new(format!("{name}: is given twice; keep one")))
    }
}

fn named(name: &str, problem: &Problem) -> Problem {
    Problem::new(format!("{name}: {problem}"))
}

/// Percent-decoding (RFC 3986, 2.1). A plus is a plus: this is no web form.
fn decode(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after
            .get(..2)
            .filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .ok_or_else(|| {
                Problem::new("\"%\" must be followed by two hex digits; write %25 for \"%\" itself")
            })?;
        bytes.push(byte);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes)
        .map_err(|_| Problem::new("the %-escapes are not UTF-8; encode the text as UTF-8 first"))
}
