//! The login of a backend: from StartupMessage to the first ReadyForQuery (55.2.1, 55.3).
//!
//! The caller has secured the connection before: the secret may be sent in clear in here,
//! because that is how an Entra token travels.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

use super::error::ServerError;
use super::frame::{HEADER, Header, split_cstr, split_parameter};
use super::{Status, Violation, message};

/// No message of a login is longer (libpq's limit for messages other than rows and errors).
const LONGEST: usize = 30_000;

/// What proves who we are.
#[derive(Clone, Copy)]
pub enum Secret<'a> {
    /// An Entra access token: sent in clear inside TLS, and to nothing that asks otherwise.
    Token(&'a str),
    /// A password: whatever method the server asks for.
    Password(&'a str),
}

impl Secret<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Token(text) | Self::Password(text) => text,
        }
    }
}

/// What the server said of the session at its start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Welcome {
    /// Each ParameterStatus, in order.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// For cancel requests; a server may give none.
    pub key: Option<BackendKey>,
}

/// BackendKeyData.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendKey {
    /// The server's process.
    pub pid: i32,
    /// 4 to 256 bytes.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKey")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// Why a login did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The server said no.
    #[error("{0}")]
    Refused(ServerError),
    /// The server wants a method that a token can't serve: the role is not an Entra role, or
    /// the server has no Entra authentication.
    #[error("the server asked for {0}, which an access token can't answer")]
    TokenNotWanted(&'static str),
    /// A method that we don't have.
    #[error("the server asked for the authentication method {0}, which is not supported")]
    Unsupported(String),
    /// SCRAM went wrong on one of the two sides.
    #[error("SCRAM-SHA-256 failed: {0}")]
    Scram(String),
    /// The server, or what stands in front of it, does not negotiate the minor version.
    #[error("the server refused protocol 3.{minor}: {error}")]
    Version {
        /// The minor version that was asked for.
        minor: u16,
        /// What was said.
        error: ServerError,
    },
    /// The server broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// A login under way.
pub struct Login<'a> {
    user: &'a str,
    secret: Secret<'a>,
    /// The minor version that was asked for.
    minor: u16,
    /// Whether the server has said anything.
    heard: bool,
    scram: Option<ScramSha256>,
    welcome: Welcome,
}

impl<'a> Login<'a> {
    /// Begins the login of `user` in protocol 3 up to this minor version; appends the
    /// StartupMessage to `out`.
    pub fn begin(
        user: &'a str,
        database: &str,
        secret: Secret<'a>,
        minor: u16,
        out: &mut Vec<u8>,
    ) -> Self {
        message::startup(out, minor, &[("user", user), ("database", database)]);
        Self {
            user,
            secret,
            minor,
            heard: false,
            scram: None,
            welcome: Welcome::default(),
        }
    }

    /// Takes the message at the start of `input`; answers go to `out`.
    ///
    /// Returns the bytes taken (0 while the message is incomplete) and, after the first
    /// ReadyForQuery, the welcome.
    ///
    /// # Errors
    /// [`LoginError`]; the connection is of no use after it.
    pub fn step(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Welcome>), LoginError> {
        let Some(header) = Header::read(input)? else {
            return Ok((0, None));
        };
        if header.total() > LONGEST {
            return Err(Violation::TooLarge {
                tag: header.tag.into(),
                length: header.total(),
                limit: LONGEST,
            }
            .into());
        }
        let Some(body) = header.body(input) else {
            return Ok((0, None));
        };
        let mut done = None;
        let is_first = !std::mem::replace(&mut self.heard, true);
        match header.tag {
            b'R' => self.authenticate(body, out)?,
            b'S' => {
                let (name, value) = split_parameter(body)?;
                self.welcome.parameters.push((name.into(), value.into()));
            }
            b'K' => self.welcome.key = Some(key(body)?),
            b'E' => return Err(self.refused(is_first, ServerError::read(body))),
            b'v' => negotiated(self.minor, body)?,
            b'N' => {}
            b'Z' if body == [Status::Idle.byte()] => done = Some(std::mem::take(&mut self.welcome)),
            tag => return Err(Violation::Tag { tag: tag.into() }.into()),
        }
        Ok((header.total(), done))
    }

    /// The Authentication messages: 55.7, `AuthenticationOk` and the like.
    fn authenticate(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), LoginError> {
        let (&code, body) = body
            .split_first_chunk::<4>()
            .ok_or_else(|| malformed("code"))?;
        match u32::from_be_bytes(code) {
            0 => Ok(()),
            3 => {
                message::password(out, self.secret.text().as_bytes());
                Ok(())
            }
            5 => {
                let salt = body.try_into().map_err(|_| malformed("salt"))?;
                let password = self.password_for("an MD5 password")?;
                let hash = md5_hash(self.user.as_bytes(), password.as_bytes(), salt);
                message::password(out, hash.as_bytes());
                Ok(())
            }
            10 => self.begin_scram(body, out),
            11 => {
                let scram = self.scram.as_mut().ok_or_else(|| malformed("order"))?;
                scram
                    .update(body)
                    .map_err(|error| LoginError::Scram(error.to_string()))?;
                message::framed(out, b'p', |out| out.extend_from_slice(scram.message()));
                Ok(())
            }
            12 => {
                let mut scram = self.scram.take().ok_or_else(|| malformed("order"))?;
                scram
                    .finish(body)
                    .map_err(|error| LoginError::Scram(error.to_string()))
            }
            7 | 8 => Err(LoginError::Unsupported("GSSAPI".into())),
            9 => Err(LoginError::Unsupported("SSPI".into())),
            other => Err(LoginError::Unsupported(other.to_string())),
        }
    }

    fn begin_scram(&mut self, mut mechanisms: &[u8], out: &mut Vec<u8>) -> Result<(), LoginError> {
        let mut offered = Vec::new();
        while let Some((name, rest)) = split_cstr(mechanisms).filter(|(name, _)| !name.is_empty()) {
            offered.push(String::from_utf8_lossy(name).into_owned());
            mechanisms = rest;
        }
        if !offered.iter().any(|name| name == SCRAM_SHA_256) {
            return Err(LoginError::Unsupported(format!(
                "SASL {}",
                offered.join(", ")
            )));
        }
        let password = self.password_for("SCRAM-SHA-256 (a password)")?;
        let scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        message::framed(out, b'p', |out| {
            message::cstr(out, SCRAM_SHA_256.as_bytes());
            message::sized_only(out, scram.message());
        });
        self.scram = Some(scram);
        Ok(())
    }

    /// PostgreSQL before 11 answers a minor version that it does not know with `0A000`, poolers
    /// with `08P01`; others negotiate.
    fn refused(&self, is_first: bool, error: ServerError) -> LoginError {
        let minor = self.minor;
        match error.code.as_str() {
            "0A000" | "08P01" if is_first && minor > 0 => LoginError::Version { minor, error },
            _ => LoginError::Refused(error),
        }
    }

    fn password_for(&self, method: &'static str) -> Result<&'a str, LoginError> {
        match self.secret {
            Secret::Password(password) => Ok(password),
            Secret::Token(_) => Err(LoginError::TokenNotWanted(method)),
        }
    }
}

/// NegotiateProtocolVersion (55.7): the newest version that the server speaks, and how many of
/// our options it does not know; we have none. Servers give a whole version word, although the
/// text speaks of the minor version alone. Nothing has to be kept: what versions differ in is the
/// length of keys, and a key says its own.
fn negotiated(asked: u16, body: &[u8]) -> Result<(), Violation> {
    let newest = match body {
        [0, 0 | 3, high, low, 0, 0, 0, 0] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    };
    match newest {
        Some(newest) if newest <= asked => Ok(()),
        _ => Err(Violation::Malformed {
            tag: 'v',
            what: "version",
        }),
    }
}

fn key(body: &[u8]) -> Result<BackendKey, Violation> {
    match body.split_first_chunk::<4>() {
        Some((&pid, secret)) if (4..=256).contains(&secret.len()) => Ok(BackendKey {
            pid: i32::from_be_bytes(pid),
            secret: secret.into(),
        }),
        _ => Err(Violation::Malformed {
            tag: 'K',
            what: "key",
        }),
    }
}

fn malformed(what: &'static str) -> Violation {
    Violation::Malformed { tag: 'R', what }
}

/// The answer to SSLRequest: one byte, and nothing behind it before the handshake (bytes
/// injected there by somebody in the middle must not be read as the server's: CVE-2021-23222).
///
/// # Errors
/// What to tell the operator when there will be no TLS.
pub fn read_ssl_answer(answer: &[u8]) -> Result<(), SslRefused> {
    match answer {
        b"S" => Ok(()),
        [b'N', ..] => Err(SslRefused::NoTls),
        [b'S', ..] => Err(SslRefused::Injected),
        _ => Err(SslRefused::NotPostgres),
    }
}

/// Why a server's answer to SSLRequest is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SslRefused {
    /// The server has no TLS; a token is never sent without.
    #[error("the server does not offer TLS")]
    NoTls,
    /// Bytes came behind the answer that can only be somebody else's.
    #[error("unencrypted bytes came behind the server's answer to SSLRequest")]
    Injected,
    /// TLS came first, and the server did not agree on what is spoken in it (55.2.11).
    #[error("the server does not take TLS before it is asked for")]
    NotDirect,
    /// An answer that PostgreSQL doesn't give; `E` comes from servers that are out of memory.
    #[error("the server did not answer SSLRequest as PostgreSQL does")]
    NotPostgres,
}

/// Bytes of [`HEADER`] and the longest message of a login: no more need be buffered.
pub const BUFFER: usize = HEADER + LONGEST;

#[cfg(test)]
#[path = "login/tests.rs"]
mod tests;
