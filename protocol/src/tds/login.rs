//! The login of a backend: PRELOGIN, TLS by the caller, LOGIN7, and what comes back (MS-TDS
//! 3.2.5).

use super::Violation;
use super::error::ServerError;
use super::login7::{Feature, Secret, UpstreamLogin, feature};
use super::packet::{self, Header, Kind};
use super::prelogin::{ClientPrelogin, Encryption, ServerPrelogin};
use super::reader::{Reader, counted_u16, utf16};
use super::token::{self, EnvChange, Layout, Token, Walker};

/// The answer to a login is not longer, in bytes of its packets.
const LONGEST: usize = 256 * 1024;

/// What the connection is, before the first byte of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP; TLS begins behind PRELOGIN, in packets of this protocol.
    Wrapped,
    /// TLS already: TDS 8.
    Strict,
    /// TCP without TLS: for servers on the same machine.
    Plain,
}

/// What the server said of the session at its start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Welcome {
    /// ENVCHANGE of database, language and collation, and INFO, as they came: for the clients
    /// that will be served by backends like this.
    pub tokens: Vec<u8>,
    /// The packet size, in bytes: 512 to 32767.
    pub packet_size: usize,
    /// The database.
    pub database: String,
    /// The language.
    pub language: String,
    /// The database's collation.
    pub collation: Option<[u8; 5]>,
    /// The features granted.
    pub features: Vec<Feature>,
    /// The server's product.
    pub server_name: String,
    /// Its version.
    pub server_version: [u8; 4],
    /// The version in its PRELOGIN, which clients are told.
    pub prelogin_version: [u8; 6],
}

impl Welcome {
    /// What came with a feature, if it was granted.
    #[must_use]
    pub fn feature(&self, id: u8) -> Option<&[u8]> {
        let granted = self.features.iter().find(|feature| feature.id == id);
        granted.map(|feature| &*feature.data)
    }

    /// How the server's tokens look from now on.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let classification = match self.feature(feature::DATA_CLASSIFICATION) {
            Some([version, 1, ..]) => *version,
            _ => 0,
        };
        Layout {
            column_encryption: self.feature(feature::COLUMN_ENCRYPTION).is_some(),
            data_classification: classification,
            old: false,
        }
    }
}

/// The server wants the client to connect elsewhere, with everything from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The machine, without the name of an instance.
    pub host: String,
    /// As LOGIN7.ServerName has to name it there: `host[\instance],port`.
    pub server_name: String,
    /// The TCP port.
    pub port: u16,
    /// The database, if it is to be another.
    pub database: Option<String>,
}

/// The end of a login that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The session is there.
    Welcome(Box<Welcome>),
    /// It is elsewhere.
    Redirect(Redirect),
}

/// Why a login did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The server said no.
    #[error("{0}")]
    Refused(ServerError),
    /// No secret goes to a server without TLS.
    #[error("the server does not offer TLS")]
    NoTls,
    /// Bytes came behind the answer to PRELOGIN that can only be somebody else's.
    #[error("unencrypted bytes came behind the server's answer to PRELOGIN")]
    Injected,
    /// It logged us in without having looked at the token (3.2.5.4).
    #[error("the server did not acknowledge the access token: it has no Entra authentication")]
    TokenIgnored,
    /// Something else than an answer to a login.
    #[error("the server did not answer the login: {0}")]
    NoAnswer(&'static str),
    /// The server broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// A login under way.
pub struct Login<'a> {
    login: UpstreamLogin<'a>,
    secret: Secret<'a>,
    transport: Transport,
    walker: Walker,
    answered: usize,
    said: Said,
}

/// What the server has said so far.
#[derive(Default)]
struct Said {
    welcome: Welcome,
    redirect: Option<Redirect>,
    error: Option<ServerError>,
    acknowledged: bool,
}

impl<'a> Login<'a> {
    /// Begins a login; appends PRELOGIN to `out`. What `login` says of the echo does not matter.
    pub fn begin(
        login: UpstreamLogin<'a>,
        secret: Secret<'a>,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Self {
        ClientPrelogin {
            version: [0; 6],
            encryption: match transport {
                Transport::Wrapped => Encryption::On,
                Transport::Strict | Transport::Plain => Encryption::NotSupported,
            },
            mars: false,
            fed_auth: matches!(secret, Secret::Token(_)).then_some(true),
        }
        .request(out);
        Self {
            login,
            secret,
            transport,
            walker: Walker::new(Layout::default()),
            answered: 0,
            said: Said {
                welcome: Welcome {
                    packet_size: packet::DEFAULT,
                    ..Welcome::default()
                },
                ..Said::default()
            },
        }
    }

    /// Takes the answer to PRELOGIN. Returns how many bytes it has, or `None` while some are
    /// missing. Behind it comes the TLS handshake with [`Transport::Wrapped`].
    ///
    /// # Errors
    /// [`LoginError`]; the connection is of no use after it.
    pub fn agree(&mut self, input: &[u8]) -> Result<Option<usize>, LoginError> {
        let Some(message) = packet::whole(input, packet::LARGEST)? else {
            return Ok(None);
        };
        if message.kind != Kind::Answer {
            return Err(Violation::Kind {
                kind: message.kind.byte(),
            }
            .into());
        }
        let answer = ServerPrelogin::read(&message.body)?;
        if self.transport == Transport::Wrapped {
            if !matches!(answer.encryption, Encryption::On | Encryption::Required) {
                return Err(LoginError::NoTls);
            }
            if message.taken < input.len() {
                return Err(LoginError::Injected);
            }
        }
        self.said.welcome.prelogin_version = answer.version;
        self.login.fed_auth_echo = answer.fed_auth.unwrap_or_default();
        Ok(Some(message.taken))
    }

    /// Appends LOGIN7, which has the secret in it; see [`UpstreamLogin::encode`].
    pub fn log_in(&self, out: &mut Vec<u8>) {
        self.login.encode(self.secret, out);
    }

    /// How many bytes [`Login::log_in`] may append.
    #[must_use]
    pub fn room(&self) -> usize {
        self.login.room(self.secret)
    }

    /// Takes the packet at the start of `input`. Returns the bytes taken (0 while the packet is
    /// incomplete) and, at the end of the answer, what it was.
    ///
    /// # Errors
    /// [`LoginError`]; the connection is of no use after it.
    pub fn step(&mut self, input: &[u8]) -> Result<(usize, Option<Outcome>), LoginError> {
        let Some(header) = Header::read(input)? else {
            return Ok((0, None));
        };
        if header.kind != Kind::Answer {
            return Err(Violation::Kind {
                kind: header.kind.byte(),
            }
            .into());
        }
        let Some(payload) = header.payload(input) else {
            return Ok((0, None));
        };
        self.answered += header.total();
        if self.answered > LONGEST {
            return Err(Violation::TooLarge {
                what: "the answer to a login",
                limit: LONGEST,
            }
            .into());
        }
        self.tokens(payload)?;
        let outcome = match header.is_last() {
            true => Some(self.end()?),
            false => None,
        };
        Ok((header.total(), outcome))
    }

    fn tokens(&mut self, payload: &[u8]) -> Result<(), LoginError> {
        self.walker.begin_packet();
        let mut at = 0;
        loop {
            let walked = self.walker.next(payload, at);
            at = walked.at;
            match walked.token {
                None => return Ok(()),
                Some(token) => self.said.note(token)?,
            }
        }
    }

    fn end(&mut self) -> Result<Outcome, LoginError> {
        if !self.walker.end_message() {
            return Err(LoginError::NoAnswer("its message ends too early"));
        }
        // With or without LOGINACK in front of it.
        if let Some(redirect) = self.said.redirect.take() {
            return Ok(Outcome::Redirect(redirect));
        }
        if !self.said.acknowledged {
            return Err(match self.said.error.take() {
                Some(error) => LoginError::Refused(error),
                None => LoginError::NoAnswer("neither a refusal nor an acknowledgement"),
            });
        }
        if matches!(self.secret, Secret::Token(_))
            && self.said.welcome.feature(feature::FED_AUTH).is_none()
        {
            return Err(LoginError::TokenIgnored);
        }
        Ok(Outcome::Welcome(Box::new(std::mem::take(
            &mut self.said.welcome,
        ))))
    }
}

impl Said {
    /// Notes one token of the answer.
    fn note(&mut self, token: Token<'_>) -> Result<(), LoginError> {
        match token {
            Token::Error(body) => {
                // The first says why; those behind it, that there is no session.
                self.error.get_or_insert_with(|| ServerError::read(body));
            }
            Token::Info(body) => keep(token::INFO, body, &mut self.welcome.tokens),
            Token::EnvChange(body) => {
                let change = EnvChange::read(body).ok_or_else(|| malformed("ENVCHANGE"))?;
                self.change(change, body)?;
            }
            Token::LoginAck(body) => {
                read_login_ack(body, &mut self.welcome).ok_or_else(|| malformed("LOGINACK"))?;
                self.acknowledged = true;
            }
            Token::Features(body) => {
                let features = read_features(body).ok_or_else(|| malformed("FEATUREEXTACK"))?;
                self.welcome.features = features;
            }
            Token::Unknown(_) => return Err(LoginError::NoAnswer("a token that is not known")),
            Token::Done(_)
            | Token::SessionState(_)
            | Token::ReturnStatus(_)
            | Token::Int { .. } => {}
        }
        Ok(())
    }

    fn change(&mut self, change: EnvChange, body: &[u8]) -> Result<(), Violation> {
        let welcome = &mut self.welcome;
        match change {
            EnvChange::PacketSize(size) => {
                if !(packet::SMALLEST..=packet::LARGEST).contains(&size) {
                    return Err(malformed("packet size"));
                }
                welcome.packet_size = size;
                return Ok(());
            }
            EnvChange::Routing {
                host,
                port,
                database,
            } => {
                let redirect = Redirect::new(&host, port, database);
                self.redirect = Some(redirect.ok_or_else(|| malformed("route"))?);
                return Ok(());
            }
            EnvChange::Database(name) => welcome.database = name,
            EnvChange::Language(name) => welcome.language = name,
            EnvChange::Collation(collation) => welcome.collation = Some(collation),
            // What has no meaning at a login is not for later clients either.
            EnvChange::Began(_) | EnvChange::Ended | EnvChange::Reset | EnvChange::Other(_) => {
                return Ok(());
            }
        }
        keep(token::ENVCHANGE, body, &mut welcome.tokens);
        Ok(())
    }
}

impl Redirect {
    fn new(host: &str, port: u16, database: Option<String>) -> Option<Self> {
        let machine = host.split('\\').next().filter(|name| !name.is_empty())?;
        Some(Self {
            // Certificates are compared in lower case.
            host: machine.to_ascii_lowercase(),
            server_name: format!("{host},{port}"),
            port,
            database: database.filter(|name| !name.is_empty()),
        })
    }
}

/// Keeps a token for later clients.
fn keep(token: u8, body: &[u8], tokens: &mut Vec<u8>) {
    if tokens.len() + body.len() > LONGEST_KEPT {
        return;
    }
    tokens.push(token);
    counted_u16(tokens, |out| out.extend_from_slice(body));
}

/// Of what is told to every client at its login, in bytes.
const LONGEST_KEPT: usize = 16 * 1024;

fn read_login_ack(body: &[u8], welcome: &mut Welcome) -> Option<()> {
    let mut reader = Reader::new(body);
    reader.bytes(5)?;
    welcome.server_name = utf16(reader.b_text()?);
    welcome.server_version = reader.bytes(4)?.try_into().ok()?;
    Some(())
}

fn read_features(body: &[u8]) -> Option<Vec<Feature>> {
    let mut reader = Reader::new(body);
    let mut features = Vec::new();
    while !reader.rest().is_empty() {
        let id = reader.u8()?;
        let length = usize::try_from(reader.u32()?).ok()?;
        features.push(Feature {
            id,
            data: reader.bytes(length)?.into(),
        });
    }
    Some(features)
}

fn malformed(why: &'static str) -> Violation {
    Violation::Malformed {
        what: "the answer to a login",
        why,
    }
}

#[cfg(test)]
#[path = "login/tests.rs"]
mod tests;
