//! Making a backend: token, name look-up, TCP, TLS, login.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use entrapool_metrics::{Phase, RouteMetrics};
use entrapool_protocol::Sink;
use entrapool_protocol::postgres::effect::Effects;
use entrapool_protocol::postgres::login::{
    Login, LoginError, Secret, SslRefused, Welcome, read_ssl_answer,
};
use entrapool_protocol::postgres::message;
use entrapool_protocol::postgres::statements::Watch;
use entrapool_protocol::postgres::tracker::Tracker;
use zeroize::Zeroizing;

use super::backend::Backend;
use super::greeting::Shared;
use super::report::{ConnectError, Failed};
use crate::config::{self, HostPort, PoolMode, TlsMode};
use crate::identity::{CredentialKind, Token, TokenHandle};
use crate::pool::Connect;
use crate::session::inbox::Inbox;
use crate::session::wire::Wire;
use crate::upstream::{Dialed, Tls, dial};

/// ALPN of PostgreSQL's direct TLS (55.2.11).
pub(super) const ALPN: &[u8] = b"postgresql";

/// What backends must have in common to replace each other, within a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The database.
    pub(super) database: Box<str>,
}

/// Makes backends of one route.
pub(super) struct Connector {
    place: Arc<Place>,
    user: String,
    timeout: Duration,
    token: TokenHandle,
    watch: Watch,
    /// The server refuses newer minor versions instead of negotiating: it was seen to.
    only_3_0: AtomicBool,
    metrics: Arc<RouteMetrics>,
}

/// Where the server is and how it is reached; cancel requests need it too.
pub(super) struct Place {
    route: String,
    target: HostPort,
    tls: Option<Tls>,
    direct: bool,
}

impl Connector {
    pub(super) fn new(
        config: &config::Route,
        user: String,
        tls: Option<Tls>,
        token: TokenHandle,
        metrics: Arc<RouteMetrics>,
    ) -> Self {
        let timeout = config.upstream.connect_timeout;
        Self {
            place: Arc::new(Place::new(config, tls)),
            user,
            timeout,
            token,
            watch: match config.pool.mode {
                PoolMode::Auto => Watch::Texts,
                PoolMode::Strict => Watch::Strictly,
                PoolMode::Transaction | PoolMode::Session => Watch::Tags,
            },
            only_3_0: AtomicBool::new(false),
            metrics,
        }
    }

    /// The role that all backends log in as.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Where cancel requests go.
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// One attempt with one token, within the time limit.
    async fn attempt(
        &self,
        key: &Key,
        shared: &Arc<Shared>,
        token: &Token,
    ) -> Result<Backend, ConnectError> {
        let mut phase = Phase::Dns;
        let work = self.walk(&key.database, token, &mut phase);
        let failed = match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(arrived)) => return Ok(backend(arrived, shared, token)),
            Ok(Err(failed)) => failed,
            Err(_) => Failed::Timeout {
                phase,
                limit: self.timeout,
            },
        };
        Err(ConnectError::new(
            &self.user,
            &key.database,
            &self.place.target,
            token.kind(),
            failed,
        ))
    }

    /// Once in the newest version; in 3.0 where that is refused instead of negotiated.
    async fn walk(
        &self,
        database: &str,
        token: &Token,
        phase: &mut Phase,
    ) -> Result<Arrived, Failed> {
        if self.only_3_0.load(Ordering::Relaxed) {
            return self.walk_in(0, database, token, phase).await;
        }
        let newest = message::NEWEST_MINOR;
        match self.walk_in(newest, database, token, phase).await {
            Err(Failed::Login(LoginError::Version { error, .. })) => {
                let arrived = self.walk_in(0, database, token, phase).await?;
                // Whatever it said, that was the reason.
                self.only_3_0.store(true, Ordering::Relaxed);
                tracing::info!(route = self.place.route, %error, "the server takes protocol 3.0 only");
                Ok(arrived)
            }
            result => result,
        }
    }

    /// In this minor version of protocol 3, or an older one if the server says so.
    async fn walk_in(
        &self,
        minor: u16,
        database: &str,
        token: &Token,
        phase: &mut Phase,
    ) -> Result<Arrived, Failed> {
        let phases = &self.metrics.connect;
        let Dialed { stream, peer } = dial(&self.place.target, phases).await?;
        *phase = Phase::Tls;
        let began = Instant::now();
        let wire = self.place.secure(Wire::plain(stream.into())).await?;
        phases
            .phase(Phase::Tls)
            .observe(began.elapsed().as_secs_f64());
        *phase = Phase::Login;
        let began = Instant::now();
        let who = Who {
            user: &self.user,
            database,
        };
        let (wire, inbox, welcome) = enter(wire, who, token, minor).await?;
        phases
            .phase(Phase::Login)
            .observe(began.elapsed().as_secs_f64());
        Ok(Arrived {
            wire,
            inbox,
            welcome,
            peer,
        })
    }
}

/// Who logs in, and where to.
#[derive(Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) user: &'a str,
    pub(super) database: &'a str,
}

/// A login in one minor version of protocol 3, over a connection that is secured.
pub(super) async fn enter(
    mut wire: Wire,
    who: Who<'_>,
    token: &Token,
    minor: u16,
) -> Result<(Wire, Inbox, Welcome), Failed> {
    let mut inbox = Inbox::default();
    let secret = match token.kind() {
        CredentialKind::AccessToken => Secret::Token(token.secret()),
        CredentialKind::Password => Secret::Password(token.secret()),
    };
    // Room for the longest token, so that no copy stays behind in memory that was outgrown.
    let mut out = Zeroizing::new(Vec::with_capacity(token.secret().len() + 1024));
    let login = Login::begin(who.user, who.database, secret, minor, &mut out);
    let welcome = log_in(&mut wire, &mut inbox, login, out).await?;
    Ok((wire, inbox, welcome))
}

/// A connection that is logged in.
pub(super) struct Arrived {
    pub(super) wire: Wire,
    pub(super) inbox: Inbox,
    pub(super) welcome: Welcome,
    pub(super) peer: SocketAddr,
}

/// The login proper; `out` holds its first message. The token travels inside TLS: see
/// `Place::secure`.
async fn log_in(
    wire: &mut Wire,
    inbox: &mut Inbox,
    mut login: Login<'_>,
    mut out: Zeroizing<Vec<u8>>,
) -> Result<Welcome, Failed> {
    loop {
        if !out.is_empty() {
            wire.put(&out);
            wire.flush_secret().await?;
            out.clear();
        }
        loop {
            let (taken, welcome) = login.step(inbox.filled(), &mut out)?;
            inbox.consume(taken);
            if let Some(welcome) = welcome {
                return Ok(welcome);
            }
            if taken == 0 || !out.is_empty() {
                break;
            }
        }
        if out.is_empty() {
            wire.fill(inbox).await?;
        }
    }
}

impl Connect for Connector {
    type Key = Key;
    type Connection = Backend;
    type Error = ConnectError;
    type Shared = Shared;

    fn share(&self) -> Shared {
        Shared::new(self.watch)
    }

    async fn connect(&self, key: &Key, shared: &Arc<Shared>) -> Result<Backend, ConnectError> {
        let refuse = |failed| {
            let kind = CredentialKind::AccessToken;
            ConnectError::new(&self.user, &key.database, &self.place.target, kind, failed)
        };
        let result = match self.token.current() {
            Err(cause) => Err(refuse(Failed::NoToken(cause))),
            Ok(token) => match self.attempt(key, shared, &token).await {
                // The server may know something about the token that we don't: once more, with
                // a newer one if there is one to be had.
                Err(error) if error.is_about_the_token() => {
                    match self.token.refused(token.generation()).await {
                        Ok(newer) => self.attempt(key, shared, &newer).await,
                        Err(_) => Err(error),
                    }
                }
                result => result,
            },
        };
        if let Err(error) = &result {
            self.metrics.login_failures.inc(error.class());
            tracing::warn!(route = self.place.route, error = %error, "no upstream connection");
        }
        result
    }
}

impl Place {
    pub(super) fn new(config: &config::Route, tls: Option<Tls>) -> Self {
        Self {
            route: config.name.clone(),
            target: config.upstream.target(),
            tls,
            direct: config.upstream.tls == TlsMode::Direct,
        }
    }

    /// Where the server is dialled.
    pub(super) fn target(&self) -> &HostPort {
        &self.target
    }

    /// The TLS of the route, if it has any.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// TLS over a new connection, where the route has TLS: asked for first, or direct. Without
    /// TLS the configuration has seen to it that the server is on a loopback address.
    pub(super) async fn secure(&self, mut wire: Wire) -> Result<Wire, Failed> {
        let Some(tls) = &self.tls else {
            return Ok(wire);
        };
        if !self.direct {
            wire.put(&message::SSL_REQUEST);
            wire.flush().await?;
            let mut answer = Inbox::default();
            wire.fill(&mut answer).await?;
            read_ssl_answer(answer.filled())?;
        }
        let connection = tls.begin()?;
        match wire.secure(connection).await {
            Ok(()) if self.direct && wire.agreed() != Some(ALPN) => {
                Err(SslRefused::NotDirect.into())
            }
            Ok(()) => Ok(wire),
            // That is what an older server makes of it.
            Err(cause) if self.direct && cause.kind() == io::ErrorKind::UnexpectedEof => {
                Err(SslRefused::NotDirect.into())
            }
            Err(cause) => Err(tls.failed(cause).into()),
        }
    }
}

pub(super) fn backend(arrived: Arrived, shared: &Arc<Shared>, token: &Token) -> Backend {
    let welcome = arrived.welcome;
    shared.logged_in(&welcome.parameters);
    Backend {
        wire: arrived.wire,
        tracker: Tracker::new(Arc::clone(&shared.dictionary)),
        from_server: arrived.inbox,
        from_client: Inbox::default(),
        to_client: Inbox::default(),
        applied: Arc::default(),
        parameters: welcome
            .parameters
            .into_iter()
            .map(|(name, value)| (name.into_boxed_slice(), value.into_boxed_slice()))
            .collect(),
        residue: Effects::default(),
        number: shared.next_number(),
        sequences_of: 0,
        owner: 0,
        opaque: false,
        key: welcome.key,
        peer: arrived.peer,
        token_generation: token.generation(),
    }
}
