//! ALL_HEADERS (MS-TDS 2.2.5.3), in front of requests since TDS 7.2.

use super::bytes::{Malformed, Reader};
use super::version::Version;

const QUERY_NOTIFICATION: u16 = 1;
const TRANSACTION: u16 = 2;
const TRACE: u16 = 3;

/// Takes the headers off a request and gives the transaction descriptor that it names.
pub(in crate::tds) fn take(body: &[u8], version: Version) -> Result<(u64, &[u8]), Malformed> {
    if !version.is_wide() {
        return Ok((0, body));
    }
    let malformed = Malformed("ALL_HEADERS");
    let mut reader = Reader::new(body, "ALL_HEADERS");
    let total = reader.length()?;
    let headers = body.get(4..total).ok_or(malformed)?;
    let rest = body.get(total..).ok_or(malformed)?;
    let mut reader = Reader::new(headers, "ALL_HEADERS");
    let mut descriptor = None;
    while !reader.is_empty() {
        let length = reader.length()?;
        let data = reader.take(length.checked_sub(4).ok_or(malformed)?)?;
        let mut data = Reader::new(data, "ALL_HEADERS");
        match data.u16()? {
            TRANSACTION => {
                descriptor = Some(data.u64()?);
                // Outstanding requests: without MARS always 1.
                if data.u32()? != 1 {
                    return Err(malformed);
                }
            }
            QUERY_NOTIFICATION => {}
            TRACE if version >= Version::V74 => {}
            _ => return Err(malformed),
        }
    }
    descriptor.map(|known| (known, rest)).ok_or(malformed)
}
