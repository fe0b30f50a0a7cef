//! A session's settings: the few that the embedded server knows, with PostgreSQL 15's defaults.
//!
//! They are remembered and reported but change nothing, so only settings whose effect a client of
//! this server cannot see are known; names with a dot are the application's own. Any other name,
//! or an unsupported value, is an error. A rollback takes changes back, but not to a savepoint.

use std::borrow::Cow;
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
    ("TimeZone", "UTC", Change::Reported),
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
    pub(super) name: Name,
    pub(super) value: String,
}

/// In the server's own spelling.
pub(super) type Name = Cow<'static, str>;
type Values = BTreeMap<Name, String>;

/// The settings of one session.
#[derive(Debug)]
pub(super) struct Settings {
    role: String,
    /// From the startup message: what RESET goes back to.
    initial: Values,
    changed: Values,
    /// What a rollback goes back to, while a transaction is open.
    before: Option<Values>,
}

impl Settings {
    pub(super) fn new(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            initial: Values::new(),
            changed: Values::new(),
            before: None,
        }
    }

    /// A setting in the startup message.
    pub(super) fn start_with(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        self.set(name, value)?;
        self.initial.append(&mut self.changed);
        Ok(())
    }

    pub(super) fn show(&self, name: &str) -> Result<(Name, String), SqlError> {
        let (name, _, _) = known(name)?;
        if name.contains('.')
            && !self.initial.contains_key(&name)
            && !self.changed.contains_key(&name)
        {
            return Err(unknown(&name));
        }
        let value = self.value(&name);
        Ok((name, value))
    }

    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<Option<Report>, SqlError> {
        let (name, default, change) = known(name)?;
        match change {
            Change::Never => {
                let text = format!("parameter \"{name}\" cannot be changed");
                return Err(SqlError::error("55P02", text));
            }
            Change::OnlyDefault if !same(&name, value, default) => {
                let what = format!("the value \"{value}\" for \"{name}\"");
                return Err(SqlError::unsupported(&what));
            }
            Change::OnlyDefault => return Ok(None),
            Change::Kept | Change::Reported => {}
        }
        self.changed.insert(name.clone(), value.to_owned());
        Ok((change == Change::Reported).then(|| self.report(name)))
    }

    pub(super) fn reset(&mut self, name: &str) -> Result<Option<Report>, SqlError> {
        let (name, _, change) = known(name)?;
        let changed = self.changed.remove(&name).is_some();
        Ok((changed && change == Change::Reported).then(|| self.report(name)))
    }

    pub(super) fn reset_all(&mut self) -> Vec<Report> {
        let changed = std::mem::take(&mut self.changed);
        self.reports(changed.into_keys())
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        self.before = Some(self.changed.clone());
    }

    /// It ends, and what was set stays.
    pub(super) fn commit(&mut self) {
        self.before = None;
    }

    /// It ends, and what was set in it goes.
    pub(super) fn roll_back(&mut self) -> Vec<Report> {
        let Some(before) = self.before.take() else {
            return Vec::new();
        };
        let after = std::mem::replace(&mut self.changed, before);
        let mut touched: Vec<Name> = after.keys().chain(self.changed.keys()).cloned().collect();
        touched.retain(|name| after.get(name) != self.changed.get(name));
        touched.sort();
        touched.dedup();
        self.reports(touched.into_iter())
    }

    pub(super) fn at_login(&self) -> impl Iterator<Item = Report> {
        REPORTED_AT_LOGIN
            .iter()
            .map(|name| self.report(Cow::Borrowed(name)))
    }

    fn reports(&self, names: impl Iterator<Item = Name>) -> Vec<Report> {
        names
            .filter(|name| matches!(known(name), Ok((_, _, Change::Reported))))
            .map(|name| self.report(name))
            .collect()
    }

    fn report(&self, name: Name) -> Report {
        Report {
            value: self.value(&name),
            name,
        }
    }

    fn value(&self, name: &str) -> String {
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

fn known(name: &str) -> Result<(Name, &'static str, Change), SqlError> {
    if name.contains('.') {
        return Ok((Cow::Owned(name.to_ascii_lowercase()), "", Change::Kept));
    }
    KNOWN
        .into_iter()
        .find(|(known, _, _)| known.eq_ignore_ascii_case(name))
        .map(|(name, default, change)| (Cow::Borrowed(name), default, change))
        .ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> SqlError {
    let text = format!("unrecognized configuration parameter \"{name}\"");
    SqlError::error("42704", text)
}

/// Spellings of one value: `utf-8` is `UTF8`, `ISO` is `ISO, MDY`.
fn same(name: &str, value: &str, default: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' ', '_'], "");
    let (value, default) = (plain(value), plain(default));
    match name {
        "client_encoding" => value == default || value == "unicode",
        "DateStyle" => value == default || value == "iso",
        "standard_conforming_strings" => matches!(value.as_str(), "on" | "true"),
        "default_transaction_read_only" => matches!(value.as_str(), "off" | "false"),
        _ => value == default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_takes_settings_back_and_reports_them() {
        let mut settings = Settings::new("me");
        settings.set("application_name", "one").unwrap();
        settings.begin();
        settings.set("application_name", "two").unwrap();
        settings.set("app.user", "x").unwrap();
        let reports = settings.roll_back();
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].value, "one");
        assert_eq!(settings.show("app.user").unwrap_err().code, "42704");
        settings.begin();
        settings.set("App.User", "y").unwrap();
        settings.commit();
        assert!(settings.roll_back().is_empty());
        assert_eq!(settings.show("app.user").unwrap().1, "y");
    }

    #[test]
    fn reset_goes_back_to_the_startup_message() {
        let mut settings = Settings::new("me");
        settings.start_with("application_name", "first").unwrap();
        settings.set("APPLICATION_NAME", "second").unwrap();
        let report = settings.reset("application_name").unwrap().unwrap();
        assert_eq!(
            (&*report.name, &*report.value),
            ("application_name", "first")
        );
        assert_eq!(settings.reset("application_name").unwrap(), None);
    }
}
