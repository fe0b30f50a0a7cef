//! The first packets of a client: requests for encryption, cancel requests, StartupMessage
//! (55.2.1, 55.2.8, 55.2.10).

use super::frame::split_cstr;
use super::settings::read_options;

/// The largest first packet, as in PostgreSQL (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_LENGTH: usize = 10_000;
/// The code of CancelRequest.
pub const CANCEL_CODE: u32 = 80_877_102;
const SSL_CODE: u32 = 80_877_103;
const GSSENC_CODE: u32 = 80_877_104;

/// A first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPacket {
    /// The client would like TLS; one byte answers.
    SslRequest,
    /// The client would like GSSAPI encryption; one byte answers.
    GssEncRequest,
    /// The client wants another session's query to stop. No answer, ever.
    Cancel(CancelKey),
    /// The client wants a session.
    Startup(Startup),
}

/// Which session a cancel request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// The process id of BackendKeyData.
    pub pid: i32,
    /// The secret of BackendKeyData: 4 to 256 bytes.
    pub secret: Vec<u8>,
}

/// StartupMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The minor version of protocol 3 that the client asks for.
    pub minor: u16,
    /// The user: never empty.
    pub user: String,
    /// The database, if one was named.
    pub database: Option<String>,
    /// The `replication` parameter, if it asks for a replication connection.
    pub replication: Option<String>,
    /// Settings from `options` and from the other parameters, in that order.
    pub settings: Vec<(String, String)>,
    /// `_pq_.` protocol options; none is known to us.
    pub protocol_options: Vec<Vec<u8>>,
}

/// A first packet that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// TLS without asking first: PostgreSQL 17's `sslnegotiation=direct`.
    #[error("the client began TLS without asking")]
    DirectTls,
    /// An HTTP request: a browser, or a probe pointed at the wrong port.
    #[error("this is a PostgreSQL port; the client speaks HTTP")]
    Http,
    /// A length word outside 8 to [`MAX_LENGTH`].
    #[error("invalid length of startup packet: {0}")]
    Length(u32),
    /// Protocol 2, or one from the future.
    #[error("unsupported frontend protocol {0}.{1}: 3.0 to 3.2 are supported")]
    Version(u16, u16),
    /// Fields that don't end, or lack a value.
    #[error("invalid startup packet layout: {0}")]
    Layout(&'static str),
    /// No user named; PostgreSQL insists on one.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// `options` holds something else than settings.
    #[error(
        "the startup parameter \"options\" holds {0:?}: only -c name=value and --name=value are supported"
    )]
    Options(String),
}

impl StartupError {
    /// The SQLSTATE that PostgreSQL would answer with.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::DirectTls | Self::Version(..) => "0A000",
            Self::NoUser => "28000",
            Self::Options(_) => "42601",
            Self::Http | Self::Length(_) | Self::Layout(_) => "08P01",
        }
    }
}

impl FirstPacket {
    /// Reads the packet at the start of `input`; returns it with its length in bytes, or `None`
    /// while bytes are missing.
    ///
    /// # Errors
    /// [`StartupError`] for anything that no PostgreSQL client sends.
    pub fn read(input: &[u8]) -> Result<Option<(Self, usize)>, StartupError> {
        if input.first() == Some(&0x16) {
            return Err(StartupError::DirectTls);
        }
        let Some((&length, rest)) = input.split_first_chunk::<4>() else {
            return Ok(None);
        };
        // Any method, and the preface of HTTP/2: as a length all of them are far too large.
        if length.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b' ')) {
            return Err(StartupError::Http);
        }
        let length = u32::from_be_bytes(length);
        let total = length as usize;
        if !(8..=MAX_LENGTH).contains(&total) {
            return Err(StartupError::Length(length));
        }
        let Some(body) = rest.get(..total - 4) else {
            return Ok(None);
        };
        let Some((&code, body)) = body.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let code = u32::from_be_bytes(code);
        let packet = match (code, body.len()) {
            (SSL_CODE, 0) => Self::SslRequest,
            (GSSENC_CODE, 0) => Self::GssEncRequest,
            (CANCEL_CODE, _) => Self::Cancel(read_cancel(body)?),
            (SSL_CODE | GSSENC_CODE, _) => return Err(StartupError::Length(length)),
            _ => Self::Startup(read_startup(code, body)?),
        };
        Ok(Some((packet, total)))
    }
}

fn read_cancel(body: &[u8]) -> Result<CancelKey, StartupError> {
    match body.split_first_chunk::<4>() {
        Some((&pid, secret)) if (4..=256).contains(&secret.len()) => Ok(CancelKey {
            pid: i32::from_be_bytes(pid),
            secret: secret.into(),
        }),
        _ => Err(StartupError::Layout(
            "a cancel request holds a process id and 4 to 256 bytes",
        )),
    }
}

fn read_startup(code: u32, mut body: &[u8]) -> Result<Startup, StartupError> {
    let [major_high, major_low, minor_high, minor_low] = code.to_be_bytes();
    let major = u16::from_be_bytes([major_high, major_low]);
    let minor = u16::from_be_bytes([minor_high, minor_low]);
    if major != 3 {
        return Err(StartupError::Version(major, minor));
    }
    let mut startup = Startup {
        minor,
        user: String::new(),
        database: None,
        replication: None,
        settings: Vec::new(),
        protocol_options: Vec::new(),
    };
    let mut parameters = Vec::new();
    loop {
        let (name, rest) =
            split_cstr(body).ok_or(StartupError::Layout("expected terminator as last byte"))?;
        if name.is_empty() {
            break;
        }
        let (value, rest) =
            split_cstr(rest).ok_or(StartupError::Layout("a parameter has no value"))?;
        body = rest;
        if name.starts_with(b"_pq_.") {
            startup.protocol_options.push(name.into());
            continue;
        }
        let value = text(value)?;
        match name {
            b"user" => startup.user = value,
            b"database" => startup.database = Some(value).filter(|name| !name.is_empty()),
            b"replication" => startup.replication = wanted_replication(value),
            b"options" => startup.settings = read_options(&value).map_err(StartupError::Options)?,
            _ => parameters.push((text(name)?, value)),
        }
    }
    if startup.user.is_empty() {
        return Err(StartupError::NoUser);
    }
    // A parameter of its own wins over one in `options`: process_startup_options.
    startup.settings.extend(parameters);
    Ok(startup)
}

fn text(bytes: &[u8]) -> Result<String, StartupError> {
    String::from_utf8(bytes.into())
        .map_err(|_| StartupError::Layout("a parameter is not valid UTF-8"))
}

/// `replication=false` and its spellings mean an ordinary session (`parse_bool`).
fn wanted_replication(value: String) -> Option<String> {
    let lower = value.to_ascii_lowercase();
    let off = matches!(lower.as_str(), "" | "0" | "of" | "off")
        || (!lower.is_empty() && ("false".starts_with(&lower) || "no".starts_with(&lower)));
    (!off).then_some(value)
}

#[cfg(test)]
#[path = "startup/tests.rs"]
mod tests;
