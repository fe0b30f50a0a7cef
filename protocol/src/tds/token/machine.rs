//! Hot path: no allocation per row or packet, no copies of what is not looked at. Passes over
//! fields and values by their lengths, however packets cut them.

mod metadata;
mod rows;

use super::layout::{Layout, Purpose, Value};

/// Most bytes of a token or text that are kept for looking at it.
pub(super) const LONGEST_KEPT: usize = 64 * 1024;
/// The longest field that is read as one, in bytes.
const LONGEST_FIELD: usize = 16;
/// Steps that may wait at a time. The deepest nesting is an encrypted column of a user's type.
const MOST_STEPS: usize = 16;

/// One thing to read or pass over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A text with its count of characters in one byte.
    ByteText,
    /// One with its count in two bytes.
    WordText,
    /// So many of the latter, one after the other.
    WordTexts(u8),
    /// Bytes with their count in two bytes.
    WordBytes,
    /// Bytes with their count in four.
    LongBytes,
    Skip(u8),
    /// So many bytes are kept, as far as there is room.
    Keep(u32),
    /// What is kept is complete: it is told.
    TellKept,
    /// Two or four bytes of length, and a content that is told.
    WordToken,
    LongToken,
    /// FEATUREEXTACK: pairs of number and data, kept.
    Feature,
    /// What a DONE says.
    Done,
    /// RETURNSTATUS.
    Status,
    /// A value of this layout; where it is kept, behind its length.
    Value(Value),
    KeptValue(Value),
    /// text, behind its pointer.
    TextData,
    Chunk,
    KeptChunk,
    /// The columns from this one on of a row.
    Row(u16),
    /// The bitmap of NULLs in front of a row.
    Bitmap,
    /// Of COLMETADATA: how many columns, and so many columns.
    ColumnCount,
    Columns(u16),
    KeyCount,
    Keys(u16),
    KeyValueCount,
    KeyValues(u8),
    Type(u8, Purpose),
    Table,
    /// What an encrypted column would be in clear: its type, then how it is encrypted.
    Encrypted,
    Algorithm,
    /// Of RETURNVALUE: the ordinal; what stands in front of the type; the value.
    Ordinal,
    ReturnType,
    Single,
    /// An int behind its length.
    IntValue,
    /// The bytes of an int from this one on, which are told.
    IntBytes(u8),
    /// Of DATACLASSIFICATION: labels, types and the columns that have them.
    LabelCount,
    Labels(u16),
    SensitiveCount,
    Sensitive(u16),
    Properties(u16),
    /// A table as a parameter: columns, orders, rows.
    TableCount,
    TableOrders,
    OrderCount(u8),
    TableRows,
    SkipWords(u16, u8),
}

/// Steps still to be done: the next one last.
#[derive(Debug, Clone, Copy)]
struct Steps {
    steps: [Step; MOST_STEPS],
    length: usize,
}

impl Steps {
    const NONE: Self = Self {
        steps: [Step::ByteText; MOST_STEPS],
        length: 0,
    };

    #[inline]
    fn pop(&mut self) -> Option<Step> {
        self.length = self.length.checked_sub(1)?;
        self.steps.get(self.length).copied()
    }
}

/// The input, and how far it is read.
pub(super) struct Window<'i> {
    pub(super) input: &'i [u8],
    pub(super) at: usize,
}

impl<'i> Window<'i> {
    #[inline]
    pub(super) fn rest(&self) -> &'i [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// All steps are done.
    Idle,
    /// The input is at its end.
    Starved,
    /// Something to tell.
    Tell(Telling),
    /// It can't be what it says.
    Lost,
}

/// What there is to tell: by places, not by bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// What is kept.
    Kept,
    /// This stretch of the input.
    Here {
        from: usize,
        to: usize,
    },
    Done {
        status: u16,
        command: u16,
        rows: u64,
    },
    Status(i32),
    /// Bytes of an int: where, from which on, how many.
    Int {
        at: usize,
        from: u8,
        count: u8,
    },
}

/// What one step came to.
enum Stepped {
    More,
    /// The step has to be done again when there is more input.
    Again,
    /// The input is at its end; what is left of the step is noted.
    Starved,
    Tell(Telling),
    Lost,
}

/// Does steps.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) layout: Layout,
    /// Bytes to pass over.
    skip: usize,
    steps: Steps,
    /// A field that packets cut.
    carry: [u8; LONGEST_FIELD],
    carried: usize,
    /// The layouts of the columns of the rows to come.
    columns: Vec<Value>,
    /// Whether there are any: the server may leave them out.
    pub(super) has_columns: bool,
    /// The bitmap of the present row; empty if it has none.
    nulls: Vec<u8>,
    /// What is kept of a token or text.
    pub(super) kept: Vec<u8>,
    /// There was more of it than is kept.
    pub(super) overflowed: bool,
    /// Which parameter a RETURNVALUE is of.
    pub(super) ordinal: u16,
    /// The value behind the present type, and whether it is an int of four bytes.
    pub(super) single: Value,
    pub(super) is_int: bool,
}

impl Machine {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            skip: 0,
            steps: Steps::NONE,
            carry: [0; LONGEST_FIELD],
            carried: 0,
            columns: Vec::new(),
            has_columns: false,
            nulls: Vec::new(),
            kept: Vec::new(),
            overflowed: false,
            ordinal: 0,
            single: Value::Fixed(0),
            is_int: false,
        }
    }

    /// `steps` in the order in which they are to be done, before all others.
    #[inline]
    pub(super) fn push(&mut self, steps: &[Step]) {
        for step in steps.iter().rev() {
            if let Some(place) = self.steps.steps.get_mut(self.steps.length) {
                *place = *step;
                self.steps.length += 1;
            }
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.skip == 0 && self.steps.length == 0 && self.carried == 0
    }

    /// Forgets everything but its memory.
    pub(super) fn clear(&mut self) {
        self.skip = 0;
        self.steps.length = 0;
        self.carried = 0;
        self.has_columns = false;
        self.kept.clear();
        self.overflowed = false;
        if self.kept.capacity() > LONGEST_KEPT / 16 {
            self.kept = Vec::new();
        }
        if self.columns.capacity() > 1024 {
            self.columns = Vec::new();
        }
    }

    /// Does steps until there is something to tell, or the input or the steps are at their end.
    #[inline]
    pub(super) fn run(&mut self, window: &mut Window<'_>) -> Ran {
        loop {
            if self.skip > 0 {
                let step = self.skip.min(window.rest().len());
                window.at += step;
                self.skip -= step;
                if self.skip > 0 {
                    return Ran::Starved;
                }
            }
            let Some(step) = self.steps.pop() else {
                return Ran::Idle;
            };
            match self.step(step, window) {
                Stepped::More => {}
                Stepped::Again => {
                    self.push(&[step]);
                    return Ran::Starved;
                }
                Stepped::Starved => return Ran::Starved,
                Stepped::Tell(telling) => return Ran::Tell(telling),
                Stepped::Lost => return Ran::Lost,
            }
        }
    }

    /// The next `N` bytes as one; `None` while some are missing.
    #[inline]
    pub(super) fn field<const N: usize>(&mut self, window: &mut Window<'_>) -> Option<[u8; N]> {
        if self.carried == 0
            && let Some(field) = window.rest().first_chunk::<N>()
        {
            window.at += N;
            return Some(*field);
        }
        self.carry_on(window, N)?;
        self.carry.first_chunk::<N>().copied()
    }

    /// Completes a field of `length` bytes that packets cut.
    fn carry_on(&mut self, window: &mut Window<'_>, length: usize) -> Option<()> {
        let rest = window.rest();
        let take = length.saturating_sub(self.carried).min(rest.len());
        let to = self.carried + take;
        let place = self.carry.get_mut(self.carried..to)?;
        place.copy_from_slice(rest.get(..take)?);
        window.at += take;
        self.carried = to;
        if to < length {
            return None;
        }
        self.carried = 0;
        Some(())
    }

    #[inline]
    fn step(&mut self, step: Step, window: &mut Window<'_>) -> Stepped {
        match step {
            Step::Row(from) => self.row(window, from),
            Step::Skip(count) => self.pass(usize::from(count)),
            Step::Keep(count) => self.keep(window, count),
            Step::TellKept => Stepped::Tell(Telling::Kept),
            Step::IntBytes(from) => self.int_bytes(window, from),
            Step::Type(kind, purpose) => self.type_of(window, kind, purpose),
            Step::Bitmap => self.bitmap(window),
            Step::Done => self.done(window),
            Step::Value(Value::Table) => {
                self.push(&[Step::TableCount, Step::TableOrders, Step::TableRows]);
                Stepped::More
            }
            Step::Value(Value::Fixed(count)) => self.pass(usize::from(count)),
            Step::Single => {
                self.push(&[match self.single {
                    Value::Short if self.is_int => Step::IntValue,
                    Value::Fixed(4) if self.is_int => Step::IntBytes(0),
                    value => Step::Value(value),
                }]);
                Stepped::More
            }
            Step::KeptValue(Value::Fixed(count)) => {
                self.push(&[Step::Keep(count.into())]);
                Stepped::More
            }
            Step::Value(Value::Long | Value::Data)
            | Step::KeptValue(Value::Long | Value::Data)
            | Step::LongBytes
            | Step::LongToken
            | Step::TextData
            | Step::Chunk
            | Step::KeptChunk
            | Step::Status => match self.field::<4>(window) {
                Some(field) => self.long(step, u32::from_le_bytes(field)),
                None => Stepped::Again,
            },
            Step::Value(Value::Plp) | Step::KeptValue(Value::Plp) => {
                match self.field::<8>(window) {
                    Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => Stepped::More,
                    Some(_) => {
                        let is_kept = matches!(step, Step::KeptValue(_));
                        self.push(&[if is_kept {
                            Step::KeptChunk
                        } else {
                            Step::Chunk
                        }]);
                        Stepped::More
                    }
                    None => Stepped::Again,
                }
            }
            Step::Columns(left) => self.column(window, left),
            Step::Keys(left) => {
                self.counted(left, Step::Keys, &[Step::Skip(20), Step::KeyValueCount])
            }
            Step::KeyValues(left) => self.key_value(left),
            Step::Labels(left) => {
                self.counted(left, Step::Labels, &[Step::ByteText, Step::ByteText])
            }
            Step::Sensitive(left) => self.sensitive(window, left),
            Step::Properties(left) => self.pass(usize::from(left) * self.property()),
            Step::SkipWords(count, size) => self.pass(usize::from(count) * usize::from(size)),
            Step::Feature | Step::ReturnType => self.head(step, window),
            Step::WordText
            | Step::WordTexts(_)
            | Step::WordBytes
            | Step::WordToken
            | Step::Value(Value::Medium)
            | Step::KeptValue(Value::Medium)
            | Step::ColumnCount
            | Step::KeyCount
            | Step::Ordinal
            | Step::LabelCount
            | Step::SensitiveCount
            | Step::TableCount
            | Step::OrderCount(_) => self.word_step(step, window),
            Step::ByteText
            | Step::IntValue
            | Step::Value(Value::Short | Value::Text)
            | Step::KeptValue(Value::Short | Value::Text | Value::Table)
            | Step::KeyValueCount
            | Step::Table
            | Step::Encrypted
            | Step::Algorithm
            | Step::TableOrders
            | Step::TableRows => self.byte_step(step, window),
        }
    }

    #[inline]
    fn pass(&mut self, count: usize) -> Stepped {
        self.skip = count;
        Stepped::More
    }

    fn then(&mut self, steps: &[Step]) -> Stepped {
        self.push(steps);
        Stepped::More
    }

    /// So many times the same steps.
    fn counted(&mut self, left: u16, again: fn(u16) -> Step, steps: &[Step]) -> Stepped {
        if let Some(left) = left.checked_sub(1) {
            self.push(&[again(left)]);
            self.push(steps);
        }
        Stepped::More
    }

    fn keep(&mut self, window: &mut Window<'_>, count: u32) -> Stepped {
        let Ok(count) = usize::try_from(count) else {
            return Stepped::Lost;
        };
        let rest = window.rest();
        let take = count.min(rest.len());
        let room = LONGEST_KEPT.saturating_sub(self.kept.len());
        self.overflowed |= take > room;
        self.kept
            .extend_from_slice(rest.get(..take.min(room)).unwrap_or_default());
        window.at += take;
        match u32::try_from(count - take) {
            Ok(0) => Stepped::More,
            Ok(left) => {
                self.push(&[Step::Keep(left)]);
                Stepped::Starved
            }
            Err(_) => Stepped::Lost,
        }
    }

    fn int_bytes(&mut self, window: &mut Window<'_>, from: u8) -> Stepped {
        let missing = 4_u8.saturating_sub(from);
        let here = u8::try_from(window.rest().len()).unwrap_or(u8::MAX);
        let count = here.min(missing);
        if count == 0 {
            return Stepped::Again;
        }
        let at = window.at;
        window.at += usize::from(count);
        if count < missing {
            self.push(&[Step::IntBytes(from + count)]);
        }
        Stepped::Tell(Telling::Int { at, from, count })
    }

    fn done(&mut self, window: &mut Window<'_>) -> Stepped {
        // 7.1 has the count in four bytes.
        let field = match self.layout.old {
            true => self
                .field::<8>(window)
                .map(|[a, b, c, d, e, f, g, h]| [a, b, c, d, e, f, g, h, 0, 0, 0, 0]),
            false => self.field::<12>(window),
        };
        match field {
            Some([a, b, c, d, rows @ ..]) => Stepped::Tell(Telling::Done {
                status: u16::from_le_bytes([a, b]),
                command: u16::from_le_bytes([c, d]),
                rows: u64::from_le_bytes(rows),
            }),
            None => Stepped::Again,
        }
    }

    /// Steps that begin with four bytes.
    fn long(&mut self, step: Step, word: u32) -> Stepped {
        let null = word == u32::MAX;
        let Ok(count) = usize::try_from(word) else {
            return Stepped::Lost;
        };
        match step {
            Step::Status => Stepped::Tell(Telling::Status(word.cast_signed())),
            Step::LongToken => self.then(&[Step::Keep(word), Step::TellKept]),
            Step::Chunk if count > 0 => {
                self.push(&[Step::Chunk]);
                self.pass(count)
            }
            Step::KeptChunk if count > 0 => self.then(&[Step::Keep(word), Step::KeptChunk]),
            Step::Chunk | Step::KeptChunk => Stepped::More,
            Step::Value(Value::Data) if null => Stepped::More,
            Step::KeptValue(Value::Data) if null => Stepped::More,
            Step::KeptValue(_) => self.then(&[Step::Keep(word)]),
            _ => self.pass(count),
        }
    }

    /// Steps that begin with two bytes.
    fn word_step(&mut self, step: Step, window: &mut Window<'_>) -> Stepped {
        let Some(field) = self.field::<2>(window) else {
            return Stepped::Again;
        };
        let word = u16::from_le_bytes(field);
        let count = usize::from(word);
        match step {
            Step::WordText => self.pass(2 * count),
            Step::WordTexts(left) => {
                if left > 1 {
                    self.push(&[Step::WordTexts(left - 1)]);
                }
                self.pass(2 * count)
            }
            Step::WordToken => {
                let (from, to) = (window.at, window.at + count);
                if window.input.len() >= to {
                    window.at = to;
                    return Stepped::Tell(Telling::Here { from, to });
                }
                self.then(&[Step::Keep(word.into()), Step::TellKept])
            }
            Step::Value(_) | Step::KeptValue(_) if word == u16::MAX => Stepped::More,
            Step::KeptValue(_) => self.then(&[Step::Keep(word.into())]),
            Step::ColumnCount => {
                self.columns.clear();
                self.has_columns = word != u16::MAX;
                if !self.has_columns {
                    return Stepped::More;
                }
                self.push(&[Step::Columns(word)]);
                if self.layout.column_encryption {
                    self.push(&[Step::KeyCount]);
                }
                Stepped::More
            }
            Step::KeyCount => self.then(&[Step::Keys(word)]),
            Step::Ordinal => {
                self.ordinal = word;
                let user_type = if self.layout.old { 2 } else { 4 };
                // Name, status, user type; flags and type are read as one.
                self.then(&[Step::ByteText, Step::Skip(1 + user_type), Step::ReturnType])
            }
            Step::LabelCount => self.then(&[Step::Labels(word)]),
            Step::SensitiveCount => self.then(&[Step::Sensitive(word)]),
            Step::TableCount => {
                self.columns.clear();
                let columns = if word == u16::MAX { 0 } else { word };
                self.then(&[Step::Columns(columns)])
            }
            Step::OrderCount(size) => self.then(&[Step::SkipWords(word, size)]),
            _ => self.pass(count),
        }
    }

    /// Steps that begin with one byte.
    fn byte_step(&mut self, step: Step, window: &mut Window<'_>) -> Stepped {
        let Some([byte]) = self.field::<1>(window) else {
            return Stepped::Again;
        };
        let count = usize::from(byte);
        match step {
            Step::ByteText => self.pass(2 * count),
            Step::Value(Value::Text) => {
                if byte > 0 {
                    // Pointer and timestamp.
                    self.push(&[Step::TextData]);
                    self.skip = count + 8;
                }
                Stepped::More
            }
            Step::KeptValue(_) => self.then(&[Step::Keep(byte.into())]),
            Step::KeyValueCount => self.then(&[Step::KeyValues(byte)]),
            Step::IntValue if byte == 4 => self.then(&[Step::IntBytes(0)]),
            Step::Table if byte > 0 => self.then(&[Step::WordTexts(byte)]),
            Step::Table => Stepped::More,
            Step::Encrypted => {
                // The last byte of the head: the type.
                self.then(&[Step::Type(byte, Purpose::Hidden), Step::Algorithm])
            }
            Step::Algorithm => {
                self.push(&[Step::Skip(2)]);
                if byte == 0 {
                    self.push(&[Step::ByteText]);
                }
                Stepped::More
            }
            Step::TableOrders => match byte {
                0 => Stepped::More,
                // TVP_ORDER_UNIQUE and TVP_COLUMN_ORDERING.
                0x10 => self.then(&[Step::OrderCount(3), Step::TableOrders]),
                0x11 => self.then(&[Step::OrderCount(2), Step::TableOrders]),
                _ => Stepped::Lost,
            },
            Step::TableRows => match byte {
                0 => Stepped::More,
                1 => {
                    self.nulls.clear();
                    self.then(&[Step::Row(0), Step::TableRows])
                }
                _ => Stepped::Lost,
            },
            _ => self.pass(count),
        }
    }
}
