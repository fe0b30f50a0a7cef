//! The messages that we write ourselves. Everything else is passed on as it came.

use super::login::Welcome;
use super::login7::{ClientLogin, feature};
use super::packet::{self, HEADER, Kind};
use super::reader::{counted_u16, push_b_text, push_us_text, push_utf16};
use super::token::{
    DONE, DONEPROC, Done, ENVCHANGE, ERROR, FEATUREEXTACK, LOGINACK, RETURNSTATUS, procedure,
};

/// The wish that the request under way ends: a header and nothing else.
pub const ATTENTION: [u8; HEADER] = [6, packet::LAST, 0, 8, 0, 0, 0, 0];

/// Brings a session back to what it was after its login, but for the isolation level, which a
/// reset leaves alone on some servers. Goes out with [`packet::RESET`].
pub const CLEAN: &str =
    "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION; SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// What an ERROR of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The error's number: one of SQL Server's, or one of ours from [`OWN`] on.
    pub number: i32,
    /// Where it came up.
    pub state: u8,
    /// How bad it is: 16 for a request, 14 for a login, 20 and more for the session.
    pub class: u8,
    /// What failed, on what, why.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

/// The numbers of errors that only we have begin here: it is the first that is the user's.
pub const OWN: i32 = 50_000;
/// "Database ... on server ... is not currently available": clients try again.
pub const NOT_AVAILABLE: i32 = 40_613;
/// "The limit of ... has been reached": clients try again.
pub const LIMIT_REACHED: i32 = 10_928;

impl Report {
    /// A report of a failed request.
    pub fn error(number: i32, message: impl Into<String>) -> Self {
        Self {
            number,
            state: 1,
            class: 16,
            message: message.into(),
            hint: None,
        }
    }

    /// A report of a login that failed; the connection is closed behind it.
    pub fn login(number: i32, message: impl Into<String>) -> Self {
        Self {
            class: 14,
            ..Self::error(number, message)
        }
    }

    /// A report that ends the session.
    pub fn fatal(number: i32, message: impl Into<String>) -> Self {
        Self {
            class: 20,
            ..Self::error(number, message)
        }
    }

    /// Adds what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends the whole answer to a request: ERROR, DONE, in packets of `size` bytes.
    pub fn encode(&self, size: usize, out: &mut Vec<u8>) {
        answer(size, out, |out| {
            self.token(out);
            done(out, DONE, Done::ERROR, 0);
        });
    }

    /// Appends the ERROR token. There is one text for everything.
    pub(super) fn token(&self, out: &mut Vec<u8>) {
        out.push(ERROR);
        counted_u16(out, |out| {
            out.extend_from_slice(&self.number.to_le_bytes());
            out.extend_from_slice(&[self.state, self.class]);
            let text = match &self.hint {
                Some(hint) => &format!("{} {hint}", self.message),
                None => &self.message,
            };
            push_us_text(out, text, LONGEST_TEXT);
            push_b_text(out, "entrapool");
            push_b_text(out, "");
            out.extend_from_slice(&1_u32.to_le_bytes());
        });
    }
}

/// As long as a message of SQL Server may be, in units of UTF-16.
const LONGEST_TEXT: usize = 2047;

/// Appends a server's message that holds the tokens that `tokens` appends.
pub fn answer(size: usize, out: &mut Vec<u8>, tokens: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    tokens(out);
    packet::split_in_place(out, start, Kind::Answer, size);
}

/// Appends a DONE or its kin.
pub fn done(out: &mut Vec<u8>, token: u8, status: u16, rows: u64) {
    out.push(token);
    out.extend_from_slice(&status.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&rows.to_le_bytes());
}

/// Appends the answer to an attention that nothing was under way for.
pub fn attention_heard(out: &mut Vec<u8>) {
    answer(packet::DEFAULT, out, |out| {
        done(out, DONE, Done::ATTENTION, 0);
    });
}

/// Appends the answer to so many calls of sp_unprepare that went well.
/// `between` is the status of all ends but the last: see [`Done`].
pub fn unprepared(calls: usize, between: u16, size: usize, out: &mut Vec<u8>) {
    answer(size, out, |out| {
        for call in 1..=calls {
            out.push(RETURNSTATUS);
            out.extend_from_slice(&0_i32.to_le_bytes());
            let more = if call < calls { between } else { 0 };
            done(out, DONEPROC, more, 0);
        }
    });
}

/// Appends the answer to a BEGIN TRANSACTION.
pub fn transaction_began(descriptor: u64, out: &mut Vec<u8>) {
    answer(packet::DEFAULT, out, |out| {
        env_change(out, 8, &descriptor.to_le_bytes(), &[]);
        done(out, DONE, 0, 0);
    });
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// COMMIT.
    Committed,
    /// ROLLBACK.
    RolledBack,
}

/// Appends the answer to the end of a transaction.
pub fn transaction_ended(how: Ended, descriptor: u64, out: &mut Vec<u8>) {
    let number = match how {
        Ended::Committed => 9,
        Ended::RolledBack => 10,
    };
    answer(packet::DEFAULT, out, |out| {
        env_change(out, number, &[], &descriptor.to_le_bytes());
        done(out, DONE, 0, 0);
    });
}

/// Appends an ENVCHANGE whose values are bytes.
fn env_change(out: &mut Vec<u8>, number: u8, new: &[u8], old: &[u8]) {
    out.push(ENVCHANGE);
    counted_u16(out, |out| {
        out.push(number);
        for value in [new, old] {
            out.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(value);
        }
    });
}

/// Appends the answer to a client's LOGIN7: what the server said when a backend like the
/// client's logged in, with the client's own version, its features, and our packet size.
pub fn login_response(
    welcome: &Welcome,
    client: &ClientLogin,
    packet_size: usize,
    out: &mut Vec<u8>,
) {
    answer(packet::DEFAULT, out, |out| {
        out.extend_from_slice(&welcome.tokens);
        out.push(LOGINACK);
        counted_u16(out, |out| {
            // The interface: T-SQL.
            out.push(1);
            out.extend_from_slice(&client.acknowledged_version());
            push_b_text(out, &welcome.server_name);
            out.extend_from_slice(&welcome.server_version);
        });
        features(welcome, client, out);
        out.push(ENVCHANGE);
        counted_u16(out, |out| {
            out.push(4);
            push_b_text(out, &packet_size.to_string());
            push_b_text(out, &packet::DEFAULT.to_string());
        });
        done(out, DONE, 0, 0);
    });
}

/// FEATUREEXTACK: a client takes what it did not ask for as an error.
fn features(welcome: &Welcome, client: &ClientLogin, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(FEATUREEXTACK);
    for asked in &client.features {
        let granted: &[u8] = match asked.id {
            // Whatever token the client has, it is in.
            feature::FED_AUTH => &[],
            id if feature::is_shared(id) => match welcome.feature(id) {
                Some(data) => data,
                None => continue,
            },
            _ => continue,
        };
        out.push(asked.id);
        let length = u32::try_from(granted.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(granted);
    }
    if out.len() == start + 1 {
        out.truncate(start);
    } else {
        out.push(0xff);
    }
}

/// Appends ALL_HEADERS with the descriptor of the transaction; 0 if there is none (2.2.5.3).
pub fn all_headers(out: &mut Vec<u8>, descriptor: u64) {
    out.extend_from_slice(&22_u32.to_le_bytes());
    out.extend_from_slice(&18_u32.to_le_bytes());
    out.extend_from_slice(&2_u16.to_le_bytes());
    out.extend_from_slice(&descriptor.to_le_bytes());
    out.extend_from_slice(&1_u32.to_le_bytes());
}

/// How a request of ours is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// The transaction that it belongs to; 0 for none.
    pub descriptor: u64,
    /// [`packet::RESET`] or 0.
    pub status: u8,
    /// The packet size, in bytes.
    pub size: usize,
}

/// Appends a batch.
pub fn batch(text: &str, sending: Sending, out: &mut Vec<u8>) {
    request(Kind::Batch, sending, out, |out| push_utf16(out, text));
}

/// Appends the wish for a transaction of the session's present isolation level.
pub fn begin_transaction(sending: Sending, out: &mut Vec<u8>) {
    request(Kind::Transaction, sending, out, |out| {
        out.extend_from_slice(&[5, 0, 0, 0]);
    });
}

/// A request to prepare a statement, and to forget others first.
#[derive(Debug, Clone, Copy)]
pub struct Prepare<'a> {
    /// Handles that are not needed any more.
    pub forget: &'a [i32],
    /// The declaration of the statement's parameters, in UTF-16; empty if it has none.
    pub parameters: &'a [u8],
    /// The statement's text, in UTF-16.
    pub text: &'a [u8],
}

/// Appends a message of calls: sp_unprepare for each handle, then sp_prepare.
pub fn prepare(prepare: Prepare<'_>, sending: Sending, out: &mut Vec<u8>) {
    request(Kind::Rpc, sending, out, |out| {
        for handle in prepare.forget {
            unprepare_call(out, *handle);
            out.push(0xff);
        }
        call(out, procedure::PREPARE);
        // The handle: an int to come back.
        out.extend_from_slice(&[0, 1, 0x26, 4, 0]);
        // No declarations are NULL, but an empty text is a statement.
        nvarchar(
            out,
            Some(prepare.parameters).filter(|text| !text.is_empty()),
        );
        nvarchar(out, Some(prepare.text));
        // Without options: the columns are not described.
        out.extend_from_slice(&[0, 0, 0x38, 0, 0, 0, 0]);
    });
}

/// Appends a message of calls of sp_unprepare.
pub fn unprepare(handles: &[i32], sending: Sending, out: &mut Vec<u8>) {
    request(Kind::Rpc, sending, out, |out| {
        for (index, handle) in handles.iter().enumerate() {
            if index > 0 {
                out.push(0xff);
            }
            unprepare_call(out, *handle);
        }
    });
}

fn request(kind: Kind, sending: Sending, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    all_headers(out, sending.descriptor);
    body(out);
    packet::split_in_place(out, start, kind, sending.size);
    if let Some(status) = out.get_mut(start + 1) {
        *status |= sending.status;
    }
}

fn call(out: &mut Vec<u8>, procedure: u16) {
    out.extend_from_slice(&[0xff, 0xff]);
    out.extend_from_slice(&procedure.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
}

fn unprepare_call(out: &mut Vec<u8>, handle: i32) {
    call(out, procedure::UNPREPARE);
    out.extend_from_slice(&[0, 0, 0x26, 4, 4]);
    out.extend_from_slice(&handle.to_le_bytes());
}

/// The longest text that goes as nvarchar(4000), in bytes.
const LONGEST_NVARCHAR: usize = 8000;

/// Appends a parameter without a name: nvarchar, or nvarchar(max) for a long one. `None` is NULL.
fn nvarchar(out: &mut Vec<u8>, value: Option<&[u8]>) {
    let text = value.unwrap_or_default();
    let is_long = text.len() > LONGEST_NVARCHAR;
    let max = if is_long { u16::MAX } else { 8000 };
    out.extend_from_slice(&[0, 0, 0xe7]);
    out.extend_from_slice(&max.to_le_bytes());
    // Any collation: it means nothing for UTF-16.
    out.extend_from_slice(&[0x09, 0x04, 0xd0, 0x00, 0x34]);
    if is_long {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&u64::from(length).to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(&[0; 4]);
    } else {
        let length = value.and_then(|text| u16::try_from(text.len()).ok());
        let length = length.unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
#[path = "message/tests.rs"]
mod tests;
