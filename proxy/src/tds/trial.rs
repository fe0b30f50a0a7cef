//! One login step by step, for `entrapool doctor`: the same connection, TLS and login as the
//! pool's, which is what is judged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use entrapool_metrics::RouteMetrics;
use entrapool_protocol::Sink;
use entrapool_protocol::tds::login::Outcome;
use entrapool_protocol::tds::login7::{Options, Secret};
use entrapool_protocol::tds::statements::Watch;
use tokio::net::TcpStream;

use super::backend::Backend;
use super::connect::{Agreed, Arrived, Connector, Hop, Key, MOST_HOPS};
use super::greeting::Shared;
use super::recover::{Unfit, settle};
use super::report::Failed;
use super::route::{RouteError, door_of, tls_of};
use crate::config::{self, HostPort, TdsOptions};
use crate::identity::{Token, TokenHandle};
use crate::session::wire::Wire;
use crate::upstream::{Dialed, Shown, Tls, dial};

/// What a route logs in with.
pub(crate) struct Trial {
    connector: Connector,
    key: Key,
    metrics: Arc<RouteMetrics>,
}

/// A connection that is ready for the login.
pub(crate) struct Secured<'a>(Agreed<'a>);

/// A session that is logged in.
pub(crate) struct Session {
    backend: Backend,
    server: String,
    peer: SocketAddr,
}

/// A login that did not come to its end.
pub(crate) struct Stopped {
    /// Where a gateway has sent us, if it has.
    pub(crate) sent_to: Option<HostPort>,
    pub(crate) failed: Failed,
}

impl Trial {
    /// Of a route; what its server shows in TLS goes to `shown`.
    ///
    /// # Errors
    /// As for the route itself.
    pub(crate) fn new(
        config: &config::Route,
        options: &TdsOptions,
        shown: &Shown,
        (token, metrics): (TokenHandle, Arc<RouteMetrics>),
    ) -> Result<Self, RouteError> {
        let tls = tls_of(config)?.map(|tls| tls.watched(shown));
        door_of(config, options)?;
        let version = Arc::new(Mutex::default());
        let of_metrics = (Arc::clone(&metrics), version);
        Ok(Self {
            connector: Connector::new(config, options, tls, token, of_metrics),
            key: Key {
                database: options.database.as_str().into(),
                options: Options::default(),
            },
            metrics,
        })
    }

    /// Where the server is dialled.
    pub(crate) fn target(&self) -> &HostPort {
        &self.connector.start().target
    }

    /// The database of the login.
    pub(crate) fn database(&self) -> &str {
        &self.key.database
    }

    /// The TLS of the route, if it has any.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.connector.start().tls.as_ref()
    }

    /// PRELOGIN and TLS over a new connection. Without a token there is no login behind it.
    pub(crate) async fn secure<'a>(
        &'a self,
        stream: TcpStream,
        token: Option<&'a Token>,
    ) -> Result<Secured<'a>, Failed> {
        let secret = token.map_or(Secret::Token(""), |token| self.connector.secret(token));
        let hop = self.connector.start();
        let agreed = self.connector.agree(hop, &self.key, secret, stream).await?;
        Ok(Secured(agreed))
    }

    /// The login, and all of it again wherever the server's gateway sends us.
    pub(crate) async fn log_in(
        &self,
        (secured, peer): (Secured<'_>, SocketAddr),
        token: &Token,
    ) -> Result<Session, Stopped> {
        let here = |failed| Stopped {
            sent_to: None,
            failed,
        };
        let mut agreed = secured.0;
        let redirect = match agreed.log_in().await.map_err(here)? {
            Outcome::Redirect(redirect) => redirect,
            outcome @ Outcome::Welcome(_) => {
                return self.session((agreed, peer), outcome, token).map_err(here);
            }
        };
        drop(agreed);
        let mut hop = self.connector.next(redirect).map_err(here)?;
        for _ in 1..MOST_HOPS {
            let sent_to = Some(hop.target.clone());
            let there = |failed| Stopped {
                sent_to: sent_to.clone(),
                failed,
            };
            let (mut agreed, peer) = self.arrive(&hop, token).await.map_err(there)?;
            let next = match agreed.log_in().await.map_err(there)? {
                Outcome::Redirect(redirect) => self.connector.next(redirect).map_err(there)?,
                outcome @ Outcome::Welcome(_) => {
                    return self.session((agreed, peer), outcome, token).map_err(there);
                }
            };
            drop(agreed);
            hop = next;
        }
        Err(Stopped {
            sent_to: Some(hop.target),
            failed: Failed::TooManyHops(MOST_HOPS),
        })
    }

    async fn arrive<'a>(
        &'a self,
        hop: &'a Hop,
        token: &'a Token,
    ) -> Result<(Agreed<'a>, SocketAddr), Failed> {
        let Dialed { stream, peer } = dial(&hop.target, &self.metrics.connect).await?;
        let secret = self.connector.secret(token);
        let agreed = self.connector.agree(hop, &self.key, secret, stream).await?;
        Ok((agreed, peer))
    }

    fn session(
        &self,
        (agreed, peer): (Agreed<'_>, SocketAddr),
        outcome: Outcome,
        token: &Token,
    ) -> Result<Session, Failed> {
        let Outcome::Welcome(welcome) = outcome else {
            return Err(Failed::TooManyHops(1));
        };
        let [major, minor, high, low] = welcome.server_version;
        let build = u16::from_be_bytes([high, low]);
        let server = format!("{} {major}.{minor}.{build}", welcome.server_name);
        let arrived = Arrived {
            wire: agreed.wire,
            inbox: agreed.inbox,
            peer,
            welcome,
        };
        let shared = Shared::new(Watch::Texts);
        let backend = self.connector.backend(arrived, &shared, token)?;
        Ok(Session {
            backend,
            server,
            peer,
        })
    }
}

impl Secured<'_> {
    /// The connection.
    pub(crate) fn wire(&self) -> &Wire {
        &self.0.wire
    }
}

impl Session {
    /// The server's product and version.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Where it is, perhaps after redirects.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Runs a query that gives a row; returns when the answer is there.
    pub(crate) async fn query(&mut self) -> Result<(), Unfit> {
        let mut batch = Vec::new();
        if !self.backend.tracker.inject_batch("SELECT 1", &mut batch) {
            return Err(Unfit::Tainted);
        }
        self.backend.wire.put(&batch);
        settle(&mut self.backend).await
    }
}
