//! What an ERROR or INFO token of the server says (MS-TDS 2.2.7.10).

use super::reader::{Reader, utf16};

/// An error of the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    /// Which error: see `sys.messages`.
    pub number: i32,
    /// Where in the server it came up.
    pub state: u8,
    /// How bad it is: up to 10 for information, from 20 on the connection ends.
    pub class: u8,
    /// The text.
    pub message: String,
}

impl ServerError {
    /// Reads a token behind its length; one cut short gives the fields that are there. This copy
    /// is for people and logs only.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let mut error = Self::default();
        let mut reader = Reader::new(body);
        error.number = reader.i32().unwrap_or_default();
        error.state = reader.u8().unwrap_or_default();
        error.class = reader.u8().unwrap_or_default();
        let units = usize::from(reader.u16().unwrap_or_default());
        let text = reader.rest();
        error.message = utf16(text.get(..2 * units).unwrap_or(text));
        error
    }

    /// Whether the server closes the connection after this error.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.class >= 20
    }

    /// Whether another attempt to connect may go well, without anybody changing anything: a
    /// failover, a database that moves or wakes up, a limit.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        TRANSIENT.binary_search(&self.number).is_ok()
    }

    /// Whether the login failed, for whatever reason: the server tells nobody which.
    #[must_use]
    pub fn is_login_failure(&self) -> bool {
        self.number == LOGIN_FAILED
    }

    /// Whether it was the token: a fresh one may be taken.
    #[must_use]
    pub fn is_about_the_token(&self) -> bool {
        self.is_login_failure() && self.message.contains("Token is expired")
    }

    /// Whether a prepared statement is not known to the server, or not under this session's
    /// settings.
    #[must_use]
    pub fn is_about_a_handle(&self) -> bool {
        matches!(self.number, NO_SUCH_HANDLE | HANDLE_NOT_VALID)
    }
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} (error {}, state {}, class {})",
            self.message, self.number, self.state, self.class
        )
    }
}

/// "Login failed for user ..."
pub const LOGIN_FAILED: i32 = 18456;
/// "Could not find prepared statement with handle ..."
pub const NO_SUCH_HANDLE: i32 = 8179;
/// "The prepared statement handle ... is not valid in this context."
pub const HANDLE_NOT_VALID: i32 = 586;

/// Sorted. From Azure SQL's list of transient faults.
const TRANSIENT: [i32; 18] = [
    615, 926, 4060, 4221, 10928, 10929, 40020, 40143, 40166, 40197, 40501, 40540, 40613, 42108,
    42109, 49918, 49919, 49920,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tds::reader::push_us_text;

    fn body(number: i32, text: &str) -> Vec<u8> {
        let mut body = number.to_le_bytes().to_vec();
        body.extend([1, 14]);
        push_us_text(&mut body, text, 1000);
        body.extend([0, 0, 1, 0, 0, 0]);
        body
    }

    #[test]
    fn errors_are_read_as_far_as_they_go() {
        let body = body(
            18456,
            "Login failed for user '<token-identified principal>'. Token is expired.",
        );
        let error = ServerError::read(&body);
        assert!(error.is_login_failure() && error.is_about_the_token());
        assert!(!error.is_transient() && !error.is_fatal());
        for cut in 0..body.len() {
            let part = ServerError::read(&body[..cut]);
            assert!(
                error
                    .message
                    .starts_with(part.message.trim_end_matches('\u{fffd}'))
            );
        }
    }

    #[test]
    fn some_pass_by_themselves() {
        assert!(TRANSIENT.is_sorted());
        for (number, transient) in [(40613, true), (49920, true), (40615, false), (18456, false)] {
            let error = ServerError::read(&body(number, "x"));
            assert_eq!(error.is_transient(), transient, "{number}");
        }
        assert!(ServerError::read(&body(8179, "x")).is_about_a_handle());
    }
}
