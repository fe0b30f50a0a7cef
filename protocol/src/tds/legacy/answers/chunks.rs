//! Values in chunks (2.2.5.2.3): without a limit, and often without a length. What 7.1 has in
//! their place begins with the length.

use super::{Answers, Fate, Phase, Place, Stepped, part};
use crate::tds::Violation;
use crate::tds::legacy::column::{Content, LONGEST_COUNTED, Shape};
use crate::tds::legacy::message::{counted, malformed};
use crate::tds::legacy::value;
use crate::tds::reader::{push_utf16, put};
use crate::tds::refusal;

/// The length of NULL.
const NULL: u64 = u64::MAX;
/// The mark at the beginning of UTF-16.
const MARK: [u8; 2] = [0xff, 0xfe];
/// Bytes in front of the only chunk of a value whose length is known.
const CHUNK_HEAD: usize = 12;

/// What becomes of the present value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    /// It stays in chunks.
    Passed,
    /// Its bytes go on as they come; so many are still to.
    Streamed(u64),
    /// It waits for its end, in what waits to be sent, from here on.
    Gathered(usize, Shape),
    /// It is not given.
    Dropped,
}

impl Chunked {
    /// Where that which may not be sent yet begins.
    pub(super) fn begin(self) -> Option<usize> {
        match self {
            Self::Gathered(begin, _) => Some(begin),
            Self::Passed | Self::Streamed(_) | Self::Dropped => None,
        }
    }

    /// So many bytes in front have been sent.
    pub(super) fn shift(&mut self, count: usize) {
        if let Self::Gathered(begin, _) = self {
            *begin = begin.saturating_sub(count);
        }
    }
}

impl Answers {
    pub(super) fn begin_chunks(
        &mut self,
        shape: Shape,
        length: u64,
        place: Place,
    ) -> Result<(), Violation> {
        let out = &mut self.packets.waiting;
        if let Shape::Same(_) = shape {
            out.extend_from_slice(&length.to_le_bytes());
        } else if length == NULL {
            value::null(shape, out)?;
        }
        if length == NULL {
            return self.value_done(place);
        }
        self.phase = Phase::Chunk(place);
        let begin = out.len();
        self.chunked = match (shape, i32::try_from(length)) {
            (Shape::Same(_), _) => Chunked::Passed,
            _ if self.fate != Fate::Given => Chunked::Dropped,
            (Shape::Text(Content::Plain), Ok(known)) => {
                value::text_head(known.unsigned_abs(), out);
                Chunked::Streamed(length)
            }
            (Shape::Text(_), _) => {
                value::text_head(0, out);
                Chunked::Gathered(begin, shape)
            }
            (Shape::Counted(_), _) => {
                out.extend_from_slice(&[0; 2]);
                Chunked::Gathered(begin, shape)
            }
            _ => {
                out.extend_from_slice(&[0; CHUNK_HEAD]);
                Chunked::Gathered(begin, shape)
            }
        };
        Ok(())
    }

    /// In front of a chunk.
    pub(super) fn chunk(&mut self, input: &[u8], place: Place) -> Stepped {
        let Some(head) = input.first_chunk::<4>() else {
            return Ok(None);
        };
        if self.chunked == Chunked::Passed {
            self.packets.waiting.extend_from_slice(head);
        }
        match u32::from_le_bytes(*head) {
            0 => self.end_chunks(place)?,
            length => self.phase = Phase::InChunk(length, place),
        }
        Ok(Some(head.len()))
    }

    /// In a chunk of which so many bytes are left.
    pub(super) fn in_chunk(&mut self, input: &[u8], left: u32, place: Place) -> Stepped {
        let part = part(input, left);
        let out = &mut self.packets.waiting;
        match &mut self.chunked {
            Chunked::Passed => out.extend_from_slice(part),
            Chunked::Streamed(left) => {
                let rest = left.checked_sub(part.len() as u64);
                *left = rest.ok_or_else(|| malformed("a value's length"))?;
                out.extend_from_slice(part);
            }
            Chunked::Gathered(begin, _) => {
                out.extend_from_slice(part);
                if out.len() - *begin > self.limit {
                    self.refuse()?;
                }
            }
            Chunked::Dropped => {}
        }
        let rest = left.saturating_sub(u32::try_from(part.len()).unwrap_or(u32::MAX));
        self.phase = match rest {
            0 => Phase::Chunk(place),
            rest => Phase::InChunk(rest, place),
        };
        Ok((!part.is_empty()).then_some(part.len()))
    }

    fn end_chunks(&mut self, place: Place) -> Result<(), Violation> {
        match std::mem::replace(&mut self.chunked, Chunked::Passed) {
            Chunked::Passed | Chunked::Dropped | Chunked::Streamed(0) => {}
            Chunked::Streamed(_) => return Err(malformed("a value's length")),
            Chunked::Gathered(begin, shape) => self.close(begin, shape)?,
        }
        self.value_done(place)
    }

    /// Fills in the length of a value that is complete.
    fn close(&mut self, begin: usize, shape: Shape) -> Result<(), Violation> {
        let out = &mut self.packets.waiting;
        let (head, content) = match shape {
            Shape::Text(content) => (value::TEXT_HEAD, content),
            Shape::Counted(content) => (2, content),
            Shape::Chunks(content) => (CHUNK_HEAD, content),
            Shape::Same(_) | Shape::Moment(_) | Shape::Variant => return Ok(()),
        };
        let start = begin + head;
        match content {
            Content::Plain => {}
            Content::Xml => {
                if out.get(start..).is_some_and(|text| text.starts_with(&MARK)) {
                    out.drain(start..start + MARK.len());
                }
            }
            Content::Utf8 => {
                let text = out.split_off(start.min(out.len()));
                push_utf16(out, &String::from_utf8_lossy(&text));
            }
        }
        let length = out.len().saturating_sub(start);
        let word = u32::try_from(length).unwrap_or(u32::MAX);
        match shape {
            Shape::Text(_) => put(out, start - 4, &word.to_le_bytes()),
            Shape::Counted(_) => {
                let counted = u16::try_from(length).unwrap_or(u16::MAX);
                if counted > LONGEST_COUNTED {
                    return self.refuse();
                }
                put(out, begin, &counted.to_le_bytes());
            }
            _ => {
                put(out, begin, &u64::from(word).to_le_bytes());
                put(out, start - 4, &word.to_le_bytes());
                if length > 0 {
                    out.extend_from_slice(&[0; 4]);
                }
            }
        }
        Ok(())
    }

    /// The present row or RETURNVALUE has a value that can't be given: an error comes in its
    /// place, unless some of it is with the client already.
    fn refuse(&mut self) -> Result<(), Violation> {
        let begun = self.begun.ok_or(Violation::TooLarge {
            what: "a value whose length the server does not say first",
            limit: self.limit,
        })?;
        self.packets.waiting.truncate(begun);
        self.fate = Fate::Refused;
        self.chunked = Chunked::Dropped;
        Ok(())
    }

    /// A row or RETURNVALUE is at its end.
    pub(super) fn end_token(&mut self) -> Result<(), Violation> {
        self.phase = Phase::Token;
        let begun = self.begun.take();
        let fate = std::mem::replace(&mut self.fate, Fate::Given);
        if fate == Fate::Given {
            return Ok(());
        }
        let out = &mut self.packets.waiting;
        out.truncate(begun.unwrap_or(out.len()));
        if fate == Fate::Refused {
            self.failing = true;
            let mut error = Vec::new();
            refusal::too_large(self.limit).token(&mut error);
            counted(self.dialect, &error, out)?;
        }
        Ok(())
    }
}
