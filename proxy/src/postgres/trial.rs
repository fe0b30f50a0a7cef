//! One login step by step, for `entrapool doctor`: the same connection, TLS and login as the
//! pool's, which is what is judged.

use std::net::SocketAddr;
use std::sync::Arc;

use entrapool_metrics::RouteMetrics;
use entrapool_protocol::postgres::login::LoginError;
use entrapool_protocol::postgres::message::NEWEST_MINOR;
use entrapool_protocol::postgres::statements::Watch;
use tokio::net::TcpStream;

use super::backend::Backend;
use super::connect::{Arrived, Place, Who, backend, enter};
use super::greeting::Shared;
use super::recover::{Unfit, query};
use super::report::Failed;
use super::route::{RouteError, tls_of};
use crate::config::{self, HostPort, PostgresOptions};
use crate::identity::Token;
use crate::pool::Connection;
use crate::session::wire::Wire;
use crate::upstream::{Dialed, Shown, Tls, dial};

/// What a route logs in with.
pub(crate) struct Trial {
    place: Place,
    user: String,
    database: String,
    metrics: Arc<RouteMetrics>,
}

/// A session that is logged in.
pub(crate) struct Session(Backend);

impl Trial {
    /// Of a route; what its server shows in TLS goes to `shown`.
    ///
    /// # Errors
    /// As for the route itself.
    pub(crate) fn new(
        config: &config::Route,
        options: &PostgresOptions,
        shown: &Shown,
        metrics: Arc<RouteMetrics>,
    ) -> Result<Self, RouteError> {
        let tls = tls_of(config)?.map(|tls| tls.watched(shown));
        let allowed = config.databases.iter().flatten().next();
        let database = options.database.as_ref().or(allowed);
        Ok(Self {
            place: Place::new(config, tls),
            user: options.user.clone(),
            database: database.map_or_else(|| "postgres".to_owned(), Clone::clone),
            metrics,
        })
    }

    /// Where the server is dialled.
    pub(crate) fn target(&self) -> &HostPort {
        self.place.target()
    }

    /// The database of the login: the route's, or the first that it allows, or `postgres`.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The TLS of the route, if it has any.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.place.tls()
    }

    /// TLS over a new connection.
    pub(crate) async fn secure(&self, stream: TcpStream) -> Result<Wire, Failed> {
        self.place.secure(Wire::plain(stream.into())).await
    }

    /// The login; on a connection of its own if the server refuses newer versions of the protocol.
    pub(crate) async fn log_in(
        &self,
        (wire, peer): (Wire, SocketAddr),
        token: &Token,
    ) -> Result<Session, Failed> {
        self.log_in_as(&self.user, (wire, peer), token).await
    }

    /// Whether the token is good for another role, on a connection of its own.
    pub(crate) async fn is_welcome_as(&self, user: &str, token: &Token) -> bool {
        match self.arrive().await {
            Ok(arrived) => self.log_in_as(user, arrived, token).await.is_ok(),
            Err(_) => false,
        }
    }

    async fn log_in_as(
        &self,
        user: &str,
        (wire, peer): (Wire, SocketAddr),
        token: &Token,
    ) -> Result<Session, Failed> {
        let who = Who {
            user,
            database: &self.database,
        };
        let mut at = peer;
        let entered = match enter(wire, who, token, NEWEST_MINOR).await {
            Err(Failed::Login(LoginError::Version { .. })) => {
                let (wire, peer) = self.arrive().await?;
                at = peer;
                enter(wire, who, token, 0).await
            }
            entered => entered,
        };
        let (wire, inbox, welcome) = entered?;
        let arrived = Arrived {
            wire,
            inbox,
            welcome,
            peer: at,
        };
        let shared = Arc::new(Shared::new(Watch::Tags));
        Ok(Session(backend(arrived, &shared, token)))
    }

    async fn arrive(&self) -> Result<(Wire, SocketAddr), Failed> {
        let Dialed { stream, peer } = dial(self.place.target(), &self.metrics.connect).await?;
        Ok((self.secure(stream).await?, peer))
    }
}

impl Session {
    /// The server's product and version.
    pub(crate) fn server(&self) -> String {
        let version = self.0.parameter(b"server_version").unwrap_or_default();
        format!("PostgreSQL {}", String::from_utf8_lossy(version))
    }

    /// Runs a query that gives a row; returns when the answer is there.
    pub(crate) async fn query(&mut self) -> Result<(), Unfit> {
        query(&mut self.0, "SELECT 1").await
    }
}

impl Drop for Session {
    /// The server is told, so that its log stays clean.
    fn drop(&mut self) {
        self.0.part();
    }
}
