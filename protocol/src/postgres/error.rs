//! What an ErrorResponse of the server says (55.8).

use super::frame::split_cstr;

/// The fields of one ErrorResponse or NoticeResponse, as far as they were received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    /// `FATAL`, `ERROR` ... in English, whatever the server's language.
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// The server's detail.
    pub detail: Option<String>,
    /// The server's own hint.
    pub hint: Option<String>,
}

impl ServerError {
    /// Reads the body of an ErrorResponse; a body cut short gives the fields that are there.
    /// Bytes that are not UTF-8 are replaced: this copy is for people and logs only.
    #[must_use]
    pub fn read(mut body: &[u8]) -> Self {
        let mut error = Self::default();
        while let Some((&field, rest)) = body.split_first() {
            let Some((value, rest)) = split_cstr(rest) else {
                break;
            };
            let value = || String::from_utf8_lossy(value).into_owned();
            match field {
                b'V' => error.severity = value(),
                b'S' if error.severity.is_empty() => error.severity = value(),
                b'C' => error.code = value(),
                b'M' => error.message = value(),
                b'D' => error.detail = Some(value()),
                b'H' => error.hint = Some(value()),
                _ => {}
            }
            body = rest;
        }
        error
    }

    /// Whether the server closes the connection after this error.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}
