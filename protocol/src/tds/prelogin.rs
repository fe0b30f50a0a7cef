//! What is agreed on before the login: encryption, above all (MS-TDS 2.2.6.5).

use super::Violation;
use super::packet::{self, HEADER, Header, Kind};

/// The longest PRELOGIN that is read, in bytes of its packets.
pub const LONGEST: usize = 4096;

const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const INSTANCE: u8 = 2;
const THREAD: u8 = 3;
const MARS: u8 = 4;
const FED_AUTH: u8 = 6;
const END: u8 = 0xff;

/// How a client begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// With PRELOGIN; and the bytes of its packets.
    Prelogin(ClientPrelogin, usize),
    /// With LOGIN7, as clients without TLS may.
    Login,
    /// With TLS: TDS 8. Its PRELOGIN comes inside.
    StrictTls,
}

/// First bytes that are no client's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreloginError {
    /// A login of the time before TDS 7.
    #[error("the client speaks a TDS version before 7.0")]
    TooOld,
    /// An HTTP request: a browser, or a probe pointed at the wrong port.
    #[error("this is a port for SQL Server clients; the client speaks HTTP")]
    Http,
    /// A client of PostgreSQL.
    #[error("this is a port for SQL Server clients; the client speaks PostgreSQL's protocol")]
    Postgres,
    /// Anything else.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// What a client's PRELOGIN says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPrelogin {
    /// The version of the client's library: not the protocol's.
    pub version: [u8; 6],
    /// What it wants encrypted.
    pub encryption: Encryption,
    /// Whether it wants several requests at once on one connection. It does not get that.
    pub mars: bool,
    /// Whether it has a token of its own; `None` if it does not say.
    pub fed_auth: Option<bool>,
}

/// What a side can and wants to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// The login only.
    Off,
    /// Everything.
    On,
    /// Nothing: there is no TLS.
    NotSupported,
    /// Everything, or there will be no session.
    Required,
}

impl Encryption {
    /// Its byte in PRELOGIN.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::On => 1,
            Self::NotSupported => 2,
            Self::Required => 3,
        }
    }

    /// The bits above are for client certificates, which are nothing to us.
    fn from_byte(byte: u8) -> Self {
        match byte & 3 {
            0 => Self::Off,
            1 => Self::On,
            2 => Self::NotSupported,
            _ => Self::Required,
        }
    }
}

/// What the local door offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientTls {
    /// TLS for those who insist on it; everybody else is on this machine in clear.
    #[default]
    Auto,
    /// No TLS.
    Off,
    /// TLS for everybody.
    Require,
}

/// How the connection goes on behind PRELOGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// In clear.
    Plain,
    /// A TLS handshake follows, in packets; and everything goes through TLS behind it.
    Wrapped,
    /// The two sides can't come together: the client ends, or has to be ended.
    Refused,
}

/// What the client is told, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// For the answer.
    pub answer: Encryption,
    /// What follows it.
    pub channel: Channel,
}

/// 2.2.6.5's table for a server, except that nobody gets the login alone encrypted: there is no
/// secret in it that has to be kept from this machine, and some clients would check the
/// certificate for it. (They take "not supported" for an answer.)
#[must_use]
pub fn decide(client: Encryption, policy: ClientTls) -> Decision {
    use Encryption::{NotSupported, Off, On, Required};
    let (answer, channel) = match (policy, client) {
        (ClientTls::Auto | ClientTls::Off, Off | NotSupported) => (NotSupported, Channel::Plain),
        (ClientTls::Off, On | Required) => (NotSupported, Channel::Refused),
        (ClientTls::Auto | ClientTls::Require, On | Required) => (On, Channel::Wrapped),
        (ClientTls::Require, Off) => (Required, Channel::Wrapped),
        (ClientTls::Require, NotSupported) => (Required, Channel::Refused),
    };
    Decision { answer, channel }
}

impl First {
    /// Reads what stands at the start of `input`; `None` while bytes are missing. Inside the TLS
    /// of TDS 8 it is read in the same way.
    ///
    /// # Errors
    /// [`PreloginError`] for anything that no client sends.
    pub fn read(input: &[u8]) -> Result<Option<Self>, PreloginError> {
        match input.first() {
            None => return Ok(None),
            Some(0x16) => return Ok(Some(Self::StrictTls)),
            Some(0x02) => return Err(PreloginError::TooOld),
            // The length word of a StartupMessage or SSLRequest.
            Some(0) => return Err(PreloginError::Postgres),
            Some(b'A'..=b'Z') => return Err(PreloginError::Http),
            Some(_) => {}
        }
        let Some(header) = Header::read(input)? else {
            return Ok(None);
        };
        match header.kind {
            Kind::Login => Ok(Some(Self::Login)),
            Kind::Prelogin => {
                let message = packet::whole(input, LONGEST)?;
                message
                    .map(|message| {
                        let read = ClientPrelogin::read(&message.body)?;
                        Ok(Self::Prelogin(read, message.taken))
                    })
                    .transpose()
            }
            kind => Err(Violation::Kind { kind: kind.byte() }.into()),
        }
    }
}

impl ClientPrelogin {
    /// Reads the body of a PRELOGIN.
    ///
    /// # Errors
    /// [`Violation::Malformed`] for options that lie outside of it.
    pub fn read(body: &[u8]) -> Result<Self, Violation> {
        let mut prelogin = Self {
            version: [0; 6],
            encryption: Encryption::NotSupported,
            mars: false,
            fed_auth: None,
        };
        for_each_option(body, |option, data| match (option, data) {
            (VERSION, data) => read_version(data, &mut prelogin.version),
            (ENCRYPTION, [byte, ..]) => prelogin.encryption = Encryption::from_byte(*byte),
            (MARS, [byte, ..]) => prelogin.mars = *byte != 0,
            (FED_AUTH, [byte, ..]) => prelogin.fed_auth = Some(*byte != 0),
            _ => {}
        })?;
        Ok(prelogin)
    }

    /// Appends the packet that answers it. `version` is the server's, of its PRELOGIN.
    ///
    /// MARS is always answered: some take a server without it for one before 7.2. FEDAUTHREQUIRED
    /// only if it was asked for: no client of ours has to have a token.
    pub fn answer(&self, version: [u8; 6], encryption: Encryption, out: &mut Vec<u8>) {
        let mut options: Vec<(u8, &[u8])> = Vec::with_capacity(6);
        let encryption = [encryption.byte()];
        options.push((VERSION, &version));
        options.push((ENCRYPTION, &encryption));
        options.push((INSTANCE, &[0]));
        options.push((THREAD, &[]));
        options.push((MARS, &[0]));
        if self.fed_auth.is_some() {
            options.push((FED_AUTH, &[0]));
        }
        write(Kind::Answer, &options, out);
    }

    /// Appends the packet that asks a server. No nonce, so that there is none anywhere.
    pub fn request(&self, out: &mut Vec<u8>) {
        let (encryption, mars) = ([self.encryption.byte()], [u8::from(self.mars)]);
        let fed_auth = self.fed_auth.map(u8::from);
        let mut options: Vec<(u8, &[u8])> = vec![
            (VERSION, &self.version),
            (ENCRYPTION, &encryption),
            (INSTANCE, &[0]),
            (THREAD, &[0; 4]),
            (MARS, &mars),
        ];
        if fed_auth.is_some() {
            options.push((FED_AUTH, fed_auth.as_slice()));
        }
        write(Kind::Prelogin, &options, out);
    }
}

/// What a server answers to PRELOGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerPrelogin {
    /// Of the server: major, minor, two of build, two of sub-build.
    pub version: [u8; 6],
    /// What will be encrypted.
    pub encryption: Encryption,
    /// What LOGIN7 has to echo with its token (2.2.6.4); `None` if the server said nothing.
    pub fed_auth: Option<bool>,
}

impl ServerPrelogin {
    /// Reads the body of the answer.
    ///
    /// # Errors
    /// [`Violation::Malformed`] for options that lie outside of it.
    pub fn read(body: &[u8]) -> Result<Self, Violation> {
        let mut answer = Self {
            version: [0; 6],
            encryption: Encryption::NotSupported,
            fed_auth: None,
        };
        for_each_option(body, |option, data| match (option, data) {
            (VERSION, data) => read_version(data, &mut answer.version),
            (ENCRYPTION, [byte, ..]) => answer.encryption = Encryption::from_byte(*byte),
            (FED_AUTH, [byte, ..]) => answer.fed_auth = Some(*byte != 0),
            _ => {}
        })?;
        Ok(answer)
    }
}

fn read_version(data: &[u8], version: &mut [u8; 6]) {
    if let Ok(data) = data.try_into() {
        *version = data;
    }
}

fn for_each_option(body: &[u8], mut each: impl FnMut(u8, &[u8])) -> Result<(), Violation> {
    let malformed = |why| Violation::Malformed {
        what: "PRELOGIN",
        why,
    };
    let mut options = body;
    loop {
        let (&option, rest) = options.split_first().ok_or_else(|| malformed("no end"))?;
        if option == END {
            return Ok(());
        }
        let (&[a, b, c, d], rest) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| malformed("an option"))?;
        let offset = usize::from(u16::from_be_bytes([a, b]));
        let length = usize::from(u16::from_be_bytes([c, d]));
        let data = body
            .get(offset..offset + length)
            .ok_or_else(|| malformed("an option's place"))?;
        each(option, data);
        options = rest;
    }
}

fn write(kind: Kind, options: &[(u8, &[u8])], out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(64);
    let mut offset = 5 * options.len() + 1;
    for (option, data) in options {
        body.push(*option);
        for number in [offset, data.len()] {
            body.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
        }
        offset += data.len();
    }
    body.push(END);
    for (_, data) in options {
        body.extend_from_slice(data);
    }
    packet::split(out, kind, 0, packet::DEFAULT, &body);
}

/// How many bytes of TLS a packet of the handshake carries at most.
pub const HANDSHAKE_ROOM: usize = packet::DEFAULT - HEADER;

#[cfg(test)]
mod tests {
    use super::*;

    /// Of msodbcsql 18: VERSION, ENCRYPTION, INSTOPT, THREADID, MARS, TRACEID.
    fn odbc() -> Vec<u8> {
        let mut body = vec![
            0, 0, 31, 0, 6, 1, 0, 37, 0, 1, 2, 0, 38, 0, 1, 3, 0, 39, 0, 4, 4, 0, 43, 0, 1, 5, 0,
            44, 0, 36, 0xff,
        ];
        body.extend([18, 6, 0, 2, 0, 0, 1, 0, 1, 2, 3, 4, 1]);
        body.extend([7; 36]);
        let mut packet = Vec::new();
        packet::split(&mut packet, Kind::Prelogin, 0, 4096, &body);
        packet
    }

    #[test]
    fn a_driver_is_read_and_answered() {
        let bytes = odbc();
        for cut in 0..bytes.len() {
            assert_eq!(First::read(&bytes[..cut]), Ok(None), "{cut}");
        }
        let Ok(Some(First::Prelogin(prelogin, taken))) = First::read(&bytes) else {
            panic!("a PRELOGIN");
        };
        assert_eq!(taken, bytes.len());
        assert_eq!(prelogin.version, [18, 6, 0, 2, 0, 0]);
        assert_eq!(prelogin.encryption, Encryption::On);
        assert!(prelogin.mars);
        let mut out = Vec::new();
        prelogin.answer([12, 0, 7, 0, 0, 0], Encryption::On, &mut out);
        #[rustfmt::skip]
        assert_eq!(out, [
            4, 1, 0, 43, 0, 0, 1, 0,
            0, 0, 26, 0, 6,  1, 0, 32, 0, 1,  2, 0, 33, 0, 1,  3, 0, 34, 0, 0,  4, 0, 34, 0, 1,  0xff,
            12, 0, 7, 0, 0, 0,  1,  0,  0,
        ]);
        let asked = ClientPrelogin {
            fed_auth: Some(true),
            ..prelogin
        };
        out.clear();
        asked.answer([12, 0, 7, 0, 0, 0], Encryption::NotSupported, &mut out);
        let answer = ServerPrelogin::read(&out[HEADER..]).unwrap();
        assert_eq!(answer.fed_auth, Some(false));
        assert_eq!(answer.encryption, Encryption::NotSupported);
    }

    #[test]
    fn our_own_is_read() {
        for fed_auth in [None, Some(true)] {
            let asked = ClientPrelogin {
                version: [1, 2, 3, 4, 5, 6],
                encryption: Encryption::On,
                mars: false,
                fed_auth,
            };
            let mut out = Vec::new();
            asked.request(&mut out);
            let length = out.len();
            assert_eq!(First::read(&out), Ok(Some(First::Prelogin(asked, length))));
        }
    }

    #[test]
    fn first_bytes_of_others() {
        assert_eq!(First::read(&[0x16]), Ok(Some(First::StrictTls)));
        assert_eq!(First::read(&[2, 0]), Err(PreloginError::TooOld));
        assert_eq!(First::read(b"GET / HTTP/1.1"), Err(PreloginError::Http));
        assert_eq!(
            First::read(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]),
            Err(PreloginError::Postgres)
        );
        assert_eq!(
            First::read(&[0x10, 1, 0, 200, 0, 0, 1, 0]),
            Ok(Some(First::Login))
        );
        for bad in [
            &[1, 1, 0, 8, 0, 0, 1, 0][..],
            &[0x12, 1, 0, 8, 0, 0, 1, 0],
            &[0x12, 1, 0, 14, 0, 0, 1, 0, 1, 0, 200, 0, 1, 0xff],
            &[0x12, 0, 0x10, 1, 0, 0, 1, 0],
        ] {
            assert!(First::read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn who_gets_tls() {
        use Channel::{Plain, Refused, Wrapped};
        use Encryption::{NotSupported, Off, On, Required};
        #[rustfmt::skip]
        let table = [
            (Off,          [(NotSupported, Plain), (NotSupported, Plain),   (Required, Wrapped)]),
            (On,           [(On, Wrapped),         (NotSupported, Refused), (On, Wrapped)]),
            (NotSupported, [(NotSupported, Plain), (NotSupported, Plain),   (Required, Refused)]),
            (Required,     [(On, Wrapped),         (NotSupported, Refused), (On, Wrapped)]),
        ];
        for (client, expected) in table {
            let policies = [ClientTls::Auto, ClientTls::Off, ClientTls::Require];
            for (policy, (answer, channel)) in policies.into_iter().zip(expected) {
                let decision = Decision { answer, channel };
                assert_eq!(decide(client, policy), decision, "{client:?} {policy:?}");
            }
        }
    }
}
