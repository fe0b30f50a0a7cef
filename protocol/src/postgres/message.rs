//! The messages that we write ourselves. Everything else is passed on as it came.

use super::Status;

/// Protocol 3.0, the version word of StartupMessage (55.2.1).
pub const VERSION_3_0: u32 = 0x0003_0000;
/// The newest minor version of protocol 3 that we speak, to clients and to servers.
pub const NEWEST_MINOR: u16 = 2;

/// `SSLRequest`.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// `AuthenticationOk`.
pub const AUTHENTICATION_OK: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 0];
/// `ParseComplete`.
pub const PARSE_COMPLETE: [u8; 5] = [b'1', 0, 0, 0, 4];
/// `CloseComplete`.
pub const CLOSE_COMPLETE: [u8; 5] = [b'3', 0, 0, 0, 4];
/// `Sync`.
pub const SYNC: [u8; 5] = [b'S', 0, 0, 0, 4];
/// `Execute` of the unnamed portal, without a limit of rows.
pub const EXECUTE_ALL: [u8; 10] = [b'E', 0, 0, 0, 9, 0, 0, 0, 0, 0];
/// `Terminate`.
pub const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

/// What an ErrorResponse or NoticeResponse of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How bad it is.
    pub severity: Severity,
    /// Five characters of SQLSTATE.
    pub code: String,
    /// One line: what failed, on what, why.
    pub message: String,
    /// More of the cause, if there is more.
    pub detail: Option<String>,
    /// What to try.
    pub hint: Option<String>,
}

/// How bad an error is; `Fatal` ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The request failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

impl Report {
    /// A report that ends the session.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Fatal,
            code: code.into(),
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// A report of a failed request.
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            ..Self::fatal(code, message)
        }
    }

    /// Adds what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds more of the cause.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Appends the ErrorResponse (55.8).
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed(out, b'E', |out| {
            for (field, value) in [
                (b'S', Some(self.severity.word())),
                (b'V', Some(self.severity.word())),
                (b'C', Some(self.code.as_str())),
                (b'M', Some(self.message.as_str())),
                (b'D', self.detail.as_deref()),
                (b'H', self.hint.as_deref()),
            ] {
                if let Some(value) = value {
                    out.push(field);
                    cstr(out, value.as_bytes());
                }
            }
            out.push(0);
        });
    }
}

/// Appends one message: tag, length, and what `body` appends.
pub fn framed(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    framed_longer(out, tag, 0, body);
}

/// Appends the beginning of a message of which `rest` more bytes will follow.
pub fn framed_longer(out: &mut Vec<u8>, tag: u8, rest: usize, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - start + rest).unwrap_or(u32::MAX);
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a length word (which counts itself) and what `body` appends.
pub fn sized(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    // Our own messages are far below 4 GiB; a saturated length would be refused by any reader.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends `bytes` up to their first zero, and a zero.
pub fn cstr(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().take_while(|&&byte| byte != 0));
    out.push(0);
}

/// Appends a ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    framed(out, b'S', |out| {
        cstr(out, name);
        cstr(out, value);
    });
}

/// Appends a BackendKeyData; the secret has 4 bytes in protocol 3.0, up to 256 in 3.2.
pub fn backend_key_data(out: &mut Vec<u8>, pid: i32, secret: &[u8]) {
    framed(out, b'K', |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// Appends a ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: Status) {
    framed(out, b'Z', |out| out.push(status.byte()));
}

/// Appends a NegotiateProtocolVersion: our newest minor version and the options not known to us.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, minor: u16, unknown: &[Vec<u8>]) {
    framed(out, b'v', |out| {
        out.extend_from_slice(&(VERSION_3_0 | u32::from(minor)).to_be_bytes());
        let count = u32::try_from(unknown.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for name in unknown {
            cstr(out, name);
        }
    });
}

/// Appends a StartupMessage of protocol 3 in this minor version, with these parameters.
pub fn startup(out: &mut Vec<u8>, minor: u16, parameters: &[(&str, &str)]) {
    sized(out, |out| {
        out.extend_from_slice(&(VERSION_3_0 | u32::from(minor)).to_be_bytes());
        for (name, value) in parameters {
            cstr(out, name.as_bytes());
            cstr(out, value.as_bytes());
        }
        out.push(0);
    });
}

/// Appends a CancelRequest for the backend with this key.
pub fn cancel_request(out: &mut Vec<u8>, pid: i32, secret: &[u8]) {
    sized(out, |out| {
        out.extend_from_slice(&super::startup::CANCEL_CODE.to_be_bytes());
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// Appends a simple Query.
pub fn query(out: &mut Vec<u8>, sql: &[u8]) {
    framed(out, b'Q', |out| cstr(out, sql));
}

/// Appends a PasswordMessage.
pub fn password(out: &mut Vec<u8>, password: &[u8]) {
    framed(out, b'p', |out| cstr(out, password));
}

/// Appends a CopyFail with the reason that the server will put into its error.
pub fn copy_fail(out: &mut Vec<u8>, reason: &str) {
    framed(out, b'f', |out| cstr(out, reason.as_bytes()));
}

/// Appends a Parse whose body after the name (text, types) is `rest`.
pub fn parse(out: &mut Vec<u8>, name: &[u8], rest: &[u8]) {
    framed(out, b'P', |out| {
        cstr(out, name);
        out.extend_from_slice(rest);
    });
}

/// Appends a Close (`kind` is `S` for a statement, `P` for a portal).
pub fn close(out: &mut Vec<u8>, kind: u8, name: &[u8]) {
    framed(out, b'C', |out| {
        out.push(kind);
        cstr(out, name);
    });
}

/// Appends a four-byte length that does not count itself, and `bytes`: SASLInitialResponse's.
pub fn sized_only(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}
