//! Transactions that have begun and done nothing yet. Drivers with autocommit off begin one long
//! before they need it; what it is told, and what ends it, needs no backend.

use super::message::{self, Ended};
use super::packet::{self, Header, Kind};
use super::reader::{Reader, utf16};
use super::token::DONE;

/// As much text as a wish may have, in bytes of UTF-16.
const LONGEST: usize = 160;

/// What a request wants of a transaction, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// That it begins.
    Begin(By),
    /// That it ends.
    End(By, How),
}

/// How a wish is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// In SQL, as a batch of its own.
    Text,
    /// As a request to the transaction manager (2.2.6.9).
    Request,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
}

/// Reads the request at the start of `input`; the wish and the bytes of its packet. `None` for
/// every other request, and for one that is not here in one packet.
#[must_use]
pub fn read(input: &[u8]) -> Option<(Wish, usize)> {
    let header = Header::read(input).ok()??;
    if header.status != packet::LAST {
        return None;
    }
    let payload = header.payload(input)?;
    let headers = usize::try_from(Reader::new(payload).u32()?).ok()?;
    let body = payload.get(headers..)?;
    let wish = match header.kind {
        Kind::Batch if body.len() <= LONGEST => in_words(&utf16(body))?,
        Kind::Transaction => requested(body)?,
        _ => return None,
    };
    Some((wish, header.total()))
}

/// TM_BEGIN_XACT, TM_COMMIT_XACT and TM_ROLLBACK_XACT without names, and without another
/// transaction behind them; of levels, only the session's own and the one that it begins with,
/// since a level outlives its transaction.
fn requested(body: &[u8]) -> Option<Wish> {
    match body {
        [5, 0, 0 | 2, 0] => Some(Wish::Begin(By::Request)),
        [7, 0, 0, 0] => Some(Wish::End(By::Request, How::Commit)),
        [8, 0, 0, 0] => Some(Wish::End(By::Request, How::Rollback)),
        _ => None,
    }
}

/// Whether a batch (UTF-16) does nothing but begin a transaction.
pub(super) fn only_begins(text: &[u8]) -> bool {
    text.len() <= LONGEST && in_words(&utf16(text)) == Some(Wish::Begin(By::Text))
}

fn in_words(text: &str) -> Option<Wish> {
    let text = text.trim().trim_end_matches(';').to_ascii_lowercase();
    let mut words = text.split_ascii_whitespace();
    let mut first = words.next()?;
    // jTDS and ODBC ask first whether there is one.
    let asks = ["@@trancount", ">", "0"];
    if first == "if" {
        if !asks.iter().all(|word| words.next() == Some(word)) {
            return None;
        }
        first = words.next()?;
    }
    let is_alone = match words.next() {
        None => first != "begin",
        Some("tran" | "transaction") => words.next().is_none(),
        Some("work") => first != "begin" && words.next().is_none(),
        Some(_) => false,
    };
    let wish = match first {
        "begin" if !text.starts_with("if") => Wish::Begin(By::Text),
        "commit" => Wish::End(By::Text, How::Commit),
        "rollback" => Wish::End(By::Text, How::Rollback),
        _ => return None,
    };
    is_alone.then_some(wish)
}

/// Appends the answer to a wish: with the transaction's descriptor where the server tells of it.
pub fn answer(wish: Wish, descriptor: Option<u64>, out: &mut Vec<u8>) {
    match (wish, descriptor) {
        (Wish::Begin(_), Some(descriptor)) => message::transaction_began(descriptor, out),
        (Wish::End(_, how), Some(descriptor)) => {
            let how = match how {
                How::Commit => Ended::Committed,
                How::Rollback => Ended::RolledBack,
            };
            message::transaction_ended(how, descriptor, out);
        }
        (_, None) => message::answer(packet::DEFAULT, out, |out| {
            message::done(out, DONE, 0, 0);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tds::reader::push_utf16;

    fn request(kind: Kind, status: u8, body: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        message::all_headers(&mut whole, 0);
        whole.extend_from_slice(body);
        let mut out = Vec::new();
        packet::split(&mut out, kind, status, 4096, &whole);
        out
    }

    fn batch(text: &str) -> Vec<u8> {
        let mut body = Vec::new();
        push_utf16(&mut body, text);
        request(Kind::Batch, 0, &body)
    }

    #[test]
    fn wishes_in_words() {
        use By::Text;
        use How::{Commit, Rollback};
        for (text, wish) in [
            ("BEGIN TRAN", Wish::Begin(Text)),
            (" begin transaction ; ", Wish::Begin(Text)),
            ("COMMIT", Wish::End(Text, Commit)),
            ("commit work", Wish::End(Text, Commit)),
            ("IF @@TRANCOUNT > 0 COMMIT TRAN", Wish::End(Text, Commit)),
            ("ROLLBACK TRANSACTION", Wish::End(Text, Rollback)),
            (
                "if @@trancount > 0 rollback tran",
                Wish::End(Text, Rollback),
            ),
        ] {
            let bytes = batch(text);
            assert_eq!(read(&bytes), Some((wish, bytes.len())), "{text}");
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
        }
        for text in [
            "",
            "begin",
            "begin tran t1",
            "begin tran select 1",
            "begin try",
            "begin work",
            "commit tran t1",
            "rollback tran s",
            "if @@trancount > 1 commit",
            "if @@trancount > 0 begin tran",
            "commit; begin tran",
            "select 1",
        ] {
            assert_eq!(read(&batch(text)), None, "{text}");
        }
    }

    #[test]
    fn wishes_as_requests() {
        use By::Request;
        for (body, wish) in [
            (&[5, 0, 0, 0][..], Some(Wish::Begin(Request))),
            (&[5, 0, 2, 0], Some(Wish::Begin(Request))),
            (&[7, 0, 0, 0], Some(Wish::End(Request, How::Commit))),
            (&[8, 0, 0, 0], Some(Wish::End(Request, How::Rollback))),
            (&[5, 0, 4, 0], None),
            (&[7, 0, 0, 1, 0, 0], None),
            (&[5, 0, 0, 2, b't', 0], None),
            (&[9, 0, 0], None),
        ] {
            let bytes = request(Kind::Transaction, 0, body);
            let expected = wish.map(|wish| (wish, bytes.len()));
            assert_eq!(read(&bytes), expected, "{body:?}");
        }
        // A reset has to reach a server.
        assert_eq!(
            read(&request(Kind::Transaction, packet::RESET, &[5, 0, 0, 0])),
            None
        );
    }
}
