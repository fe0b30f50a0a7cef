//! PRELOGIN and LOGIN7, both sides, as far as this bench needs them (MS-TDS 2.2.6.4, 2.2.6.5).

use entrapool_benches::tds::{PACKET, done, kind, packets, utf16};

/// What goes for the connection behind PRELOGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    On,
    NotSupported,
}

/// Who logs in: poolers may ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
}

const VERSION: [u8; 6] = [12, 0, 7, 208, 0, 0];
const TDS_7_4: [u8; 4] = [0x74, 0, 0, 4];
/// The database.
pub(crate) const DATABASE: &str = "bench";
const SESSION_RECOVERY: u8 = 1;
/// Bytes of LOGIN7 in front of its texts.
const FIXED: usize = 94;

/// What the server says to a PRELOGIN.
pub(super) fn prelogin(encryption: Encryption) -> Vec<u8> {
    let encryption = match encryption {
        Encryption::On => 1,
        Encryption::NotSupported => 2,
    };
    options(&[
        (0, &VERSION),
        (1, &[encryption]),
        (2, &[0]),
        (3, &[]),
        (4, &[0]),
    ])
}

/// What a client says first: no TLS, no MARS.
pub(super) fn client_prelogin() -> Vec<u8> {
    let body = options(&[(0, &[0; 6]), (1, &[2]), (2, &[0]), (3, &[0; 4]), (4, &[0])]);
    packets(kind::PRELOGIN, &body)
}

fn options(options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut data = Vec::new();
    for (token, value) in options {
        let offset = options.len() * 5 + 1 + data.len();
        index.push(*token);
        index.extend_from_slice(&u16::try_from(offset).unwrap_or_default().to_be_bytes());
        index.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        data.extend_from_slice(value);
    }
    index.push(0xff);
    [index, data].concat()
}

/// TLS for those who insist on it; for whoever would do with TLS for the login alone, none.
pub(super) fn wanted_encryption(body: &[u8]) -> Option<Encryption> {
    let option = body.chunks_exact(5).find(|option| option[0] == 1)?;
    let offset = usize::from(u16::from_be_bytes([option[1], option[2]]));
    Some(match body.get(offset)? {
        1 | 3 => Encryption::On,
        _ => Encryption::NotSupported,
    })
}

/// What the server says to a LOGIN7: like Azure, it tells of the session's state if it is asked to.
pub(super) fn welcome(login: &[u8]) -> Option<Vec<u8>> {
    let mut tokens = Vec::new();
    change(&mut tokens, 1, DATABASE, "master");
    token(&mut tokens, 0xe3, &[7, 5, 0x09, 0x04, 0xd0, 0, 0x34, 0]);
    let mut acknowledged = vec![1];
    acknowledged.extend_from_slice(&TDS_7_4);
    push_text(&mut acknowledged, "Microsoft SQL Server");
    acknowledged.extend_from_slice(&[12, 0, 7, 208]);
    token(&mut tokens, 0xad, &acknowledged);
    change(&mut tokens, 4, &PACKET.to_string(), "4096");
    if asks_for(login, SESSION_RECOVERY)? {
        // One state of one byte, and the end of the features.
        tokens.extend_from_slice(&[0xae, SESSION_RECOVERY, 3, 0, 0, 0, 0, 1, 0, 0xff]);
    }
    done(&mut tokens, 0xfd, 0, 0);
    Some(tokens)
}

/// Whether the extension of a LOGIN7 names a feature; `None` if it can't be read.
fn asks_for(login: &[u8], feature: u8) -> Option<bool> {
    if login.get(27)? & 0x10 == 0 {
        return Some(false);
    }
    let place = usize::from(u16::from_le_bytes(*login.get(56..)?.first_chunk()?));
    let at = u32::from_le_bytes(*login.get(place..)?.first_chunk()?);
    let mut rest = login.get(usize::try_from(at).ok()?..)?;
    loop {
        match rest {
            [0xff, ..] => return Some(false),
            [id, ..] if *id == feature => return Some(true),
            [_, a, b, c, d, data @ ..] => {
                let length = u32::from_le_bytes([*a, *b, *c, *d]);
                rest = data.get(usize::try_from(length).ok()?..)?;
            }
            _ => return None,
        }
    }
}

/// A client's LOGIN7.
pub(super) fn login(account: Account) -> Vec<u8> {
    let mut password: Vec<u8> = utf16(account.password).collect();
    for byte in &mut password {
        *byte = byte.rotate_left(4) ^ 0xa5;
    }
    let texts: [Vec<u8>; 9] = [
        utf16("bench").collect(),
        utf16(account.user).collect(),
        password,
        utf16("bench").collect(),
        utf16("localhost").collect(),
        Vec::new(),
        utf16("raw").collect(),
        Vec::new(),
        utf16(DATABASE).collect(),
    ];
    let mut body = vec![0; 36];
    let [a, b, c, d] = TDS_7_4;
    body[4..8].copy_from_slice(&[d, c, b, a]);
    let size = u32::try_from(PACKET).unwrap_or_default();
    body[8..12].copy_from_slice(&size.to_le_bytes());
    // USE and SET LANGUAGE are told; ODBC.
    body[24..26].copy_from_slice(&[0xe0, 0x03]);
    let mut at = FIXED;
    for text in &texts {
        push_place(&mut body, at, text.len() / 2);
        at += text.len();
    }
    // The client's identifier; SSPI, a file, a new password: none.
    body.extend_from_slice(&[0; 6]);
    for _ in 0..3 {
        push_place(&mut body, at, 0);
    }
    body.extend_from_slice(&[0; 4]);
    body.extend(texts.concat());
    let length = u32::try_from(body.len()).unwrap_or_default();
    body[..4].copy_from_slice(&length.to_le_bytes());
    packets(kind::LOGIN, &body)
}

fn push_place(body: &mut Vec<u8>, at: usize, characters: usize) {
    for number in [at, characters] {
        body.extend_from_slice(&u16::try_from(number).unwrap_or_default().to_le_bytes());
    }
}

fn change(tokens: &mut Vec<u8>, kind: u8, new: &str, old: &str) {
    let mut body = vec![kind];
    push_text(&mut body, new);
    push_text(&mut body, old);
    token(tokens, 0xe3, &body);
}

fn token(tokens: &mut Vec<u8>, token: u8, body: &[u8]) {
    tokens.push(token);
    let length = u16::try_from(body.len()).unwrap_or_default();
    tokens.extend_from_slice(&length.to_le_bytes());
    tokens.extend_from_slice(body);
}

/// B_VARCHAR.
fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or_default());
    out.extend(utf16(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrapool_benches::tds::HEADER;

    #[test]
    fn a_client_of_ours_wants_no_tls_and_no_features() {
        let hello = client_prelogin();
        let wanted = wanted_encryption(&hello[HEADER..]);
        assert_eq!(wanted, Some(Encryption::NotSupported));
        let login = login(Account {
            user: "u",
            password: "p",
        });
        assert_eq!(asks_for(&login[HEADER..], SESSION_RECOVERY), Some(false));
        assert!(welcome(&login[HEADER..]).is_some());
    }
}
