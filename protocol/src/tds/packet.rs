//! Hot path: no allocation, no copies. Packet headers, and messages of many packets (MS-TDS 2.2.3).

use super::Violation;
use crate::Sink;

/// Bytes of a header.
pub const HEADER: usize = 8;
/// The smallest packet size that may be agreed on, in bytes with the header.
pub const SMALLEST: usize = 512;
/// The largest packet size that may be agreed on, in bytes with the header.
pub const LARGEST: usize = 32_767;
/// The packet size until the server says another (2.2.6.4).
pub const DEFAULT: usize = 4096;

/// What a packet is a part of (2.2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A batch of SQL text.
    Batch,
    /// The login of versions before TDS 7.
    OldLogin,
    /// Calls of procedures.
    Rpc,
    /// Everything that a server says.
    Answer,
    /// The wish that the request under way ends.
    Attention,
    /// The data of a bulk load.
    Bulk,
    /// A token, where the server asked for one in the middle of the login.
    FedAuth,
    /// A request to the transaction manager.
    Transaction,
    /// The login.
    Login,
    /// A step of SSPI.
    Sspi,
    /// What is agreed on before the login; it also carries the TLS handshake.
    Prelogin,
}

impl Kind {
    /// The kind that a byte stands for, if it stands for one.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Batch,
            2 => Self::OldLogin,
            3 => Self::Rpc,
            4 => Self::Answer,
            6 => Self::Attention,
            7 => Self::Bulk,
            8 => Self::FedAuth,
            14 => Self::Transaction,
            16 => Self::Login,
            17 => Self::Sspi,
            18 => Self::Prelogin,
            _ => return None,
        })
    }

    /// Its byte in a header.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::OldLogin => 2,
            Self::Rpc => 3,
            Self::Answer => 4,
            Self::Attention => 6,
            Self::Bulk => 7,
            Self::FedAuth => 8,
            Self::Transaction => 14,
            Self::Login => 16,
            Self::Sspi => 17,
            Self::Prelogin => 18,
        }
    }
}

/// The packet is the last of its message.
pub const LAST: u8 = 0x01;
/// The message is to be ignored: only in its last packet, only from a client (2.2.1.7).
pub const IGNORE: u8 = 0x02;
/// The session is to be as after its login, before the request is carried out (2.2.3.1.2).
pub const RESET: u8 = 0x08;
/// The same, except that an open transaction stays.
pub const RESET_KEEPING_TRANSACTION: u8 = 0x10;

/// The header of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the packet is a part of.
    pub kind: Kind,
    /// [`LAST`] and the others.
    pub status: u8,
    /// The whole packet in bytes: 8 to [`LARGEST`].
    pub length: u16,
}

impl Header {
    /// Reads the header at the start of `input`; `None` while there are fewer than 8 bytes.
    ///
    /// # Errors
    /// [`Violation::Kind`] for a kind that nobody knows, [`Violation::Length`] for a length
    /// outside 8 to [`LARGEST`].
    #[inline]
    pub fn read(input: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((&[kind, status, high, low, ..], _)) = input.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let kind = Kind::from_byte(kind).ok_or(Violation::Kind { kind })?;
        let length = u16::from_be_bytes([high, low]);
        if !(HEADER..=LARGEST).contains(&usize::from(length)) {
            return Err(Violation::Length {
                kind: kind.byte(),
                length,
            });
        }
        Ok(Some(Self {
            kind,
            status,
            length,
        }))
    }

    /// The whole packet in bytes: 8 to [`LARGEST`].
    #[inline]
    #[must_use]
    pub fn total(self) -> usize {
        usize::from(self.length)
    }

    /// What the packet carries, if `input` (which begins with this header) holds it whole.
    #[inline]
    #[must_use]
    pub fn payload(self, input: &[u8]) -> Option<&[u8]> {
        input.get(HEADER..self.total())
    }

    /// Whether the message ends with this packet.
    #[inline]
    #[must_use]
    pub fn is_last(self) -> bool {
        self.status & LAST != 0
    }

    /// Whether the session is to be reset before the request.
    #[inline]
    #[must_use]
    pub fn resets(self) -> bool {
        self.status & (RESET | RESET_KEEPING_TRANSACTION) != 0
    }
}

/// The bytes of a header. The server's process and the window are 0, as a client sends them.
#[must_use]
pub fn header(kind: Kind, status: u8, length: u16, id: u8) -> [u8; HEADER] {
    let [high, low] = length.to_be_bytes();
    [kind.byte(), status, high, low, 0, 0, id, 0]
}

/// Puts `body` as one message of packets of `size` bytes, of which all but the last are exactly
/// that long: servers insist on it (2.2.3.1.4). `status` is for the first packet, beside
/// [`LAST`].
pub fn split(out: &mut impl Sink, kind: Kind, status: u8, size: usize, body: &[u8]) {
    let room = size.clamp(SMALLEST, LARGEST) - HEADER;
    let mut rest = body;
    let mut status = status;
    let mut id = 1_u8;
    loop {
        let (part, behind) = rest.split_at(room.min(rest.len()));
        let last = if behind.is_empty() { LAST } else { 0 };
        let length = u16::try_from(part.len() + HEADER).unwrap_or(u16::MAX);
        out.put(&header(kind, status | last, length, id));
        out.put(part);
        if behind.is_empty() {
            return;
        }
        rest = behind;
        status = 0;
        id = id.wrapping_add(1);
    }
}

/// Makes what `out` holds from `start` on one message, as [`split`] does, in place: a secret in it
/// is not copied elsewhere, if `out` has the room.
pub fn split_in_place(out: &mut Vec<u8>, start: usize, kind: Kind, size: usize) {
    let room = size.clamp(SMALLEST, LARGEST) - HEADER;
    let body = out.len().saturating_sub(start);
    let packets = body.div_ceil(room).max(1);
    out.resize(start + body + packets * HEADER, 0);
    for number in (0..packets).rev() {
        let from = start + number * room;
        let to = (from + room).min(start + body);
        let place = start + number * (room + HEADER);
        out.copy_within(from..to, place + HEADER);
        let last = if number + 1 == packets { LAST } else { 0 };
        let length = u16::try_from(to - from + HEADER).unwrap_or(u16::MAX);
        let [id, ..] = (number + 1).to_le_bytes();
        if let Some(bytes) = out.get_mut(place..place + HEADER) {
            bytes.copy_from_slice(&header(kind, last, length, id));
        }
    }
}

/// A message put together again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The status of its first packet.
    pub status: u8,
    /// What its packets carry.
    pub body: Vec<u8>,
    /// The bytes of its packets.
    pub taken: usize,
}

/// Reads the message at the start of `input`; `None` while packets are missing. For logins only:
/// no other message has to be held whole.
///
/// # Errors
/// [`Violation`] for a header that is none, for packets of different kinds, and for a message
/// with more than `limit` bytes of packets.
pub fn whole(input: &[u8], limit: usize) -> Result<Option<Message>, Violation> {
    let mut message: Option<Message> = None;
    let mut at = 0;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let Some(header) = Header::read(rest)? else {
            return Ok(None);
        };
        if at + header.total() > limit {
            return Err(Violation::TooLarge {
                what: "a login",
                limit,
            });
        }
        let Some(payload) = header.payload(rest) else {
            return Ok(None);
        };
        at += header.total();
        let message = message.get_or_insert_with(|| Message {
            kind: header.kind,
            status: header.status,
            body: Vec::new(),
            taken: 0,
        });
        if message.kind != header.kind {
            return Err(Violation::OutOfSync {
                kind: header.kind.byte(),
                expected: "the rest of a message",
            });
        }
        message.body.extend_from_slice(payload);
        message.taken = at;
        if header.is_last() {
            return Ok(Some(std::mem::replace(
                message,
                Message {
                    kind: header.kind,
                    status: 0,
                    body: Vec::new(),
                    taken: 0,
                },
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_length() {
        assert_eq!(Header::read(&[1, 1, 0, 8, 0, 0, 1]), Ok(None));
        let read = Header::read(&[1, 9, 0, 9, 0, 0, 1, 0]).unwrap().unwrap();
        assert_eq!((read.kind, read.total()), (Kind::Batch, 9));
        assert!(read.is_last() && read.resets());
        assert_eq!(read.payload(&[1, 9, 0, 9, 0, 0, 1, 0, 7]), Some(&[7][..]));
        assert_eq!(read.payload(&[1, 9, 0, 9, 0, 0, 1, 0]), None);
        for length in [0, 7, 0x8000, 0xffff_u16] {
            let [high, low] = length.to_be_bytes();
            assert!(
                Header::read(&[1, 1, high, low, 0, 0, 1, 0]).is_err(),
                "{length}"
            );
        }
        for kind in (0..=255).filter(|&kind| Kind::from_byte(kind).is_none()) {
            let read = Header::read(&[kind, 1, 0, 8, 0, 0, 1, 0]);
            assert_eq!(read, Err(Violation::Kind { kind }));
        }
    }

    #[test]
    fn kinds_are_their_bytes() {
        for byte in 0..=255 {
            if let Some(kind) = Kind::from_byte(byte) {
                assert_eq!(kind.byte(), byte);
            }
        }
    }

    #[test]
    fn what_is_split_is_whole_again() {
        for length in [0_usize, 1, 503, 504, 505, 1008, 1009, 5000] {
            let body: Vec<u8> = (0..length)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect();
            let mut bytes = Vec::new();
            split(&mut bytes, Kind::Login, 0, SMALLEST, &body);
            let mut in_place = vec![9; 3];
            in_place.extend(&body);
            split_in_place(&mut in_place, 3, Kind::Login, SMALLEST);
            assert_eq!(in_place[3..], bytes);
            assert_eq!(bytes.len(), length + length.div_ceil(504).max(1) * HEADER);
            let message = whole(&bytes, 100_000).unwrap().unwrap();
            assert_eq!(message.kind, Kind::Login);
            assert_eq!(message.body, body);
            assert_eq!(message.taken, bytes.len());
            for cut in 0..bytes.len() {
                assert_eq!(whole(&bytes[..cut], 100_000), Ok(None));
            }
            assert!(whole(&bytes, bytes.len() - 1).is_err());
        }
    }

    #[test]
    fn packets_of_two_messages_do_not_mix() {
        let mut bytes = header(Kind::Login, 0, 8, 1).to_vec();
        bytes.extend(header(Kind::Batch, LAST, 8, 1));
        assert!(whole(&bytes, 1000).is_err());
    }
}
