//! A session's settings: the few that the embedded server knows, with PostgreSQL 15's defaults.
//!
//! They are remembered and reported but change nothing, so only settings whose effect a client of
//! this server cannot see are known. An unknown name or an unsupported value is an error.

use std::collections::BTreeMap;

use super::sql_error::SqlError;

/// What the server says it is.
pub(super) const SERVER_VERSION: &str = "15.0 (entrapool embedded)";

/// Name, default, and what a client may do with it.
const KNOWN: [(&str, &str, Change); 22] = [
    ("application_name", "", Change::Reported),
    ("client_encoding", "UTF8", Change::OnlyDefault),
    ("client_min_messages", "notice", Change::Kept),
    ("DateStyle", "ISO, MDY", Change::OnlyDefault),
    (
        "default_transaction_isolation",
        "read committed",
        Change::Kept,
    ),
    ("default_transaction_read_only", "off", Change::OnlyDefault),
    ("extra_float_digits", "1", Change::Kept),
    ("in_hot_standby", "off", Change::Never),
    ("integer_datetimes", "on", Change::Never),
    ("IntervalStyle", "postgres", Change::OnlyDefault),
    ("is_superuser", "off", Change::Never),
    ("lock_timeout", "0", Change::Kept),
    ("max_identifier_length", "63", Change::Never),
    ("search_path", "\"$user\", public", Change::Kept),
    ("server_encoding", "UTF8", Change::Never),
    ("server_version", SERVER_VERSION, Change::Never),
    ("server_version_num", "150000", Change::Never),
    ("session_authorization", "", Change::Never),
    ("standard_conforming_strings", "on", Change::OnlyDefault),
    ("statement_timeout", "0", Change::Kept),
    ("TimeZone", "UTC", Change::OnlyDefault),
    ("transaction_isolation", "read committed", Change::Never),
];

/// Sent to the client at login (PostgreSQL 55.2.7).
const REPORTED_AT_LOGIN: [&str; 13] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// What a client may do with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Change it, and be told (ParameterStatus).
    Reported,
    /// Change it.
    Kept,
    /// Set it to what it is already.
    OnlyDefault,
    Never,
}

/// A setting that changed and has to be reported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// The settings of one session.
#[derive(Debug)]
pub(super) struct Settings {
    role: String,
    /// From the startup message: what RESET goes back to.
    initial: BTreeMap<&'static str, String>,
    changed: BTreeMap<&'static str, String>,
}

impl Settings {
    pub(super) fn new(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            initial: BTreeMap::new(),
            changed: BTreeMap::new(),
        }
    }

    /// A setting in the startup message.
    pub(super) fn start_with(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        self.set(name, value)?;
        self.initial.append(&mut self.changed);
        Ok(())
    }

    pub(super) fn show(&self, name: &str) -> Result<(&'static str, String), SqlError> {
        let (name, _, _) = known(name)?;
        Ok((name, self.value(name)))
    }

    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<Option<Report>, SqlError> {
        let (name, default, change) = known(name)?;
        match change {
            Change::Never => Err(SqlError::error(
                "55P02",
                format!("parameter \"{name}\" cannot be changed"),
            )),
            Change::OnlyDefault if !same(name, value, default) => Err(SqlError::unsupported(
                &format!("the value \"{value}\" for \"{name}\""),
            )),
            Change::OnlyDefault => Ok(None),
            Change::Kept => {
                self.changed.insert(name, value.to_owned());
                Ok(None)
            }
            Change::Reported => {
                self.changed.insert(name, value.to_owned());
                Ok(Some(Report {
                    name,
                    value: value.to_owned(),
                }))
            }
        }
    }

    pub(super) fn reset(&mut self, name: &str) -> Result<Option<Report>, SqlError> {
        let (name, _, change) = known(name)?;
        let changed = self.changed.remove(name).is_some();
        Ok((changed && change == Change::Reported).then(|| self.report(name)))
    }

    pub(super) fn reset_all(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.changed)
            .into_keys()
            .filter(|name| is_reported(name))
            .map(|name| self.report(name))
            .collect()
    }

    pub(super) fn at_login(&self) -> impl Iterator<Item = Report> {
        REPORTED_AT_LOGIN.iter().map(|name| self.report(name))
    }

    fn report(&self, name: &'static str) -> Report {
        Report {
            name,
            value: self.value(name),
        }
    }

    fn value(&self, name: &'static str) -> String {
        if name == "session_authorization" {
            return self.role.clone();
        }
        let set = self.changed.get(name).or_else(|| self.initial.get(name));
        set.cloned().unwrap_or_else(|| {
            KNOWN
                .iter()
                .find(|(known, _, _)| *known == name)
                .map_or_else(String::new, |(_, default, _)| (*default).to_owned())
        })
    }
}

fn is_reported(name: &str) -> bool {
    KNOWN
        .iter()
        .any(|(known, _, change)| *known == name && *change == Change::Reported)
}

fn known(name: &str) -> Result<(&'static str, &'static str, Change), SqlError> {
    KNOWN
        .into_iter()
        .find(|(known, _, _)| known.eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            SqlError::error(
                "42704",
                format!("unrecognized configuration parameter \"{name}\""),
            )
        })
}

/// Spellings of one value: `utf-8` is `UTF8`, `Etc/UTC` is `UTC`, `ISO` is `ISO, MDY`.
fn same(name: &str, value: &str, default: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' ', '_'], "");
    let (value, default) = (plain(value), plain(default));
    match name {
        "client_encoding" => value == default || value == "unicode",
        "DateStyle" => value == default || value == "iso",
        "TimeZone" => matches!(value.as_str(), "utc" | "etc/utc" | "gmt"),
        "standard_conforming_strings" => matches!(value.as_str(), "on" | "true"),
        "default_transaction_read_only" => matches!(value.as_str(), "off" | "false"),
        _ => value == default,
    }
}
