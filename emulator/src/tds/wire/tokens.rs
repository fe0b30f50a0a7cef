//! Tokens of answers that carry no data (MS-TDS 2.2.7).

use super::bytes::{put_b_varchar, put_us_varchar};
use super::version::Version;
use crate::tds::error::ServerError;

/// The version that the server says it is: Azure SQL Database's 12.0, build 2000.
pub(in crate::tds) const SERVER_VERSION: [u8; 4] = [12, 0, 0x07, 0xd0];
const SERVER: &str = "entrapool-emulator";

pub(in crate::tds) mod done {
    pub(in crate::tds) const MORE: u16 = 0x01;
    pub(in crate::tds) const ERROR: u16 = 0x02;
    pub(in crate::tds) const COUNT: u16 = 0x10;
    pub(in crate::tds) const ATTENTION: u16 = 0x20;
}

/// Numbers of ENVCHANGE (MS-TDS 2.2.7.9).
pub(in crate::tds) mod env {
    pub(in crate::tds) const DATABASE: u8 = 1;
    pub(in crate::tds) const LANGUAGE: u8 = 2;
    pub(in crate::tds) const PACKET_SIZE: u8 = 4;
    pub(in crate::tds) const COLLATION: u8 = 7;
    pub(in crate::tds) const BEGIN: u8 = 8;
    pub(in crate::tds) const COMMIT: u8 = 9;
    pub(in crate::tds) const ROLLBACK: u8 = 10;
    pub(in crate::tds) const RESET: u8 = 18;
    pub(in crate::tds) const ROUTING: u8 = 20;
    pub(in crate::tds) const ENHANCED_ROUTING: u8 = 21;
}

/// Which of the three DONE tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum DoneKind {
    Done = 0xfd,
    Proc = 0xfe,
    InProc = 0xff,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) struct Done {
    pub(in crate::tds) kind: DoneKind,
    pub(in crate::tds) status: u16,
    pub(in crate::tds) command: u16,
    /// `None`: the count is not valid, and DONE_COUNT is not set.
    pub(in crate::tds) rows: Option<u64>,
}

impl Done {
    pub(in crate::tds) fn new(kind: DoneKind) -> Self {
        Self {
            kind,
            status: 0,
            command: 0,
            rows: None,
        }
    }

    pub(in crate::tds) fn failed(kind: DoneKind) -> Self {
        Self {
            status: done::ERROR,
            ..Self::new(kind)
        }
    }

    pub(in crate::tds) fn put(self, out: &mut Vec<u8>, version: Version) {
        let counted = if self.rows.is_some() { done::COUNT } else { 0 };
        let rows = self.rows.unwrap_or(0);
        out.push(self.kind as u8);
        out.extend((self.status | counted).to_le_bytes());
        out.extend(self.command.to_le_bytes());
        if version.is_wide() {
            out.extend(rows.to_le_bytes());
        } else {
            out.extend(u32::try_from(rows).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

/// Old and new value as text (types 1, 2, 4).
pub(in crate::tds) fn put_env_text(out: &mut Vec<u8>, kind: u8, new: &str, old: &str) {
    let mut body = vec![kind];
    put_b_varchar(&mut body, new);
    put_b_varchar(&mut body, old);
    put_sized(out, 0xe3, &body);
}

/// Old and new value as bytes (types 7 to 12, 18).
pub(in crate::tds) fn put_env_bytes(out: &mut Vec<u8>, kind: u8, new: &[u8], old: &[u8]) {
    let mut body = vec![kind];
    for value in [new, old] {
        body.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        body.extend(value);
    }
    put_sized(out, 0xe3, &body);
}

/// Types 20 and 21: go to another server. `database` makes it a 21.
pub(in crate::tds) fn put_routing(
    out: &mut Vec<u8>,
    host: &str,
    port: u16,
    database: Option<&str>,
) {
    let mut value = vec![0]; // the protocol: TCP
    value.extend(port.to_le_bytes());
    put_us_varchar(&mut value, host);
    if let Some(database) = database {
        put_us_varchar(&mut value, database);
    }
    let kind = match database {
        Some(_) => env::ENHANCED_ROUTING,
        None => env::ROUTING,
    };
    let mut body = vec![kind];
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    body.extend([0, 0]);
    put_sized(out, 0xe3, &body);
}

pub(in crate::tds) fn put_login_ack(out: &mut Vec<u8>, version: Version) {
    let mut body = vec![1]; // SQL_TSQL
    body.extend(version.acknowledgement());
    put_b_varchar(&mut body, "Microsoft SQL Server");
    body.extend(SERVER_VERSION);
    put_sized(out, 0xad, &body);
}

pub(in crate::tds) fn put_error(out: &mut Vec<u8>, error: &ServerError, version: Version) {
    put_report(out, 0xaa, error, version);
}

pub(in crate::tds) fn put_info(out: &mut Vec<u8>, info: &ServerError, version: Version) {
    put_report(out, 0xab, info, version);
}

fn put_report(out: &mut Vec<u8>, token: u8, report: &ServerError, version: Version) {
    let mut body = Vec::new();
    body.extend(report.number.to_le_bytes());
    body.push(report.state);
    body.push(report.class);
    put_us_varchar(&mut body, &report.message);
    put_b_varchar(&mut body, SERVER);
    put_b_varchar(&mut body, &report.procedure);
    if version.is_wide() {
        body.extend(report.line.to_le_bytes());
    } else {
        body.extend(u16::try_from(report.line).unwrap_or(u16::MAX).to_le_bytes());
    }
    put_sized(out, token, &body);
}

pub(in crate::tds) fn put_return_status(out: &mut Vec<u8>, status: i32) {
    out.push(0x79);
    out.extend(status.to_le_bytes());
}

/// SESSIONSTATE (MS-TDS 2.2.7.21).
pub(in crate::tds) fn put_session_state(
    out: &mut Vec<u8>,
    sequence: u32,
    recoverable: bool,
    states: &[(u8, Vec<u8>)],
) {
    let mut body = Vec::new();
    body.extend(sequence.to_le_bytes());
    body.push(u8::from(recoverable));
    put_states(&mut body, states);
    out.push(0xe4);
    out.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(body);
}

/// SessionStateDataSet, as it is in the token and in FEATUREEXTACK.
pub(in crate::tds) fn put_states(out: &mut Vec<u8>, states: &[(u8, Vec<u8>)]) {
    for (id, value) in states {
        out.push(*id);
        match u8::try_from(value.len()) {
            Ok(length) if length < 0xff => out.push(length),
            _ => {
                out.push(0xff);
                out.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            }
        }
        out.extend(value);
    }
}

/// A token with its length in two bytes.
fn put_sized(out: &mut Vec<u8>, token: u8, body: &[u8]) {
    out.push(token);
    out.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(body);
}
