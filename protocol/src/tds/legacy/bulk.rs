//! The data of a bulk load: COLMETADATA, rows, DONE (2.2.6.1), from a client of 7.1.

use crate::tds::Violation;
use crate::tds::reader::Reader;
use crate::tds::token::{COLMETADATA, Layout, Names, Purpose, Token, TypeInfo, Walker, type_info};

/// The longest description of columns, in bytes.
const LONGEST_COLUMNS: usize = 512 * 1024;

/// One bulk load.
#[derive(Debug)]
pub(super) struct Bulk {
    /// The columns' description, as far as it is here.
    columns: Vec<u8>,
    /// Behind it.
    in_rows: bool,
    walker: Walker,
}

impl Default for Bulk {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            in_rows: false,
            walker: Walker::new(Layout {
                old: true,
                ..Layout::default()
            }),
        }
    }
}

impl Bulk {
    pub(super) fn begin(&mut self) {
        self.columns.clear();
        self.in_rows = false;
        self.walker.end_message();
    }

    /// Takes a packet's payload.
    pub(super) fn take(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        if self.in_rows {
            return self.rows(payload, out);
        }
        self.columns.extend_from_slice(payload);
        let mut converted = Vec::new();
        let Some(length) = columns(&self.columns, &mut converted)? else {
            if self.columns.len() > LONGEST_COLUMNS {
                return Err(Violation::TooLarge {
                    what: "the description of a bulk load's columns",
                    limit: LONGEST_COLUMNS,
                });
            }
            return Ok(());
        };
        out.append(&mut converted);
        self.in_rows = true;
        let held = std::mem::take(&mut self.columns);
        let (columns, rows) = held.split_at(length);
        self.rows(columns, &mut converted)?;
        self.rows(rows, out)
    }

    /// The message ends.
    pub(super) fn end(&self) -> Result<(), Violation> {
        match self.in_rows {
            true => Ok(()),
            false => Err(malformed("its columns")),
        }
    }

    /// Rows are the same; DONE has a longer count.
    fn rows(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        self.walker.begin_packet();
        let mut at = 0;
        loop {
            let walked = self.walker.next(payload, at);
            out.extend_from_slice(payload.get(at..walked.at).unwrap_or_default());
            at = walked.at;
            match walked.token {
                None => return Ok(()),
                Some(Token::Done(_)) => out.extend_from_slice(&[0; 4]),
                Some(_) => return Err(malformed("its rows")),
            }
        }
    }
}

fn malformed(why: &'static str) -> Violation {
    Violation::Malformed {
        what: "a bulk load",
        why,
    }
}

/// Writes COLMETADATA with longer user types. Returns its length; `None` while some of it is
/// missing. The name of a text's table stays in one piece, as clients of all versions send it.
fn columns(input: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, Violation> {
    let mut reader = Reader::new(input);
    match reader.u8() {
        None => return Ok(None),
        Some(COLMETADATA) => {}
        Some(_) => return Err(malformed("its columns")),
    }
    let Some(count) = reader.u16() else {
        return Ok(None);
    };
    out.extend_from_slice(input.get(..3).unwrap_or_default());
    for _ in 0..count {
        let before = reader.rest();
        if column(&mut reader)?.is_none() {
            return Ok(None);
        }
        let length = before.len() - reader.rest().len();
        let (user_type, rest) = before.split_at(2.min(length));
        out.extend_from_slice(user_type);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(rest.get(..length - 2).unwrap_or_default());
    }
    Ok(Some(input.len() - reader.rest().len()))
}

/// Passes over one column.
fn column(reader: &mut Reader<'_>) -> Result<Option<()>, Violation> {
    let Some(&[.., kind]) = reader.bytes(5) else {
        return Ok(None);
    };
    let info = type_info(kind, Purpose::Column).ok_or_else(|| malformed("a column's type"))?;
    match info.names {
        Names::None | Names::Table => Ok(pass_column(info, reader)),
        Names::Schema | Names::Udt | Names::TableType => Err(malformed("a column's type")),
    }
}

fn pass_column(info: TypeInfo, reader: &mut Reader<'_>) -> Option<()> {
    reader.bytes(usize::from(info.length))?;
    if info.names == Names::Table {
        reader.us_text()?;
    }
    reader.b_text().map(|_| ())
}
