//! Hot path: no allocation once grown. Texts that were found to leave nothing behind: an
//! application asks the same again and again, and comparing is cheaper than reading.
//!
//! Numbers that stand alone (`= 42;`, `(1, 2)`) count as one and the same, since no scan looks at
//! them: an application that writes its values into its texts asks the same, too.

/// How many are kept of one backend.
const SLOTS: usize = 16;
/// Longest text that is kept, in bytes.
const LONGEST: usize = 1024;

/// A few texts, each in the place that its content gives it. A character of theirs has `UNIT`
/// bytes, or several times as many: 1 in PostgreSQL's encodings, 2 in UTF-16.
#[derive(Debug, Default)]
pub(crate) struct Harmless<const UNIT: usize> {
    kept: Vec<Vec<u8>>,
    /// Memory for the text that is looked for.
    shape: Vec<u8>,
}

impl<const UNIT: usize> Harmless<UNIT> {
    /// Whether this text has been found harmless.
    #[inline]
    pub(crate) fn knows(&mut self, text: &[u8]) -> bool {
        if self.kept.is_empty() || text.is_empty() || text.len() > LONGEST {
            return false;
        }
        let shape = shaped::<UNIT>(text, &mut self.shape);
        self.kept.get(slot(shape)).is_some_and(|kept| kept == shape)
    }

    /// The text leaves nothing behind.
    pub(crate) fn learn(&mut self, text: &[u8]) {
        // `U&'=0041' UESCAPE '='`: there, a digit is part of a character.
        let escapes = text.windows(2).any(|two| matches!(two, b"U&" | b"u&"));
        if text.len() > LONGEST || escapes {
            return;
        }
        if self.kept.is_empty() {
            self.kept.resize_with(SLOTS, Vec::new);
        }
        let shape = shaped::<UNIT>(text, &mut self.shape);
        if let Some(place) = self.kept.get_mut(slot(shape)) {
            place.clear();
            place.extend_from_slice(shape);
        }
    }
}

/// The text with `0` for every number that stands alone; `memory` is used where there is one.
fn shaped<'a, const UNIT: usize>(text: &'a [u8], memory: &'a mut Vec<u8>) -> &'a [u8] {
    memory.clear();
    let (mut copied, mut at) = (0, 0);
    while let Some(begin) = digit(text, at) {
        let end = digits_end::<UNIT>(text, begin);
        if stands_alone::<UNIT>(text, begin, end) {
            memory.extend_from_slice(text.get(copied..begin).unwrap_or_default());
            memory.extend_from_slice(unit::<UNIT>(b'0').as_ref());
            copied = end;
        }
        at = end.max(begin + 1);
    }
    if copied == 0 {
        return text;
    }
    memory.extend_from_slice(text.get(copied..).unwrap_or_default());
    memory
}

/// Where the next byte is that may be a digit. Most texts have few: eight bytes at once.
#[inline]
fn digit(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let (eights, _) = rest.as_chunks::<8>();
    let clean = eights
        .iter()
        .take_while(|eight| !has_digit(**eight))
        .count()
        * 8;
    let found = rest.get(clean..)?.iter().position(u8::is_ascii_digit)?;
    Some(from + clean + found)
}

/// Whether one of the bytes is `0` to `9`.
#[inline]
fn has_digit(eight: [u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let value = u64::from_le_bytes(eight) ^ (0x30 * ONES);
    // A byte is 10 or more if adding 0x76 sets its uppermost bit, or if that is set already.
    let more = (value & (0x7f * ONES)) + 0x76 * ONES;
    (more | value) & (0x80 * ONES) != 0x80 * ONES
}

/// Where the digits end that begin at `begin`; `begin` itself if that is none.
fn digits_end<const UNIT: usize>(text: &[u8], begin: usize) -> usize {
    if !begin.is_multiple_of(UNIT) {
        return begin;
    }
    let digits = text.get(begin..).unwrap_or_default().chunks_exact(UNIT);
    begin
        + UNIT
            * digits
                .take_while(|one| single(one).is_some_and(|one| one.is_ascii_digit()))
                .count()
}

/// Whether what is around says that the digits are a whole number, and nothing but a number.
fn stands_alone<const UNIT: usize>(text: &[u8], begin: usize, end: usize) -> bool {
    let before = begin.checked_sub(UNIT).and_then(|at| text.get(at..begin));
    let behind = text.get(end..).and_then(|rest| rest.get(..UNIT));
    end > begin
        && matches!(
            before.and_then(single),
            Some(b' ' | b'\n' | b'\t' | b'(' | b',' | b'=')
        )
        && match behind {
            None => end == text.len(),
            Some(behind) => matches!(
                single(behind),
                Some(b' ' | b'\n' | b'\r' | b',' | b')' | b';')
            ),
        }
}

/// An ASCII character.
fn single(unit: &[u8]) -> Option<u8> {
    let (&first, rest) = unit.split_first()?;
    rest.iter().all(|&byte| byte == 0).then_some(first)
}

fn unit<const UNIT: usize>(character: u8) -> [u8; UNIT] {
    let mut unit = [0; UNIT];
    unit[0] = character;
    unit
}

fn slot(shape: &[u8]) -> usize {
    // The golden ratio: near values come to lie apart.
    let mix = |sum: u64, eight: &[u8; 8]| {
        (sum ^ u64::from_le_bytes(*eight)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let (eights, _) = shape.as_chunks::<8>();
    let sum = eights.iter().fold(shape.len() as u64, mix);
    let end = shape.last_chunk::<8>().copied().unwrap_or_default();
    // The uppermost bits have something of all.
    usize::try_from(mix(sum ^ (sum >> 32), &end) >> 60).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    /// Whether the second text is known when the first one has been learned, in both encodings.
    fn is_known(learned: &str, asked: &str) -> bool {
        let (mut narrow, mut twice) = (Harmless::<1>::default(), Harmless::<2>::default());
        narrow.learn(learned.as_bytes());
        twice.learn(&wide(learned));
        let known = narrow.knows(asked.as_bytes());
        assert_eq!(twice.knows(&wide(asked)), known, "{learned} {asked}");
        known
    }

    #[test]
    fn only_what_was_learned_is_known() {
        let mut harmless = Harmless::<1>::default();
        assert!(!harmless.knows(b"") && !harmless.knows(b"select a"));
        harmless.learn(b"");
        harmless.learn(b"select a");
        assert!(!harmless.knows(b"") && harmless.knows(b"select a"));
        assert!(!harmless.knows(b"select b") && !harmless.knows(b"select a "));
        for number in 0..1_000 {
            harmless.learn(format!("select a{number}").as_bytes());
        }
        assert!(harmless.knows(b"select a999"));
        let long = [b'x'; LONGEST + 1];
        harmless.learn(&long);
        assert!(!harmless.knows(&long));
    }

    #[test]
    fn numbers_are_all_the_same() {
        for (learned, asked) in [
            ("select 1", "select 23456"),
            (
                "select a from t where id = 1;",
                "select a from t where id = 999;",
            ),
            (
                "insert into t values (1, 2,3)",
                "insert into t values (10, 20,30)",
            ),
            (
                "select a from t where id=1\n",
                "select a from t where id=77\n",
            ),
        ] {
            assert!(is_known(learned, asked), "{learned} {asked}");
            assert!(is_known(asked, learned), "{learned} {asked}");
        }
    }

    #[test]
    fn what_is_more_than_a_number_is_not() {
        for (learned, asked) in [
            ("select 1", "select 1a"),
            ("select 1", "select a"),
            ("select a1", "select a2"),
            ("select $1", "select $2"),
            ("select '1'", "select '2'"),
            ("select E'\\1'", "select E'\\2'"),
            ("select 1.5", "select 2.5"),
            ("select 0x1", "select 0x2"),
            ("select 1e5", "select 2e5"),
            ("select \"1\"", "select \"2\""),
            ("1 select", "2 select"),
            ("select 1", "select 1 1"),
            ("select 1", "select"),
            ("select 1", "select \u{3130}"),
        ] {
            assert!(is_known(learned, learned), "{learned}");
            assert!(!is_known(learned, asked), "{learned} {asked}");
        }
        // A digit that is half of a character.
        let mut twice = Harmless::<2>::default();
        twice.learn(&wide("select \u{3120}x"));
        assert!(!twice.knows(&wide("select \u{3220}x")));
    }

    #[test]
    fn escapes_by_any_character_are_not_kept() {
        let text = b"select U&'=0041' uescape '='";
        let mut harmless = Harmless::<1>::default();
        harmless.learn(text);
        assert!(!harmless.knows(text));
    }

    #[test]
    fn a_digit_is_found_wherever_it_is() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut eight = *b"/:/:/:/:";
                eight[place] = byte;
                assert_eq!(has_digit(eight), byte.is_ascii_digit(), "{byte} {place}");
            }
        }
        let text = b"................7......8";
        assert_eq!(
            (digit(text, 0), digit(text, 17), digit(text, 24)),
            (Some(16), Some(23), None)
        );
    }

    #[test]
    fn every_slot_is_used() {
        let mut used = [false; SLOTS];
        for number in 0..1_000 {
            used[slot(format!("select a{number} from t").as_bytes())] = true;
        }
        assert_eq!(used, [true; SLOTS]);
    }
}
