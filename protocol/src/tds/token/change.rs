//! ENVCHANGE: something of the session or connection is different from now on (2.2.7.9).

use crate::tds::reader::{Reader, utf16};

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvChange {
    /// 1: the database.
    Database(String),
    /// 2: the language.
    Language(String),
    /// 4: the packet size, in bytes.
    PacketSize(usize),
    /// 7: the collation: LCID, flags, sort order.
    Collation([u8; 5]),
    /// 8 and 11: there is a transaction, with this descriptor.
    Began(u64),
    /// 9, 10, 12 and 17: there is none any more.
    Ended,
    /// 18: the session is as it was after its login.
    Reset,
    /// 20 and 21: the client shall connect elsewhere.
    Routing {
        /// Perhaps with the name of an instance behind a backslash.
        host: String,
        /// The TCP port.
        port: u16,
        /// Only with 21.
        database: Option<String>,
    },
    /// Another, by its number.
    Other(u8),
}

impl EnvChange {
    /// Reads the token behind its length. `None` if fields are missing.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        Some(match reader.u8()? {
            1 => Self::Database(utf16(reader.b_text()?)),
            2 => Self::Language(utf16(reader.b_text()?)),
            4 => Self::PacketSize(utf16(reader.b_text()?).trim().parse().ok()?),
            7 => match reader.b_bytes()?.try_into() {
                Ok(collation) => Self::Collation(collation),
                Err(_) => Self::Other(7),
            },
            8 | 11 => {
                let descriptor = reader.b_bytes()?.try_into().ok()?;
                match u64::from_le_bytes(descriptor) {
                    0 => Self::Ended,
                    descriptor => Self::Began(descriptor),
                }
            }
            9 | 10 | 12 | 17 => Self::Ended,
            18 => Self::Reset,
            number @ (20 | 21) => routing(number, &mut reader)?,
            number => Self::Other(number),
        })
    }
}

fn routing(number: u8, reader: &mut Reader<'_>) -> Option<EnvChange> {
    let length = reader.u16()?;
    let mut data = Reader::new(reader.bytes(usize::from(length))?);
    let protocol = data.u8()?;
    if protocol != 0 {
        // Only TCP is known.
        return None;
    }
    let port = data.u16()?;
    let host = utf16(data.us_text()?);
    let database = match number {
        21 => Some(utf16(data.us_text()?)),
        _ => None,
    };
    Some(EnvChange::Routing {
        host,
        port,
        database,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tds::reader::push_us_text;

    #[test]
    fn changes_are_read() {
        let text = |number: u8, text: &str| {
            let mut body = vec![number, u8::try_from(text.len()).unwrap()];
            body.extend(text.bytes().flat_map(|byte| [byte, 0]));
            body.push(0);
            EnvChange::read(&body)
        };
        assert_eq!(text(1, "app"), Some(EnvChange::Database("app".into())));
        assert_eq!(text(2, "x"), Some(EnvChange::Language("x".into())));
        assert_eq!(text(4, "8000"), Some(EnvChange::PacketSize(8000)));
        assert_eq!(text(4, "x"), None);
        let begin = [8, 8, 1, 0, 0, 0, 2, 0, 0, 0, 0];
        assert_eq!(
            EnvChange::read(&begin),
            Some(EnvChange::Began(0x2_0000_0001))
        );
        let commit = [9, 0, 8, 1, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(EnvChange::read(&commit), Some(EnvChange::Ended));
        assert_eq!(EnvChange::read(&[18, 0, 0]), Some(EnvChange::Reset));
        assert_eq!(
            EnvChange::read(&[7, 5, 9, 4, 0xd0, 0, 0x34, 0]),
            Some(EnvChange::Collation([9, 4, 0xd0, 0, 0x34]))
        );
        for cut in 0..begin.len() {
            let read = EnvChange::read(&begin[..cut]);
            assert_eq!(read.is_some(), cut >= 10, "{cut}");
        }
    }

    #[test]
    fn routes_are_read() {
        let mut data = vec![0, 0xf8, 0x2a];
        push_us_text(&mut data, r"host.example\inst", 100);
        let old = [0, 0];
        let body = |number, data: &[u8]| {
            let mut body = vec![number];
            body.extend(u16::try_from(data.len()).unwrap().to_le_bytes());
            body.extend(data);
            body.extend(old);
            body
        };
        let route = |database| EnvChange::Routing {
            host: r"host.example\inst".into(),
            port: 11000,
            database,
        };
        assert_eq!(EnvChange::read(&body(20, &data)), Some(route(None)));
        assert_eq!(EnvChange::read(&body(21, &data)), None);
        push_us_text(&mut data, "app", 100);
        assert_eq!(
            EnvChange::read(&body(21, &data)),
            Some(route(Some("app".into())))
        );
        data[0] = 1;
        assert_eq!(EnvChange::read(&body(20, &data)), None);
    }
}
