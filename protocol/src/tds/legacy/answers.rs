//! What a server of 7.4 says, as one of an old client's version would say it.
//!
//! Reads tokens and values one by one: of each as much as must be seen at once, which is little.
//! A row leaves when it is whole, so that one that can't be translated can be taken back; a long
//! one leaves in pieces. See `chunks` for values without a limit.

mod chunks;

use super::Dialect;
use super::column::{Shape, Types};
use super::message::{self, counted, malformed};
use super::packets::{End, Packets};
use super::value::{self, Begun};
use crate::Sink;
use crate::tds::Violation;
use crate::tds::packet::{Header, Kind};
use crate::tds::reader::Reader;
use crate::tds::token::{
    COLINFO, COLMETADATA, DONE, DONEINPROC, DONEPROC, ENVCHANGE, ERROR, EnvChange, FEATUREEXTACK,
    INFO, LOGINACK, NBCROW, ORDER, Purpose, RETURNSTATUS, RETURNVALUE, ROW, SESSIONSTATE, TABNAME,
};
use chunks::Chunked;

/// The longest value, in bytes, of those whose length the server does not say first though the
/// client has to be told it first: such a value is held whole.
pub const LARGEST_VALUE: usize = 64 * 1024 * 1024;
/// Most bytes of a row that wait for its end.
const MOST_HELD: usize = 256 * 1024;
/// Most bytes of something that has to be seen at once: two names of 64 Ki characters fit.
const MOST_CARRIED: usize = 320 * 1024;
/// Latin1_General_CI_AS, until the server says another.
const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];

/// Translates what one client gets. Takes whole packets.
#[derive(Debug)]
pub struct Answers {
    dialect: Dialect,
    limit: usize,
    collation: [u8; 5],
    packets: Packets,
    /// What was too little to go on with, of an earlier packet.
    carry: Vec<u8>,
    phase: Phase,
    /// Of the rows to come, and whether the server has described them.
    columns: Vec<Shape>,
    has_columns: bool,
    /// The bitmap of the present row, and the next column.
    nulls: Vec<u8>,
    column: usize,
    /// The value behind a RETURNVALUE.
    single: Shape,
    chunked: Chunked,
    /// Where the present row or RETURNVALUE begins in what waits, if nothing of it was sent.
    begun: Option<usize>,
    /// What becomes of it.
    fate: Fate,
    /// A row could not be given: those behind it are not, either, and the statement has failed.
    failing: bool,
}

/// What becomes of the present row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Given,
    /// It comes behind one that was not given.
    Dropped,
    /// It has a value that is too large.
    Refused,
}

/// Where we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between messages.
    Start,
    Token,
    /// So many columns are still to be described.
    Columns(u16),
    /// In a row.
    Row,
    /// In front of the value of a RETURNVALUE.
    Single,
    /// So many bytes are passed on; then it goes on with the row or RETURNVALUE.
    Pass(u32, Place),
    /// In front of a chunk.
    Chunk(Place),
    /// So many bytes of one are still to come.
    InChunk(u32, Place),
    /// So many bytes are for nobody.
    Drop(u32),
}

/// What a value is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Row,
    Single,
}

/// Bytes done with; `None` if there were too few.
type Stepped = Result<Option<usize>, Violation>;

impl Answers {
    pub(super) fn new(dialect: Dialect, size: usize) -> Self {
        Self {
            dialect,
            limit: LARGEST_VALUE,
            collation: COLLATION,
            packets: Packets::new(size),
            carry: Vec::new(),
            phase: Phase::Start,
            columns: Vec::new(),
            has_columns: false,
            nulls: Vec::new(),
            column: 0,
            single: Shape::Variant,
            chunked: Chunked::Passed,
            begun: None,
            fate: Fate::Given,
            failing: false,
        }
    }

    /// With another limit than [`LARGEST_VALUE`], in bytes.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    pub(super) fn shrink(&mut self) {
        if self.phase == Phase::Start {
            self.packets.shrink();
            self.carry = Vec::new();
            self.columns = Vec::new();
        }
    }

    /// Takes packets of the server's for the client; `out` gets what the client shall see.
    ///
    /// # Errors
    /// [`Violation`]: the server said what can't be said to the client. The connection is of no
    /// use after it.
    pub fn translate(&mut self, input: &[u8], out: &mut impl Sink) -> Result<(), Violation> {
        let mut rest = input;
        while !rest.is_empty() {
            let header = Header::read(rest)?;
            let packet = header.and_then(|header| Some((header, header.payload(rest)?)));
            let (header, payload) = packet.ok_or_else(|| malformed("a part of a packet"))?;
            if header.kind != Kind::Answer {
                return Err(Violation::Kind {
                    kind: header.kind.byte(),
                });
            }
            if self.phase == Phase::Start {
                self.packets.begin(Kind::Answer, 0);
                self.phase = Phase::Token;
            }
            if let Some(process) = rest.get(4..6).and_then(|bytes| bytes.first_chunk()) {
                self.packets.process = *process;
            }
            self.payload(payload)?;
            if header.is_last() {
                self.end(out)?;
            } else {
                self.flush(out);
            }
            rest = rest.get(header.total()..).unwrap_or_default();
        }
        Ok(())
    }

    fn end(&mut self, out: &mut impl Sink) -> Result<(), Violation> {
        if self.phase != Phase::Token || !self.carry.is_empty() {
            return Err(malformed("it ends in the middle of a token"));
        }
        let all = self.packets.waiting.len();
        self.packets.send(all, End::Message(0), out);
        self.phase = Phase::Start;
        self.failing = false;
        self.has_columns = false;
        if self.packets.waiting.capacity() > MOST_HELD {
            self.packets.shrink();
        }
        Ok(())
    }

    /// Sends what can't be taken back any more: nothing waits for the server's next packet that
    /// need not.
    fn flush(&mut self, out: &mut impl Sink) {
        if self.fate != Fate::Given
            && let Some(begun) = self.begun
        {
            self.packets.waiting.truncate(begun);
        }
        let all = self.packets.waiting.len();
        let open = self.chunked.begin().unwrap_or(all);
        if self.fate == Fate::Given && self.begun.is_some_and(|begun| open - begun > MOST_HELD) {
            self.begun = None;
        }
        let count = self.begun.unwrap_or(all).min(open);
        if count == 0 {
            return;
        }
        self.packets.send(count, End::Packet, out);
        if let Some(begun) = &mut self.begun {
            *begun -= count;
        }
        self.chunked.shift(count);
    }

    fn payload(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let mut carry = std::mem::take(&mut self.carry);
        let whole = !carry.is_empty();
        if whole {
            carry.extend_from_slice(payload);
        }
        let input = if whole { &carry } else { payload };
        let mut at = 0;
        while let Some(taken) = self.step(input.get(at..).unwrap_or_default())? {
            at += taken;
        }
        if input.len() - at > MOST_CARRIED {
            return Err(Violation::TooLarge {
                what: "a token of the server",
                limit: MOST_CARRIED,
            });
        }
        if whole {
            carry.drain(..at);
        } else {
            carry.extend_from_slice(payload.get(at..).unwrap_or_default());
        }
        self.carry = carry;
        Ok(())
    }

    /// One token, column or value, or as much as can be done of it.
    fn step(&mut self, input: &[u8]) -> Stepped {
        match self.phase {
            Phase::Start | Phase::Token => self.token(input),
            Phase::Columns(0) => {
                self.phase = Phase::Token;
                Ok(Some(0))
            }
            Phase::Columns(left) => self.describe(input, left - 1),
            Phase::Row => self.row(input),
            Phase::Single => {
                let begun = self.begin_value(self.single, input)?;
                self.value_begun(begun, Place::Single)
            }
            Phase::Pass(left, place) => {
                let part = part(input, left);
                self.packets.waiting.extend_from_slice(part);
                let rest = left - u32::try_from(part.len()).unwrap_or(left);
                if rest > 0 {
                    self.phase = Phase::Pass(rest, place);
                    return Ok((!part.is_empty()).then_some(part.len()));
                }
                self.value_done(place)?;
                Ok(Some(part.len()))
            }
            Phase::Chunk(place) => self.chunk(input, place),
            Phase::InChunk(left, place) => self.in_chunk(input, left, place),
            Phase::Drop(left) => {
                let count = part(input, left).len();
                let rest = left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
                self.phase = match rest {
                    0 => Phase::Token,
                    rest => Phase::Drop(rest),
                };
                Ok((count > 0 || rest == 0).then_some(count))
            }
        }
    }

    fn token(&mut self, input: &[u8]) -> Stepped {
        let Some(&token) = input.first() else {
            return Ok(None);
        };
        let out = &mut self.packets.waiting;
        match token {
            ROW | NBCROW => self.begin_row(token, input),
            COLMETADATA => {
                let Some(head @ [_, low, high]) = input.first_chunk() else {
                    return Ok(None);
                };
                out.extend_from_slice(head);
                match u16::from_le_bytes([*low, *high]) {
                    u16::MAX => self.has_columns = false,
                    count => {
                        self.has_columns = true;
                        self.columns.clear();
                        self.phase = Phase::Columns(count);
                    }
                }
                Ok(Some(head.len()))
            }
            RETURNVALUE => self.begin_return_value(input),
            DONE | DONEPROC | DONEINPROC => {
                let status = if self.failing { message::FAILED } else { 0 };
                let length = message::done(self.dialect, input, status, out);
                self.failing &= length.is_none();
                Ok(length)
            }
            RETURNSTATUS => {
                let Some(whole) = input.get(..5) else {
                    return Ok(None);
                };
                out.extend_from_slice(whole);
                Ok(Some(whole.len()))
            }
            ENVCHANGE => {
                let length = counted(self.dialect, input, out)?;
                let body = length.and_then(|length| input.get(3..length));
                if let Some(EnvChange::Collation(collation)) = body.and_then(EnvChange::read) {
                    self.collation = collation;
                }
                Ok(length)
            }
            ERROR | INFO | ORDER | TABNAME | COLINFO | LOGINACK => {
                counted(self.dialect, input, out)
            }
            // The tracker keeps these to itself; no old client knows them.
            SESSIONSTATE => {
                let mut reader = Reader::new(input);
                reader.u8();
                Ok(reader.u32().map(|length| {
                    self.phase = Phase::Drop(length);
                    5
                }))
            }
            FEATUREEXTACK => Ok(features(input)),
            _ => Err(malformed("a token that can't be translated")),
        }
    }

    fn types(&self, purpose: Purpose) -> Types {
        Types {
            dialect: self.dialect,
            collation: self.collation,
            purpose,
        }
    }

    fn describe(&mut self, input: &[u8], left: u16) -> Stepped {
        let types = self.types(Purpose::Column);
        let out = &mut self.packets.waiting;
        let start = out.len();
        let mut reader = Reader::new(input);
        let shape = types.convert(&mut reader, out)?;
        let name = reader.rest();
        let (Some(shape), Some(_)) = (shape, reader.b_text()) else {
            out.truncate(start);
            return Ok(None);
        };
        let name = name.get(..name.len() - reader.rest().len());
        out.extend_from_slice(name.unwrap_or_default());
        self.columns.push(shape);
        self.phase = Phase::Columns(left);
        Ok(Some(input.len() - reader.rest().len()))
    }

    fn begin_return_value(&mut self, input: &[u8]) -> Stepped {
        let types = self.types(Purpose::Single);
        let out = &mut self.packets.waiting;
        let start = out.len();
        let mut reader = Reader::new(input);
        // Token, ordinal, name, status.
        let head = |reader: &mut Reader<'_>| {
            reader.bytes(3)?;
            reader.b_text()?;
            reader.u8()
        };
        if head(&mut reader).is_none() {
            return Ok(None);
        }
        let head = input.get(..input.len() - reader.rest().len());
        out.extend_from_slice(head.unwrap_or_default());
        let Some(shape) = types.convert(&mut reader, out)? else {
            out.truncate(start);
            return Ok(None);
        };
        self.begun = Some(start);
        self.fate = Fate::Given;
        self.single = shape;
        self.phase = Phase::Single;
        Ok(Some(input.len() - reader.rest().len()))
    }

    /// NBCROW leaves out NULLs, and has a bitmap of them (2.2.7.13).
    fn begin_row(&mut self, token: u8, input: &[u8]) -> Stepped {
        if !self.has_columns {
            return Err(malformed("rows whose columns it does not describe"));
        }
        let bitmap = match token {
            NBCROW => self.columns.len().div_ceil(8),
            _ => 0,
        };
        let Some(nulls) = input.get(1..=bitmap) else {
            return Ok(None);
        };
        self.nulls.clear();
        self.nulls.extend_from_slice(nulls);
        self.column = 0;
        self.begun = Some(self.packets.waiting.len());
        self.fate = match self.failing {
            true => Fate::Dropped,
            false => Fate::Given,
        };
        self.packets.waiting.push(ROW);
        self.phase = Phase::Row;
        Ok(Some(1 + bitmap))
    }

    /// The values of a row, as far as they can be done at once.
    fn row(&mut self, input: &[u8]) -> Stepped {
        let mut at = 0;
        while let Some(&shape) = self.columns.get(self.column) {
            let (byte, bit) = (self.column / 8, self.column % 8);
            if self
                .nulls
                .get(byte)
                .is_some_and(|nulls| nulls >> bit & 1 == 1)
            {
                value::null(shape, &mut self.packets.waiting)?;
                self.column += 1;
                continue;
            }
            match self.begin_value(shape, input.get(at..).unwrap_or_default())? {
                Begun::Starved => return Ok((at > 0).then_some(at)),
                Begun::Whole(count) => {
                    at += count;
                    self.column += 1;
                }
                begun @ (Begun::Open(..) | Begun::Chunks(_)) => {
                    self.column += 1;
                    let taken = self.value_begun(begun, Place::Row)?;
                    return Ok(taken.map(|taken| at + taken));
                }
            }
        }
        self.end_token()?;
        Ok(Some(at))
    }

    fn begin_value(&mut self, shape: Shape, input: &[u8]) -> Result<Begun, Violation> {
        value::begin(shape, self.collation, input, &mut self.packets.waiting)
    }

    fn value_begun(&mut self, begun: Begun, place: Place) -> Stepped {
        match begun {
            Begun::Starved => Ok(None),
            Begun::Whole(count) => {
                self.value_done(place)?;
                Ok(Some(count))
            }
            Begun::Open(count, left) => {
                self.phase = Phase::Pass(left, place);
                Ok(Some(count))
            }
            Begun::Chunks(length) => {
                let shape = match place {
                    Place::Row => self.columns.get(self.column - 1).copied(),
                    Place::Single => Some(self.single),
                };
                self.begin_chunks(shape.unwrap_or(self.single), length, place)?;
                Ok(Some(value::CHUNKS_HEAD))
            }
        }
    }

    fn value_done(&mut self, place: Place) -> Result<(), Violation> {
        match place {
            Place::Row => self.phase = Phase::Row,
            Place::Single => self.end_token()?,
        }
        Ok(())
    }
}

/// As much of the next bytes as is here.
fn part(input: &[u8], left: u32) -> &[u8] {
    let count = usize::try_from(left).unwrap_or(usize::MAX);
    input.get(..count).unwrap_or(input)
}

/// The length of FEATUREEXTACK; `None` while some of it is missing.
fn features(input: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(input);
    reader.u8()?;
    while reader.u8()? != 0xff {
        let length = usize::try_from(reader.u32()?).ok()?;
        reader.bytes(length)?;
    }
    Some(input.len() - reader.rest().len())
}
