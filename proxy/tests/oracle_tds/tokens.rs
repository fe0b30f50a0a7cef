//! Answers, read token by token (MS-TDS 2.2.7), with no code of those who made them.

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Columns(Vec<Column>),
    /// The values as they came, each with its length.
    Row(Vec<Vec<u8>>),
    Done(Done),
    Error(Message),
    Info(Message),
    Change(u8, Vec<u8>),
    Value {
        ordinal: u16,
        name: String,
        /// Type and value.
        bytes: Vec<u8>,
    },
    Status(i32),
    /// LOGINACK.
    Login(Vec<u8>),
    /// Any other with a length: its number and bytes.
    Other(u8, Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) token: u8,
    pub(crate) status: u16,
    pub(crate) command: u16,
    pub(crate) rows: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) number: i32,
    pub(crate) state: u8,
    pub(crate) class: u8,
    pub(crate) text: String,
    pub(crate) server: String,
    pub(crate) procedure: String,
    pub(crate) line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    user_type: u32,
    flags: u16,
    pub(crate) info: Info,
}

/// TYPE_INFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    bytes: Vec<u8>,
    value: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Fixed(usize),
    /// Its length in so many bytes.
    Counted(usize),
    /// PARTLENTYPE.
    Parts,
}

/// DONE, DONEPROC, DONEINPROC.
pub(crate) const DONE: u8 = 0xfd;
pub(crate) const DONE_PROC: u8 = 0xfe;
pub(crate) const DONE_IN_PROC: u8 = 0xff;
/// A DONE that has heard an attention.
pub(crate) const HEARD: u16 = 0x20;

/// All tokens of a message.
pub(crate) fn read(bytes: &[u8]) -> Vec<Token> {
    let mut reader = Reader { bytes };
    let mut tokens = Vec::new();
    let mut columns: Vec<Column> = Vec::new();
    while !reader.bytes.is_empty() {
        let token = reader.token(&columns);
        if let Token::Columns(found) = &token {
            columns.clone_from(found);
        }
        tokens.push(token);
    }
    tokens
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        assert!(count <= self.bytes.len(), "an answer ends too early");
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        taken
    }

    fn number(&mut self, count: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..count].copy_from_slice(self.take(count));
        u64::from_le_bytes(bytes)
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        self.number(2) as u16
    }

    fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }

    fn length(&mut self, count: usize) -> usize {
        usize::try_from(self.number(count)).expect("a length")
    }

    fn text(&mut self, count: usize) -> String {
        let units = self.length(count);
        let bytes = self.take(2 * units);
        let units: Vec<u16> = bytes
            .chunks(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    }

    fn token(&mut self, columns: &[Column]) -> Token {
        let token = self.u8();
        match token {
            0x81 => self.columns(),
            0xd1 => {
                let values = columns.iter().map(|column| self.value(&column.info));
                Token::Row(values.collect())
            }
            0xd2 => {
                let nulls = self.take(columns.len().div_ceil(8));
                let values = columns.iter().enumerate().map(|(at, column)| {
                    match nulls[at / 8] >> (at % 8) & 1 {
                        0 => self.value(&column.info),
                        _ => b"NULL".to_vec(),
                    }
                });
                Token::Row(values.collect())
            }
            DONE | DONE_PROC | DONE_IN_PROC => Token::Done(Done {
                token,
                status: self.u16(),
                command: self.u16(),
                rows: self.number(8),
            }),
            0xaa | 0xab => {
                self.u16();
                let message = Message {
                    number: self.u32() as i32,
                    state: self.u8(),
                    class: self.u8(),
                    text: self.text(2),
                    server: self.text(1),
                    procedure: self.text(1),
                    line: self.u32(),
                };
                match token {
                    0xaa => Token::Error(message),
                    _ => Token::Info(message),
                }
            }
            0xe3 => {
                let length = self.length(2);
                let (kind, values) = self.take(length).split_first().expect("a type");
                Token::Change(*kind, values.to_vec())
            }
            0xac => {
                let ordinal = self.u16();
                let name = self.text(1);
                let from = self.bytes;
                self.take(1 + 4 + 2);
                let info = self.info();
                self.value(&info);
                let bytes = from[..from.len() - self.bytes.len()].to_vec();
                Token::Value {
                    ordinal,
                    name,
                    bytes,
                }
            }
            0x79 => Token::Status(self.u32() as i32),
            0xad => {
                let length = self.length(2);
                Token::Login(self.take(length).to_vec())
            }
            0xa9 | 0xa4 | 0xa5 => {
                let length = self.length(2);
                Token::Other(token, self.take(length).to_vec())
            }
            other => panic!("a token that was not asked for: {other:#x}"),
        }
    }

    fn columns(&mut self) -> Token {
        let count = match self.u16() {
            0xffff => 0,
            count => count,
        };
        let columns = (0..count).map(|_| {
            let (user_type, flags) = (self.u32(), self.u16());
            let info = self.info();
            Column {
                user_type,
                flags,
                info,
                name: self.text(1),
            }
        });
        Token::Columns(columns.collect())
    }

    /// TYPE_INFO (2.2.5.6).
    fn info(&mut self) -> Info {
        let from = self.bytes;
        let value = match self.u8() {
            0x30 | 0x32 => Layout::Fixed(1),
            0x34 => Layout::Fixed(2),
            0x38 | 0x3a | 0x3b | 0x7a => Layout::Fixed(4),
            0x3c | 0x3d | 0x3e | 0x7f => Layout::Fixed(8),
            0x24 | 0x26 | 0x68 | 0x6d | 0x6e | 0x6f => {
                self.take(1);
                Layout::Counted(1)
            }
            0x6a | 0x6c => {
                self.take(3);
                Layout::Counted(1)
            }
            0x28 => Layout::Counted(1),
            0x29..=0x2b => {
                self.take(1);
                Layout::Counted(1)
            }
            0xa5 | 0xad => match self.u16() {
                0xffff => Layout::Parts,
                _ => Layout::Counted(2),
            },
            0xa7 | 0xaf | 0xe7 | 0xef => {
                let most = self.u16();
                self.take(5);
                match most {
                    0xffff => Layout::Parts,
                    _ => Layout::Counted(2),
                }
            }
            other => panic!("a type that no script asks for: {other:#x}"),
        };
        let bytes = from[..from.len() - self.bytes.len()].to_vec();
        Info { bytes, value }
    }

    /// A value, with what says how long it is.
    fn value(&mut self, info: &Info) -> Vec<u8> {
        let from = self.bytes;
        match info.value {
            Layout::Fixed(length) => {
                self.take(length);
            }
            Layout::Counted(1) => {
                let length = self.length(1);
                self.take(length);
            }
            Layout::Counted(_) => match self.u16() {
                0xffff => {}
                length => {
                    self.take(length.into());
                }
            },
            Layout::Parts => return self.parts(),
        }
        from[..from.len() - self.bytes.len()].to_vec()
    }

    /// The value alone: how it is cut into chunks is nobody's business.
    fn parts(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        if self.number(8) == u64::MAX {
            return b"NULL".to_vec();
        }
        loop {
            match self.length(4) {
                0 => return value,
                length => value.extend_from_slice(self.take(length)),
            }
        }
    }
}
