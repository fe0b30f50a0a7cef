//! The TOML file.
//!
//! `load` calls this once. Each value keeps its line; unknown keys and sections are reported here,
//! what the values mean is not known here.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigErrors, Place};
use super::key::{Scope, find, unknown};
use super::keys;
use super::route_url::{RouteUrl, read_url};
use super::settings::{Raw, Settings};

/// Far more than any configuration; keeps a mistaken path from filling the memory.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What a file says.
pub(super) struct FileContent {
    /// The program's keys.
    pub(super) settings: Settings,
    /// The routes that could be read, in order.
    pub(super) routes: Vec<Settings>,
    /// Whether any route was written, even if wrongly, or cannot be known.
    pub(super) has_routes: bool,
}

impl FileContent {
    /// As if there were no file.
    pub(super) fn none() -> Self {
        Self {
            settings: Settings::new(Place::Whole),
            routes: Vec::new(),
            has_routes: false,
        }
    }

    fn unreadable() -> Self {
        Self {
            has_routes: true,
            ..Self::none()
        }
    }
}

/// Reads a file; whatever is wrong with it is reported.
pub(super) fn read_file(path: &Path, errors: &mut ConfigErrors) -> FileContent {
    let place = Place::File {
        path: path.to_owned(),
        line: None,
    };
    let text = std::fs::metadata(path).and_then(|metadata| {
        if metadata.len() > MAX_BYTES {
            return Err(std::io::Error::other("it is larger than 4 MiB"));
        }
        std::fs::read_to_string(path)
    });
    match text {
        Ok(text) => read_text(path, &text, errors),
        Err(error) => {
            errors.add(
                &place,
                format!("the configuration file cannot be read: {error}"),
            );
            FileContent::unreadable()
        }
    }
}

/// Reads a file's text.
pub(super) fn read_text(path: &Path, text: &str, errors: &mut ConfigErrors) -> FileContent {
    let source = Source {
        path: path.to_owned(),
        text,
    };
    let (document, mut syntax_errors) = DeTable::parse_recoverable(text);
    if !syntax_errors.is_empty() {
        syntax_errors.sort_by_key(|error| error.span().map(|span| span.start));
        for error in syntax_errors {
            let place = error
                .span()
                .map_or_else(|| source.whole(), |span| source.place(&span));
            errors.add(&place, format!("this is not TOML: {}", error.message()));
        }
        return FileContent::unreadable();
    }
    let mut content = FileContent::none();
    for (name, value) in in_order(document.get_ref()) {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("route", routes) => {
                content.has_routes = true;
                content.routes = source.read_routes(value.span(), routes, errors);
            }
            (section, DeValue::Table(table)) if is_section(section) => {
                for (name, value) in in_order(table) {
                    let full = format!("{section}.{}", name.get_ref());
                    source.read_program_key(&full, (name, value), &mut content.settings, errors);
                }
            }
            (key, _) => source.read_program_key(key, (name, value), &mut content.settings, errors),
        }
    }
    content
}

type Name<'a> = &'a Spanned<toml::de::DeString<'a>>;
type Pair<'a> = (Name<'a>, &'a Spanned<DeValue<'a>>);

/// A file's text, and where in it something is.
struct Source<'a> {
    path: PathBuf,
    text: &'a str,
}

impl Source<'_> {
    fn whole(&self) -> Place {
        Place::File {
            path: self.path.clone(),
            line: None,
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.as_bytes().iter().take(span.start);
        Place::File {
            path: self.path.clone(),
            line: Some(1 + before.filter(|byte| **byte == b'\n').count()),
        }
    }

    fn read_program_key(
        &self,
        full: &str,
        (name, value): Pair<'_>,
        settings: &mut Settings,
        errors: &mut ConfigErrors,
    ) {
        let in_file: Vec<_> = keys::PROGRAM
            .iter()
            .copied()
            .filter(|key| !matches!(key.scope(), Scope::FlagVariable(_)))
            .collect();
        if let Some(key) = find(&in_file, full) {
            settings.insert(key.name(), raw(value.get_ref()), self.place(&value.span()));
            return;
        }
        let message = if is_section(full) {
            format!("\"{full}\" is a section; write [{full}] and its keys below it")
        } else if find(keys::ROUTE, full).is_some() {
            format!("\"{full}\" is a key of a route; write it below a [[route]]")
        } else {
            unknown("key", full, &in_file)
        };
        errors.add(&self.place(&name.span()), message);
    }

    fn read_routes(
        &self,
        span: Range<usize>,
        value: &DeValue<'_>,
        errors: &mut ConfigErrors,
    ) -> Vec<Settings> {
        let DeValue::Array(items) = value else {
            errors.add(
                &self.place(&span),
                "there can be several routes; write [[route]] with double brackets",
            );
            return Vec::new();
        };
        let mut routes = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    routes.push(self.read_route(&item.span(), table, errors));
                }
                other => errors.add(
                    &self.place(&item.span()),
                    format!("a route is a table, not a TOML {}", other.type_str()),
                ),
            }
        }
        routes
    }

    fn read_route(
        &self,
        span: &Range<usize>,
        table: &DeTable<'_>,
        errors: &mut ConfigErrors,
    ) -> Settings {
        let mut settings = Settings::new(self.place(span));
        let mut url = None;
        for (name, value) in in_order(table) {
            let place = self.place(&value.span());
            match find(keys::ROUTE, name.get_ref()) {
                Some(key) => {
                    if let (true, DeValue::String(text)) =
                        (key.name() == keys::URL.name, value.get_ref())
                    {
                        url = read_url(&RouteUrl::from(text.as_ref()), &place, errors);
                    }
                    settings.insert(key.name(), raw(value.get_ref()), place);
                }
                None => errors.add(&self.place(&name.span()), unknown_route_key(name.get_ref())),
            }
        }
        if let Some(url) = url {
            settings.merge(url, errors);
        }
        settings
    }
}

/// TOML's own trap: a key below a `[[route]]` belongs to that route.
fn unknown_route_key(name: &str) -> String {
    if find(keys::PROGRAM, name).is_some() {
        format!(
            "\"{name}\" is not a key of a route but of the program; write it above the first [[route]]"
        )
    } else {
        unknown("route key", name, keys::ROUTE)
    }
}

fn is_section(name: &str) -> bool {
    keys::PROGRAM
        .iter()
        .filter_map(|key| key.name().split_once('.'))
        .any(|(section, _)| section == name)
}

/// As written, since the table itself is sorted by name.
fn in_order<'a>(table: &'a DeTable<'a>) -> Vec<Pair<'a>> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(name, _)| name.span().start);
    pairs
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Boolean(flag) => Raw::Boolean(*flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a huge number"), Raw::Integer),
        DeValue::Array(items) => {
            let items: Vec<Raw> = items.iter().map(|item| raw(item.get_ref())).collect();
            let is_item = |item: &Raw| matches!(item, Raw::Text(_) | Raw::Integer(_));
            let texts = items.iter().map(ToString::to_string).collect();
            if items.iter().all(|item| matches!(item, Raw::Text(_))) {
                Raw::List(texts)
            } else if items.iter().all(is_item) {
                Raw::ListWithNumbers(texts)
            } else {
                Raw::Other("a list of other things than texts")
            }
        }
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}
