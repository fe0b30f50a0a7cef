//! The question what a session has left on its backend, and the answer.
//!
//! Only for backends that are in no transaction. A part of the question for which the login has
//! no permission counts as not known. The question itself changes @@ROWCOUNT and @@ERROR.

use super::Violation;
use super::effect::Effects;
use super::reader::Reader;
use super::token::{
    COLMETADATA, DONE, DONEINPROC, DONEPROC, ENVCHANGE, INFO, NBCROW, ORDER, ROW, SESSIONSTATE,
};

/// The question. With IMPLICIT_TRANSACTIONS it would begin a transaction, which it ends then. A
/// temporary table's name is padded with underscores to 116 characters in tempdb; that it is the
/// session's own is seen by OBJECT_ID, which knows no others'.
pub const TEXT: &str = "\
DECLARE @transactions int, @tables int, @locks int, @cursors int, @context int;
SET @transactions = @@TRANCOUNT;
IF @transactions = 0 BEGIN
BEGIN TRY
SELECT @tables = COUNT(*) FROM tempdb.sys.objects AS o WHERE o.name LIKE N'#%' \
AND OBJECT_ID(N'tempdb..' + QUOTENAME(REPLACE(REPLACE(RTRIM(REPLACE(REPLACE(LEFT(o.name, 116), \
N' ', NCHAR(1)), N'_', N' ')), N' ', N'_'), NCHAR(1), N' '))) = o.object_id;
END TRY BEGIN CATCH SET @tables = -1; END CATCH;
BEGIN TRY
SELECT @locks = COUNT(*) FROM sys.dm_tran_locks WHERE request_session_id = @@SPID \
AND resource_type = N'APPLICATION';
END TRY BEGIN CATCH SET @locks = -1; END CATCH;
BEGIN TRY
SELECT @cursors = COUNT(*) FROM sys.dm_exec_cursors(@@SPID);
END TRY BEGIN CATCH SET @cursors = -1; END CATCH;
SET @context = CASE WHEN CONTEXT_INFO() <> 0x THEN 1 ELSE 0 END;
IF @@TRANCOUNT > 0 COMMIT TRANSACTION;
END;
SELECT @transactions, @tables, @locks, @cursors, @context;";

/// The columns of the answer behind the first, and what they find.
const PARTS: [Effects; 4] = [
    Effects::TEMP_TABLE,
    Effects::APP_LOCK,
    Effects::CURSOR,
    Effects::CONTEXT,
];

/// What a session has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// What is there, and `UNKNOWN` for what could not be asked.
    pub found: Effects,
    /// Transactions that are open: @@TRANCOUNT.
    pub transactions: u32,
}

impl Answer {
    /// Reads the answer's tokens.
    ///
    /// # Errors
    /// [`Violation::Malformed`] for anything but one row of the question's columns: an error, or
    /// settings under which nothing is carried out.
    pub fn read(tokens: &[u8]) -> Result<Self, Violation> {
        let row = row(tokens).ok_or(Violation::Malformed {
            what: "the answer to a question of ours",
            why: "it has no row of ours",
        })?;
        let [transactions, parts @ ..] = row;
        let mut answer = Self {
            found: Effects::default(),
            transactions: transactions
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(1),
        };
        for (part, effect) in parts.into_iter().zip(PARTS) {
            answer.found |= match part {
                Some(0) => Effects::default(),
                Some(1..) => effect,
                Some(_) | None => Effects::UNKNOWN,
            };
        }
        Ok(answer)
    }
}

type Row = [Option<i32>; PARTS.len() + 1];

/// The one row, whose columns are all int.
fn row(tokens: &[u8]) -> Option<Row> {
    let mut reader = Reader::new(tokens);
    let mut nullable: Option<[bool; PARTS.len() + 1]> = None;
    let mut found = None;
    while let Some(token) = reader.u8() {
        match token {
            DONE | DONEPROC | DONEINPROC => {
                reader.bytes(12)?;
            }
            ENVCHANGE | INFO | ORDER => {
                let length = reader.u16()?;
                reader.bytes(usize::from(length))?;
            }
            SESSIONSTATE => {
                let length = usize::try_from(reader.u32()?).ok()?;
                reader.bytes(length)?;
            }
            COLMETADATA => nullable = Some(columns(&mut reader)?),
            ROW | NBCROW if found.is_none() => {
                let nulls = match token {
                    NBCROW => reader.u8()?,
                    _ => 0,
                };
                found = Some(values(&mut reader, nullable?, nulls)?);
            }
            _ => return None,
        }
    }
    found
}

/// Whether the columns are nullable; they are int.
fn columns(reader: &mut Reader<'_>) -> Option<[bool; PARTS.len() + 1]> {
    let mut nullable = [false; PARTS.len() + 1];
    if usize::from(reader.u16()?) != nullable.len() {
        return None;
    }
    for column in &mut nullable {
        // User type and flags.
        reader.bytes(6)?;
        *column = match reader.u8()? {
            0x38 => false,
            0x26 if reader.u8()? == 4 => true,
            _ => return None,
        };
        reader.b_text()?;
    }
    Some(nullable)
}

fn values(reader: &mut Reader<'_>, nullable: [bool; PARTS.len() + 1], nulls: u8) -> Option<Row> {
    let mut row = Row::default();
    for (column, (value, is_nullable)) in row.iter_mut().zip(nullable).enumerate() {
        if nulls >> column & 1 == 1 {
            continue;
        }
        *value = match is_nullable {
            false => Some(reader.i32()?),
            true => match reader.u8()? {
                0 => None,
                4 => Some(reader.i32()?),
                _ => return None,
            },
        };
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tds::message::done;
    use crate::tds::token::Done;

    fn answer(token: u8, row: &[u8]) -> Result<Answer, Violation> {
        let mut tokens = Vec::new();
        done(&mut tokens, DONE, Done::MORE | Done::COUNT, 1);
        tokens.extend([COLMETADATA, 5, 0]);
        for _ in 0..5 {
            tokens.extend([0, 0, 0, 0, 1, 0, 0x26, 4, 0]);
        }
        tokens.push(token);
        tokens.extend(row);
        done(&mut tokens, DONE, Done::COUNT, 1);
        Answer::read(&tokens)
    }

    #[test]
    fn answers_are_read() {
        let row = |values: [i32; 5]| {
            let values = values.iter().flat_map(|value| {
                let [a, b, c, d] = value.to_le_bytes();
                [4, a, b, c, d]
            });
            values.collect::<Vec<u8>>()
        };
        assert_eq!(answer(ROW, &row([0; 5])), Ok(Answer::default()));
        assert_eq!(
            answer(ROW, &row([2, 1, -1, 3, 1])),
            Ok(Answer {
                found: Effects::TEMP_TABLE | Effects::UNKNOWN | Effects::CURSOR | Effects::CONTEXT,
                transactions: 2,
            })
        );
        // In a transaction, nothing else is asked.
        let in_transaction = answer(NBCROW, &[0x1e, 4, 1, 0, 0, 0]).unwrap();
        assert_eq!(in_transaction.transactions, 1);
        assert_eq!(in_transaction.found, Effects::UNKNOWN);
        assert_eq!(
            answer(ROW, &[4, 1, 0, 0, 0, 0, 0, 0, 0]),
            Ok(in_transaction)
        );
        for bad in [&[][..], &[4, 1], &[9; 30]] {
            assert!(answer(ROW, bad).is_err(), "{bad:?}");
        }
        assert!(Answer::read(&[]).is_err());
        assert!(Answer::read(&[0xaa, 0, 0]).is_err());
    }
}
