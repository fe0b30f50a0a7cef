//! Bytes of one message on their way into packets.

use crate::Sink;
use crate::tds::packet::{self, HEADER, Kind, LARGEST, LAST, SMALLEST};

/// What waits to be sent of a message.
#[derive(Debug)]
pub(super) struct Packets {
    kind: Kind,
    /// Bytes that one packet carries.
    room: usize,
    /// Of the next packet.
    status: u8,
    id: u8,
    /// The server's process, as it told it.
    pub(super) process: [u8; 2],
    pub(super) waiting: Vec<u8>,
}

/// What the last byte that is sent is the end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A packet.
    Packet,
    /// The message. Its last packet has these bits beside [`LAST`].
    Message(u8),
}

impl Packets {
    pub(super) fn new(size: usize) -> Self {
        Self {
            kind: Kind::Answer,
            room: size.clamp(SMALLEST, LARGEST) - HEADER,
            status: 0,
            id: 1,
            process: [0; 2],
            waiting: Vec::new(),
        }
    }

    /// A message begins; `status` is for its first packet.
    pub(super) fn begin(&mut self, kind: Kind, status: u8) {
        self.kind = kind;
        self.status = status;
        self.id = 1;
        self.waiting.clear();
    }

    /// How much of what waits fills packets, if `behind` bytes at least are to stay.
    pub(super) fn full(&self, behind: usize) -> usize {
        self.waiting.len().saturating_sub(behind) / self.room * self.room
    }

    /// Sends the first `count` bytes that wait. All packets but the last are full.
    pub(super) fn send(&mut self, count: usize, end: End, out: &mut impl Sink) {
        let waiting = self.waiting.get(..count).unwrap_or(&self.waiting);
        let count = waiting.len();
        let mut parts = waiting.chunks(self.room).peekable();
        // An end has to be told even if there is nothing else to tell.
        let nothing: &[u8] = &[];
        let mut next = parts
            .next()
            .or_else(|| (end != End::Packet).then_some(nothing));
        while let Some(part) = next {
            next = parts.next();
            let last = match (next, end) {
                (None, End::Message(bits)) => LAST | bits,
                _ => 0,
            };
            let length = u16::try_from(part.len() + HEADER).unwrap_or(u16::MAX);
            let mut header = packet::header(self.kind, self.status | last, length, self.id);
            if let Some(place) = header.get_mut(4..6) {
                place.copy_from_slice(&self.process);
            }
            out.put(&header);
            out.put(part);
            self.status = 0;
            self.id = self.id.wrapping_add(1);
        }
        self.waiting.drain(..count);
    }

    pub(super) fn shrink(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }
}
