//! An answer on its way out: tokens into packets, with the last DONE known only at the end.

use tokio::sync::mpsc;

use crate::tds::error::ServerError;
use crate::tds::wire::packet::Envelope;
use crate::tds::wire::tokens::{Done, DoneKind, done, put_error, put_info};
use crate::tds::wire::version::Version;

/// The answer to one request.
#[derive(Debug)]
pub(in crate::tds) struct Output {
    sender: mpsc::Sender<Vec<u8>>,
    envelope: Envelope,
    version: Version,
    bytes: Vec<u8>,
    number: u8,
    /// Not written yet: whether more follows is not known.
    held: Option<Done>,
    /// Nobody is there to read it.
    is_gone: bool,
}

impl Output {
    pub(in crate::tds) fn new(
        sender: mpsc::Sender<Vec<u8>>,
        envelope: Envelope,
        version: Version,
    ) -> Self {
        Self {
            sender,
            envelope,
            version,
            bytes: Vec::new(),
            number: 1,
            held: None,
            is_gone: false,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// The client has gone: whatever is still computed is for nobody.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Writes one token or several.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.release();
        write(&mut self.bytes);
        self.send_full();
    }

    pub(super) fn error(&mut self, error: &ServerError) {
        let version = self.version;
        self.put(|bytes| put_error(bytes, error, version));
    }

    pub(super) fn info(&mut self, info: &ServerError) {
        let version = self.version;
        self.put(|bytes| put_info(bytes, info, version));
    }

    pub(super) fn done(&mut self, done: Done) {
        self.release();
        self.held = Some(done);
    }

    /// Ends the answer; `last` goes directly before the last DONE, where SESSIONSTATE belongs.
    pub(super) fn finish(&mut self, last: &[u8]) {
        // DONEINPROC is never the last token.
        if self.held.is_some_and(|held| held.kind == DoneKind::InProc) {
            self.release();
        }
        let held = self.held.take();
        self.bytes.extend(last);
        let held = held.unwrap_or_else(|| Done::new(DoneKind::Done));
        held.put(&mut self.bytes, self.version);
        self.send_all();
    }

    /// Ends an answer that an attention cut short: its own message, and one that acknowledges
    /// (MS-TDS 4.19.2). There are drivers that wait for the second.
    pub(super) fn finish_cancelled(&mut self, last: &[u8]) {
        self.release();
        self.bytes.extend(last);
        Done::new(DoneKind::Done).put(&mut self.bytes, self.version);
        self.send_all();
        self.number = 1;
        let mut cancelled = Done::new(DoneKind::Done);
        cancelled.status = done::ATTENTION;
        cancelled.put(&mut self.bytes, self.version);
        self.send_all();
    }

    /// More follows after all.
    fn release(&mut self) {
        if let Some(mut held) = self.held.take() {
            held.status |= done::MORE;
            held.put(&mut self.bytes, self.version);
        }
    }

    /// Sends full packets; something is always kept for the last one.
    fn send_full(&mut self) {
        let room = self.envelope.room();
        while self.bytes.len() > room {
            let rest = self.bytes.split_off(room);
            let body = std::mem::replace(&mut self.bytes, rest);
            self.send(&body, false);
        }
    }

    fn send_all(&mut self) {
        self.send_full();
        let body = std::mem::take(&mut self.bytes);
        self.send(&body, true);
    }

    fn send(&mut self, body: &[u8], is_last: bool) {
        let packet = self.envelope.packet(self.number, body, is_last);
        self.number = self.number.wrapping_add(1);
        if self.sender.blocking_send(packet).is_err() {
            self.is_gone = true;
        }
    }
}
