//! Settings that a session asked for, and the statement that gives them to a backend.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Settings by name. Names are compared as PostgreSQL does: without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Settings(BTreeMap<Box<str>, Setting>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Setting {
    /// The name as the client wrote it.
    spelling: Box<str>,
    value: Box<str>,
}

impl Settings {
    /// Sets `name`; a later value wins.
    pub fn set(&mut self, name: &str, value: &str) {
        let setting = Setting {
            spelling: name.into(),
            value: value.into(),
        };
        match self.0.entry(name.to_ascii_lowercase().into_boxed_str()) {
            Entry::Vacant(entry) => {
                entry.insert(setting);
            }
            Entry::Occupied(mut entry) => entry.get_mut().value = setting.value,
        }
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name.to_ascii_lowercase().as_str())
            .map(|setting| &*setting.value)
    }

    /// Takes `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Box<str>> {
        self.0
            .remove(name.to_ascii_lowercase().as_str())
            .map(|setting| setting.value)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names (as written) and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .values()
            .map(|setting| (&*setting.spelling, &*setting.value))
    }

    /// Tells apart what may change the meaning of a statement's text: everything but the
    /// application's name, and custom settings (those with a dot), which no plan is made for.
    #[must_use]
    pub fn context(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (key, setting) in self
            .0
            .iter()
            .filter(|(key, _)| ***key != *"application_name" && !key.contains('.'))
        {
            (key, &setting.value).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The SQL that turns a backend with the settings `applied` into one with these; `None` if
    /// nothing has to be done.
    ///
    /// `set_config` and not `SET`: it takes lists such as `search_path` as one string, the way
    /// that startup parameters are read.
    #[must_use]
    pub fn change_from(&self, applied: &Self) -> Option<String> {
        let mut sql = String::new();
        for (key, setting) in &applied.0 {
            if !self.0.contains_key(key) {
                sql.push_str("RESET ");
                push_identifier(&mut sql, &setting.spelling);
                sql.push(';');
            }
        }
        let mut word = "SELECT ";
        // The role comes last: it may not be allowed to change the others.
        let (role, others): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|(key, _)| ***key == *"role");
        for (key, setting) in others.into_iter().chain(role) {
            if applied
                .0
                .get(key)
                .is_some_and(|old| old.value == setting.value)
            {
                continue;
            }
            sql.push_str(word);
            sql.push_str("pg_catalog.set_config(");
            push_literal(&mut sql, &setting.spelling);
            sql.push(',');
            push_literal(&mut sql, &setting.value);
            sql.push_str(",false)");
            word = ",";
        }
        (!sql.is_empty()).then_some(sql)
    }

    /// The SQL that gives these settings to a backend of which nobody knows what it has.
    #[must_use]
    pub fn change_from_unknown(&self) -> String {
        let mut sql = String::from("RESET SESSION AUTHORIZATION;RESET ALL;");
        sql.push_str(&self.change_from(&Self::default()).unwrap_or_default());
        sql
    }
}

/// Appends a setting's name for `RESET`: each dotted part quoted, so that none is a keyword.
fn push_identifier(sql: &mut String, name: &str) {
    for (index, part) in name.split('.').enumerate() {
        if index > 0 {
            sql.push('.');
        }
        sql.push('"');
        sql.push_str(&part.replace('"', "\"\""));
        sql.push('"');
    }
}

/// Appends a string literal that reads the same whatever `standard_conforming_strings` says.
fn push_literal(sql: &mut String, value: &str) {
    sql.push_str("E'");
    for character in value.chars() {
        if matches!(character, '\'' | '\\') {
            sql.push(character);
        }
        sql.push(character);
    }
    sql.push('\'');
}

/// The settings in the `options` startup parameter: `-c name=value` and `--name=value`, words
/// separated by blanks, a backslash taking the next character as it is (`pg_split_opts`).
///
/// # Errors
/// The word that is neither.
pub fn read_options(options: &str) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    let mut words = split_words(options).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(long) => long.to_owned(),
            None => match word.strip_prefix("-c") {
                Some("") => words.next().ok_or(word)?,
                Some(rest) => rest.to_owned(),
                None => return Err(word),
            },
        };
        let (name, value) = assignment
            .split_once('=')
            .ok_or_else(|| assignment.clone())?;
        // As in ParseLongOption, dashes in a name stand for underscores.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn split_words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_ascii_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings.set(name, value);
        }
        settings
    }

    #[test]
    fn options_are_split_as_postgresql_does() {
        for (options, expected) in [
            ("", Ok(vec![])),
            (
                "-c a=1 -cb=2 --c-d=3",
                Ok(vec![("a", "1"), ("b", "2"), ("c_d", "3")]),
            ),
            (
                r"-c search_path=a,\ b  --x=\\",
                Ok(vec![("search_path", "a, b"), ("x", "\\")]),
            ),
            ("-c a+b=c+d", Ok(vec![("a+b", "c+d")])),
            ("-c", Err("-c")),
            ("-c a", Err("a")),
            ("-e", Err("-e")),
        ] {
            let read = read_options(options);
            let read = read.as_ref().map(|pairs| {
                pairs
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect()
            });
            assert_eq!(read.map_err(String::as_str), expected, "{options:?}");
        }
    }

    #[test]
    fn the_context_is_everything_but_the_name() {
        let plain = settings(&[("DateStyle", "ISO"), ("application_name", "a")]);
        let other_name = settings(&[("datestyle", "ISO"), ("application_name", "b")]);
        let other_style = settings(&[("DateStyle", "German"), ("application_name", "a")]);
        assert_eq!(plain.context(), other_name.context());
        assert_ne!(plain.context(), other_style.context());
    }

    #[test]
    fn only_the_difference_is_sent() {
        let wanted = settings(&[("TimeZone", "UTC"), ("app.user", r"o'b\c")]);
        assert_eq!(wanted.change_from(&wanted.clone()), None);
        assert_eq!(
            wanted
                .change_from(&settings(&[("timezone", "UTC"), ("Work_Mem", "1MB")]))
                .unwrap(),
            r#"RESET "Work_Mem";SELECT pg_catalog.set_config(E'app.user',E'o''b\\c',false)"#
        );
        assert_eq!(
            Settings::default()
                .change_from(&settings(&[("app.user", "x")]))
                .unwrap(),
            r#"RESET "app"."user";"#
        );
    }
}
