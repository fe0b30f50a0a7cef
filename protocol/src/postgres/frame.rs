//! Hot path: no allocation, no copies. Message headers: a tag byte and a length word (55.7).

use super::Violation;

/// Bytes of a header: tag and length word.
pub const HEADER: usize = 5;

/// The largest length word that PostgreSQL accepts (`PQ_LARGE_MESSAGE_LIMIT`, 1 GiB - 1).
pub const MAX_LENGTH: u32 = 0x3fff_ffff;

/// The header of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message type.
    pub tag: u8,
    /// The length word: itself and the body, without the tag. 4 to [`MAX_LENGTH`].
    pub length: u32,
}

impl Header {
    /// Reads the header at the start of `input`; `None` while there are fewer than 5 bytes.
    ///
    /// # Errors
    /// [`Violation::Length`] for a length word outside 4 to [`MAX_LENGTH`].
    #[inline]
    pub fn read(input: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if !(4..=MAX_LENGTH).contains(&length) {
            return Err(Violation::Length {
                tag: tag.into(),
                length,
            });
        }
        Ok(Some(Self { tag, length }))
    }

    /// The whole message with its tag, in bytes: 5 to 1 GiB.
    #[inline]
    #[must_use]
    pub fn total(self) -> usize {
        self.length as usize + 1
    }

    /// The body, if `input` (which begins with this header) holds the whole message.
    #[inline]
    #[must_use]
    pub fn body(self, input: &[u8]) -> Option<&[u8]> {
        input.get(HEADER..self.total())
    }
}

/// Splits a zero-terminated string off the front; the terminator belongs to neither part.
#[must_use]
pub fn split_cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// Reads the body of a ParameterStatus: name and value.
///
/// # Errors
/// [`Violation::Malformed`] if either does not end.
pub fn split_parameter(body: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let malformed = |what| Violation::Malformed { tag: 'S', what };
    let (name, rest) = split_cstr(body).ok_or_else(|| malformed("name"))?;
    let (value, _) = split_cstr(rest).ok_or_else(|| malformed("value"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_length() {
        assert_eq!(Header::read(b"Q\0\0\0"), Ok(None));
        let header = Header::read(b"Q\0\0\0\x06a\0").unwrap().unwrap();
        assert_eq!((header.tag, header.total()), (b'Q', 7));
        assert_eq!(header.body(b"Q\0\0\0\x06a\0"), Some(&b"a\0"[..]));
        assert_eq!(header.body(b"Q\0\0\0\x06a"), None);
        for bad in [0_u32, 3, MAX_LENGTH + 1, u32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend(bad.to_be_bytes());
            assert!(Header::read(&bytes).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_end_at_zero() {
        assert_eq!(split_cstr(b"ab\0cd"), Some((&b"ab"[..], &b"cd"[..])));
        assert_eq!(split_cstr(b"ab"), None);
    }
}
