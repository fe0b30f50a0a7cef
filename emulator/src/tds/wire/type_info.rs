//! TYPE_INFO (MS-TDS 2.2.5.6): which type, how long, how its values lie on the wire.

use super::bytes::{Malformed, Reader};
use super::kind::{Charset, Kind, Length};
use super::version::Version;
use crate::tds::login::COLLATION;

/// How a value is framed (MS-TDS 2.2.5.2.2, 2.2.5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Frame {
    /// Nothing at all: always NULL.
    Nothing,
    Fixed(usize),
    /// One byte of length, 0 for NULL.
    Byte,
    /// One byte of length, 0xff for NULL: types of before 7.0.
    LegacyByte,
    /// Two bytes of length, 0xffff for NULL.
    Short,
    /// Four bytes of length, 0xffffffff for NULL: text, ntext, image.
    Long,
    /// Chunks.
    Plp,
}

/// A type as a client declared it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) struct TypeInfo {
    pub(in crate::tds) kind: Kind,
    pub(in crate::tds) frame: Frame,
}

pub(in crate::tds) fn read(reader: &mut Reader<'_>) -> Result<TypeInfo, Malformed> {
    let token = reader.u8()?;
    let fixed = |kind, size| {
        Ok(TypeInfo {
            kind,
            frame: Frame::Fixed(size),
        })
    };
    let byte = |kind| {
        Ok(TypeInfo {
            kind,
            frame: Frame::Byte,
        })
    };
    match token {
        0x1f => Ok(TypeInfo {
            kind: Kind::nvarchar(1),
            frame: Frame::Nothing,
        }),
        0x30 => fixed(Kind::TinyInt, 1),
        0x32 => fixed(Kind::Bit, 1),
        0x34 => fixed(Kind::SmallInt, 2),
        0x38 => fixed(Kind::Int, 4),
        0x3a => fixed(Kind::SmallDateTime, 4),
        0x3b => fixed(Kind::Real, 4),
        0x3c => fixed(Kind::Money, 8),
        0x3d => fixed(Kind::DateTime, 8),
        0x3e => fixed(Kind::Float, 8),
        0x7a => fixed(Kind::SmallMoney, 4),
        0x7f => fixed(Kind::BigInt, 8),
        0x28 => byte(Kind::Date),
        0x29 => byte(Kind::Time(scale(reader)?)),
        0x2a => byte(Kind::DateTime2(scale(reader)?)),
        0x2b => byte(Kind::DateTimeOffset(scale(reader)?)),
        0x24 | 0x26 | 0x68 | 0x6d | 0x6e | 0x6f => byte(sized(token, reader)?),
        0x37 | 0x3f | 0x6a | 0x6c => {
            reader.u8()?;
            let (precision, scale) = (reader.u8()?, reader.u8()?);
            if precision == 0 || precision > 38 || scale > precision {
                return Err(reader.malformed());
            }
            byte(Kind::Decimal { precision, scale })
        }
        _ => read_long(token, reader),
    }
}

fn scale(reader: &mut Reader<'_>) -> Result<u8, Malformed> {
    match reader.u8()? {
        scale if scale <= 7 => Ok(scale),
        _ => Err(reader.malformed()),
    }
}

/// The types whose size says which one they are.
fn sized(token: u8, reader: &mut Reader<'_>) -> Result<Kind, Malformed> {
    Ok(match (token, reader.u8()?) {
        (0x24, 16) => Kind::Guid,
        (0x26, 1) => Kind::TinyInt,
        (0x26, 2) => Kind::SmallInt,
        (0x26, 4) => Kind::Int,
        (0x26, 8) => Kind::BigInt,
        (0x68, 1) => Kind::Bit,
        (0x6d, 4) => Kind::Real,
        (0x6d, 8) => Kind::Float,
        (0x6e, 4) => Kind::SmallMoney,
        (0x6e, 8) => Kind::Money,
        (0x6f, 4) => Kind::SmallDateTime,
        (0x6f, 8) => Kind::DateTime,
        _ => return Err(reader.malformed()),
    })
}

/// Text and binary.
fn read_long(token: u8, reader: &mut Reader<'_>) -> Result<TypeInfo, Malformed> {
    let legacy = |kind| {
        Ok(TypeInfo {
            kind,
            frame: Frame::LegacyByte,
        })
    };
    let short = |size: u16, unit: u16| match size {
        u16::MAX => (Length::Max, Frame::Plp),
        size => (Length::Varying((size / unit).max(1)), Frame::Short),
    };
    let (kind, frame) = match token {
        0x25 | 0x2d => {
            let size = reader.u8()?;
            return legacy(Kind::Binary(Length::Varying(u16::from(size).max(1))));
        }
        0x27 | 0x2f => {
            let length = Length::Varying(u16::from(reader.u8()?).max(1));
            return legacy(Kind::Text(length, Charset::Byte));
        }
        0xa5 | 0xad => {
            let (length, frame) = short(reader.u16()?, 1);
            (Kind::Binary(length), frame)
        }
        0xa7 | 0xaf => {
            let (length, frame) = short(reader.u16()?, 1);
            reader.take(5)?;
            (Kind::Text(length, Charset::Byte), frame)
        }
        0xe7 | 0xef => {
            let (length, frame) = short(reader.u16()?, 2);
            reader.take(5)?;
            (Kind::Text(length, Charset::Unicode), frame)
        }
        0x22 => {
            reader.u32()?;
            (Kind::Binary(Length::Max), Frame::Long)
        }
        0x23 | 0x63 => {
            reader.u32()?;
            reader.take(5)?;
            let charset = if token == 0x23 {
                Charset::Byte
            } else {
                Charset::Unicode
            };
            (Kind::Text(Length::Max, charset), Frame::Long)
        }
        0xf1 => {
            if reader.u8()? != 0 {
                return Err(Malformed("xml with a schema"));
            }
            (Kind::Text(Length::Max, Charset::Unicode), Frame::Plp)
        }
        _ => return Err(Malformed("data type, which the emulator does not know")),
    };
    Ok(TypeInfo { kind, frame })
}

/// What a kind becomes for a client of this version: older ones get newer types in old clothes.
pub(in crate::tds) fn for_client(kind: Kind, version: Version) -> Kind {
    match kind {
        Kind::Date | Kind::Time(_) | Kind::DateTime2(_) | Kind::DateTimeOffset(_)
            if version < Version::V73A =>
        {
            Kind::nvarchar(40)
        }
        kind => kind,
    }
}

/// Writes TYPE_INFO, all nullable. `table`: the text and image of 7.1 name one.
pub(in crate::tds) fn put(out: &mut Vec<u8>, kind: Kind, version: Version) {
    let kind = for_client(kind, version);
    match kind {
        Kind::Bit => out.extend([0x68, 1]),
        Kind::TinyInt => out.extend([0x26, 1]),
        Kind::SmallInt => out.extend([0x26, 2]),
        Kind::Int => out.extend([0x26, 4]),
        Kind::BigInt => out.extend([0x26, 8]),
        Kind::Real => out.extend([0x6d, 4]),
        Kind::Float => out.extend([0x6d, 8]),
        Kind::Decimal { precision, scale } => out.extend([0x6a, 17, precision, scale]),
        Kind::SmallMoney => out.extend([0x6e, 4]),
        Kind::Money => out.extend([0x6e, 8]),
        Kind::SmallDateTime => out.extend([0x6f, 4]),
        Kind::DateTime => out.extend([0x6f, 8]),
        Kind::Date => out.push(0x28),
        Kind::Time(scale) => out.extend([0x29, scale]),
        Kind::DateTime2(scale) => out.extend([0x2a, scale]),
        Kind::DateTimeOffset(scale) => out.extend([0x2b, scale]),
        Kind::Guid => out.extend([0x24, 16]),
        Kind::Binary(Length::Max) if !version.is_wide() => {
            out.push(0x22);
            out.extend(i32::MAX.to_le_bytes());
        }
        Kind::Text(Length::Max, charset) if !version.is_wide() => {
            let token = match charset {
                Charset::Byte => 0x23,
                Charset::Unicode => 0x63,
            };
            out.push(token);
            out.extend(i32::MAX.to_le_bytes());
            out.extend(COLLATION);
        }
        Kind::Binary(length) => {
            let (token, size) = match length {
                Length::Fixed(size) => (0xad, size),
                Length::Varying(size) => (0xa5, size),
                Length::Max => (0xa5, u16::MAX),
            };
            out.push(token);
            out.extend(size.to_le_bytes());
        }
        Kind::Text(length, charset) => {
            let (fixed, varying, unit) = match charset {
                Charset::Byte => (0xaf, 0xa7, 1),
                Charset::Unicode => (0xef, 0xe7, 2),
            };
            let (token, size) = match length {
                Length::Fixed(units) => (fixed, units * unit),
                Length::Varying(units) => (varying, units * unit),
                Length::Max => (varying, u16::MAX),
            };
            out.push(token);
            out.extend(size.to_le_bytes());
            out.extend(COLLATION);
        }
    }
}
