//! Reading and writing of fields: little-endian numbers, counted bytes, UTF-16 (MS-TDS 2.2.5.1).

/// Takes fields off the front of some bytes; `None` where they end too early.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// `B_VARBYTE`: a count of bytes in one byte.
    pub(super) fn b_bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.u8()?;
        self.bytes(usize::from(count))
    }

    /// `B_VARCHAR`: a count of characters in one byte.
    pub(super) fn b_text(&mut self) -> Option<&'a [u8]> {
        let count = self.u8()?;
        self.bytes(2 * usize::from(count))
    }

    /// `US_VARCHAR`: a count of characters in two bytes.
    pub(super) fn us_text(&mut self) -> Option<&'a [u8]> {
        let count = self.u16()?;
        self.bytes(2 * usize::from(count))
    }
}

/// UTF-16 as a string. What is no UTF-16 is replaced.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit)))
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Appends `text` as UTF-16.
pub(super) fn push_utf16(out: &mut Vec<u8>, text: &str) {
    for unit in text.encode_utf16() {
        out.extend_from_slice(&unit.to_le_bytes());
    }
}

/// How many units of UTF-16 a text has.
pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Appends a `B_VARCHAR`; what is beyond 255 units is left out.
pub(super) fn push_b_text(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    out.push(0);
    push_utf16_within(out, text, usize::from(u8::MAX));
    let count = u8::try_from((out.len() - start - 1) / 2).unwrap_or(u8::MAX);
    if let Some(place) = out.get_mut(start) {
        *place = count;
    }
}

/// Appends a `US_VARCHAR` of at most `limit` units.
pub(super) fn push_us_text(out: &mut Vec<u8>, text: &str, limit: usize) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    push_utf16_within(out, text, limit.min(usize::from(u16::MAX)));
    let count = u16::try_from((out.len() - start - 2) / 2).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&count.to_le_bytes());
    }
}

fn push_utf16_within(out: &mut Vec<u8>, text: &str, limit: usize) {
    let mut left = limit;
    for character in text.chars() {
        let Some(after) = left.checked_sub(character.len_utf16()) else {
            return;
        };
        left = after;
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            out.extend_from_slice(&unit.to_le_bytes());
        }
    }
}

/// Appends a two-byte count of bytes and what `body` appends.
pub(super) fn counted_u16(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    body(out);
    let count = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&count.to_le_bytes());
    }
}

/// Overwrites what stands at `at`, if there is as much.
pub(super) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        let mut out = Vec::new();
        push_us_text(&mut out, "ab\u{1f600}", 3);
        assert_eq!(out, [2, 0, b'a', 0, b'b', 0]);
        out.clear();
        push_b_text(&mut out, &"x".repeat(300));
        assert_eq!((out.len(), out.first()), (511, Some(&255)));
        let mut reader = Reader::new(&out);
        assert_eq!(reader.b_text().map(utf16), Some("x".repeat(255)));
        assert!(reader.rest().is_empty());
        assert_eq!(reader.u8(), None);
    }

    #[test]
    fn what_is_no_utf_16_is_replaced() {
        assert_eq!(
            utf16(&[0x3d, 0xd8, 0x00, 0xde, 0x3d, 0xd8, b'a', 0, 9]),
            "\u{1f600}\u{fffd}a"
        );
    }
}
