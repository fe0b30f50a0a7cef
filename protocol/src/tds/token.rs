//! Tokens: what a server's messages consist of (MS-TDS 2.2.7).

mod calls;
mod change;
mod layout;
mod machine;
mod walker;

pub(super) use calls::ascii_lower;
pub use calls::{Call, Calls, Heard, Name, procedure};
pub use change::EnvChange;
pub use layout::Layout;
pub(super) use layout::{Names, Purpose, TypeInfo, Value, type_info};
pub use walker::{Walked, Walker};

pub(super) const COLMETADATA: u8 = 0x81;
pub(super) const OFFSET: u8 = 0x78;
pub(super) const RETURNSTATUS: u8 = 0x79;
pub(super) const DATACLASSIFICATION: u8 = 0xa3;
pub(super) const TABNAME: u8 = 0xa4;
pub(super) const COLINFO: u8 = 0xa5;
pub(super) const ORDER: u8 = 0xa9;
pub(super) const ERROR: u8 = 0xaa;
pub(super) const INFO: u8 = 0xab;
pub(super) const RETURNVALUE: u8 = 0xac;
pub(super) const LOGINACK: u8 = 0xad;
pub(super) const FEATUREEXTACK: u8 = 0xae;
pub(super) const ROW: u8 = 0xd1;
pub(super) const NBCROW: u8 = 0xd2;
pub(super) const ENVCHANGE: u8 = 0xe3;
pub(super) const SESSIONSTATE: u8 = 0xe4;
pub(super) const SSPI: u8 = 0xed;
pub(super) const FEDAUTHINFO: u8 = 0xee;
pub(super) const DONE: u8 = 0xfd;
pub(super) const DONEPROC: u8 = 0xfe;
pub(super) const DONEINPROC: u8 = 0xff;

/// A token that says more than that rows pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// DONE, DONEPROC or DONEINPROC.
    Done(Done),
    /// ERROR, behind its length: see `ServerError::read`.
    Error(&'a [u8]),
    /// INFO, behind its length.
    Info(&'a [u8]),
    /// ENVCHANGE, behind its length: see [`EnvChange::read`].
    EnvChange(&'a [u8]),
    /// SESSIONSTATE, behind its length; cut off at 64 KiB.
    SessionState(&'a [u8]),
    /// LOGINACK, behind its length.
    LoginAck(&'a [u8]),
    /// FEATUREEXTACK: number, four bytes of length, data, and so on, without the last 0xff.
    Features(&'a [u8]),
    /// RETURNSTATUS.
    ReturnStatus(i32),
    /// Some or all of the four bytes of a RETURNVALUE of type int, from one on.
    Int {
        /// Which parameter of its procedure: 0 for the first.
        ordinal: u16,
        /// Where the bytes stand in the input.
        at: usize,
        /// How many of the four came before.
        from: u8,
        /// How many these are.
        count: u8,
    },
    /// One that is not known, or not with this content: what follows can't be read.
    Unknown(u8),
}

/// The end of a statement's or procedure's results (2.2.7.6 to 2.2.7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// DONEPROC ends a procedure that was called by RPC or in a batch, DONEINPROC a statement in
    /// one; DONE a statement of a batch.
    pub token: u8,
    /// The bits below.
    pub status: u16,
    /// Opaque.
    pub command: u16,
    /// Of the rows, if [`Done::COUNT`] is set.
    pub rows: u64,
}

impl Done {
    /// More results follow.
    pub const MORE: u16 = 0x1;
    /// The statement failed.
    pub const ERROR: u16 = 0x2;
    /// `rows` holds.
    pub const COUNT: u16 = 0x10;
    /// An attention has been heard.
    pub const ATTENTION: u16 = 0x20;
    /// Another call of the same message follows.
    pub const IN_BATCH: u16 = 0x80;
    /// The statement failed so that its results are void.
    pub const SERVER_ERROR: u16 = 0x100;

    /// Whether nothing of the response follows.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.status & Self::MORE == 0 && self.token != DONEINPROC
    }

    /// Whether the statement failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.status & (Self::ERROR | Self::SERVER_ERROR) != 0
    }

    /// Whether it acknowledges an attention.
    #[must_use]
    pub fn is_attention(&self) -> bool {
        self.status & Self::ATTENTION != 0
    }
}
