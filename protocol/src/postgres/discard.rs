//! A request that will not reach any server: where it ends in the client's bytes.

use super::Violation;
use super::frame::Header;

/// Finds the end of the client's next request: a Query or FunctionCall, or, once anything of the
/// extended protocol was seen, the Sync (55.2.3).
#[derive(Debug, Default)]
pub struct Discard {
    /// Bytes of the present message still to come.
    left: usize,
    /// Whether a batch of the extended protocol has begun.
    extended: bool,
    /// Whether the present message is the last.
    last: bool,
}

impl Discard {
    /// Takes bytes of the request. Returns how many, and whether the request is at its end.
    ///
    /// # Errors
    /// [`Violation`] for what no client may send here.
    pub fn take(&mut self, input: &[u8]) -> Result<(usize, bool), Violation> {
        let mut at = 0;
        loop {
            let step = self.left.min(input.len() - at);
            at += step;
            self.left -= step;
            if self.left > 0 || self.last {
                return Ok((at, self.left == 0));
            }
            let Some(header) = Header::read(input.get(at..).unwrap_or_default())? else {
                return Ok((at, false));
            };
            match header.tag {
                b'Q' | b'F' => self.last = !self.extended,
                b'S' => self.last = true,
                b'P' | b'B' | b'D' | b'E' | b'C' => self.extended = true,
                b'H' | b'd' | b'c' | b'f' => {}
                tag => return Err(Violation::Tag { tag: tag.into() }),
            }
            self.left = header.total();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::message::{SYNC, framed, query};

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        framed(&mut out, tag, |out| out.extend_from_slice(body));
        out
    }

    #[test]
    fn a_request_ends_where_it_does_for_the_server_however_it_is_cut() {
        let mut select = Vec::new();
        query(&mut select, b"select 1");
        let batch = [message(b'P', b"\0x\0\0\0"), select.clone(), SYNC.to_vec()].concat();
        for request in [select.clone(), message(b'F', b"1234"), batch, SYNC.to_vec()] {
            let input = [request.clone(), select.clone()].concat();
            for size in 1..=input.len() {
                assert_eq!(taken(&input, size), request.len(), "in pieces of {size}");
            }
        }
    }

    /// How much of `input` is one request, when it comes in pieces of `size`.
    fn taken(input: &[u8], size: usize) -> usize {
        let mut discard = Discard::default();
        let (mut buffer, mut taken) = (Vec::new(), 0);
        for piece in input.chunks(size) {
            buffer.extend_from_slice(piece);
            let (count, done) = discard.take(&buffer).unwrap();
            taken += count;
            buffer.drain(..count);
            if done {
                break;
            }
        }
        taken
    }

    #[test]
    fn what_is_no_request_is_a_violation() {
        for tag in [b'X', b'p', b'!'] {
            assert!(Discard::default().take(&message(tag, b"")).is_err());
        }
        assert!(Discard::default().take(&[b'Q', 0, 0, 0, 1]).is_err());
    }
}
