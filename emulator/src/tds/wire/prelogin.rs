//! PRELOGIN (MS-TDS 2.2.6.5): options in, options out, and who encrypts what.

use super::bytes::{Malformed, Reader};

const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const INSTANCE: u8 = 2;
const THREAD: u8 = 3;
const MARS: u8 = 4;
const FEDAUTH_REQUIRED: u8 = 6;
const NONCE: u8 = 7;
const TERMINATOR: u8 = 0xff;

/// The ENCRYPTION option without its certificate bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Asked {
    Off,
    On,
    NotSupported,
}

/// What a server is set to (MS-TDS 2.2.6.5, table of the negotiated result).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// No TLS at all.
    NotSupported,
    /// TLS for the login only, unless the client wants more.
    LoginOnly,
    /// TLS for everything, as on Azure.
    Required,
}

/// How a connection goes on after PRELOGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Agreed {
    Plain,
    LoginOnly,
    All,
}

/// What a client asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Prelogin {
    pub(in crate::tds) encryption: Asked,
    pub(in crate::tds) wants_mars: bool,
    /// The byte of FEDAUTHREQUIRED, if it was there.
    pub(in crate::tds) fedauth: Option<u8>,
    pub(in crate::tds) has_nonce: bool,
}

impl Prelogin {
    pub(in crate::tds) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let malformed = Malformed("PRELOGIN");
        let mut prelogin = Self {
            encryption: Asked::NotSupported,
            wants_mars: false,
            fedauth: None,
            has_nonce: false,
        };
        let mut reader = Reader::new(body, "PRELOGIN");
        let mut is_first = true;
        loop {
            let token = reader.u8()?;
            if token == TERMINATOR {
                break;
            }
            let from = usize::from(reader.u16_be()?);
            let length = usize::from(reader.u16_be()?);
            let data = body.get(from..from + length).ok_or(malformed)?;
            // VERSION is required and comes first.
            if is_first && (token != VERSION || length != 6) {
                return Err(malformed);
            }
            is_first = false;
            match (token, data) {
                (ENCRYPTION, [byte, ..]) => prelogin.encryption = asked(*byte)?,
                (MARS, [byte, ..]) => prelogin.wants_mars = *byte != 0,
                (FEDAUTH_REQUIRED, [byte, ..]) => prelogin.fedauth = Some(*byte),
                (NONCE, [_, ..]) => prelogin.has_nonce = true,
                _ => {}
            }
        }
        if is_first {
            return Err(malformed);
        }
        Ok(prelogin)
    }
}

fn asked(byte: u8) -> Result<Asked, Malformed> {
    // 0x20 and 0x80 are about client certificates.
    match byte & 0x0f {
        0 => Ok(Asked::Off),
        1 | 3 => Ok(Asked::On),
        2 => Ok(Asked::NotSupported),
        _ => Err(Malformed("ENCRYPTION option of PRELOGIN")),
    }
}

/// The answered byte and what follows. A client that cannot live with it ends the connection.
pub(in crate::tds) fn agree(server: Encryption, client: Asked) -> (u8, Agreed) {
    match (server, client) {
        (Encryption::NotSupported, _) | (Encryption::LoginOnly, Asked::NotSupported) => {
            (2, Agreed::Plain)
        }
        (Encryption::LoginOnly, Asked::Off) => (0, Agreed::LoginOnly),
        (_, Asked::On) => (1, Agreed::All),
        (Encryption::Required, Asked::Off | Asked::NotSupported) => (3, Agreed::All),
    }
}

/// The answer's body. `fedauth`: `None` when the client did not ask.
pub(in crate::tds) fn answer(encryption: u8, fedauth: Option<u8>) -> Vec<u8> {
    let [major, minor, build_high, build_low] = super::tokens::SERVER_VERSION;
    let mut options: Vec<(u8, Vec<u8>)> = vec![
        (VERSION, vec![major, minor, build_high, build_low, 0, 0]),
        (ENCRYPTION, vec![encryption]),
        (INSTANCE, vec![0]),
        (THREAD, Vec::new()),
        // Without this option FreeTDS takes the server for one older than 7.2.
        (MARS, vec![0]),
    ];
    if let Some(byte) = fedauth {
        options.push((FEDAUTH_REQUIRED, vec![byte]));
    }
    let mut table = Vec::new();
    let mut data = Vec::new();
    let start = options.len() * 5 + 1;
    for (token, bytes) in options {
        let from = u16::try_from(start + data.len()).unwrap_or(u16::MAX);
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        table.push(token);
        table.extend(from.to_be_bytes());
        table.extend(length.to_be_bytes());
        data.extend(bytes);
    }
    table.push(TERMINATOR);
    table.extend(data);
    table
}
