//! A server that does what PostgreSQL does with the messages of a client, as far as prepared
//! statements, errors and Sync go (55.2.3). It never enters a COPY or a transaction.

use std::collections::HashSet;

use entrapool_protocol::postgres::Status;
use entrapool_protocol::postgres::frame::{Header, split_cstr};
use entrapool_protocol::postgres::message;

/// The server of one connection.
#[derive(Default)]
pub struct Server {
    named: HashSet<Vec<u8>>,
    has_unnamed: bool,
    /// After an error of an extended request, until Sync.
    skipping: bool,
    /// The client broke the protocol, or said goodbye.
    pub ended: bool,
    inbox: Vec<u8>,
}

impl Server {
    /// Takes what arrives; appends the answers to `out`.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.inbox.extend_from_slice(bytes);
        while !self.ended {
            let header = match Header::read(&self.inbox) {
                Ok(Some(header)) => header,
                Ok(None) => return,
                Err(_) => {
                    self.ended = true;
                    return;
                }
            };
            if header.tag == b'X' {
                self.ended = true;
                return;
            }
            if self.inbox.len() < header.total() {
                return;
            }
            let message: Vec<u8> = self.inbox.drain(..header.total()).collect();
            let answered = self.answer(header.tag, &message[5..], out);
            self.ended |= answered.is_none();
        }
    }

    /// Whether only a part of a message is here.
    pub fn is_mid_message(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// `None` ends the connection.
    fn answer(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match tag {
            b'S' => {
                self.skipping = false;
                message::ready_for_query(out, Status::Idle);
            }
            b'P' | b'B' | b'D' | b'C' | b'E' | b'Q' | b'F' | b'H' if self.skipping => {}
            b'P' => self.parse(body, out)?,
            b'B' => {
                let (_, rest) = split_cstr(body)?;
                let (name, _) = split_cstr(rest)?;
                self.find(name, out);
                self.done(b'2', out);
            }
            b'D' | b'C' => self.describe_or_close(tag, body, out)?,
            b'E' => self.completed(out),
            b'Q' => {
                self.has_unnamed = false;
                self.completed(out);
                message::ready_for_query(out, Status::Idle);
            }
            b'F' => {
                message::framed(out, b'V', |out| out.extend([0xff; 4]));
                message::ready_for_query(out, Status::Idle);
            }
            b'H' | b'd' | b'c' | b'f' => {}
            _ => return None,
        }
        Some(())
    }

    fn parse(&mut self, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (name, _) = split_cstr(body)?;
        if name.is_empty() {
            self.has_unnamed = true;
        } else if !self.named.insert(name.to_vec()) {
            self.fail("42P05", out);
        }
        self.done(b'1', out);
        Some(())
    }

    fn describe_or_close(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (&kind, name) = body.split_first()?;
        let (name, _) = split_cstr(name)?;
        match (tag, kind) {
            (b'D', b'S') => {
                if self.find(name, out) {
                    message::framed(out, b't', |out| out.extend([0, 0]));
                }
                self.done(b'n', out);
            }
            (b'D', _) => self.done(b'n', out),
            (_, b'S') => {
                if name.is_empty() {
                    self.has_unnamed = false;
                }
                self.named.remove(name);
                self.done(b'3', out);
            }
            _ => self.done(b'3', out),
        }
        Some(())
    }

    /// Whether there is such a statement; an error if not.
    fn find(&mut self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let found = if name.is_empty() {
            self.has_unnamed
        } else {
            self.named.contains(name)
        };
        if !found {
            self.fail("26000", out);
        }
        found
    }

    fn fail(&mut self, code: &str, out: &mut Vec<u8>) {
        message::Report::error(code, "no").encode(out);
        self.skipping = true;
    }

    /// An empty message that says that a request has been carried out, unless it has failed.
    fn done(&self, tag: u8, out: &mut Vec<u8>) {
        if !self.skipping {
            message::framed(out, tag, |_| {});
        }
    }

    fn completed(&self, out: &mut Vec<u8>) {
        message::framed(out, b'C', |out| message::cstr(out, b"SELECT 1"));
    }
}

/// What a client makes of answers: each message's tag, an error's SQLSTATE with it.
pub fn summary(mut bytes: &[u8]) -> Vec<String> {
    let mut said = Vec::new();
    while let Ok(Some(header)) = Header::read(bytes) {
        let Some(body) = header.body(bytes) else {
            break;
        };
        let mut word = char::from(header.tag).to_string();
        if header.tag == b'E' {
            let code = body
                .split(|&byte| byte == 0)
                .find_map(|field| field.strip_prefix(b"C"));
            word += &String::from_utf8_lossy(code.unwrap_or_default());
        }
        said.push(word);
        bytes = &bytes[header.total()..];
    }
    said
}
