//! Making a backend: token, name look-up, TCP, PRELOGIN, TLS, login; and all of it again where the
//! server's gateway sends us.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use entrapool_metrics::{Phase, RouteMetrics};
use entrapool_protocol::Sink;
use entrapool_protocol::tds::effect::Effects;
use entrapool_protocol::tds::login::{Login, Outcome, Redirect, Transport, Welcome};
use entrapool_protocol::tds::login7::{Options, Secret, UpstreamLogin, feature};
use entrapool_protocol::tds::statements::Watch;
use entrapool_protocol::tds::tracker::{SessionState, Setup, Tracker};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::backend::Backend;
use super::door::PACKETS;
use super::greeting::Shared;
use super::report::{ConnectError, Failed};
use crate::config::{self, HostPort, PoolMode, TdsOptions, TlsMode};
use crate::identity::{CredentialKind, Token, TokenHandle};
use crate::pool::Connect;
use crate::session::inbox::Inbox;
use crate::session::wire::Wire;
use crate::upstream::{Dialed, Tls, dial};

/// Gateways that send us on are followed so often.
pub(super) const MOST_HOPS: usize = 5;
/// What the server's lists say is the application.
const APPLICATION: &str = "entrapool";
/// Attempts after a failure that passes by itself, and the first pause: doubled each time.
const MOST_RETRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What backends must have in common to replace each other, within a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The database of the login.
    pub(super) database: Box<str>,
    /// What a reset can't change.
    pub(super) options: Options,
}

/// Makes backends of one route.
pub(super) struct Connector {
    route: String,
    start: Hop,
    direct: bool,
    /// Who logs in with a password; with a token nobody is named.
    user: String,
    options: TdsOptions,
    machine: String,
    timeout: Duration,
    /// Decides where the token may go.
    config: config::Route,
    token: TokenHandle,
    watch: Watch,
    metrics: Arc<RouteMetrics>,
    version: Arc<Mutex<[u8; 6]>>,
}

/// A place to log in at.
#[derive(Clone)]
pub(super) struct Hop {
    pub(super) target: HostPort,
    pub(super) tls: Option<Tls>,
    /// LOGIN7.ServerName.
    server_name: String,
    /// Where the gateway names another database.
    database: Option<String>,
}

/// A connection that is ready for the login.
pub(super) struct Agreed<'a> {
    pub(super) wire: Wire,
    pub(super) inbox: Inbox,
    login: Login<'a>,
}

/// A login that went well, and the connection that it was made on.
pub(super) struct Arrived {
    pub(super) wire: Wire,
    pub(super) inbox: Inbox,
    pub(super) peer: SocketAddr,
    pub(super) welcome: Box<Welcome>,
}

impl Connector {
    pub(super) fn new(
        config: &config::Route,
        options: &TdsOptions,
        tls: Option<Tls>,
        token: TokenHandle,
        (metrics, version): (Arc<RouteMetrics>, Arc<Mutex<[u8; 6]>>),
    ) -> Self {
        let upstream = &config.upstream;
        Self {
            route: config.name.clone(),
            start: Hop {
                target: upstream.target(),
                tls,
                server_name: upstream.host.clone(),
                database: None,
            },
            direct: upstream.tls == TlsMode::Direct,
            user: options.user.clone().unwrap_or_default(),
            options: options.clone(),
            machine: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            timeout: upstream.connect_timeout,
            config: config.clone(),
            token,
            watch: match config.pool.mode {
                PoolMode::Auto => Watch::Texts,
                // In session mode, too: what a reset does not undo ends with its client.
                PoolMode::Transaction | PoolMode::Session => Watch::Unasked,
                PoolMode::Strict => Watch::Strictly,
            },
            metrics,
            version,
        }
    }

    /// One attempt with one token, within the time limit.
    async fn attempt(
        &self,
        key: &Key,
        shared: &Shared,
        token: &Token,
    ) -> Result<Backend, ConnectError> {
        let mut phase = Phase::Dns;
        let walk = self.walk(key, token, &mut phase);
        let arrived = match tokio::time::timeout(self.timeout, walk).await {
            Ok(result) => result,
            Err(_) => Err(Failed::Timeout {
                phase,
                limit: self.timeout,
            }),
        };
        arrived
            .and_then(|arrived| self.backend(arrived, shared, token))
            .map_err(|failed| self.error(key, token.kind(), failed))
    }

    fn error(&self, key: &Key, kind: CredentialKind, failed: Failed) -> ConnectError {
        let who = match kind {
            CredentialKind::AccessToken => None,
            CredentialKind::Password => Some(self.user.as_str()),
        };
        ConnectError::new(who, &key.database, &self.start.target, failed)
    }

    /// From hop to hop.
    async fn walk(&self, key: &Key, token: &Token, phase: &mut Phase) -> Result<Arrived, Failed> {
        let mut hop = self.start.clone();
        for _ in 0..MOST_HOPS {
            let (mut wire, peer, redirect_or_welcome, inbox) =
                self.visit(&hop, key, token, phase).await?;
            match redirect_or_welcome {
                Outcome::Welcome(welcome) => {
                    return Ok(Arrived {
                        wire,
                        inbox,
                        peer,
                        welcome,
                    });
                }
                Outcome::Redirect(redirect) => {
                    wire.shrink();
                    hop = self.next(redirect)?;
                }
            }
        }
        Err(Failed::TooManyHops(MOST_HOPS))
    }

    /// Where the first connection goes.
    pub(super) fn start(&self) -> &Hop {
        &self.start
    }

    /// Where a gateway sends us. The certificate there is for the name there.
    pub(super) fn next(&self, redirect: Redirect) -> Result<Hop, Failed> {
        if !self.config.trusts(&redirect.host) {
            return Err(Failed::StrangeHop(redirect.host));
        }
        let tls = self.start.tls.as_ref();
        let tls = tls.map(|tls| tls.with_name(&redirect.host)).transpose()?;
        Ok(Hop {
            target: HostPort {
                host: redirect.host,
                port: redirect.port,
            },
            tls,
            server_name: redirect.server_name,
            database: redirect.database,
        })
    }

    /// One connection, up to the end of its login.
    async fn visit(
        &self,
        hop: &Hop,
        key: &Key,
        token: &Token,
        phase: &mut Phase,
    ) -> Result<(Wire, SocketAddr, Outcome, Inbox), Failed> {
        let phases = &self.metrics.connect;
        *phase = Phase::Dns;
        let Dialed { stream, peer } = dial(&hop.target, phases).await?;
        *phase = Phase::Tls;
        let began = Instant::now();
        let mut agreed = self.agree(hop, key, self.secret(token), stream).await?;
        phases
            .phase(Phase::Tls)
            .observe(began.elapsed().as_secs_f64());
        *phase = Phase::Login;
        let began = Instant::now();
        let outcome = agreed.log_in().await?;
        phases
            .phase(Phase::Login)
            .observe(began.elapsed().as_secs_f64());
        Ok((agreed.wire, peer, outcome, agreed.inbox))
    }

    /// What proves who we are.
    pub(super) fn secret<'a>(&'a self, token: &'a Token) -> Secret<'a> {
        match token.kind() {
            CredentialKind::AccessToken => Secret::Token(token.secret()),
            CredentialKind::Password => Secret::Password {
                user: &self.user,
                password: token.secret(),
            },
        }
    }

    /// PRELOGIN and TLS over a new connection; the secret is not sent yet.
    pub(super) async fn agree<'a>(
        &'a self,
        hop: &'a Hop,
        key: &'a Key,
        secret: Secret<'a>,
        stream: TcpStream,
    ) -> Result<Agreed<'a>, Failed> {
        let mut wire = Wire::plain(stream.into());
        let transport = match &hop.tls {
            None => Transport::Plain,
            Some(_) if self.direct => Transport::Strict,
            Some(_) => Transport::Wrapped,
        };
        if let (Some(tls), Transport::Strict) = (&hop.tls, transport) {
            let secured = wire.secure(tls.begin()?).await;
            secured.map_err(|cause| tls.failed(cause))?;
        }
        let wanted = UpstreamLogin {
            options: &key.options,
            database: hop.database.as_deref().unwrap_or(&key.database),
            server_name: &hop.server_name,
            app_name: APPLICATION,
            host_name: &self.machine,
            packet_size: self.options.packet_size.into(),
            fed_auth_echo: false,
            session_recovery: true,
        };
        let mut out = Vec::new();
        let login = Login::begin(wanted, secret, transport, &mut out);
        wire.put(&out);
        let mut agreed = Agreed {
            wire,
            inbox: Inbox::default(),
            login,
        };
        agreed.hear_prelogin().await?;
        if let (Some(tls), Transport::Wrapped) = (&hop.tls, transport) {
            let secured = agreed.wire.secure_within(tls.begin()?, &PACKETS).await;
            secured.map_err(|cause| tls.failed(cause))?;
        }
        Ok(agreed)
    }

    pub(super) fn backend(
        &self,
        arrived: Arrived,
        shared: &Shared,
        token: &Token,
    ) -> Result<Backend, Failed> {
        let Arrived {
            wire,
            inbox,
            peer,
            welcome,
        } = arrived;
        let packet_size = welcome.packet_size;
        if let Some(first) = shared.welcome()
            && first.packet_size != packet_size
        {
            return Err(Failed::PacketSize {
                now: packet_size,
                before: first.packet_size,
            });
        }
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = welcome.prelogin_version;
        let setup = Setup {
            layout: welcome.layout(),
            packet_size,
            state: SessionState::new(welcome.feature(feature::SESSION_RECOVERY)),
        };
        let state = setup.state.hash();
        shared.logged_in(*welcome);
        Ok(Backend {
            wire,
            tracker: Tracker::new(Arc::clone(&shared.dictionary), setup),
            from_server: inbox,
            from_client: Inbox::default(),
            to_client: Inbox::default(),
            applied: Arc::default(),
            residue: Effects::default(),
            owner: 0,
            turn: 0,
            soiled: false,
            state,
            stale_at: self.stale_at(token),
            peer,
            token_generation: token.generation(),
        })
    }

    /// From when a backend with this token is not lent any more.
    fn stale_at(&self, token: &Token) -> Option<Instant> {
        let remainder = self.options.token_remainder(token.lifetime()?);
        let end = token.expires_at()?.checked_sub(remainder)?;
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        Instant::now().checked_add(left)
    }

    /// As often as the server says that it will pass.
    async fn persist(&self, key: &Key, shared: &Shared) -> Result<Backend, ConnectError> {
        let mut pause = FIRST_PAUSE;
        let mut retries = 0;
        loop {
            let error = match self.once(key, shared).await {
                Err(error) if error.passes() && retries < MOST_RETRIES => error,
                result => return result,
            };
            retries += 1;
            tracing::info!(route = self.route, %error, ?pause, "the server will be back; trying again");
            tokio::time::sleep(pause.mul_f64(1.0 - fastrand::f64() / 4.0)).await;
            pause *= 2;
        }
    }

    async fn once(&self, key: &Key, shared: &Shared) -> Result<Backend, ConnectError> {
        let token = self.token.current().map_err(|cause| {
            self.error(key, CredentialKind::AccessToken, Failed::NoToken(cause))
        })?;
        match self.attempt(key, shared, &token).await {
            // The server may know something about the token that we don't: once more, with a
            // newer one if there is one to be had.
            Err(error) if error.is_about_the_token() => {
                match self.token.refused(token.generation()).await {
                    Ok(newer) => self.attempt(key, shared, &newer).await,
                    Err(_) => Err(error),
                }
            }
            result => result,
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
        let result = self.persist(key, shared).await;
        if let Err(error) = &result {
            self.metrics.login_failures.inc(error.class());
            tracing::warn!(route = self.route, error = %error, "no upstream connection");
        }
        result
    }
}

impl Agreed<'_> {
    async fn hear_prelogin(&mut self) -> Result<(), Failed> {
        self.wire.flush().await?;
        loop {
            if let Some(taken) = self.login.agree(self.inbox.filled())? {
                self.inbox.consume(taken);
                return Ok(());
            }
            self.wire.fill(&mut self.inbox).await?;
        }
    }

    /// The login proper. The token travels inside TLS, unless the server is on this machine.
    pub(super) async fn log_in(&mut self) -> Result<Outcome, Failed> {
        let Self { wire, inbox, login } = self;
        // Room for all of it, so that no copy stays behind in memory that was outgrown.
        let mut out = Zeroizing::new(Vec::with_capacity(login.room()));
        login.log_in(&mut out);
        wire.put(&out);
        wire.flush_secret().await?;
        loop {
            let (taken, outcome) = login.step(inbox.filled())?;
            inbox.consume(taken);
            match outcome {
                Some(outcome) => return Ok(outcome),
                None if taken == 0 => wire.fill(inbox).await?,
                None => {}
            }
        }
    }
}
