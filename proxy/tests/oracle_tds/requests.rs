//! Requests in bytes. What a server gives (handles, the transaction's descriptor) stands in them
//! as a gap until they are sent.

/// Kinds of packets (MS-TDS 2.2.3.1.1).
pub(crate) mod kind {
    pub(crate) const BATCH: u8 = 1;
    pub(crate) const RPC: u8 = 3;
    pub(crate) const ATTENTION: u8 = 6;
    pub(crate) const BULK: u8 = 7;
    pub(crate) const TRANSACTION: u8 = 14;
    pub(crate) const LOGIN: u8 = 16;
}

/// Bits of a packet's status (2.2.3.1.2).
pub(crate) mod status {
    pub(crate) const LAST: u8 = 1;
    pub(crate) const IGNORE: u8 = 2;
    pub(crate) const RESET: u8 = 8;
    pub(crate) const RESET_KEEPING_TRANSACTION: u8 = 16;
}

/// Bytes of a packet, header included.
pub(crate) const PACKET: usize = 4096;

/// A piece of a request.
#[derive(Clone)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    /// The so-and-so-many-th handle that the client was given for a statement, or none it has.
    Handle(usize),
    /// The same for cursors.
    Cursor(usize),
    /// The transaction that the client was told of, or 0.
    Descriptor,
}

/// What a gap is filled with.
pub(crate) struct Given<'a> {
    pub(crate) handles: &'a [i32],
    pub(crate) cursors: &'a [i32],
    pub(crate) descriptor: u64,
}

/// A handle that nobody was ever given.
const UNKNOWN: i32 = 987_654;

/// A message.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) kind: u8,
    /// Of the first packet, beside the end of the message.
    pub(crate) bits: u8,
    pub(crate) parts: Vec<Part>,
    /// Taken back with the IGNORE bit behind so many packets.
    pub(crate) withdrawn: Option<usize>,
}

impl Request {
    fn new(kind: u8, parts: Vec<Part>) -> Self {
        Self {
            kind,
            bits: 0,
            parts,
            withdrawn: None,
        }
    }

    pub(crate) fn batch(sql: &str) -> Self {
        let mut parts = headers();
        parts.push(Part::Bytes(utf16(sql)));
        Self::new(kind::BATCH, parts)
    }

    /// Several calls in one message.
    pub(crate) fn calls(calls: &[Call]) -> Self {
        let mut parts = headers();
        for (at, call) in calls.iter().enumerate() {
            if at > 0 {
                parts.push(Part::Bytes(vec![0xff]));
            }
            parts.extend(call.0.clone());
        }
        Self::new(kind::RPC, parts)
    }

    pub(crate) fn transaction(body: &[u8]) -> Self {
        let mut parts = headers();
        parts.push(Part::Bytes(body.to_vec()));
        Self::new(kind::TRANSACTION, parts)
    }

    pub(crate) fn bulk(body: Vec<u8>) -> Self {
        Self::new(kind::BULK, vec![Part::Bytes(body)])
    }

    pub(crate) fn attention() -> Self {
        Self::new(kind::ATTENTION, Vec::new())
    }

    pub(crate) fn with(mut self, bits: u8) -> Self {
        self.bits = bits;
        self
    }

    pub(crate) fn withdrawn(mut self, packets: usize) -> Self {
        self.withdrawn = Some(packets);
        self
    }

    /// Its packets.
    pub(crate) fn encode(&self, given: &Given<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => body.extend(bytes),
                Part::Handle(at) => body.extend(pick(given.handles, *at)),
                Part::Cursor(at) => body.extend(pick(given.cursors, *at)),
                Part::Descriptor => body.extend(given.descriptor.to_le_bytes()),
            }
        }
        let mut out = Vec::new();
        let chunks: Vec<&[u8]> = match body.is_empty() {
            true => vec![&[]],
            false => body.chunks(PACKET - 8).collect(),
        };
        let sent = self.withdrawn.unwrap_or(chunks.len());
        for (at, chunk) in chunks.iter().take(sent).enumerate() {
            let first = if at == 0 { self.bits } else { 0 };
            let last = match at + 1 == chunks.len() && self.withdrawn.is_none() {
                true => status::LAST,
                false => 0,
            };
            out.extend(packet(self.kind, first | last, chunk));
        }
        if self.withdrawn.is_some() {
            out.extend(packet(self.kind, status::LAST | status::IGNORE, &[]));
        }
        out
    }
}

fn pick(given: &[i32], at: usize) -> [u8; 4] {
    given.get(at).copied().unwrap_or(UNKNOWN).to_le_bytes()
}

fn packet(kind: u8, status: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(body.len() + 8).expect("short").to_be_bytes();
    let mut packet = vec![kind, status, high, low, 0, 0, 1, 0];
    packet.extend(body);
    packet
}

/// A message of the login's.
pub(crate) fn login_message(body: &[u8]) -> Vec<u8> {
    packet(kind::LOGIN, status::LAST, body)
}

/// ALL_HEADERS with the transaction descriptor (2.2.5.3).
fn headers() -> Vec<Part> {
    vec![
        Part::Bytes(vec![22, 0, 0, 0, 18, 0, 0, 0, 2, 0]),
        Part::Descriptor,
        Part::Bytes(vec![1, 0, 0, 0]),
    ]
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// One call of a procedure (2.2.6.6).
#[derive(Clone)]
pub(crate) struct Call(Vec<Part>);

impl Call {
    pub(crate) fn number(number: u8) -> Self {
        Self(vec![Part::Bytes(vec![0xff, 0xff, number, 0, 0, 0])])
    }

    pub(crate) fn name(name: &str) -> Self {
        let units = u16::try_from(name.encode_utf16().count()).expect("short");
        let mut bytes = units.to_le_bytes().to_vec();
        bytes.extend(utf16(name));
        bytes.extend([0, 0]);
        Self(vec![Part::Bytes(bytes)])
    }

    fn put(mut self, bytes: Vec<u8>) -> Self {
        self.0.push(Part::Bytes(bytes));
        self
    }

    /// intn; `None` is NULL.
    pub(crate) fn int(self, value: Option<i32>) -> Self {
        self.named_int("", 0, value)
    }

    /// An intn that comes back.
    pub(crate) fn int_out(self, name: &str, value: Option<i32>) -> Self {
        self.named_int(name, 1, value)
    }

    fn named_int(self, name: &str, status: u8, value: Option<i32>) -> Self {
        let mut bytes = parameter(name, status);
        bytes.extend([0x26, 4]);
        match value {
            Some(value) => {
                bytes.push(4);
                bytes.extend(value.to_le_bytes());
            }
            None => bytes.push(0),
        }
        self.put(bytes)
    }

    /// A handle that comes in; with `status` 1 one comes back.
    pub(crate) fn handle(self, status: u8, at: usize) -> Self {
        let mut call = self.put([parameter("", status), vec![0x26, 4, 4]].concat());
        call.0.push(Part::Handle(at));
        call
    }

    pub(crate) fn cursor(self, at: usize) -> Self {
        let mut call = self.put([parameter("", 0), vec![0x26, 4, 4]].concat());
        call.0.push(Part::Cursor(at));
        call
    }

    /// nvarchar(4000).
    pub(crate) fn text(self, text: &str) -> Self {
        self.named_text("", text)
    }

    pub(crate) fn named_text(self, name: &str, text: &str) -> Self {
        let text = utf16(text);
        let mut bytes = parameter(name, 0);
        if text.len() > 8000 {
            // nvarchar(max), in one chunk (2.2.5.2.3).
            bytes.extend([0xe7, 0xff, 0xff, 9, 4, 0xd0, 0, 0x34]);
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(u32::try_from(text.len()).expect("short").to_le_bytes());
            bytes.extend(text);
            bytes.extend([0; 4]);
            return self.put(bytes);
        }
        bytes.extend([0xe7, 0x40, 0x1f, 9, 4, 0xd0, 0, 0x34]);
        bytes.extend(u16::try_from(text.len()).expect("short").to_le_bytes());
        bytes.extend(text);
        self.put(bytes)
    }
}

fn parameter(name: &str, status: u8) -> Vec<u8> {
    let units = u8::try_from(name.encode_utf16().count()).expect("short");
    let mut bytes = vec![units];
    bytes.extend(utf16(name));
    bytes.push(status);
    bytes
}

/// sp_executesql with int parameters `@P1`, `@P2` and so on.
pub(crate) fn execute_sql(sql: &str, values: &[i32]) -> Call {
    let call = Call::number(10).text(sql);
    if values.is_empty() {
        return call;
    }
    values
        .iter()
        .fold(call.text(&declared(values.len())), |call, &value| {
            call.int(Some(value))
        })
}

/// `@P1 int, @P2 int`.
pub(crate) fn declared(count: usize) -> String {
    let all: Vec<String> = (1..=count).map(|n| format!("@P{n} int")).collect();
    all.join(", ")
}

/// sp_prepare of a statement with so many int parameters.
pub(crate) fn prepare(sql: &str, count: usize) -> Call {
    let call = Call::number(11).int_out("", None);
    call.text(&declared(count)).text(sql).int(Some(1))
}

/// sp_prepexec; `old` is a handle that is given up for the new one.
pub(crate) fn prepare_and_execute(old: Option<usize>, sql: &str, values: &[i32]) -> Call {
    let call = Call::number(13);
    let call = match old {
        Some(at) => call.handle(1, at),
        None => call.int_out("", None),
    };
    let call = call.text(&declared(values.len())).text(sql);
    values
        .iter()
        .fold(call, |call, &value| call.int(Some(value)))
}

/// sp_execute.
pub(crate) fn execute(at: usize, values: &[i32]) -> Call {
    let call = Call::number(12).handle(0, at);
    values
        .iter()
        .fold(call, |call, &value| call.int(Some(value)))
}

/// sp_unprepare.
pub(crate) fn unprepare(at: usize) -> Call {
    Call::number(15).handle(0, at)
}

/// sp_cursoropen: static, read-only.
pub(crate) fn open_cursor(sql: &str) -> Call {
    let call = Call::number(2).int_out("cursor", None).text(sql);
    let call = call.int_out("scroll", Some(8)).int_out("cc", Some(1));
    call.int_out("rows", Some(0))
}

/// sp_cursorfetch of the next rows.
pub(crate) fn fetch_cursor(at: usize, rows: i32) -> Call {
    let call = Call::number(7).cursor(at).int(Some(2));
    call.int(Some(0)).int(Some(rows))
}

/// sp_cursorclose.
pub(crate) fn close_cursor(at: usize) -> Call {
    Call::number(9).cursor(at)
}

/// Requests to the Transaction Manager (2.2.6.9).
pub(crate) mod manager {
    /// With an isolation level: 0 keeps it.
    pub(crate) fn begin(level: u8) -> Vec<u8> {
        vec![5, 0, level, 0]
    }

    pub(crate) fn commit() -> Vec<u8> {
        vec![7, 0, 0, 0]
    }

    pub(crate) fn commit_and_begin() -> Vec<u8> {
        vec![7, 0, 0, 1, 0, 0]
    }

    pub(crate) fn rollback() -> Vec<u8> {
        vec![8, 0, 0, 0]
    }

    pub(crate) fn rollback_and_begin() -> Vec<u8> {
        vec![8, 0, 0, 1, 0, 0]
    }

    pub(crate) fn rollback_to(name: &str) -> Vec<u8> {
        named(8, name, &[0])
    }

    pub(crate) fn save(name: &str) -> Vec<u8> {
        named(9, name, &[])
    }

    fn named(request: u8, name: &str, behind: &[u8]) -> Vec<u8> {
        let name = super::utf16(name);
        let mut bytes = vec![request, 0, u8::try_from(name.len()).expect("short")];
        bytes.extend(name);
        bytes.extend(behind);
        bytes
    }
}

/// The data behind INSERT BULK: one nullable int column `n` (2.2.6.1).
pub(crate) fn bulk_rows(rows: &[Option<i32>]) -> Vec<u8> {
    let mut body = vec![0x81, 1, 0, 0, 0, 0, 0, 9, 0, 0x26, 4, 1];
    body.extend(utf16("n"));
    for row in rows {
        body.push(0xd1);
        match row {
            Some(value) => {
                body.push(4);
                body.extend(value.to_le_bytes());
            }
            None => body.push(0),
        }
    }
    body.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    body
}
