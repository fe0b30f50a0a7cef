//! Reading and writing little-endian numbers and UTF-16 text.

/// Bytes that do not mean what they should, and what was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub(in crate::tds) struct Malformed(pub(in crate::tds) &'static str);

/// Reads from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(in crate::tds) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of `what`, for its errors.
    pub(in crate::tds) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(in crate::tds) fn malformed(&self) -> Malformed {
        Malformed(self.what)
    }

    pub(in crate::tds) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(in crate::tds) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(in crate::tds) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.malformed())
    }

    pub(in crate::tds) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(in crate::tds) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(in crate::tds) fn u16_be(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(in crate::tds) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(in crate::tds) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count that is used as a length in memory.
    pub(in crate::tds) fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.u32()?;
        usize::try_from(length).map_err(|_| self.malformed())
    }

    /// Text of `units` UTF-16 code units.
    pub(in crate::tds) fn utf16(&mut self, units: usize) -> Result<String, Malformed> {
        let bytes = self.take(units * 2)?;
        utf16(bytes).ok_or_else(|| self.malformed())
    }

    /// B_VARCHAR: a byte of units, then text.
    pub(in crate::tds) fn b_varchar(&mut self) -> Result<String, Malformed> {
        let units = self.u8()?;
        self.utf16(units.into())
    }

    /// US_VARCHAR: two bytes of units, then text.
    pub(in crate::tds) fn us_varchar(&mut self) -> Result<String, Malformed> {
        let units = self.u16()?;
        self.utf16(units.into())
    }
}

/// Text of UTF-16LE; lone surrogates become U+FFFD, an odd length is `None`.
pub(in crate::tds) fn utf16(bytes: &[u8]) -> Option<String> {
    let (pairs, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
    Some(
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    )
}

pub(in crate::tds) fn put_utf16(out: &mut Vec<u8>, text: &str) {
    out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
}

/// Cut at 255 units.
pub(in crate::tds) fn put_b_varchar(out: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().take(255).collect();
    out.push(u8::try_from(units.len()).unwrap_or(u8::MAX));
    out.extend(units.into_iter().flat_map(u16::to_le_bytes));
}

/// Cut at 4,000 units, so that an error always fits its token.
pub(in crate::tds) fn put_us_varchar(out: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().take(4_000).collect();
    let count = u16::try_from(units.len()).unwrap_or(u16::MAX);
    out.extend(count.to_le_bytes());
    out.extend(units.into_iter().flat_map(u16::to_le_bytes));
}
