//! An LDAP responder that knows one operation: a simple bind whose password is an Entra token.
//!
//! A real PostgreSQL asks it through `pg_hba.conf` (`ldap … ldapprefix="cn=" ldapsuffix=",dc=entra"`),
//! so that its logins depend on true tokens, of any length. It stores nothing but counts.

mod ber;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::Error;
use crate::login_record::LoginRecord;
use crate::port::{Port, Serve};
use crate::verifier::Verifier;
use ber::{Bind, BindAnswer, Operation, ResultCode};

/// Before the role's name in the distinguished name of a bind.
pub const PREFIX: &str = "cn=";
/// After it.
pub const SUFFIX: &str = ",dc=entra";
/// The longest message read; PostgreSQL's passwords end at 65,535 bytes.
const MAX_MESSAGE: usize = 128 * 1024;

/// A running responder; it stops when dropped.
#[derive(Debug)]
pub struct LdapResponder {
    port: Port<Responder>,
}

#[derive(Debug)]
struct Responder {
    verifier: Verifier,
    record: Arc<LoginRecord>,
}

impl LdapResponder {
    /// Answers binds on a free loopback port, and notes each in `record`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(verifier: Verifier, record: Arc<LoginRecord>) -> Result<Self, Error> {
        let port = Port::bind_free(Arc::new(Responder { verifier, record })).await?;
        Ok(Self { port })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What it saw.
    #[must_use]
    pub fn record(&self) -> &Arc<LoginRecord> {
        &self.port.service().record
    }
}

impl Serve for Responder {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        // A lost or malformed connection concerns that client alone.
        while let Ok(Some(message)) = read_message(&mut stream).await {
            let Ok(request) = ber::decode(&message) else {
                return;
            };
            let answer = match request.operation {
                Operation::Bind(bind) => self.judge(&bind),
                Operation::Unbind => return,
                Operation::Unsupported => BindAnswer {
                    code: ResultCode::ProtocolError,
                    diagnostic: "only bind is supported".to_owned(),
                },
            };
            let bytes = ber::encode_bind_answer(request.id, &answer);
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

impl Responder {
    fn judge(&self, bind: &Bind<'_>) -> BindAnswer {
        let refuse = |code, text: &str| BindAnswer {
            code,
            diagnostic: text.to_owned(),
        };
        let role = bind
            .name
            .strip_prefix(PREFIX)
            .and_then(|name| name.strip_suffix(SUFFIX));
        let Some(role) = role else {
            return refuse(
                ResultCode::InvalidCredentials,
                "names have the form cn=ROLE,dc=entra",
            );
        };
        let Some(password) = bind.password else {
            return refuse(
                ResultCode::AuthMethodNotSupported,
                "only simple binds are supported",
            );
        };
        // RFC 4513 5.1.2: a name without a password must not count as a login.
        if password.is_empty() {
            return refuse(ResultCode::UnwillingToPerform, "the password is empty");
        }
        let outcome = self.verifier.check(password, role);
        self.record.note(&outcome);
        match outcome {
            Ok(_) => refuse(ResultCode::Success, ""),
            Err(refusal) => refuse(ResultCode::InvalidCredentials, &refusal.to_string()),
        }
    }
}

/// One whole message, or `None` at the end of the stream.
async fn read_message(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; 2];
    if stream.read(&mut message[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut message[1..]).await?;
    // Long form: the low bits say how many bytes of length follow.
    let more = match message[1] {
        0..0x80 => 0,
        first => usize::from(first & 0x7f),
    };
    message.resize(2 + more, 0);
    stream.read_exact(&mut message[2..]).await?;
    let too_long = || std::io::Error::other("an LDAP message is too long");
    let length = ber::length(&message[1..]).map_err(|_| too_long())?;
    if length.body > MAX_MESSAGE {
        return Err(too_long());
    }
    let header = message.len();
    message.resize(header + length.body, 0);
    stream.read_exact(&mut message[header..]).await?;
    Ok(Some(message))
}
