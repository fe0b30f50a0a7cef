//! Types, and what becomes of their values.

use super::Dialect;
use super::message::{malformed, table};
use super::moment::Moment;
use crate::tds::Violation;
use crate::tds::reader::Reader;
use crate::tds::token::{Names, Purpose, Value, type_info};

/// How the values of a type get to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As they are.
    Same(Value),
    /// As text.
    Moment(Moment),
    /// sql_variant: as it is, unless it holds a moment.
    Variant,
    /// In chunks; with a text pointer.
    Text(Content),
    /// In chunks; with a count in two bytes.
    Counted(Content),
    /// In chunks; so again.
    Chunks(Content),
}

/// What a value in chunks holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// What the client shall get.
    Plain,
    /// UTF-16 with a mark in front.
    Xml,
    /// UTF-8, for a client that gets UTF-16.
    Utf8,
}

/// Types by their bytes.
const IMAGE: u8 = 0x22;
const TEXT: u8 = 0x23;
const NTEXT: u8 = 0x63;
const VARIANT: u8 = 0x62;
const VARBINARY: u8 = 0xa5;
const VARCHAR: u8 = 0xa7;
pub(super) const NVARCHAR: u8 = 0xe7;
const UDT: u8 = 0xf0;
const XML: u8 = 0xf1;
const JSON: u8 = 0xf4;
const VECTOR: u8 = 0xf5;

/// The most bytes of a value with a count in two bytes.
pub(super) const LONGEST_COUNTED: u16 = 8000;
const MAX: [u8; 2] = [0xff; 2];

/// Puts types in the client's words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Types {
    pub(super) dialect: Dialect,
    /// Of texts that are not texts on the server.
    pub(super) collation: [u8; 5],
    /// [`Purpose::Column`] or [`Purpose::Single`].
    pub(super) purpose: Purpose,
}

impl Types {
    /// User type, flags and TYPE_INFO; for a column of a table the table's name, too. `None`
    /// while some of it is missing.
    pub(super) fn convert(
        self,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Shape>, Violation> {
        let Some(&[a, b, c, d, low, high, kind]) =
            reader.bytes(7).and_then(|head| head.first_chunk::<7>())
        else {
            return Ok(None);
        };
        let flags = u16::from_le_bytes([low, high]);
        if self.dialect.is_narrow() {
            out.extend_from_slice(&[a, b]);
            out.extend_from_slice(&(flags & NARROW_FLAGS).to_le_bytes());
        } else {
            out.extend_from_slice(&[a, b, c, d]);
            out.extend_from_slice(&(flags & !NEW_FLAGS).to_le_bytes());
        }
        self.type_info(kind, reader, out)
    }

    fn type_info(
        self,
        kind: u8,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Shape>, Violation> {
        let unknown = || malformed("a type that can't be translated");
        let info = type_info(kind, self.purpose).ok_or_else(unknown)?;
        let Some(fixed) = reader.bytes(usize::from(info.length)) else {
            return Ok(None);
        };
        let first = fixed.first().copied().unwrap_or_default();
        let is_max = fixed.starts_with(&MAX);
        if Moment::is(kind) && !self.dialect.has_dates() {
            let moment = Moment::of(kind, first).ok_or_else(unknown)?;
            self.nvarchar(moment.length(), out);
            return Ok(Some(Shape::Moment(moment)));
        }
        let names = reader.rest();
        if pass_names(info.names, first, self.purpose, reader).is_none() {
            return Ok(None);
        }
        let names = names
            .get(..names.len() - reader.rest().len())
            .unwrap_or_default();
        let narrow = self.dialect.is_narrow();
        match kind {
            VARBINARY | VARCHAR | NVARCHAR if narrow && info.may_be_max && is_max => {
                let collation = fixed.get(2..).unwrap_or_default();
                return Ok(Some(self.long(kind, collation, Content::Plain, out)));
            }
            UDT if narrow => {
                return Ok(Some(self.long(VARBINARY, &[], Content::Plain, out)));
            }
            // Those of more than 8000 bytes came with 7.3.
            UDT if self.dialect == Dialect::V72 && is_max => {
                out.push(VARBINARY);
                out.extend_from_slice(&MAX);
                return Ok(Some(Shape::Same(Value::Plp)));
            }
            XML if narrow => {
                return Ok(Some(self.long(
                    NVARCHAR,
                    &self.collation,
                    Content::Xml,
                    out,
                )));
            }
            JSON if narrow => {
                return Ok(Some(self.long(
                    NVARCHAR,
                    &self.collation,
                    Content::Utf8,
                    out,
                )));
            }
            // Nobody asked for it, and what it looks like depends on what was asked for.
            VECTOR => return Err(unknown()),
            JSON => {
                self.nvarchar(u16::MAX, out);
                return Ok(Some(Shape::Chunks(Content::Utf8)));
            }
            _ => {}
        }
        out.push(kind);
        out.extend_from_slice(fixed);
        match info.names {
            Names::Table if self.purpose == Purpose::Column && narrow => {
                table(&mut Reader::new(names), out).ok_or_else(unknown)?;
            }
            Names::TableType => return Err(unknown()),
            _ => out.extend_from_slice(names),
        }
        Ok(Some(match kind {
            VARIANT if !self.dialect.has_dates() => Shape::Variant,
            _ if info.may_be_max && is_max => Shape::Same(Value::Plp),
            _ => Shape::Same(info.value),
        }))
    }

    fn nvarchar(self, length: u16, out: &mut Vec<u8>) {
        out.push(NVARCHAR);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.collation);
    }

    /// What 7.1 has for a value in chunks: text, ntext and image; and what it knows as a
    /// parameter, where it has none of these.
    fn long(self, kind: u8, collation: &[u8], content: Content, out: &mut Vec<u8>) -> Shape {
        if self.purpose == Purpose::Single {
            out.push(kind);
            out.extend_from_slice(&LONGEST_COUNTED.to_le_bytes());
            out.extend_from_slice(collation);
            return Shape::Counted(content);
        }
        let (kind, most) = match kind {
            VARCHAR => (TEXT, i32::MAX),
            NVARCHAR => (NTEXT, i32::MAX - 1),
            _ => (IMAGE, i32::MAX),
        };
        out.push(kind);
        out.extend_from_slice(&most.to_le_bytes());
        out.extend_from_slice(collation);
        // Of no table.
        out.extend_from_slice(&[0; 2]);
        Shape::Text(content)
    }
}

/// The bits of a column's flags that 7.1 knows: up to fIdentity, and those of ODBC.
const NARROW_FLAGS: u16 = 0x00df;
/// Those that came with 7.3B and 7.4: fSparseColumnSet and fEncrypted.
const NEW_FLAGS: u16 = 0x0c00;

fn pass_names(names: Names, first: u8, purpose: Purpose, reader: &mut Reader<'_>) -> Option<()> {
    match names {
        Names::Schema if first == 1 => {
            reader.b_text()?;
            reader.b_text()?;
            reader.us_text()?;
        }
        Names::Udt => {
            for _ in 0..3 {
                reader.b_text()?;
            }
            reader.us_text()?;
        }
        Names::Table if purpose == Purpose::Column => {
            for _ in 0..reader.u8()? {
                reader.us_text()?;
            }
        }
        Names::None | Names::Schema | Names::Table | Names::TableType => {}
    }
    Some(())
}
