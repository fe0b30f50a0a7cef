//! The login of the embedded server: TLS, the startup message, a token as cleartext password.
//!
//! Read by hand, because pgwire's codec refuses passwords over 10,000 bytes and PostgreSQL takes
//! up to 65,535. Refusals have the words of Azure Database for PostgreSQL.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, BytesMut};
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::reply::{put, put_error};
use super::sql_error::SqlError;
use crate::login_record::LoginRecord;
use crate::verifier::{TokenRefusal, Verifier};

const CANCEL: i32 = 80_877_102;
const SSL: i32 = 80_877_103;
const GSS: i32 = 80_877_104;
/// Limits of PostgreSQL itself (MAX_STARTUP_PACKET_LENGTH, PG_MAX_AUTH_TOKEN_LENGTH).
const MAX_STARTUP: usize = 10_000;
const MAX_PASSWORD: usize = 65_535;

/// Who a client says it is.
#[derive(Debug)]
pub(super) struct Startup {
    pub(super) user: String,
    pub(super) database: String,
    pub(super) parameters: BTreeMap<String, String>,
    /// The session ends before it begins.
    pub(super) is_doomed: bool,
}

/// Lets clients in.
pub(super) struct Login {
    verifier: Verifier,
    record: Arc<LoginRecord>,
    acceptor: TlsAcceptor,
    script: Mutex<VecDeque<LoginFault>>,
}

/// One way in which the next login goes wrong, whoever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginFault {
    /// It is refused, before a password is asked for, with this SQLSTATE and text.
    Refuse(&'static str, String),
    /// A password is asked for in MD5, as for a role that was made without Entra.
    AskForPassword,
    /// GSSAPI is asked for.
    AskForGssapi,
    /// Nothing is said to it any more.
    Silence,
    /// Its connection is closed without a word.
    Close,
    /// It goes well, and its connection is closed right behind it.
    CloseBehind,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

/// The first packet of a connection, or of its TLS part.
enum Opening {
    Ssl,
    Gss,
    Cancel,
    Startup(Packet),
}

/// A startup message, not yet understood.
struct Packet {
    minor: i32,
    body: BytesMut,
}

impl Login {
    pub(super) fn new(verifier: Verifier, record: Arc<LoginRecord>, acceptor: TlsAcceptor) -> Self {
        Self {
            verifier,
            record,
            acceptor,
            script: Mutex::default(),
        }
    }

    /// The next login without a queued fault gets this one, once.
    pub(super) fn queue(&self, fault: LoginFault) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.push_back(fault);
    }

    fn next_fault(&self) -> Option<LoginFault> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.pop_front()
    }

    /// The whole login. `None`: the client has been told why not, or has gone.
    pub(super) async fn accept(
        &self,
        mut stream: TcpStream,
    ) -> Option<(TlsStream<TcpStream>, Startup)> {
        loop {
            match opening(&mut stream).await {
                Ok(Opening::Ssl) => break,
                Ok(Opening::Gss) => stream.write_all(b"N").await.ok()?,
                // There is nothing to cancel: statements are short. The answer is always silence.
                Ok(Opening::Cancel) => return None,
                Ok(Opening::Startup(packet)) => {
                    let refusal = without_tls(&packet);
                    say_last(&mut stream, &refusal).await;
                    return None;
                }
                Err(refusal) => {
                    say_last(&mut stream, &refusal?).await;
                    return None;
                }
            }
        }
        stream.write_all(b"S").await.ok()?;
        let mut stream = self.acceptor.accept(stream).await.ok()?;
        match self.authenticate(&mut stream).await {
            Ok(startup) => Some((stream, startup)),
            Err(refusal) => {
                say_last(&mut stream, &refusal?).await;
                None
            }
        }
    }

    /// An error of `None` means that the client has gone.
    async fn authenticate(
        &self,
        stream: &mut TlsStream<TcpStream>,
    ) -> Result<Startup, Option<SqlError>> {
        let Opening::Startup(packet) = opening(stream).await? else {
            return Err(None);
        };
        let minor = packet.minor;
        let mut startup = understand(packet)?;
        let mut out = BytesMut::new();
        match self.next_fault() {
            None => {}
            Some(LoginFault::Refuse(code, text)) => return Err(Some(SqlError::fatal(code, text))),
            Some(LoginFault::AskForPassword) => {
                put(&mut out, &Authentication::MD5Password(vec![1, 2, 3, 4])).map_err(Some)?;
                stream.write_all(&out).await.map_err(|_| None)?;
                // Whatever comes is not right.
                password(stream).await?;
                return Err(Some(self.refuse(TokenRefusal::Malformed, &startup.user)));
            }
            Some(LoginFault::AskForGssapi) => {
                // AuthenticationGSS.
                let asked = stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 7]).await;
                asked.map_err(|_| None)?;
                password(stream).await?;
                return Err(Some(self.refuse(TokenRefusal::Malformed, &startup.user)));
            }
            Some(LoginFault::Silence) => std::future::pending().await,
            Some(LoginFault::Close) => return Err(None),
            Some(LoginFault::CloseBehind) => startup.is_doomed = true,
        }
        let unknown: Vec<String> = startup
            .parameters
            .keys()
            .filter(|name| name.starts_with("_pq_."))
            .cloned()
            .collect();
        // Like PostgreSQL 15: protocol 3.0, whatever later minor version is asked for.
        if minor > 0 || !unknown.is_empty() {
            put(&mut out, &NegotiateProtocolVersion::new(0, unknown)).map_err(Some)?;
        }
        put(&mut out, &Authentication::CleartextPassword).map_err(Some)?;
        stream.write_all(&out).await.map_err(|_| None)?;
        let password = password(stream).await?;
        let outcome = self.verifier.check(&password, &startup.user);
        self.record.note(&outcome);
        match outcome {
            Ok(_) => Ok(startup),
            Err(refusal) => Err(Some(self.refuse(refusal, &startup.user))),
        }
    }

    /// Azure's words. Its SQLSTATEs for these texts are not documented; class 28 is.
    fn refuse(&self, refusal: TokenRefusal, user: &str) -> SqlError {
        match refusal {
            TokenRefusal::Expired => SqlError::fatal(
                "28000",
                "The access token has expired. Please acquire a new token and retry.".to_owned(),
            ),
            TokenRefusal::WrongAudience => SqlError::fatal(
                "28000",
                format!(
                    "The access token does not have a valid audience claim. Please acquire a \
                     new token for the resource \"{}\".",
                    self.verifier.audience()
                ),
            ),
            TokenRefusal::Malformed
            | TokenRefusal::BadSignature
            | TokenRefusal::WrongIssuer
            | TokenRefusal::NotYetValid
            | TokenRefusal::WrongPrincipal => SqlError::fatal(
                "28P01",
                format!("password authentication failed for user \"{user}\""),
            ),
        }
    }
}

/// Tells the last word and closes; the client may be gone already.
pub(super) async fn say_last<S: AsyncWrite + Unpin>(stream: &mut S, error: &SqlError) {
    let mut out = BytesMut::new();
    put_error(&mut out, error);
    if stream.write_all(&out).await.is_ok() {
        let _gone = stream.shutdown().await;
    }
}

async fn opening<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Opening, Option<SqlError>> {
    let length = stream.read_i32().await.map_err(|_| None)?;
    let length = usize::try_from(length).unwrap_or(0);
    if !(8..=MAX_STARTUP).contains(&length) {
        return Err(protocol("invalid length of startup packet"));
    }
    let mut body = BytesMut::zeroed(length - 4);
    stream.read_exact(&mut body).await.map_err(|_| None)?;
    match body.get_i32() {
        CANCEL => Ok(Opening::Cancel),
        SSL => Ok(Opening::Ssl),
        GSS => Ok(Opening::Gss),
        version if version >> 16 == 3 => Ok(Opening::Startup(Packet {
            minor: version & 0xffff,
            body,
        })),
        version => Err(Some(SqlError::fatal(
            "0A000",
            format!(
                "unsupported frontend protocol {}.{}: server supports 3.0 to 3.0",
                version >> 16,
                version & 0xffff
            ),
        ))),
    }
}

fn understand(packet: Packet) -> Result<Startup, Option<SqlError>> {
    let malformed = || protocol("invalid startup packet layout");
    let mut parameters = BTreeMap::new();
    let mut fields = packet.body[..].split(|byte| *byte == 0);
    loop {
        let field = |bytes: Option<&[u8]>| {
            let bytes = bytes.ok_or_else(malformed)?;
            String::from_utf8(bytes.to_vec()).map_err(|_| malformed())
        };
        let name = field(fields.next())?;
        if name.is_empty() {
            break;
        }
        let value = field(fields.next())?;
        parameters.insert(name, value);
    }
    let user = parameters.get("user").filter(|user| !user.is_empty());
    let Some(user) = user.cloned() else {
        let text = "no PostgreSQL user name specified in startup packet".to_owned();
        return Err(Some(SqlError::fatal("28000", text)));
    };
    if parameters
        .get("replication")
        .is_some_and(|value| value != "false")
    {
        let text = "the embedded server has no replication".to_owned();
        return Err(Some(SqlError::fatal("0A000", text)));
    }
    let database = parameters.get("database").filter(|name| !name.is_empty());
    Ok(Startup {
        database: database.unwrap_or(&user).clone(),
        user,
        parameters,
        is_doomed: false,
    })
}

async fn password<S: AsyncRead + Unpin>(stream: &mut S) -> Result<String, Option<SqlError>> {
    let tag = stream.read_u8().await.map_err(|_| None)?;
    if tag != b'p' {
        let text = format!("expected password response, got message type {tag}");
        return Err(protocol(&text));
    }
    let length = stream.read_i32().await.map_err(|_| None)?;
    let length = usize::try_from(length).unwrap_or(0);
    if !(5..=MAX_PASSWORD + 4).contains(&length) {
        return Err(protocol("invalid message length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await.map_err(|_| None)?;
    if body.pop() != Some(0) || body.contains(&0) {
        return Err(protocol("invalid password packet size"));
    }
    // A token is ASCII; anything else is refused by the verifier as malformed.
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn without_tls(packet: &Packet) -> SqlError {
    let mut names = packet.body[..].split(|byte| *byte == 0);
    let user = names
        .position(|field| field == b"user")
        .and_then(|_| names.next())
        .map(|user| String::from_utf8_lossy(user).into_owned())
        .unwrap_or_default();
    let text =
        format!("no pg_hba.conf entry for host \"127.0.0.1\", user \"{user}\", no encryption");
    SqlError::fatal("28000", text)
}

fn protocol(text: &str) -> Option<SqlError> {
    Some(SqlError::fatal("08P01", text.to_owned()))
}
