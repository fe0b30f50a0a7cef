//! Packets (MS-TDS 2.2.3): eight bytes of header and a part of a message.

use bytes::{Buf, Bytes, BytesMut};

pub(in crate::tds) const HEADER: usize = 8;
/// Until ENVCHANGE 4 has said otherwise, and the largest until then.
pub(in crate::tds) const LOGIN_PACKET: usize = 4096;

pub(in crate::tds) mod kind {
    pub(in crate::tds) const SQL_BATCH: u8 = 1;
    pub(in crate::tds) const RPC: u8 = 3;
    pub(in crate::tds) const RESULT: u8 = 4;
    pub(in crate::tds) const ATTENTION: u8 = 6;
    pub(in crate::tds) const BULK: u8 = 7;
    pub(in crate::tds) const TRANSACTION: u8 = 14;
    pub(in crate::tds) const LOGIN7: u8 = 16;
    pub(in crate::tds) const PRELOGIN: u8 = 18;
}

pub(in crate::tds) mod status {
    pub(in crate::tds) const END: u8 = 0x01;
    pub(in crate::tds) const IGNORE: u8 = 0x02;
    pub(in crate::tds) const RESET: u8 = 0x08;
    pub(in crate::tds) const RESET_KEEPING_TRANSACTION: u8 = 0x10;
}

/// One packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Packet {
    pub(in crate::tds) kind: u8,
    pub(in crate::tds) status: u8,
    pub(in crate::tds) body: Bytes,
}

impl Packet {
    /// With the header.
    pub(in crate::tds) fn length(&self) -> usize {
        HEADER + self.body.len()
    }

    pub(in crate::tds) fn is_last(&self) -> bool {
        self.status & status::END != 0
    }

    /// Takes a whole packet from the front of `input`. `Ok(None)`: more is needed.
    ///
    /// # Errors
    /// A length that cannot be: less than a header.
    pub(in crate::tds) fn cut(input: &mut BytesMut) -> Result<Option<Self>, BadLength> {
        let Some(header) = input.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind, status, high, low, ..] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < HEADER {
            return Err(BadLength);
        }
        if input.len() < length {
            return Ok(None);
        }
        let mut whole = input.split_to(length);
        whole.advance(HEADER);
        Ok(Some(Self {
            kind,
            status,
            body: whole.freeze(),
        }))
    }
}

/// A packet shorter than its own header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) struct BadLength;

/// Writes packets of one size for one session.
#[derive(Debug, Clone, Copy)]
pub(in crate::tds) struct Envelope {
    /// The largest packet, header included.
    pub(in crate::tds) size: usize,
    pub(in crate::tds) spid: u16,
}

impl Envelope {
    /// How much of a message one packet takes.
    pub(in crate::tds) fn room(self) -> usize {
        self.size.saturating_sub(HEADER).max(1)
    }

    /// One packet of an answer.
    pub(in crate::tds) fn packet(self, number: u8, body: &[u8], is_last: bool) -> Vec<u8> {
        let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
        let mut packet = Vec::with_capacity(length.into());
        packet.push(kind::RESULT);
        packet.push(if is_last { status::END } else { 0 });
        packet.extend(length.to_be_bytes());
        packet.extend(self.spid.to_be_bytes());
        packet.push(number);
        packet.push(0);
        packet.extend(body);
        packet
    }

    /// A whole answer.
    pub(in crate::tds) fn message(self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + HEADER);
        let mut chunks = body.chunks(self.room()).peekable();
        let mut number = 1_u8;
        while let Some(chunk) = chunks.next() {
            out.extend(self.packet(number, chunk, chunks.peek().is_none()));
            number = number.wrapping_add(1);
        }
        out
    }
}
