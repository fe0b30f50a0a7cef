//! A client in bytes, for what drivers do not do. An implementation of its own: it shares no
//! code with what it tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

/// An ErrorResponse's fields.
pub type Fields = BTreeMap<char, String>;

/// A connection.
pub struct Raw {
    /// The socket, for what has no method here.
    pub stream: TcpStream,
    /// The greeting's ParameterStatus messages.
    pub parameters: BTreeMap<String, String>,
    /// The greeting's BackendKeyData: process id and secret.
    pub key: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub async fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("nodelay");
        Self {
            stream,
            parameters: BTreeMap::new(),
            key: Vec::new(),
        }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        sent.expect("it reads").expect("it is open");
    }

    /// Sends a StartupMessage of this protocol version.
    pub async fn startup(&mut self, version: u32, parameters: &[(&str, &str)]) {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend(cstr(name));
            body.extend(cstr(value));
        }
        body.push(0);
        self.send(&sized(&body)).await;
    }

    /// Logs in as `legacy-app` and takes the greeting.
    pub async fn log_in(&mut self, database: &str) {
        let parameters = [("user", "legacy-app"), ("database", database)];
        self.startup(0x0003_0000, &parameters).await;
        self.greeting().await;
    }

    /// Takes the greeting, up to ReadyForQuery.
    pub async fn greeting(&mut self) -> Vec<Message> {
        let messages = self.until(b'Z').await;
        for message in &messages {
            match message.tag {
                b'S' => {
                    let mut texts = message.texts().into_iter();
                    let (name, value) = (texts.next().unwrap(), texts.next().unwrap());
                    self.parameters.insert(name, value);
                }
                b'K' => self.key.clone_from(&message.body),
                _ => {}
            }
        }
        messages
    }

    /// The next message; `None` if the server has closed.
    pub async fn next(&mut self) -> Option<Message> {
        let read = tokio::time::timeout(PATIENCE, self.read()).await;
        read.expect("a message in time")
    }

    async fn read(&mut self) -> Option<Message> {
        let tag = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_u32().await.expect("a length") as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await.expect("a body");
        Some(Message { tag, body })
    }

    /// All messages up to one with this tag.
    pub async fn until(&mut self, tag: u8) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().await;
            let message = message.unwrap_or_else(|| panic!("closed after {messages:?}"));
            messages.push(message);
            if messages.last().is_some_and(|message| message.tag == tag) {
                return messages;
            }
        }
    }

    /// Sends a Query and takes its whole answer.
    pub async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&query(sql)).await;
        self.until(b'Z').await
    }

    /// The error that the server says before it closes.
    pub async fn last_words(&mut self) -> Fields {
        let message = self.next().await.expect("an error before the end");
        let fields = message.fields();
        assert_eq!(self.next().await, None, "closed after {fields:?}");
        fields
    }

    /// Closes with a reset, as the kernel does for a process that is killed with bytes unread.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a TCP socket");
    }
}

impl Message {
    /// The zero-terminated texts of the body.
    pub fn texts(&self) -> Vec<String> {
        let body = self.body.strip_suffix(b"\0").unwrap_or(&self.body);
        let texts = body.split(|&byte| byte == 0);
        texts
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    }

    /// The fields of an ErrorResponse or NoticeResponse.
    pub fn fields(&self) -> Fields {
        assert!(matches!(self.tag, b'E' | b'N'), "not an error: {self:?}");
        let texts = self.texts().into_iter().filter(|text| !text.is_empty());
        texts
            .map(|text| (text.chars().next().unwrap(), text[1..].to_owned()))
            .collect()
    }

    /// The first column of a DataRow, as text.
    pub fn column(&self) -> String {
        assert_eq!(self.tag, b'D', "not a row: {self:?}");
        String::from_utf8_lossy(&self.body[6..]).into_owned()
    }
}

/// The tags of messages, in order.
pub fn tags(messages: &[Message]) -> String {
    messages
        .iter()
        .map(|message| char::from(message.tag))
        .collect()
}

/// A length word that counts itself, and a body.
pub fn sized(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a length");
    [&length.to_be_bytes()[..], body].concat()
}

/// A message.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &sized(body)].concat()
}

/// A zero-terminated text.
pub fn cstr(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// Query.
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &cstr(sql))
}

/// Parse, without types.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[cstr(name), cstr(sql), vec![0, 0]].concat())
}

/// Bind of the unnamed portal, with text parameters and text results.
pub fn bind(statement: &str, values: &[&[u8]]) -> Vec<u8> {
    let count = u16::try_from(values.len()).expect("a count").to_be_bytes();
    let mut body = [cstr(""), cstr(statement), vec![0, 0], count.to_vec()].concat();
    for value in values {
        let length = u32::try_from(value.len()).expect("a length");
        body.extend(length.to_be_bytes());
        body.extend_from_slice(value);
    }
    body.extend([0, 0]);
    message(b'B', &body)
}

/// Describe of a statement (`S`) or portal (`P`).
pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[vec![kind], cstr(name)].concat())
}

/// Execute of the unnamed portal, all rows.
pub fn execute() -> Vec<u8> {
    message(b'E', &[cstr(""), vec![0; 4]].concat())
}

/// Close of a statement (`S`) or portal (`P`).
pub fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[vec![kind], cstr(name)].concat())
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// Terminate.
pub fn terminate() -> Vec<u8> {
    message(b'X', b"")
}

/// CancelRequest with this BackendKeyData.
pub fn cancel(key: &[u8]) -> Vec<u8> {
    sized(&[&80_877_102_u32.to_be_bytes()[..], key].concat())
}
