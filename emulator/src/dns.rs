//! A name server for a few names, with aliases: what a resolver of Azure answers for a server with
//! a private endpoint.
//!
//! UDP alone, questions for addresses alone; a name that it was not given does not exist. It
//! follows aliases by itself, as resolvers do.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Error;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const NO_SUCH_NAME: u8 = 3;
/// A chain of aliases is not longer.
const MOST_ALIASES: usize = 8;

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Another name.
    Alias(String),
    /// An address.
    Address(Ipv4Addr),
}

type Names = Arc<Mutex<BTreeMap<String, Entry>>>;

/// A running name server; it stops when dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    names: Names,
    _stop: DropGuard,
}

impl NameServer {
    /// Answers at `address` (port 0 for a free one), about nothing yet.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn start(address: SocketAddr) -> Result<Self, Error> {
        let failed = Error::io(format!("answer questions at {address}"));
        let socket = UdpSocket::bind(address).await.map_err(failed)?;
        let address = socket
            .local_addr()
            .map_err(Error::io("read the address of a name server"))?;
        let names = Names::default();
        let stop = CancellationToken::new();
        let serving = serve(socket, Arc::clone(&names));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self {
            address,
            names,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the name leads there.
    pub fn set(&self, name: &str, entry: Entry) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_ascii_lowercase(), entry);
    }

    /// From now on the name does not exist.
    pub fn remove(&self, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&name.to_ascii_lowercase());
    }
}

async fn serve(socket: UdpSocket, names: Names) {
    let mut buffer = [0; 512];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let answer = {
            let names = names.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&buffer[..length], &names)
        };
        if let Some(answer) = answer {
            // A client that has gone needs none.
            let _gone = socket.send_to(&answer, client).await;
        }
    }
}

/// The answer to a message; `None` if it is no question.
fn answer(message: &[u8], names: &BTreeMap<String, Entry>) -> Option<Vec<u8>> {
    let (name, end) = question(message)?;
    let kind = u16::from_be_bytes([*message.get(end)?, *message.get(end + 1)?]);
    let question = message.get(HEADER..end + 4)?;
    let mut records = Vec::new();
    let mut count = 0_u16;
    let mut owner = name;
    let mut code = 0;
    for _ in 0..MOST_ALIASES {
        match names.get(&owner) {
            None => {
                code = NO_SUCH_NAME;
                break;
            }
            Some(Entry::Alias(to)) => {
                put(&mut records, &owner, TYPE_CNAME, &encoded(to));
                count += 1;
                owner = to.to_ascii_lowercase();
            }
            Some(Entry::Address(address)) => {
                if kind == TYPE_A {
                    put(&mut records, &owner, TYPE_A, &address.octets());
                    count += 1;
                }
                break;
            }
        }
    }
    let mut out = message.get(..2)?.to_vec();
    // An answer, with recursion asked for and to be had.
    out.extend_from_slice(&[0x81, 0x80 | code, 0, 1]);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(question);
    out.extend_from_slice(&records);
    Some(out)
}

/// The name that is asked for, in lower case, and where the question's type is.
fn question(message: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + length).filter(|_| length < 64)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

fn put(out: &mut Vec<u8>, owner: &str, kind: u16, data: &[u8]) {
    out.extend_from_slice(&encoded(owner));
    out.extend_from_slice(&kind.to_be_bytes());
    // Class IN, 60 s.
    out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(data);
}

fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap_or(63).min(63));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, names: &BTreeMap<String, Entry>) -> Vec<u8> {
        let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(encoded(name));
        message.extend([0, 1, 0, 1]);
        answer(&message, names).unwrap()
    }

    #[test]
    fn aliases_are_followed() {
        let mut names = BTreeMap::new();
        names.insert("a.b".to_owned(), Entry::Alias("c".to_owned()));
        let missing = asked("A.b", &names);
        assert_eq!((missing[3] & 0xf, missing[7]), (NO_SUCH_NAME, 1));
        names.insert("c".to_owned(), Entry::Address(Ipv4Addr::new(10, 0, 0, 4)));
        let found = asked("a.b", &names);
        assert_eq!((found[3] & 0xf, found[7]), (0, 2));
        assert!(found.ends_with(&[0, 4, 10, 0, 0, 4]));
        assert!(answer(b"x", &names).is_none());
    }
}
