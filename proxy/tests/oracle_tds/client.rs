//! A client in bytes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::login::login7;
use crate::requests::{Given, Request, login_message, status};
use crate::tokens::{self, HEARD, Token};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(6);
/// What is sent in one piece.
pub(crate) const WHOLE: usize = usize::MAX;

pub(crate) struct Client {
    stream: TcpStream,
    handles: Vec<i32>,
    cursors: Vec<i32>,
    descriptor: u64,
    /// The request under way resets the session but for its transaction.
    keeps_transaction: bool,
    /// What the login brought.
    pub(crate) greeting: Vec<Token>,
}

/// No answer, in words.
#[derive(Debug)]
pub(crate) struct Silence(pub(crate) String);

impl Client {
    /// Logs in without PRELOGIN, as jTDS does.
    pub(crate) async fn open(
        address: SocketAddr,
        (user, password): (&str, &str),
        database: &str,
    ) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("nodelay");
        let mut client = Self {
            stream,
            handles: Vec::new(),
            cursors: Vec::new(),
            descriptor: 0,
            keeps_transaction: false,
            greeting: Vec::new(),
        };
        let login = login_message(&login7(user, password, database));
        client.write(&login, WHOLE).await;
        let greeting = client.answer(false).await;
        client.greeting =
            greeting.unwrap_or_else(|silence| panic!("no greeting on {address}: {}", silence.0));
        let is_in = client
            .greeting
            .iter()
            .any(|token| matches!(token, Token::Login(_)));
        assert!(is_in, "not let in: {:?}", client.greeting);
        client
    }

    /// Sends a request in pieces of at most `piece` bytes.
    pub(crate) async fn send(&mut self, request: &Request, piece: usize) {
        let bytes = request.encode(&Given {
            handles: &self.handles,
            cursors: &self.cursors,
            descriptor: self.descriptor,
        });
        self.keeps_transaction = request.bits & status::RESET_KEEPING_TRANSACTION != 0;
        self.write(&bytes, piece).await;
    }

    async fn write(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece) {
            // A server that has closed is seen when its answer is missing.
            let _ = self.stream.write_all(piece).await;
            tokio::task::yield_now().await;
        }
    }

    /// The tokens of the answer, up to the acknowledgement of an attention if there was one.
    pub(crate) async fn answer(&mut self, attention: bool) -> Result<Vec<Token>, Silence> {
        let mut all = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.message()).await;
            let message = message.map_err(|_| Silence("no answer in time".to_owned()))?;
            let found = tokens::read(&message?);
            let heard = found
                .iter()
                .any(|token| matches!(token, Token::Done(done) if done.status & HEARD != 0));
            found.iter().for_each(|token| self.note(token));
            all.extend(found);
            if heard || !attention {
                return Ok(all);
            }
        }
    }

    /// The same, if it begins within this time.
    pub(crate) async fn answer_within(&mut self, limit: Duration) -> Option<Vec<Token>> {
        let began = tokio::time::timeout(limit, self.stream.peek(&mut [0])).await;
        match began {
            Ok(_) => Some(self.answer(false).await.expect("an answer")),
            Err(_) => None,
        }
    }

    async fn message(&mut self) -> Result<Vec<u8>, Silence> {
        let closed = |error: std::io::Error| Silence(format!("closed: {error}"));
        let mut body = Vec::new();
        loop {
            let mut header = [0; 8];
            self.stream.read_exact(&mut header).await.map_err(closed)?;
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            if header[0] != 4 || length < 8 {
                return Err(Silence(format!("not an answer: {header:?}")));
            }
            let from = body.len();
            body.resize(from + length - 8, 0);
            self.stream
                .read_exact(&mut body[from..])
                .await
                .map_err(closed)?;
            if header[1] & 1 == 1 {
                return Ok(body);
            }
        }
    }

    /// What later requests need.
    fn note(&mut self, token: &Token) {
        match token {
            Token::Change(8, values) => {
                let value = values.get(1..9).and_then(|bytes| bytes.first_chunk());
                self.descriptor = value.map_or(0, |bytes| u64::from_le_bytes(*bytes));
            }
            Token::Change(18, _) if self.keeps_transaction => {}
            Token::Change(9 | 10 | 18, _) => self.descriptor = 0,
            Token::Value {
                ordinal: 0,
                name,
                bytes,
            } => {
                let value = bytes.last_chunk().map(|bytes| i32::from_le_bytes(*bytes));
                match name.as_str() {
                    "" => self.handles.extend(value),
                    "cursor" => self.cursors.extend(value),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// How many handles it was given.
    pub(crate) fn handles(&self) -> usize {
        self.handles.len()
    }

    /// Runs a batch that must go well; the values of its last row, as text.
    pub(crate) async fn run(&mut self, sql: &str) -> Vec<String> {
        self.run_request(&Request::batch(sql), sql).await
    }

    pub(crate) async fn run_request(&mut self, request: &Request, words: &str) -> Vec<String> {
        self.send(request, WHOLE).await;
        let answer = self.answer(false).await;
        let answer = answer.unwrap_or_else(|silence| panic!("{words}: {silence:?}"));
        last_row(&answer, words)
    }
}

/// The values of the last row, as text; the answer must have no error.
pub(crate) fn last_row(answer: &[Token], words: &str) -> Vec<String> {
    let mut last = Vec::new();
    for token in answer {
        match token {
            Token::Error(message) => panic!("{words}: {message:?}"),
            Token::Row(values) => last = values.iter().map(|value| text(value)).collect(),
            _ => {}
        }
    }
    last
}

/// A value of int, nvarchar or varbinary, behind its length.
fn text(value: &[u8]) -> String {
    match value {
        [0] | [0xff, 0xff] | b"NULL" => "NULL".to_owned(),
        [1, value] => value.to_string(),
        [2, low, high] => i16::from_le_bytes([*low, *high]).to_string(),
        [4, bytes @ ..] if bytes.len() == 4 => {
            let bytes = bytes.first_chunk().expect("four bytes");
            i32::from_le_bytes(*bytes).to_string()
        }
        [8, bytes @ ..] if bytes.len() == 8 => {
            let bytes = bytes.first_chunk().expect("eight bytes");
            i64::from_le_bytes(*bytes).to_string()
        }
        [_, _, text @ ..] => text
            .iter()
            .filter(|&&byte| byte != 0)
            .map(|&byte| char::from(byte))
            .collect(),
        other => format!("{other:?}"),
    }
}
