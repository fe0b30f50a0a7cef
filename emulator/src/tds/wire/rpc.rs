//! RPC requests (MS-TDS 2.2.6.6): one procedure or several, with typed parameters.

use rusqlite::types::Value;

use super::bytes::{Malformed, Reader};
use super::kind::Kind;
use super::type_info;
use super::values;
use super::version::Version;

/// Parameters in one call; SQL Server takes 2,100.
const MAX_PARAMETERS: usize = 2_100;

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::tds) struct Call {
    pub(in crate::tds) procedure: Procedure,
    /// fNoMetaData.
    pub(in crate::tds) without_metadata: bool,
    pub(in crate::tds) parameters: Vec<Parameter>,
    /// Behind 0xFE: not to be executed.
    pub(in crate::tds) is_skipped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) enum Procedure {
    Numbered(u16),
    Named(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::tds) struct Parameter {
    /// With its `@`; empty when it goes by its place.
    pub(in crate::tds) name: String,
    pub(in crate::tds) is_output: bool,
    pub(in crate::tds) kind: Kind,
    pub(in crate::tds) value: Value,
}

/// All calls of a message without its headers.
pub(in crate::tds) fn read(body: &[u8], version: Version) -> Result<Vec<Call>, Malformed> {
    let mut reader = Reader::new(body, "RPC request");
    let mut calls = Vec::new();
    loop {
        let mut call = call(&mut reader)?;
        let separator = reader.peek();
        if separator.is_some() {
            reader.u8()?;
        }
        call.is_skipped = separator == Some(0xfe);
        calls.push(call);
        // One may stand behind the last call, too.
        if reader.is_empty() {
            return Ok(calls);
        }
        if separator == Some(0x80) && version.is_wide() {
            return Err(reader.malformed());
        }
    }
}

fn call(reader: &mut Reader<'_>) -> Result<Call, Malformed> {
    let procedure = match reader.u16()? {
        u16::MAX => Procedure::Numbered(reader.u16()?),
        units => Procedure::Named(reader.utf16(units.into())?),
    };
    let options = reader.u16()?;
    let mut parameters = Vec::new();
    while !matches!(reader.peek(), None | Some(0x80 | 0xfe | 0xff)) {
        parameters.push(parameter(reader)?);
        if parameters.len() > MAX_PARAMETERS + 10 {
            return Err(Malformed("RPC request: too many parameters"));
        }
    }
    Ok(Call {
        procedure,
        without_metadata: options & 0x02 != 0,
        parameters,
        is_skipped: false,
    })
}

fn parameter(reader: &mut Reader<'_>) -> Result<Parameter, Malformed> {
    let name = reader.b_varchar()?;
    let status = reader.u8()?;
    if status & 0x08 != 0 {
        return Err(Malformed("RPC request: an encrypted parameter"));
    }
    let info = type_info::read(reader)?;
    Ok(Parameter {
        name,
        is_output: status & 0x01 != 0,
        kind: info.kind,
        value: values::read(reader, info)?,
    })
}
