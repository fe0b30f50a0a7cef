//! Packets into messages, with the rules on both (MS-TDS 2.2.3.1).

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::tds::session::{Request, Reset};
use crate::tds::wire::link::{Link, NoPacket};
use crate::tds::wire::packet::{Packet, kind, status};
use crate::tds::wire::version::Version;

/// A client may not make us hold more than this of one message.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Packets held that came while a request was running, or was all but over.
const MAX_HELD: usize = 64;

/// What a client sent.
#[derive(Debug)]
pub(super) enum Incoming {
    Request(Request),
    Attention,
    /// A message that was withdrawn with its last packet.
    Ignored,
    WrongSize {
        got: usize,
        wanted: usize,
    },
    /// Something that ends the connection without a word.
    Breach,
    Gone,
}

/// The message that is being received.
#[derive(Debug)]
pub(super) struct Inbox {
    size: usize,
    version: Version,
    partial: Option<Partial>,
    held: VecDeque<Packet>,
}

#[derive(Debug)]
struct Partial {
    kind: u8,
    reset: Option<Reset>,
    body: BytesMut,
}

impl Inbox {
    pub(super) fn new(size: usize, version: Version) -> Self {
        Self {
            size,
            version,
            partial: None,
            held: VecDeque::new(),
        }
    }

    /// The next whole thing.
    pub(super) async fn next(&mut self, link: &mut Link) -> Incoming {
        loop {
            let packet = match self.held.pop_front() {
                Some(packet) => packet,
                None => match link.packet().await {
                    Ok(packet) => packet,
                    Err(NoPacket::Gone) => return Incoming::Gone,
                    Err(NoPacket::BadLength) => return Incoming::Breach,
                },
            };
            if let Some(incoming) = self.take(packet) {
                return incoming;
            }
        }
    }

    /// Whether packets that come too early are read; else they wait in the socket.
    pub(super) fn has_room(&self) -> bool {
        self.held.len() < MAX_HELD
    }

    /// Keeps a packet that came too early.
    pub(super) fn hold(&mut self, packet: Packet) {
        self.held.push_back(packet);
    }

    fn take(&mut self, packet: Packet) -> Option<Incoming> {
        if packet.kind == kind::ATTENTION {
            // An attention in the middle of a message takes the message with it.
            self.partial = None;
            return Some(Incoming::Attention);
        }
        if let Some(wrong) = self.wrong_size(&packet) {
            return Some(wrong);
        }
        let known = matches!(
            packet.kind,
            kind::SQL_BATCH | kind::RPC | kind::BULK | kind::TRANSACTION
        );
        let is_last = packet.is_last();
        let ignored = packet.status & status::IGNORE != 0;
        // The IGNORE bit may only come with the end of a message.
        if !known || (ignored && !is_last) {
            return Some(Incoming::Breach);
        }
        let partial = match self.partial.as_mut() {
            None => {
                let Ok(reset) = reset(&packet) else {
                    return Some(Incoming::Breach);
                };
                self.partial.insert(Partial {
                    kind: packet.kind,
                    reset,
                    body: BytesMut::new(),
                })
            }
            Some(partial) if partial.kind == packet.kind => partial,
            Some(_) => return Some(Incoming::Breach),
        };
        if partial.body.len() + packet.body.len() > MAX_MESSAGE {
            return Some(Incoming::Breach);
        }
        partial.body.extend_from_slice(&packet.body);
        if !is_last {
            return None;
        }
        let whole = self.partial.take()?;
        Some(if ignored {
            Incoming::Ignored
        } else {
            Incoming::Request(Request {
                kind: whole.kind,
                reset: whole.reset,
                body: whole.body.freeze(),
            })
        })
    }

    /// From 7.3 on, every packet but the last has exactly the negotiated size.
    fn wrong_size(&self, packet: &Packet) -> Option<Incoming> {
        let (got, wanted) = (packet.length(), self.size);
        let is_exact = packet.is_last() || self.version < Version::V73A;
        let is_right = got == wanted || (is_exact && got < wanted);
        (!is_right).then_some(Incoming::WrongSize { got, wanted })
    }
}

/// The bits count in the first packet of a message only, and never both.
fn reset(packet: &Packet) -> Result<Option<Reset>, ()> {
    let resets = packet.status & status::RESET != 0;
    let keeps = packet.status & status::RESET_KEEPING_TRANSACTION != 0;
    match (resets, keeps) {
        (false, false) => Ok(None),
        (true, true) => Err(()),
        _ if packet.kind == kind::BULK => Err(()),
        (true, false) => Ok(Some(Reset::Everything)),
        (false, true) => Ok(Some(Reset::KeepingTransaction)),
    }
}
