//! Feature extensions of LOGIN7 and their acknowledgement (MS-TDS 2.2.6.4, 2.2.7.11).

use super::bytes::{Malformed, Reader, utf16};

pub(in crate::tds) const SESSION_RECOVERY: u8 = 0x01;
pub(in crate::tds) const FEDAUTH: u8 = 0x02;
pub(in crate::tds) const UTF8: u8 = 0x0a;
pub(in crate::tds) const ENHANCED_ROUTING: u8 = 0x0f;
const TERMINATOR: u8 = 0xff;
const TOKEN_ACK: u8 = 0xae;

/// A feature that a client asked for.
#[derive(Clone)]
pub(in crate::tds) struct Asked {
    pub(in crate::tds) id: u8,
    pub(in crate::tds) data: Vec<u8>,
}

/// The FEDAUTH feature of a client.
pub(in crate::tds) enum FedAuth {
    /// Library 1: the token itself.
    SecurityToken { echo: bool, token: String },
    /// Another library, by its number.
    Other(u8),
}

pub(in crate::tds) fn read(bytes: &[u8]) -> Result<Vec<Asked>, Malformed> {
    let mut reader = Reader::new(bytes, "features of LOGIN7");
    let mut asked: Vec<Asked> = Vec::new();
    loop {
        let id = reader.u8()?;
        if id == TERMINATOR {
            return Ok(asked);
        }
        let length = reader.length()?;
        let data = reader.take(length)?.to_vec();
        if asked.iter().any(|known| known.id == id) {
            return Err(Malformed("features of LOGIN7: one is there twice"));
        }
        asked.push(Asked { id, data });
    }
}

/// FEDAUTH: `(library << 1) | echo`, then for library 1 the token as UTF-16.
pub(in crate::tds) fn fedauth(data: &[u8]) -> Result<FedAuth, Malformed> {
    let mut reader = Reader::new(data, "FEDAUTH feature");
    let options = reader.u8()?;
    let echo = options & 1 != 0;
    match options >> 1 {
        1 => {
            let length = reader.length()?;
            let token = utf16(reader.take(length)?).ok_or_else(|| reader.malformed())?;
            // No nonce was offered in PRELOGIN, so none may come back.
            if !reader.is_empty() {
                return Err(reader.malformed());
            }
            Ok(FedAuth::SecurityToken { echo, token })
        }
        library => Ok(FedAuth::Other(library)),
    }
}

/// FEATUREEXTACK; nothing when nothing is acknowledged.
pub(in crate::tds) fn put_ack(out: &mut Vec<u8>, acks: &[(u8, Vec<u8>)]) {
    if acks.is_empty() {
        return;
    }
    out.push(TOKEN_ACK);
    for (id, data) in acks {
        out.push(*id);
        out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(data);
    }
    out.push(TERMINATOR);
}
