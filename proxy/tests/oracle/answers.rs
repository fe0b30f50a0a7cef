//! What is compared of an answer. The closed list of what may differ is here and nowhere else:
//! process ids, keys, the numbers of tables, where in PostgreSQL's source an error is, the name
//! that a statement has on a backend where an error gives it, and [`known`].

use std::fmt;

use crate::sidecar::Message;

/// One message, as far as it is compared.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answer(String);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Answer {
    pub(crate) fn of(message: &Message) -> Self {
        let tag = char::from(message.tag);
        let text = match message.tag {
            b'E' | b'N' => {
                let mut fields = message.fields();
                for place in ['F', 'L', 'R'] {
                    fields.remove(&place);
                }
                format!("{tag} {fields:?}")
            }
            // The process that sent a notification.
            b'A' => format!("{tag} {}", shown(&message.body[4..])),
            b'T' => format!("{tag} {}", columns(&message.body)),
            _ => format!("{tag} {}", shown(&message.body)),
        };
        Self(text)
    }

    /// A notification comes when it comes, not as part of an answer.
    pub(crate) fn is_notification(&self) -> bool {
        self.0.starts_with("A ")
    }
}

/// A Describe in a failed transaction, of a statement that has no result and that the backend
/// does not hold: it would have to be parsed, which the transaction does not allow.
pub(crate) fn known(direct: &[Answer], pooled: &[Answer]) -> bool {
    let texts = |answers: &[Answer]| -> Vec<String> {
        let tags = answers.iter().map(|answer| answer.0.clone());
        tags.collect()
    };
    let (direct, pooled) = (texts(direct), texts(pooled));
    if direct.len() == pooled.len() {
        let mut pairs = direct.iter().zip(&pooled);
        return pairs.all(|(direct, pooled)| direct == pooled || is_our_name(direct, pooled));
    }
    direct.len() == 3
        && direct[0].starts_with("t ")
        && direct[1] == "n "
        && direct[2] == "Z E"
        && pooled.len() == 2
        && pooled[0].contains("25P02")
        && pooled[1] == "Z E"
}

/// Whether two errors differ in nothing but the name of a statement, which is ours in one.
fn is_our_name(direct: &str, pooled: &str) -> bool {
    let Some((before, rest)) = pooled.split_once("entrapool_") else {
        return false;
    };
    let behind = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    direct.starts_with("E ")
        && before.ends_with("prepared statement \\\"")
        && direct.starts_with(before)
        && direct.ends_with(behind)
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// A RowDescription (55.7) without the numbers of the tables.
fn columns(body: &[u8]) -> String {
    let (count, mut rest) = body.split_first_chunk::<2>().expect("a count");
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let end = rest.iter().position(|&byte| byte == 0).expect("a name");
        let (name, behind) = rest.split_at(end + 1);
        let (fixed, behind) = behind.split_at(18);
        columns.push(format!("{}:{}", shown(name), shown(&fixed[4..])));
        rest = behind;
    }
    columns.join(", ")
}
