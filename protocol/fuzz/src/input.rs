//! How a fuzzer's bytes are read: flags, a pattern of cuts, a stream.

/// Longest stream. Below the limits that depend on what has arrived of a message: a longer
/// name passes if its message came whole and is refused if it came in parts, rightly so.
const LONGEST: usize = 8_000;
/// Most numbers in a pattern of cuts.
const MOST_CUTS: usize = 8;

/// `flags`, the number of cuts, the cuts, the stream.
pub struct Input<'a> {
    pub flags: u8,
    pub cuts: &'a [u8],
    pub stream: &'a [u8],
}

impl<'a> Input<'a> {
    /// `None` if there is too little of it.
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (&[flags, count], rest) = data.split_first_chunk::<2>()?;
        let count = usize::from(count) % (MOST_CUTS + 1);
        let (cuts, stream) = rest.split_at_checked(count)?;
        Some(Self {
            flags,
            cuts,
            stream: &stream[..stream.len().min(LONGEST)],
        })
    }

    /// One bit of the flags.
    pub fn flag(&self, bit: u8) -> bool {
        self.flags >> bit & 1 == 1
    }

    /// The lengths that the pattern gives, over and over: at least 1 each.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        let cuts = if self.cuts.is_empty() {
            &[0]
        } else {
            self.cuts
        };
        cuts.iter().cycle().map(|&cut| usize::from(cut) + 1)
    }
}

/// `stream` in pieces of these lengths.
pub fn pieces(stream: &[u8], lengths: impl Iterator<Item = usize>) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    for length in lengths {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}
