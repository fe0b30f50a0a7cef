//! A client of our own: every byte is ours to get wrong.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use entrapool_emulator::tds::TdsServer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::{Answer, Token};

pub(crate) const BATCH: u8 = 1;
pub(crate) const RPC: u8 = 3;
pub(crate) const ATTENTION: u8 = 6;
pub(crate) const BULK: u8 = 7;
pub(crate) const TRANSACTION: u8 = 14;
pub(crate) const LOGIN7: u8 = 16;
pub(crate) const PRELOGIN: u8 = 18;
pub(crate) const EOM: u8 = 1;

pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub(crate) struct Client {
    pub(crate) stream: Box<dyn Wire>,
    pub(crate) size: usize,
    /// Of the transaction that the server told us.
    pub(crate) descriptor: u64,
    pub(crate) wide: bool,
}

/// LOGIN7, before it is bytes.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) version: u32,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
    pub(crate) server: String,
    pub(crate) app: String,
    pub(crate) language: String,
    pub(crate) packet_size: u32,
    pub flags2: u8,
    pub(crate) features: Vec<(u8, Vec<u8>)>,
}

impl Login {
    pub(crate) fn sa() -> Self {
        Self {
            version: 0x7400_0004,
            user: "sa".to_owned(),
            password: "secret".to_owned(),
            database: "appdb".to_owned(),
            server: "localhost".to_owned(),
            app: "tests".to_owned(),
            language: String::new(),
            packet_size: 0,
            flags2: 0x02,
            features: Vec::new(),
        }
    }

    pub(crate) fn token(token: &str, echo: bool) -> Self {
        let text: Vec<u8> = token.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut data = vec![1 << 1 | u8::from(echo)];
        data.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        data.extend(text);
        Self {
            user: String::new(),
            password: String::new(),
            features: vec![(2, data)],
            ..Self::sa()
        }
    }

    pub(crate) fn with(mut self, id: u8, data: &[u8]) -> Self {
        self.features.push((id, data.to_vec()));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let from: u16 = if self.version < 0x7200_0000 { 86 } else { 94 };
        let mut fixed = Vec::new();
        fixed.extend(self.version.to_le_bytes());
        fixed.extend(self.packet_size.to_le_bytes());
        fixed.extend([0; 12]);
        let flags3 = if self.features.is_empty() { 0 } else { 0x10 };
        fixed.extend([0xe0, self.flags2, 0, flags3]);
        fixed.extend([0; 8]);
        let mut data = Vec::new();
        let mut pairs = Vec::new();
        let mut put = |bytes: &[u8], unit: usize, data: &mut Vec<u8>| {
            let at = from + u16::try_from(data.len()).unwrap();
            pairs.extend(at.to_le_bytes());
            pairs.extend(u16::try_from(bytes.len() / unit).unwrap().to_le_bytes());
            data.extend(bytes);
        };
        let password: Vec<u8> = utf16(&self.password)
            .into_iter()
            .map(|byte| byte.rotate_left(4) ^ 0xa5)
            .collect();
        put(&utf16("host"), 2, &mut data);
        put(&utf16(&self.user), 2, &mut data);
        put(&password, 2, &mut data);
        put(&utf16(&self.app), 2, &mut data);
        put(&utf16(&self.server), 2, &mut data);
        let extension_at = data.len();
        put(
            if self.features.is_empty() {
                &[]
            } else {
                &[0; 4]
            },
            1,
            &mut data,
        );
        put(&utf16("raw"), 2, &mut data);
        put(&utf16(&self.language), 2, &mut data);
        put(&utf16(&self.database), 2, &mut data);
        pairs.extend([0; 6]);
        pairs.extend([0; 8]);
        if from == 94 {
            pairs.extend([0; 8]);
        }
        if !self.features.is_empty() {
            let at = u32::from(from) + u32::try_from(data.len()).unwrap();
            data[extension_at..extension_at + 4].copy_from_slice(&at.to_le_bytes());
            for (id, feature) in &self.features {
                data.push(*id);
                data.extend(u32::try_from(feature.len()).unwrap().to_le_bytes());
                data.extend(feature);
            }
            data.push(0xff);
        }
        let length = u32::try_from(4 + fixed.len() + pairs.len() + data.len()).unwrap();
        assert_eq!(4 + fixed.len() + pairs.len(), usize::from(from));
        [length.to_le_bytes().to_vec(), fixed, pairs, data].concat()
    }
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// PRELOGIN with VERSION, ENCRYPTION, MARS and, if wanted, FEDAUTHREQUIRED.
pub(crate) fn prelogin(encryption: u8, fedauth: bool) -> Vec<u8> {
    let mut options = vec![
        (0_u8, vec![16, 0, 0, 0, 0, 0]),
        (1, vec![encryption]),
        (4, vec![1]),
    ];
    if fedauth {
        options.push((6, vec![1]));
    }
    let mut table = Vec::new();
    let mut data = Vec::new();
    for (token, bytes) in &options {
        let at = u16::try_from(options.len() * 5 + 1 + data.len()).unwrap();
        table.push(*token);
        table.extend(at.to_be_bytes());
        table.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        data.extend(bytes);
    }
    table.push(0xff);
    [table, data].concat()
}

/// One option of a PRELOGIN answer.
pub(crate) fn option(body: &[u8], token: u8) -> Option<Vec<u8>> {
    let mut at = 0;
    while body[at] != 0xff {
        let from = usize::from(u16::from_be_bytes([body[at + 1], body[at + 2]]));
        let length = usize::from(u16::from_be_bytes([body[at + 3], body[at + 4]]));
        if body[at] == token {
            return Some(body[from..from + length].to_vec());
        }
        at += 5;
    }
    None
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self::over(TcpStream::connect(address).await?))
    }

    pub(crate) fn over(stream: impl Wire + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            size: 4096,
            descriptor: 0,
            wide: true,
        }
    }

    /// A login without TLS that has to succeed.
    pub(crate) async fn open(server: &TdsServer, login: &Login) -> anyhow::Result<Self> {
        let mut client = Self::connect(server.addr()).await?;
        let answer = client.login(login).await?;
        ensure!(answer.errors().is_empty(), "refused: {:?}", answer.errors());
        Ok(client)
    }

    /// PRELOGIN and LOGIN7 without TLS.
    pub(crate) async fn login(&mut self, login: &Login) -> anyhow::Result<Answer> {
        let fedauth = login.features.iter().any(|(id, _)| *id == 2);
        self.send(PRELOGIN, &prelogin(2, fedauth)).await?;
        self.message().await?;
        self.login7(login).await
    }

    pub(crate) async fn login7(&mut self, login: &Login) -> anyhow::Result<Answer> {
        self.wide = login.version >= 0x7200_0000;
        self.send(LOGIN7, &login.bytes()).await?;
        let answer = self.answer().await?;
        for token in &answer.tokens {
            if let Token::Env(4, new, _) = token {
                let units: Vec<u16> = new
                    .chunks(2)
                    .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                    .collect();
                self.size = String::from_utf16(&units)?.parse()?;
            }
        }
        Ok(answer)
    }

    /// A message in packets of the negotiated size.
    pub(crate) async fn send(&mut self, kind: u8, body: &[u8]) -> anyhow::Result<()> {
        self.send_with(kind, 0, body).await
    }

    /// The same with status bits in the first packet.
    pub(crate) async fn send_with(
        &mut self,
        kind: u8,
        bits: u8,
        body: &[u8],
    ) -> anyhow::Result<()> {
        let mut chunks = body.chunks(self.size - 8).peekable();
        let mut bits = bits;
        if body.is_empty() {
            return self.packet(kind, EOM, &[]).await;
        }
        while let Some(chunk) = chunks.next() {
            let end = if chunks.peek().is_none() { EOM } else { 0 };
            self.packet(kind, end | bits, chunk).await?;
            bits = 0;
        }
        Ok(())
    }

    pub(crate) async fn packet(&mut self, kind: u8, status: u8, body: &[u8]) -> anyhow::Result<()> {
        let length = u16::try_from(body.len() + 8)?.to_be_bytes();
        let mut packet = vec![kind, status, length[0], length[1], 0, 0, 1, 0];
        packet.extend(body);
        self.stream.write_all(&packet).await?;
        Ok(self.stream.flush().await?)
    }

    /// The body of a whole message.
    pub(crate) async fn message(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut header = [0; 8];
            self.stream
                .read_exact(&mut header)
                .await
                .context("the server closed the connection")?;
            ensure!(header[0] == 4, "packet of type {}", header[0]);
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            ensure!(length <= self.size, "a packet of {length} bytes");
            let from = body.len();
            body.resize(from + length - 8, 0);
            self.stream.read_exact(&mut body[from..]).await?;
            if header[1] & EOM != 0 {
                return Ok(body);
            }
        }
    }

    pub(crate) async fn answer(&mut self) -> anyhow::Result<Answer> {
        let body = self.message().await?;
        let answer = Answer::read(&body, self.wide)?;
        for token in &answer.tokens {
            match token {
                Token::Env(8, new, _) => {
                    self.descriptor = u64::from_le_bytes(new.as_slice().try_into()?);
                }
                Token::Env(9 | 10 | 18, _, _) => self.descriptor = 0,
                _ => {}
            }
        }
        Ok(answer)
    }

    /// Whether the server has closed the connection.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !matches!(self.stream.read(&mut [0]).await, Ok(count) if count > 0)
    }

    pub(crate) fn headers(&self) -> Vec<u8> {
        if !self.wide {
            return Vec::new();
        }
        let mut headers = vec![22, 0, 0, 0, 18, 0, 0, 0, 2, 0];
        headers.extend(self.descriptor.to_le_bytes());
        headers.extend([1, 0, 0, 0]);
        headers
    }

    pub(crate) async fn batch(&mut self, sql: &str) -> anyhow::Result<Answer> {
        self.batch_with(0, sql).await
    }

    pub(crate) async fn batch_with(&mut self, bits: u8, sql: &str) -> anyhow::Result<Answer> {
        self.start(bits, sql).await?;
        self.answer().await
    }

    /// Sends a batch and does not wait.
    pub(crate) async fn start(&mut self, bits: u8, sql: &str) -> anyhow::Result<()> {
        let body = [self.headers(), utf16(sql)].concat();
        self.send_with(BATCH, bits, &body).await
    }

    /// A batch that must not fail.
    pub(crate) async fn ok(&mut self, sql: &str) -> anyhow::Result<Answer> {
        let answer = self.batch(sql).await?;
        if !answer.errors().is_empty() {
            bail!("{sql}: {:?}", answer.errors());
        }
        Ok(answer)
    }

    /// The first value of the first row, as text.
    pub(crate) async fn value(&mut self, sql: &str) -> anyhow::Result<Option<String>> {
        let answer = self.ok(sql).await?;
        let row = answer.rows().into_iter().next().context("no row")?;
        row.into_iter().next().context("no column")
    }

    pub(crate) async fn transaction(&mut self, body: &[u8]) -> anyhow::Result<Answer> {
        let body = [self.headers(), body.to_vec()].concat();
        self.send(TRANSACTION, &body).await?;
        self.answer().await
    }

    pub(crate) async fn call(&mut self, body: &[u8]) -> anyhow::Result<Answer> {
        let body = [self.headers(), body.to_vec()].concat();
        self.send(RPC, &body).await?;
        self.answer().await
    }
}

/// A numbered procedure's call, without headers.
pub(crate) fn numbered(procedure: u16, parameters: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0xff, 0xff];
    body.extend(procedure.to_le_bytes());
    body.extend([0, 0]);
    body.extend(parameters.concat());
    body
}

pub(crate) fn named(procedure: &str, parameters: &[Vec<u8>]) -> Vec<u8> {
    let units = u16::try_from(procedure.encode_utf16().count()).unwrap();
    let mut body = units.to_le_bytes().to_vec();
    body.extend(utf16(procedure));
    body.extend([0, 0]);
    body.extend(parameters.concat());
    body
}

fn parameter(name: &str, output: bool) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(name.encode_utf16().count()).unwrap()];
    bytes.extend(utf16(name));
    bytes.push(u8::from(output));
    bytes
}

pub(crate) fn int(name: &str, value: Option<i32>, output: bool) -> Vec<u8> {
    let mut bytes = parameter(name, output);
    bytes.extend([0x26, 4]);
    match value {
        None => bytes.push(0),
        Some(value) => {
            bytes.push(4);
            bytes.extend(value.to_le_bytes());
        }
    }
    bytes
}

pub(crate) fn text(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = parameter(name, false);
    bytes.extend([0xe7, 0x40, 0x1f, 9, 4, 0xd0, 0, 0x34]);
    let text = utf16(value);
    bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text);
    bytes
}
