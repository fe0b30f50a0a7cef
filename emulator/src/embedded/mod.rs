//! A stand-in for Azure Database for PostgreSQL on machines without PostgreSQL.
//!
//! The wire protocol with TLS and token logins is real (pgwire's codec behind our own login); the
//! store is SQLite. What it does not know it refuses with an error, never with an empty success.
//! The session module lists what it knows.

mod columns;
mod lexer;
mod login;
mod parameters;
mod reply;
mod session;
mod settings;
mod sql_error;
mod statement;
mod store;
mod types;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireFrontendMessage, ProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::Error;
use crate::login_record::LoginRecord;
use crate::pki::ServerCertificate;
use crate::port::{Port, Serve};
use crate::verifier::Verifier;
pub use login::LoginFault;
use session::{Flow, Session};
use sql_error::SqlError;
use store::Store;

const READ_SIZE: usize = 16 * 1024;
/// A client may not make us hold more than this of one message.
const MAX_BUFFERED: usize = 64 * 1024 * 1024;

/// A running embedded server; it stops, and its data goes, when dropped.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    port: Port<Server>,
}

#[derive(Debug)]
struct Server {
    login: login::Login,
    databases: Vec<String>,
    directory: TempDir,
    next_pid: AtomicI32,
}

impl EmbeddedPostgres {
    /// Serves these databases on a free loopback port, to tokens that `verifier` accepts.
    ///
    /// # Errors
    /// When no directory, port or TLS set-up can be had.
    pub async fn start(
        verifier: Verifier,
        record: Arc<LoginRecord>,
        certificate: &ServerCertificate,
        databases: &[&str],
    ) -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("entrapool-embedded-")
            .tempdir()
            .map_err(Error::io("make a directory for the embedded server"))?;
        let acceptor = TlsAcceptor::from(certificate.server_config()?);
        let server = Server {
            login: login::Login::new(verifier, record, acceptor),
            databases: databases.iter().map(|name| (*name).to_owned()).collect(),
            directory,
            next_pid: AtomicI32::new(1000),
        };
        for name in &server.databases {
            // Made now, so that a broken store is seen at the start.
            Store::open(&server.file(name), name, "postgres", 0)?;
        }
        let port = Port::bind_free(Arc::new(server)).await?;
        Ok(Self { port })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The next login without a queued fault goes wrong like this, once.
    pub fn queue_login_fault(&self, fault: LoginFault) {
        self.port.service().login.queue(fault);
    }

    /// Ends every session and refuses connections.
    pub async fn refuse_connections(&self) {
        self.port.close().await;
    }

    /// Listens on the same port again.
    ///
    /// # Errors
    /// When somebody else took the port meanwhile.
    pub async fn accept_connections(&self) -> Result<(), Error> {
        self.port.reopen().await
    }
}

impl Server {
    /// Database names are the caller's; only their place in the list gets into the file's name.
    fn file(&self, database: &str) -> PathBuf {
        let at = self.databases.iter().position(|name| name == database);
        let at = at.unwrap_or(self.databases.len());
        self.directory.path().join(format!("{at}.sqlite"))
    }

    /// The session of a client that has proved who it is.
    fn open(&self, startup: &login::Startup, out: &mut BytesMut) -> Result<Session, SqlError> {
        let database = &startup.database;
        if !self.databases.contains(database) {
            let text = format!("database \"{database}\" does not exist");
            return Err(SqlError::fatal("3D000", text));
        }
        let pid = self.next_pid.fetch_add(1, Ordering::Relaxed);
        let store = Store::open(&self.file(database), database, &startup.user, pid)
            .map_err(|error| SqlError::fatal("XX000", error.to_string()))?;
        let mut session = Session::new(store, &startup.user);
        session.greet(&startup.parameters, pid, out)?;
        Ok(session)
    }
}

impl Serve for Server {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        // `None`: refused, cancelled, or gone; whatever there was to say has been said.
        let Some((mut stream, startup)) = self.login.accept(stream).await else {
            return;
        };
        let mut out = BytesMut::new();
        match self.open(&startup, &mut out) {
            Ok(session) => {
                if stream.write_all(&out).await.is_ok() && !startup.is_doomed {
                    converse(stream, session).await;
                }
            }
            Err(refusal) => login::say_last(&mut stream, &refusal).await,
        }
    }
}

/// Answers messages until the client goes. SQLite blocks, so each batch runs off the reactor.
async fn converse(mut stream: TlsStream<TcpStream>, mut session: Session) {
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    let mut input = BytesMut::with_capacity(READ_SIZE);
    loop {
        let mut messages = Vec::new();
        let broken = loop {
            match PgWireFrontendMessage::decode(&mut input, &context) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break None,
                Err(error) => break Some(SqlError::fatal("08P01", error.to_string())),
            }
        };
        if !messages.is_empty() {
            let batch = tokio::task::spawn_blocking(move || {
                let mut out = BytesMut::new();
                let flow = session.handle_all(messages, &mut out);
                (session, out, flow)
            });
            let Ok((back, out, flow)) = batch.await else {
                return;
            };
            session = back;
            if stream.write_all(&out).await.is_err() || flow == Flow::End {
                break;
            }
        }
        if let Some(error) = broken {
            login::say_last(&mut stream, &error).await;
            return;
        }
        if input.len() > MAX_BUFFERED {
            let error = SqlError::fatal("54000", "the message is too long".to_owned());
            login::say_last(&mut stream, &error).await;
            return;
        }
        input.reserve(READ_SIZE);
        match stream.read_buf(&mut input).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    // Goodbye in TLS too; the client may be gone already.
    let _gone = stream.shutdown().await;
}
