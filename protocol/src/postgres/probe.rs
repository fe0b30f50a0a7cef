//! The question what a session has left on its backend, and the answer.
//!
//! One prepared statement, so that the server plans it once. Every name in it is qualified: it
//! must mean the same under any `search_path`. Parts that nobody asked for are not carried out.

use super::Violation;
use super::effect::Effects;
use super::settings::Settings;

/// A setting with a longer value, in bytes, is not carried: its client keeps the backend.
const LONGEST_VALUE: &str = "16384";

/// Parse's body behind the name: the text, and the types int4, text[] and text.
#[must_use]
pub fn parse_body() -> Vec<u8> {
    let mut body = statement().into_bytes();
    body.push(0);
    body.extend_from_slice(&3_u16.to_be_bytes());
    for oid in [23_u32, 1009, 25] {
        body.extend_from_slice(&oid.to_be_bytes());
    }
    body
}

/// `$1` says what is asked for, `$2` names custom settings, which `pg_settings` does not list;
/// `$3` is the role of the login.
fn statement() -> String {
    let asked = |bit: u16| format!("($1 OPERATOR(pg_catalog.&) {bit}) OPERATOR(pg_catalog.<>) 0");
    let setting = |kind: &str, name: &str, value: &str| {
        format!(
            "SELECT CASE WHEN pg_catalog.octet_length({value}) OPERATOR(pg_catalog.>) {LONGEST_VALUE} \
             THEN 'x' ELSE '{kind}' END::pg_catalog.text, {name}::pg_catalog.text, \
             CASE WHEN pg_catalog.octet_length({value}) OPERATOR(pg_catalog.<=) {LONGEST_VALUE} \
             THEN {value} END"
        )
    };
    let found = |kind: &str, bit: u16, from: &str| {
        format!(
            "SELECT '{kind}', NULL, NULL WHERE {} AND {from}",
            asked(bit)
        )
    };
    [
        format!(
            "{} FROM pg_catalog.pg_settings AS s WHERE {} \
             AND s.source OPERATOR(pg_catalog.=) 'session'",
            setting("s", "s.name", "s.setting"),
            asked(SETTINGS),
        ),
        format!(
            "{} FROM pg_catalog.unnest($2) AS c(name), \
             LATERAL pg_catalog.current_setting(c.name, true) AS v(value) \
             WHERE v.value IS NOT NULL",
            setting("s", "c.name", "v.value"),
        ),
        format!(
            "{} FROM pg_catalog.current_setting('role') AS r(value) WHERE {} \
             AND r.value OPERATOR(pg_catalog.<>) 'none'",
            setting("s", "'role'", "r.value"),
            asked(SETTINGS),
        ),
        found(
            "x",
            SETTINGS,
            "SESSION_USER::pg_catalog.text OPERATOR(pg_catalog.<>) $3",
        ),
        found(
            "t",
            RELATIONS,
            "pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
             AND EXISTS (SELECT FROM pg_catalog.pg_depend AS d \
             WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
             AND d.refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())",
        ),
        found(
            "l",
            LOCKS,
            "EXISTS (SELECT FROM pg_catalog.pg_locks AS l \
             WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
             AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())",
        ),
        found(
            "c",
            CURSORS,
            "EXISTS (SELECT FROM pg_catalog.pg_cursors AS c WHERE c.is_holdable)",
        ),
        format!(
            "SELECT 'n', c.name, NULL FROM pg_catalog.pg_listening_channels() AS c(name) WHERE {}",
            asked(CHANNELS)
        ),
        found(
            "p",
            STATEMENTS,
            "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements AS p WHERE p.from_sql)",
        ),
    ]
    .join(" UNION ALL ")
}

const SETTINGS: u16 = 1;
const RELATIONS: u16 = 2;
const LOCKS: u16 = 4;
const CURSORS: u16 = 8;
const CHANNELS: u16 = 16;
const STATEMENTS: u16 = 32;

/// What can be asked for, and what asks for it.
const PARTS: [(u16, Effects); 6] = [
    (SETTINGS, Effects::SETTING),
    (RELATIONS, Effects::RELATION),
    (LOCKS, Effects::LOCK),
    (CURSORS, Effects::CURSOR),
    (CHANNELS, Effects::LISTEN),
    (STATEMENTS, Effects::PREPARE),
];

/// What is asked, of a session that may have left `effects`: everything, if code was run or
/// everything was discarded.
#[must_use]
pub fn asked(effects: Effects) -> Effects {
    PARTS
        .iter()
        .filter(|(_, effect)| effects.any(*effect | Effects::CODE | Effects::DISCARD_ALL))
        .fold(Effects::default(), |all, (_, effect)| all | *effect)
}

/// Appends the Bind of the statement `name` to the unnamed portal.
pub fn bind(
    out: &mut Vec<u8>,
    name: impl Fn(&mut Vec<u8>),
    effects: Effects,
    custom: &[Box<str>],
    role: &str,
) {
    let bits = PARTS
        .iter()
        .filter(|(_, effect)| effects.any(*effect))
        .fold(0, |all, (bit, _)| all | bit);
    super::message::framed(out, b'B', |out| {
        out.push(0);
        name(out);
        out.push(0);
        out.extend_from_slice(&[0, 0, 0, 3]);
        for value in [bits.to_string(), array(custom), role.to_owned()] {
            super::message::sized_only(out, value.as_bytes());
        }
        out.extend_from_slice(&[0, 0]);
    });
}

/// A text[] as PostgreSQL reads one (8.15.2).
fn array(names: &[Box<str>]) -> String {
    let mut text = String::from("{");
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push('"');
        for character in name.chars() {
            if matches!(character, '"' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text.push('"');
    }
    text.push('}');
    text
}

/// The most channels that are named in an answer.
pub const MOST_CHANNELS: usize = 1024;

/// What a session has left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Settings that can be carried.
    pub settings: Settings,
    /// What can't: `SETTING` for one that is too long, or another session authorization.
    pub found: Effects,
    /// The channels that it listens to, as the session's encoding spells them; none if there are
    /// more than [`MOST_CHANNELS`].
    pub channels: Channels,
}

impl Answer {
    /// Takes one row (the body of a DataRow).
    ///
    /// # Errors
    /// [`Violation::Malformed`] for a row that is not the statement's.
    pub fn row(&mut self, body: &[u8]) -> Result<(), Violation> {
        let malformed = || Violation::Malformed {
            tag: 'D',
            what: "a row of ours",
        };
        let (count, rest) = body.split_first_chunk::<2>().ok_or_else(malformed)?;
        let (kind, rest) = column(rest).ok_or_else(malformed)?;
        let (name, rest) = column(rest).ok_or_else(malformed)?;
        let (value, rest) = column(rest).ok_or_else(malformed)?;
        if u16::from_be_bytes(*count) != 3 || !rest.is_empty() {
            return Err(malformed());
        }
        self.found |= match kind {
            Some(b"s") => {
                let text = |bytes: Option<&[u8]>| String::from_utf8(bytes?.to_vec()).ok();
                match (text(name), text(value)) {
                    (Some(name), Some(value)) => self.settings.set(&name, &value),
                    // Not UTF-8: it can't be carried as it is.
                    _ => self.found |= Effects::SETTING,
                }
                return Ok(());
            }
            Some(b"x") => Effects::SETTING,
            Some(b"t") => Effects::RELATION,
            Some(b"l") => Effects::LOCK,
            Some(b"c") => Effects::CURSOR,
            Some(b"n") => {
                self.channels.add(name.ok_or_else(malformed)?);
                Effects::LISTEN
            }
            Some(b"p") => Effects::PREPARE,
            _ => return Err(malformed()),
        };
        Ok(())
    }
}

/// Names of channels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Channels {
    names: Vec<Box<[u8]>>,
    too_many: bool,
}

impl Channels {
    fn add(&mut self, name: &[u8]) {
        self.too_many |= self.names.len() >= MOST_CHANNELS;
        if self.too_many {
            self.names = Vec::new();
        } else {
            self.names.push(name.into());
        }
    }

    /// The names; none if there are too many.
    #[must_use]
    pub fn into_names(self) -> Vec<Box<[u8]>> {
        self.names
    }
}

/// Splits a column off a DataRow: `None` inside for NULL.
fn column(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*length) {
        -1 => Some((None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[Option<&str>]) -> Vec<u8> {
        let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
        for column in columns {
            match column {
                Some(text) => super::super::message::sized_only(&mut body, text.as_bytes()),
                None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        body
    }

    #[test]
    fn answers_are_read() {
        let mut answer = Answer::default();
        answer
            .row(&row(&[Some("s"), Some("work_mem"), Some("64")]))
            .unwrap();
        answer.row(&row(&[Some("t"), None, None])).unwrap();
        answer
            .row(&row(&[Some("x"), Some("app.long"), None]))
            .unwrap();
        assert_eq!(answer.settings.get("work_mem"), Some("64"));
        assert_eq!(answer.found, Effects::RELATION | Effects::SETTING);
        answer.row(&row(&[Some("n"), Some("news"), None])).unwrap();
        assert_eq!(answer.channels.clone().into_names(), [Box::from(*b"news")]);
        for _ in 0..MOST_CHANNELS {
            answer.row(&row(&[Some("n"), Some("news"), None])).unwrap();
        }
        assert!(answer.channels.into_names().is_empty());
        let mut answer = Answer::default();
        for bad in [
            row(&[Some("s"), Some("a")]),
            row(&[Some("?"), None, None]),
            row(&[None, None, None]),
            row(&[Some("n"), None, None]),
            vec![],
            vec![0, 3, 0, 0, 0, 9],
        ] {
            assert!(answer.row(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn code_asks_for_everything() {
        assert_eq!(asked(Effects::LOCK), Effects::LOCK);
        assert_eq!(asked(Effects::SEQUENCE), Effects::default());
        let all = PARTS
            .iter()
            .fold(Effects::default(), |all, (_, effect)| all | *effect);
        assert_eq!(asked(Effects::CODE), all);
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(array(&[]), "{}");
        assert_eq!(
            array(&["a.b".into(), "a.\"\\".into()]),
            r#"{"a.b","a.\"\\"}"#
        );
    }
}
