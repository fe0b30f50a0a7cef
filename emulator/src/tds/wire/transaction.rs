//! Transaction Manager requests (MS-TDS 2.2.6.9).

use super::bytes::{Malformed, Reader};

/// An isolation level; it stays in force for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Isolation {
    ReadUncommitted = 1,
    ReadCommitted = 2,
    RepeatableRead = 3,
    Serializable = 4,
    Snapshot = 5,
}

impl Isolation {
    /// 0 keeps the present one.
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        Ok(match reader.u8()? {
            0 => None,
            1 => Some(Self::ReadUncommitted),
            2 => Some(Self::ReadCommitted),
            3 => Some(Self::RepeatableRead),
            4 => Some(Self::Serializable),
            5 => Some(Self::Snapshot),
            _ => return Err(Malformed("isolation level")),
        })
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) enum Request {
    Begin(Begin),
    Commit {
        then: Option<Begin>,
    },
    Rollback {
        name: String,
        then: Option<Begin>,
    },
    Save {
        name: String,
    },
    /// DTC and others, by number.
    Other(u16),
}

/// A transaction that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) struct Begin {
    pub(in crate::tds) isolation: Option<Isolation>,
}

pub(in crate::tds) fn read(body: &[u8]) -> Result<Request, Malformed> {
    let mut reader = Reader::new(body, "Transaction Manager request");
    Ok(match reader.u16()? {
        5 => Request::Begin(begin(&mut reader)?),
        7 => {
            name(&mut reader)?;
            Request::Commit {
                then: then(&mut reader)?,
            }
        }
        8 => Request::Rollback {
            name: name(&mut reader)?,
            then: then(&mut reader)?,
        },
        9 => Request::Save {
            name: name(&mut reader)?,
        },
        other => Request::Other(other),
    })
}

fn begin(reader: &mut Reader<'_>) -> Result<Begin, Malformed> {
    let isolation = Isolation::read(reader)?;
    name(reader)?;
    Ok(Begin { isolation })
}

fn then(reader: &mut Reader<'_>) -> Result<Option<Begin>, Malformed> {
    match reader.u8()? & 1 {
        0 => Ok(None),
        _ => begin(reader).map(Some),
    }
}

/// B_VARBYTE of UTF-16.
fn name(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let bytes = usize::from(reader.u8()?);
    let is_even = bytes.is_multiple_of(2);
    if !is_even {
        return Err(reader.malformed());
    }
    reader.utf16(bytes / 2)
}
