//! Answers taken apart, as far as the tests need.

use anyhow::{bail, ensure};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// Type, new, old: bytes without their lengths; of routing the whole.
    Env(u8, Vec<u8>, Vec<u8>),
    Error(Report),
    Info(Report),
    LoginAck(Vec<u8>),
    Features(Vec<(u8, Vec<u8>)>),
    Columns(Vec<Column>),
    Row(Vec<Option<String>>),
    Status(i32),
    Value(String, Option<String>),
    State {
        sequence: u32,
        recoverable: bool,
        states: Vec<(u8, Vec<u8>)>,
    },
    Done {
        kind: u8,
        status: u16,
        rows: u64,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) number: i32,
    pub(crate) state: u8,
    pub(crate) class: u8,
    pub(crate) text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: u8,
    /// Of INTN and its like, or the scale of new times.
    pub(crate) size: usize,
    pub(crate) scale: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) tokens: Vec<Token>,
}

impl Answer {
    pub(crate) fn errors(&self) -> Vec<(i32, u8)> {
        self.reports().iter().map(|e| (e.number, e.class)).collect()
    }

    pub(crate) fn reports(&self) -> Vec<&Report> {
        let errors = self.tokens.iter().filter_map(|token| match token {
            Token::Error(report) => Some(report),
            _ => None,
        });
        errors.collect()
    }

    pub(crate) fn rows(&self) -> Vec<Vec<Option<String>>> {
        let rows = self.tokens.iter().filter_map(|token| match token {
            Token::Row(row) => Some(row.clone()),
            _ => None,
        });
        rows.collect()
    }

    /// Types of the ENVCHANGEs, in order.
    pub(crate) fn env(&self) -> Vec<u8> {
        let all = self.tokens.iter().filter_map(|token| match token {
            Token::Env(kind, _, _) => Some(*kind),
            _ => None,
        });
        all.collect()
    }

    /// (kind, status, rows) of all DONEs.
    pub(crate) fn dones(&self) -> Vec<(u8, u16, u64)> {
        let all = self.tokens.iter().filter_map(|token| match token {
            Token::Done { kind, status, rows } => Some((*kind, *status, *rows)),
            _ => None,
        });
        all.collect()
    }

    /// fRecoverable and ids of all SESSIONSTATEs.
    pub(crate) fn states(&self) -> Vec<(bool, Vec<u8>)> {
        let all = self.tokens.iter().filter_map(|token| match token {
            Token::State {
                recoverable,
                states,
                ..
            } => Some((*recoverable, states.iter().map(|(id, _)| *id).collect())),
            _ => None,
        });
        all.collect()
    }

    pub(crate) fn columns(&self) -> Vec<Column> {
        let found = self.tokens.iter().find_map(|token| match token {
            Token::Columns(columns) => Some(columns.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    pub(crate) fn read(body: &[u8], wide: bool) -> anyhow::Result<Self> {
        let mut reader = Reader { rest: body, wide };
        let mut tokens = Vec::new();
        let mut columns = Vec::new();
        while !reader.rest.is_empty() {
            let token = reader.token(&columns)?;
            if let Token::Columns(found) = &token {
                columns.clone_from(found);
            }
            tokens.push(token);
        }
        Ok(Self { tokens })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    wide: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> anyhow::Result<&'a [u8]> {
        ensure!(self.rest.len() >= count, "the answer ends early");
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> anyhow::Result<u64> {
        let bytes = self.take(bytes)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn size(&mut self, bytes: usize) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.number(bytes)?)?)
    }

    fn text(&mut self, length_bytes: usize) -> anyhow::Result<String> {
        let units = self.size(length_bytes)?;
        text(self.take(units * 2)?)
    }

    fn token(&mut self, columns: &[Column]) -> anyhow::Result<Token> {
        let token = self.number(1)?;
        Ok(match token {
            0xe3 => self.env()?,
            0xaa => Token::Error(self.report()?),
            0xab => Token::Info(self.report()?),
            0xad => {
                let length = self.size(2)?;
                Token::LoginAck(self.take(length)?.to_vec())
            }
            0xae => self.features()?,
            0xe4 => self.state()?,
            0x79 => Token::Status(i32::from_le_bytes(self.take(4)?.try_into()?)),
            0x81 => self.metadata()?,
            0xd1 => {
                let row: anyhow::Result<_> = columns.iter().map(|c| self.value(c)).collect();
                Token::Row(row?)
            }
            0xd2 => {
                let nulls = self.take(columns.len().div_ceil(8))?;
                let mut row = Vec::new();
                for (at, column) in columns.iter().enumerate() {
                    let is_null = nulls[at / 8] >> (at % 8) & 1 == 1;
                    row.push(if is_null { None } else { self.value(column)? });
                }
                Token::Row(row)
            }
            0xac => {
                self.number(2)?;
                let name = self.text(1)?;
                self.number(1)?;
                let column = self.column()?;
                Token::Value(name, self.value(&column)?)
            }
            0xfd..=0xff => {
                let status = self.number(2)?.try_into()?;
                self.number(2)?;
                let rows = self.number(if self.wide { 8 } else { 4 })?;
                Token::Done {
                    kind: token.try_into()?,
                    status,
                    rows,
                }
            }
            other => bail!("token {other:x}"),
        })
    }

    fn env(&mut self) -> anyhow::Result<Token> {
        let length = self.size(2)?;
        let body = self.take(length)?;
        let mut inner = Reader {
            rest: &body[1..],
            wide: self.wide,
        };
        Ok(match body[0] {
            20 | 21 => Token::Env(body[0], body[1..].to_vec(), Vec::new()),
            kind => {
                let unit = if matches!(kind, 1..=4) { 2 } else { 1 };
                let new = inner.size(1)? * unit;
                let new = inner.take(new)?.to_vec();
                let old = inner.size(1)? * unit;
                let old = inner.take(old)?.to_vec();
                ensure!(inner.rest.is_empty(), "ENVCHANGE {kind} is too long");
                Token::Env(kind, new, old)
            }
        })
    }

    fn report(&mut self) -> anyhow::Result<Report> {
        let length = self.size(2)?;
        let body = self.take(length)?;
        let mut inner = Reader {
            rest: body,
            wide: self.wide,
        };
        let report = Report {
            number: i32::try_from(inner.number(4)?)?,
            state: inner.number(1)?.try_into()?,
            class: inner.number(1)?.try_into()?,
            text: inner.text(2)?,
        };
        inner.text(1)?;
        inner.text(1)?;
        inner.number(if self.wide { 4 } else { 2 })?;
        ensure!(inner.rest.is_empty(), "ERROR is too long");
        Ok(report)
    }

    fn features(&mut self) -> anyhow::Result<Token> {
        let mut features = Vec::new();
        loop {
            let id = self.number(1)?;
            if id == 0xff {
                return Ok(Token::Features(features));
            }
            let length = self.size(4)?;
            features.push((id.try_into()?, self.take(length)?.to_vec()));
        }
    }

    fn state(&mut self) -> anyhow::Result<Token> {
        let length = self.size(4)?;
        let body = self.take(length)?;
        let mut inner = Reader {
            rest: body,
            wide: true,
        };
        let sequence = inner.number(4)?.try_into()?;
        let recoverable = inner.number(1)? & 1 == 1;
        let mut states = Vec::new();
        while !inner.rest.is_empty() {
            let id = inner.number(1)?.try_into()?;
            let length = match inner.size(1)? {
                0xff => inner.size(4)?,
                length => length,
            };
            states.push((id, inner.take(length)?.to_vec()));
        }
        Ok(Token::State {
            sequence,
            recoverable,
            states,
        })
    }

    fn metadata(&mut self) -> anyhow::Result<Token> {
        let count = self.size(2)?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let mut column = self.column()?;
            if matches!(column.kind, 0x22 | 0x23 | 0x63) {
                self.text(2)?;
            }
            column.name = self.text(1)?;
            columns.push(column);
        }
        Ok(Token::Columns(columns))
    }

    fn column(&mut self) -> anyhow::Result<Column> {
        self.number(if self.wide { 4 } else { 2 })?;
        self.number(2)?;
        let kind = self.number(1)?.try_into()?;
        let mut scale = 0;
        let size = match kind {
            0x28 => 0,
            0x29..=0x2b | 0x24 | 0x26 | 0x68 | 0x6d..=0x6f => self.size(1)?,
            0x6a => {
                let size = self.size(1)?;
                self.number(1)?;
                scale = self.number(1)?.try_into()?;
                size
            }
            0xa5 | 0xad => self.size(2)?,
            0xa7 | 0xaf | 0xe7 | 0xef => {
                let size = self.size(2)?;
                self.take(5)?;
                size
            }
            0x22 => self.size(4)?,
            0x23 | 0x63 => {
                let size = self.size(4)?;
                self.take(5)?;
                size
            }
            other => bail!("type {other:x}"),
        };
        Ok(Column {
            name: String::new(),
            kind,
            size,
            scale,
        })
    }

    fn value(&mut self, column: &Column) -> anyhow::Result<Option<String>> {
        let bytes = match (column.kind, column.size) {
            (0xa5 | 0xa7 | 0xe7, 0xffff) => {
                if self.number(8)? == u64::MAX {
                    return Ok(None);
                }
                let mut whole = Vec::new();
                loop {
                    match self.size(4)? {
                        0 => break,
                        length => whole.extend(self.take(length)?),
                    }
                }
                whole
            }
            (0x22 | 0x23 | 0x63, _) => {
                match self.size(1)? {
                    0 => return Ok(None),
                    pointer => self.take(pointer + 8)?,
                };
                let length = self.size(4)?;
                self.take(length)?.to_vec()
            }
            (0xa5 | 0xad | 0xa7 | 0xaf | 0xe7 | 0xef, _) => match self.size(2)? {
                0xffff => return Ok(None),
                length => self.take(length)?.to_vec(),
            },
            _ => match self.size(1)? {
                0 => return Ok(None),
                length => self.take(length)?.to_vec(),
            },
        };
        shown(column, &bytes).map(Some)
    }
}

fn shown(column: &Column, bytes: &[u8]) -> anyhow::Result<String> {
    Ok(match column.kind {
        0x26 if bytes.len() > 1 => {
            let mut wide = if bytes.last().is_some_and(|b| *b > 127) {
                [255; 8]
            } else {
                [0; 8]
            };
            wide[..bytes.len()].copy_from_slice(bytes);
            i64::from_le_bytes(wide).to_string()
        }
        0x26 | 0x68 => bytes[0].to_string(),
        0x6a => {
            let units = bytes[1..]
                .iter()
                .rev()
                .fold(0_u128, |s, b| s << 8 | u128::from(*b));
            let sign = if bytes[0] == 0 { "-" } else { "" };
            let digits = format!("{units:0>width$}", width = usize::from(column.scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(column.scale));
            let point = if column.scale == 0 { "" } else { "." };
            format!("{sign}{whole}{point}{fraction}")
        }
        0x6d if bytes.len() == 8 => f64::from_le_bytes(bytes.try_into()?).to_string(),
        0xe7 | 0xef | 0x63 => text(bytes)?,
        0xa7 | 0xaf | 0x23 => String::from_utf8_lossy(bytes).into_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn text(bytes: &[u8]) -> anyhow::Result<String> {
    let units: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| u16::from_le_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
        .collect();
    Ok(String::from_utf16(&units)?)
}
