//! What is compared of an answer. The closed list of what may differ is here and nowhere else:
//! how tokens are cut into packets, numbers of sessions, transactions, handles and cursors (also
//! where an error names one), and [`known`].

use std::fmt;

use crate::tokens::{Done, Message, Token};

/// One token, as far as it is compared.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answer(String);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Errors that name a handle or a cursor.
const ABOUT_HANDLES: [i32; 4] = [8179, 586, 16_909, 3971];

impl Answer {
    pub(crate) fn of(token: &Token) -> Self {
        Self(match token {
            Token::Columns(columns) => format!("columns {columns:?}"),
            Token::Row(values) => {
                let values: Vec<String> = values.iter().map(|value| shown(value)).collect();
                format!("row {}", values.join(" | "))
            }
            Token::Done(Done {
                token,
                status,
                command,
                rows,
            }) => format!("done {token:x} {status:#x} {command} {rows}"),
            Token::Error(message) => format!("error {}", said(message)),
            Token::Info(message) => format!("info {}", said(message)),
            Token::Change(8, _) => "began".to_owned(),
            Token::Change(9, _) => "committed".to_owned(),
            Token::Change(10, _) => "rolled back".to_owned(),
            Token::Change(kind, values) => format!("change {kind} {}", shown(values)),
            Token::Value {
                ordinal: 0, name, ..
            } if name.is_empty() => "a handle".to_owned(),
            Token::Value { name, .. } if name == "cursor" => "a cursor".to_owned(),
            Token::Value {
                ordinal,
                name,
                bytes,
            } => format!("value {ordinal} {name} {}", shown(bytes)),
            Token::Status(status) => format!("status {status}"),
            Token::Login(ack) => format!("login {}", shown(ack)),
            Token::Other(token, bytes) => format!("{token:x} {}", shown(bytes)),
        })
    }

    pub(crate) fn is_error(&self, number: i32) -> bool {
        self.0.starts_with(&format!("error {number} "))
    }

    fn is_any_error(&self) -> bool {
        self.0.starts_with("error ")
    }

    /// The server under the test does not know something: a script that asks for that says little.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.is_error(40_000)
    }
}

fn said(message: &Message) -> String {
    let Message {
        number,
        state,
        class,
        text,
        server,
        procedure,
        line,
    } = message;
    let text: String = match ABOUT_HANDLES.contains(number) {
        true => text
            .chars()
            .filter(|c| !c.is_ascii_hexdigit() && *c != '-')
            .collect(),
        false => text.clone(),
    };
    format!("{number} state {state} class {class} {text:?} {server} {procedure:?} line {line}")
}

/// Our refusal to tell what an earlier batch left: never a wrong value instead.
const RECALLS: i32 = 50_002;

/// Whether a difference is one of those that are known: a batch that asks for `@@IDENTITY` and
/// the like of an earlier one is refused, because another client has used the backend since.
pub(crate) fn known(words: &str, direct: &[Answer], pooled: &[Answer]) -> bool {
    let words = words.to_lowercase();
    let asks = [
        "@@identity",
        "scope_identity",
        "@@rowcount",
        "rowcount_big",
        "@@error",
    ];
    asks.iter().any(|word| words.contains(word))
        && pooled.iter().any(|answer| answer.is_error(RECALLS))
        && pooled.iter().filter(|answer| answer.is_any_error()).count() == 1
        && !direct.iter().any(Answer::is_any_error)
}

fn shown(bytes: &[u8]) -> String {
    // Most of it is UTF-16 of ASCII.
    let bytes: Vec<u8> = match bytes.len() > 400 {
        true => [&bytes[..200], &bytes[bytes.len() - 200..], &digest(bytes)].concat(),
        false => bytes.to_vec(),
    };
    bytes.escape_ascii().to_string().replace("\\x00", "~")
}

/// Tells long values apart.
fn digest(bytes: &[u8]) -> [u8; 8] {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash.to_be_bytes()
}
