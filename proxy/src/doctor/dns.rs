//! One question to the name servers that the system uses: through which aliases a name leads to its
//! addresses. The system's own look-up does not tell, and is what decides: this is for people.
//!
//! A query over UDP (RFC 1035 4), no cache, no TCP. An answer is bounded by a datagram, and whatever
//! is in it nothing panics.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Where the system keeps its name servers.
const CONFIGURATION: &str = "/etc/resolv.conf";
/// More are not used by the system either (resolv.conf(5)).
const MOST_SERVERS: usize = 3;
const PORT: u16 = 53;
/// Of a server, before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer that is read; without EDNS none is longer than 512 (RFC 1035 4.2.1).
const LONGEST: usize = 4096;
/// A name has at most 255 bytes, so that it has no more labels.
const MOST_LABELS: usize = 128;
/// Records that are looked at.
const MOST_RECORDS: u16 = 64;

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const CLASS_IN: u16 = 1;

/// What a name server says of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// The aliases in their order, without the name itself.
    pub(super) chain: Vec<String>,
    /// The addresses at its end.
    pub(super) addresses: Vec<Ipv4Addr>,
    /// RCODE: 0 for an answer, 3 for a name that does not exist.
    pub(super) code: u8,
}

/// NXDOMAIN.
pub(super) const NO_SUCH_NAME: u8 = 3;

/// The system's name servers.
pub(super) fn servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(CONFIGURATION).unwrap_or_default();
    read_servers(&text)
}

fn read_servers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, PORT))
    });
    named.take(MOST_SERVERS).collect()
}

/// Asks one server after the other; the first that answers is believed.
///
/// # Errors
/// The last server's failure; [`io::ErrorKind::TimedOut`] for one that says nothing.
pub(super) async fn ask(name: &str, servers: &[SocketAddr]) -> io::Result<Answer> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no name server is configured");
    for server in servers {
        match timeout(PATIENCE, ask_one(name, *server)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

async fn ask_one(name: &str, server: SocketAddr) -> io::Result<Answer> {
    let id = fastrand::u16(..);
    let question = question(id, name)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no name of a host"))?;
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // What others send is not received.
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut buffer = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // An answer to something else is none.
        if let Some(answer) = read(buffer.get(..length).unwrap_or_default(), id, name) {
            return Ok(answer);
        }
    }
}

/// A question for the addresses of `name`, with recursion; `None` if it is no name.
fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    const RECURSION_DESIRED: u16 = 0x0100;
    let mut out = Vec::with_capacity(64);
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok();
        let length = length.filter(|length| (1..64).contains(length))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&TYPE_A.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    (out.len() <= 12 + 255 + 4).then_some(out)
}

/// Reads the answer to the question `id` for `name`.
fn read(message: &[u8], id: u16, name: &str) -> Option<Answer> {
    const IS_ANSWER: u16 = 0x8000;
    let mut reader = Reader { message, at: 0 };
    let (said, flags) = (reader.u16()?, reader.u16()?);
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    if said != id || flags & IS_ANSWER == 0 || questions != 1 {
        return None;
    }
    let mut owner = reader.name()?;
    reader.skip(4)?;
    if !owner.eq_ignore_ascii_case(name.trim_end_matches('.')) {
        return None;
    }
    let mut answer = Answer {
        code: (flags & 0xf) as u8,
        ..Answer::default()
    };
    let mut records = Vec::new();
    for _ in 0..answers.min(MOST_RECORDS) {
        // An answer cut short (TC) says what it says.
        let Some(record) = reader.record() else { break };
        records.push(record);
    }
    // Each alias once: a circle ends.
    for _ in 0..records.len() {
        let alias = records.iter().find_map(|record| match record {
            Record::Alias(of, to) if of.eq_ignore_ascii_case(&owner) => Some(to.clone()),
            _ => None,
        });
        let Some(alias) = alias else { break };
        owner.clone_from(&alias);
        answer.chain.push(alias);
    }
    answer.addresses = records
        .iter()
        .filter_map(|record| match record {
            Record::Address(of, address) if of.eq_ignore_ascii_case(&owner) => Some(*address),
            _ => None,
        })
        .collect();
    Some(answer)
}

enum Record {
    Alias(String, String),
    Address(String, Ipv4Addr),
    Other,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.message.len()).then_some(())
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.message.get(self.at..)?.first_chunk::<2>()?;
        self.at += 2;
        Some(u16::from_be_bytes(*bytes))
    }

    fn record(&mut self) -> Option<Record> {
        let owner = self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        self.skip(4)?;
        let length = usize::from(self.u16()?);
        let begin = self.at;
        self.skip(length)?;
        if class != CLASS_IN {
            return Some(Record::Other);
        }
        match kind {
            TYPE_A => {
                let bytes = self.message.get(begin..self.at)?;
                let address: [u8; 4] = bytes.try_into().ok()?;
                Some(Record::Address(owner, address.into()))
            }
            TYPE_CNAME => {
                let mut inner = Reader {
                    message: self.message,
                    at: begin,
                };
                Some(Record::Alias(owner, inner.name()?))
            }
            _ => Some(Record::Other),
        }
    }

    /// A name, perhaps with a pointer to the rest of it (RFC 1035 4.1.4).
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut at = self.at;
        let mut behind = None;
        for _ in 0..MOST_LABELS {
            let length = *self.message.get(at)?;
            match length {
                0 => {
                    self.at = behind.unwrap_or(at + 1);
                    return Some(name);
                }
                1..=63 => {
                    let end = at + 1 + usize::from(length);
                    let label = self.message.get(at + 1..end)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    // A server's bytes may reach a terminal.
                    let printable = |byte: &u8| match byte {
                        b'!'..=b'~' => char::from(*byte),
                        _ => '?',
                    };
                    name.extend(label.iter().map(printable));
                    at = end;
                }
                0xc0.. => {
                    let low = *self.message.get(at + 1)?;
                    behind = behind.or(Some(at + 2));
                    at = usize::from(length & 0x3f) << 8 | usize::from(low);
                }
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "my.postgres.database.azure.com";

    fn label(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes
    }

    fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = owner.to_vec();
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 60]);
        bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn answer(code: u8, records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = question(7, NAME).unwrap();
        bytes[2] |= 0x80;
        bytes[3] = code;
        bytes[7] = records.len() as u8;
        bytes.extend(records.iter().flatten());
        bytes
    }

    /// Where the question's name is.
    const POINTER: [u8; 2] = [0xc0, 12];

    #[test]
    fn a_chain_is_followed_in_its_order() {
        let link = "my.privatelink.postgres.database.azure.com";
        let message = answer(
            0,
            &[
                record(&label(link), TYPE_A, &[10, 0, 0, 4]),
                record(&POINTER, TYPE_CNAME, &label(link)),
                record(&label("other"), TYPE_A, &[1, 2, 3, 4]),
                record(&POINTER, 28, &[0; 16]),
            ],
        );
        let read = read(&message, 7, NAME).unwrap();
        assert_eq!(read.chain, [link]);
        assert_eq!(read.addresses, [Ipv4Addr::new(10, 0, 0, 4)]);
        assert_eq!(read.code, 0);
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_not_read() {
        let message = answer(NO_SUCH_NAME, &[]);
        assert_eq!(read(&message, 7, NAME).unwrap().code, NO_SUCH_NAME);
        assert!(read(&message, 8, NAME).is_none(), "another id");
        assert!(read(&message, 7, "other").is_none(), "another name");
        let asked = question(7, NAME).unwrap();
        assert!(read(&asked, 7, NAME).is_none(), "a question");
        assert!(question(7, "a..b").is_none());
        assert!(question(7, &"a".repeat(64)).is_none());
    }

    #[test]
    fn circles_end_and_nothing_panics() {
        let circle = answer(
            0,
            &[
                record(&POINTER, TYPE_CNAME, &label("b")),
                record(&label("b"), TYPE_CNAME, &label(NAME)),
            ],
        );
        assert!(read(&circle, 7, NAME).unwrap().chain.len() <= 2);
        // A pointer to itself.
        let mut looping = answer(0, &[record(&POINTER, TYPE_A, &[1, 2, 3, 4])]);
        let at = question(7, NAME).unwrap().len();
        looping[at + 1] = at as u8;
        assert!(read(&looping, 7, NAME).unwrap().addresses.is_empty());
        for message in [circle, looping] {
            for end in 0..message.len() {
                let _ = read(&message[..end], 7, NAME);
            }
            for at in 0..message.len() {
                for byte in [0, 1, 0x3f, 0x40, 0xc0, 0xff] {
                    let mut bent = message.clone();
                    bent[at] = byte;
                    let _ = read(&bent, 7, NAME);
                }
            }
        }
    }

    #[test]
    fn the_systems_servers() {
        let text = "# x\nsearch a b\nnameserver 10.0.0.1\nnameserver\n nameserver ::1 \n\
                    nameserver fe80::1%eth0\nnameserver 1.1.1.1\nnameserver 2.2.2.2\n";
        let servers: Vec<String> = read_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53", "1.1.1.1:53"]);
    }

    #[tokio::test]
    async fn the_second_server_is_asked_if_the_first_can_not_be() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let closed_address = closed.local_addr().unwrap();
        drop(closed);
        let answering = tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let mut message = answer(0, &[record(&POINTER, TYPE_A, &[10, 0, 0, 4])]);
            message[..2].copy_from_slice(&buffer[..2]);
            assert_eq!(&buffer[12..length], &question(7, NAME).unwrap()[12..]);
            // Noise first.
            server.send_to(b"x", client).await.unwrap();
            server.send_to(&message, client).await.unwrap();
        });
        let answer = ask(NAME, &[closed_address, address]).await.unwrap();
        assert_eq!(answer.addresses, [Ipv4Addr::new(10, 0, 0, 4)]);
        answering.await.unwrap();
    }
}
