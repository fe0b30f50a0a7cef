//! What a new configuration changes in an old one, for the log and for whoever asked for a reload.
//!
//! Both are compared as `entrapool check` shows them, so that no secret can be in here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::Config;
use super::render::render;

/// One thing that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The route; `None` for what belongs to the program.
    pub route: Option<String>,
    /// What happened to it.
    pub kind: Kind,
    /// The key; `None` for a route as a whole.
    pub key: Option<String>,
    /// What it was; `None` if it was not there.
    pub from: Option<String>,
    /// What it is; `None` if it is not there any more.
    pub to: Option<String>,
    /// From when on that holds.
    pub applies: Applies,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The route is new.
    Added,
    /// The route is not served any more.
    Removed,
    /// The key has another value.
    Changed,
    /// The file that the key names has another content.
    Reread,
}

/// From when on a change holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applies {
    /// At once.
    Now,
    /// For clients that connect from now on; the others keep what they had.
    NewClients,
    /// When the program is started again.
    NextStart,
}

impl fmt::Display for Applies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "at once",
            Self::NewClients => "for new clients",
            Self::NextStart => "at the next start",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(route) = &self.route {
            write!(f, "route {route}: ")?;
        }
        let key = self.key.as_deref().unwrap_or_default();
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(unset)".to_owned());
        match self.kind {
            Kind::Added => f.write_str("added"),
            Kind::Removed => f.write_str("removed; its sessions go on until they end"),
            Kind::Reread => write!(f, "{key} {} was read again", value(&self.to)),
            Kind::Changed => write!(
                f,
                "{key} {} -> {} ({})",
                value(&self.from),
                value(&self.to),
                self.applies
            ),
        }
    }
}

/// The keys of the program that hold at once; the others wait for the next start.
const AT_ONCE: [&str; 3] = ["log.level", "drain.accept_for", "drain.max_wait"];

/// Everything that is different: the program first, then by route.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let (old, new) = (Shown::of(old), Shown::of(new));
    let mut changes = compare(None, &old.program, &new.program);
    for (name, before) in &old.routes {
        match new.routes.get(name) {
            Some(after) => changes.extend(compare(Some(name), before, after)),
            None => changes.push(whole(name, Kind::Removed)),
        }
    }
    let added = new
        .routes
        .keys()
        .filter(|name| !old.routes.contains_key(*name));
    changes.extend(added.map(|name| whole(name, Kind::Added)));
    changes
}

/// Values by key.
type Values = BTreeMap<String, String>;

/// A configuration as it is shown.
#[derive(Default)]
struct Shown {
    program: Values,
    /// By name.
    routes: BTreeMap<String, Values>,
}

impl Shown {
    fn of(config: &Config) -> Self {
        // What `render` writes is TOML: a test reads it back.
        let table: toml::Table = render(config).parse().unwrap_or_default();
        let mut shown = Self::default();
        for (key, value) in table {
            match value {
                toml::Value::Table(section) => {
                    for (inner, value) in section {
                        let value = in_words(&value);
                        shown.program.insert(format!("{key}.{inner}"), value);
                    }
                }
                toml::Value::Array(routes) => {
                    let routes = routes.iter().filter_map(toml::Value::as_table);
                    shown.routes.extend(routes.map(route));
                }
                value => {
                    shown.program.insert(key, in_words(&value));
                }
            }
        }
        shown
    }
}

fn route(table: &toml::Table) -> (String, Values) {
    let value = |(key, value): (&String, &toml::Value)| (key.clone(), in_words(value));
    let mut values: Values = table.iter().map(value).collect();
    let name = values.remove("name").unwrap_or_default();
    (name, values)
}

fn in_words(value: &toml::Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

fn compare(route: Option<&String>, before: &Values, after: &Values) -> Vec<Change> {
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let differ = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key));
    let change = |key: &String| Change {
        route: route.cloned(),
        kind: Kind::Changed,
        key: Some(key.clone()),
        from: before.get(key).cloned(),
        to: after.get(key).cloned(),
        applies: match route {
            Some(_) => Applies::NewClients,
            None if AT_ONCE.contains(&key.as_str()) => Applies::Now,
            None => Applies::NextStart,
        },
    };
    differ.map(change).collect()
}

fn whole(name: &str, kind: Kind) -> Change {
    Change {
        route: Some(name.to_owned()),
        kind,
        key: None,
        from: None,
        to: None,
        applies: Applies::Now,
    }
}
