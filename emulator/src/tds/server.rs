//! The running server: what all its connections share.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::builder::{IsolationOnReset, Profile, TdsServerBuilder};
use super::connection;
use super::counters::Counters;
use super::faults::Faults;
use super::login;
use super::seen::{LoginSeen, Register, SessionSeen};
use super::session::locks::Locks;
use super::store::Databases;
use super::wire::prelogin::Encryption;
use crate::error::Error;
use crate::login_record::LoginRecord;
use crate::pki::ServerCertificate;
use crate::port::{Port, Serve};
use crate::verifier::Verifier;

/// A running TDS server; it stops, and its data goes, when dropped.
#[derive(Debug)]
pub struct TdsServer {
    port: Port<Server>,
}

/// What the builder collected.
#[derive(Debug)]
pub(super) struct Setup {
    /// `master` is the first.
    pub(super) databases: Vec<String>,
    pub(super) profile: Profile,
    pub(super) isolation_on_reset: IsolationOnReset,
    pub(super) packet_size: usize,
    pub(super) access: Access,
    pub(super) redirect: Option<(String, u16)>,
    pub(super) routed_as: Option<(String, Option<u16>)>,
    pub(super) login_errors: VecDeque<i32>,
    /// Names and passwords for sp_setapprole.
    pub(super) application_roles: Vec<(String, String)>,
    /// Age of a connection from which on RESETCONNECTION looks at its token again.
    pub(super) revalidate_after: Duration,
    /// USE to another database is error 40508, as on Azure SQL Database.
    pub(super) use_is_refused: bool,
}

/// Who may log in.
#[derive(Default)]
pub(super) struct Access {
    pub(super) entra: Option<(Verifier, Arc<LoginRecord>)>,
    /// Empty: every principal of the tenant.
    pub(super) users: Vec<String>,
    pub(super) passwords: Vec<(String, String)>,
}

impl Access {
    /// Whether EXECUTE AS USER may name it.
    pub(super) fn is_user(&self, name: &str) -> bool {
        let mut logins = self.passwords.iter().map(|(user, _)| user);
        name.eq_ignore_ascii_case("guest")
            || self.users.iter().any(|user| user == name)
            || logins.any(|user| user == name)
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("entra", &self.entra)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

/// TLS in its two forms.
pub(super) struct Tls {
    /// In packets, TLS 1.2: later tickets of 1.3 would have no packets to go in.
    pub(super) wrapped: TlsAcceptor,
    /// TDS 8.0.
    pub(super) strict: TlsAcceptor,
}

/// Shared by all connections.
pub(super) struct Server {
    pub(super) setup: Setup,
    pub(super) encryption: Encryption,
    pub(super) tls: Option<Tls>,
    pub(super) counters: Counters,
    pub(super) register: Register,
    pub(super) faults: Faults,
    pub(super) databases: Databases,
    pub(super) locks: Locks,
    next_spid: AtomicU16,
    next_descriptor: AtomicU64,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("setup", &self.setup)
            .field("encryption", &self.encryption)
            .finish_non_exhaustive()
    }
}

impl TdsServer {
    /// What it is to be like.
    #[must_use]
    pub fn builder() -> TdsServerBuilder {
        TdsServerBuilder::new()
    }

    pub(super) async fn start(
        mut setup: Setup,
        certificate: Option<&ServerCertificate>,
        encryption: Encryption,
    ) -> Result<Self, Error> {
        let tls = certificate.map(Tls::new).transpose()?;
        let faults = Faults::default();
        for number in setup.login_errors.drain(..) {
            faults.queue_logins(number, 1);
        }
        let databases = Databases::create(&setup.databases)?;
        let server = Server {
            setup,
            encryption,
            tls,
            counters: Counters::default(),
            register: Register::default(),
            faults,
            databases,
            locks: Locks::default(),
            next_spid: AtomicU16::new(51),
            next_descriptor: AtomicU64::new(0x0000_0033_0000_0001),
        };
        let port = Port::bind_free(Arc::new(server)).await?;
        Ok(Self { port })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its host, as a client names it.
    #[must_use]
    pub fn host(&self) -> String {
        self.port.address().ip().to_string()
    }

    /// What it saw, in numbers.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.port.service().counters
    }

    /// The logins let in, in order.
    #[must_use]
    pub fn logins(&self) -> Vec<LoginSeen> {
        self.port.service().register.logins()
    }

    /// Logins by token, accepted and refused. `None`: the server knows no tokens.
    #[must_use]
    pub fn record(&self) -> Option<&LoginRecord> {
        let entra = self.port.service().setup.access.entra.as_ref();
        entra.map(|(_, record)| record.as_ref())
    }

    /// The open sessions, by number.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionSeen> {
        self.port.service().register.sessions()
    }

    /// Cuts a session off without a word, as a gateway does. False: there is none such.
    #[must_use]
    pub fn kill(&self, spid: u16) -> bool {
        self.port.service().register.kill(spid)
    }

    /// Cuts all sessions off; says how many.
    pub fn kill_all(&self) -> usize {
        let register = &self.port.service().register;
        let sessions = register.sessions();
        sessions
            .iter()
            .filter(|session| register.kill(session.spid))
            .count()
    }

    /// The next `times` logins fail with this error.
    pub fn fail_logins(&self, number: i32, times: usize) {
        self.port.service().faults.queue_logins(number, times);
    }

    /// The next statement that reads or writes data fails with this error, in any session; 1205
    /// also rolls back, class 20 and more end the session.
    pub fn fail_statement(&self, number: i32) {
        self.port.service().faults.queue_statement(number);
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

impl Tls {
    fn new(certificate: &ServerCertificate) -> Result<Self, Error> {
        let tls12 = certificate.tls12_server_config()?;
        let strict = certificate.alpn_server_config(STRICT_ALPN)?;
        Ok(Self {
            wrapped: TlsAcceptor::from(tls12),
            strict: TlsAcceptor::from(strict),
        })
    }
}

impl Server {
    /// Numbers of ended sessions may come again, as on SQL Server.
    pub(super) fn new_spid(&self) -> u16 {
        let taken = self.next_spid.fetch_add(1, Ordering::SeqCst);
        51 + taken % 32_000
    }

    /// A transaction descriptor that no other session has.
    pub(super) fn new_descriptor(&self) -> u64 {
        self.next_descriptor.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn has_database(&self, name: &str) -> Option<&str> {
        let mut databases = self.setup.databases.iter();
        let found = databases.find(|known| known.eq_ignore_ascii_case(name));
        found.map(String::as_str)
    }
}

impl Serve for Server {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let port = stream.local_addr().map_or(0, |address| address.port());
        // `None`: refused, redirected, or gone; whatever there was to say has been said.
        if let Some(entered) = login::accept(&self, stream, port).await {
            connection::converse(self, entered).await;
        }
    }
}

/// MS-TDS 2.1: TDS 8.0 in ALPN.
pub(super) const STRICT_ALPN: &[u8] = b"tds/8.0";
