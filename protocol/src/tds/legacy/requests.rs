//! What an old client sends, as a client of 7.4 would send it.

use super::bulk::Bulk;
use super::packets::{End, Packets};
use super::{Dialect, PRESENT_TRANSACTION};
use crate::Sink;
use crate::tds::Violation;
use crate::tds::message::all_headers;
use crate::tds::packet::{HEADER, Header, IGNORE, Kind, LAST};
use crate::tds::token::{Calls, Heard};

/// So many bytes of a message's end stay until more of it is here: they may have to be changed.
const BEHIND: usize = 2;
/// Of a call's flags: the client knows the columns, the server need not describe them. We do not
/// know them.
const NO_METADATA: u8 = 2;

/// Translates one client's requests. Takes bytes however they are cut, and holds back no more than
/// two packets (and the description of a bulk load's columns).
///
/// What leaves is of packets that are full but for the last: servers insist on it from 7.3 on, so
/// older clients do as they like (2.2.3.1.4).
#[derive(Debug)]
pub struct Requests {
    dialect: Dialect,
    /// The beginning of a packet.
    partial: Vec<u8>,
    /// The message of which some packets were here.
    open: Option<Kind>,
    packets: Packets,
    calls: Calls,
    bulk: Bulk,
}

impl Requests {
    pub(super) fn new(dialect: Dialect, size: usize) -> Self {
        Self {
            dialect,
            partial: Vec::new(),
            open: None,
            packets: Packets::new(size),
            calls: match dialect.is_narrow() {
                true => Calls::narrow(),
                false => Calls::default(),
            },
            bulk: Bulk::default(),
        }
    }

    /// Whether bytes of the client are held back.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.partial.is_empty() || self.open.is_some()
    }

    pub(super) fn shrink(&mut self) {
        if self.is_holding() {
            return;
        }
        self.partial = Vec::new();
        self.packets.shrink();
        self.bulk = Bulk::default();
    }

    /// Takes what the client sent; `out` gets whole packets.
    ///
    /// # Errors
    /// [`Violation`]; the client's connection is of no use after it.
    pub fn translate(&mut self, input: &[u8], out: &mut impl Sink) -> Result<(), Violation> {
        let mut rest = input;
        while !rest.is_empty() {
            if self.partial.is_empty()
                && let Some(header) = Header::read(rest)?
                && let Some((packet, behind)) = rest.split_at_checked(header.total())
            {
                rest = behind;
                self.packet(header, packet, out)?;
                continue;
            }
            let needed = match Header::read(&self.partial)? {
                Some(header) => header.total(),
                None => HEADER,
            };
            let missing = needed.saturating_sub(self.partial.len());
            let (part, behind) = rest.split_at(missing.min(rest.len()));
            self.partial.extend_from_slice(part);
            rest = behind;
            let Some(header) = Header::read(&self.partial)? else {
                continue;
            };
            if self.partial.len() == header.total() {
                let mut packet = std::mem::take(&mut self.partial);
                let done = self.packet(header, &packet, out);
                packet.clear();
                self.partial = packet;
                done?;
            }
        }
        Ok(())
    }

    fn packet(
        &mut self,
        header: Header,
        packet: &[u8],
        out: &mut impl Sink,
    ) -> Result<(), Violation> {
        match (header.kind, self.open) {
            (Kind::Attention, None) => {
                out.put(packet);
                return Ok(());
            }
            (kind, Some(open)) if kind == open => {}
            (kind, Some(_)) => {
                return Err(Violation::OutOfSync {
                    kind: kind.byte(),
                    expected: "the rest of a request",
                });
            }
            (Kind::Batch | Kind::Rpc | Kind::Bulk, None) => self.begin(header),
            // The transaction manager came with 7.2.
            (Kind::Transaction, None) if !self.dialect.is_narrow() => self.begin(header),
            (kind, None) => return Err(Violation::Kind { kind: kind.byte() }),
        }
        let payload = packet.get(HEADER..).unwrap_or_default();
        let ignored = header.status & IGNORE != 0;
        match header.kind {
            Kind::Rpc => self.calls(payload)?,
            Kind::Bulk if self.dialect.is_narrow() => {
                self.bulk.take(payload, &mut self.packets.waiting)?;
                if header.is_last() && !ignored {
                    self.bulk.end()?;
                }
            }
            _ => self.packets.waiting.extend_from_slice(payload),
        }
        if header.is_last() {
            self.open = None;
            let end = End::Message(header.status & IGNORE);
            self.packets.send(self.packets.waiting.len(), end, out);
        } else {
            self.packets
                .send(self.packets.full(BEHIND), End::Packet, out);
        }
        Ok(())
    }

    fn begin(&mut self, header: Header) {
        self.open = Some(header.kind);
        let status = header.status & !(LAST | IGNORE);
        self.packets.begin(header.kind, status);
        self.calls.begin();
        self.bulk.begin();
        if self.dialect.is_narrow() && header.kind != Kind::Bulk {
            all_headers(&mut self.packets.waiting, PRESENT_TRANSACTION);
        }
    }

    /// Calls are told apart in another way by 7.1 (2.2.6.6), and who leaves out metadata leaves
    /// it out for us, too.
    fn calls(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let base = self.packets.waiting.len();
        self.packets.waiting.extend_from_slice(payload);
        let mut at = 0;
        loop {
            let (next, heard) = self.calls.next(payload, at);
            at = next;
            let waiting = &mut self.packets.waiting;
            match heard {
                None => return Ok(()),
                Some(Heard::Separator(at)) => {
                    if let Some(byte) = waiting.get_mut(base + at) {
                        *byte = SEPARATOR;
                    }
                }
                Some(Heard::Call(_)) => {
                    let flags = (base + at).checked_sub(2);
                    if let Some(byte) = flags.and_then(|at| waiting.get_mut(at)) {
                        *byte &= !NO_METADATA;
                    }
                }
                Some(Heard::Lost) => {
                    return Err(Violation::Malformed {
                        what: "a call of a procedure",
                        why: "a parameter's type",
                    });
                }
                Some(
                    Heard::Headers(_)
                    | Heard::Handle { .. }
                    | Heard::NoHandle
                    | Heard::Parameters(_)
                    | Heard::Statement(_),
                ) => {}
            }
        }
    }
}

/// Between two calls from 7.2 on.
const SEPARATOR: u8 = 0xff;
