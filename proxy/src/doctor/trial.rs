//! The engines' logins in one closed enum: what the steps ask, whatever a route speaks.

use std::net::SocketAddr;
use std::sync::Arc;

use entrapool_metrics::{Metrics, Protocol, RouteMetrics};
use tokio::net::TcpStream;

use crate::config::{Dialect, HostPort, Route};
use crate::identity::{Token, TokenHandle};
use crate::session::wire::Wire;
use crate::upstream::{Shown, Tls};
use crate::{postgres, tds};

/// What a route logs in with.
pub(super) enum Trial {
    Postgres(postgres::Trial),
    Tds(Box<tds::Trial>),
}

/// A connection that is ready for the login, and where it leads.
pub(super) enum Line<'a> {
    Postgres(Wire, SocketAddr),
    Tds(Box<tds::Secured<'a>>, SocketAddr),
}

/// A session that is logged in.
pub(super) enum Session {
    Postgres(Box<postgres::Session>),
    Tds(Box<tds::Session>),
}

/// What went wrong on the way to one.
pub(super) enum Fault {
    Postgres(postgres::Failed),
    Tds(tds::Failed),
}

/// A login that did not come to its end.
pub(super) struct Stopped {
    /// Where a gateway has sent us, if it has.
    pub(super) sent_to: Option<HostPort>,
    pub(super) fault: Fault,
}

/// A query that did not come to its end.
pub(super) struct Unanswered {
    /// Whether the server said no.
    pub(super) is_refused: bool,
    pub(super) words: String,
}

impl Trial {
    /// Of a route.
    ///
    /// # Errors
    /// What the route itself can't run with, in words.
    pub(super) fn new(
        route: &Route,
        shown: &Shown,
        token: TokenHandle,
    ) -> Result<(Self, Arc<RouteMetrics>), Box<dyn std::error::Error>> {
        let metrics = Metrics::new();
        match &route.dialect {
            Dialect::Postgres(options) => {
                let series = metrics.route(Protocol::Postgres, &route.name);
                let trial = postgres::Trial::new(route, options, shown, Arc::clone(&series))?;
                Ok((Self::Postgres(trial), series))
            }
            Dialect::Tds(options) => {
                let series = metrics.route(Protocol::Tds, &route.name);
                let with = (token, Arc::clone(&series));
                let trial = tds::Trial::new(route, options, shown, with)?;
                Ok((Self::Tds(Box::new(trial)), series))
            }
        }
    }

    pub(super) fn target(&self) -> &HostPort {
        match self {
            Self::Postgres(trial) => trial.target(),
            Self::Tds(trial) => trial.target(),
        }
    }

    pub(super) fn database(&self) -> &str {
        match self {
            Self::Postgres(trial) => trial.database(),
            Self::Tds(trial) => trial.database(),
        }
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Postgres(trial) => trial.tls(),
            Self::Tds(trial) => trial.tls(),
        }
    }

    /// TLS over a new connection, and what the protocol says before. Without a token there is no
    /// login behind it.
    pub(super) async fn secure<'a>(
        &'a self,
        stream: TcpStream,
        peer: SocketAddr,
        token: Option<&'a Token>,
    ) -> Result<Line<'a>, Fault> {
        match self {
            Self::Postgres(trial) => {
                let wire = trial.secure(stream).await.map_err(Fault::Postgres)?;
                Ok(Line::Postgres(wire, peer))
            }
            Self::Tds(trial) => {
                let secured = trial.secure(stream, token).await.map_err(Fault::Tds)?;
                Ok(Line::Tds(Box::new(secured), peer))
            }
        }
    }

    /// The login over it.
    pub(super) async fn log_in(&self, line: Line<'_>, token: &Token) -> Result<Session, Stopped> {
        match (self, line) {
            (Self::Postgres(trial), Line::Postgres(wire, peer)) => {
                let session = trial.log_in((wire, peer), token).await;
                let session = session.map_err(|failed| Stopped {
                    sent_to: None,
                    fault: Fault::Postgres(failed),
                })?;
                Ok(Session::Postgres(Box::new(session)))
            }
            (Self::Tds(trial), Line::Tds(secured, peer)) => {
                let session = Box::pin(trial.log_in((*secured, peer), token)).await;
                let session = session.map_err(|stopped| Stopped {
                    sent_to: stopped.sent_to,
                    fault: Fault::Tds(stopped.failed),
                })?;
                Ok(Session::Tds(Box::new(session)))
            }
            // A line is of the trial that made it.
            (Self::Postgres(_), Line::Tds(..)) | (Self::Tds(_), Line::Postgres(..)) => {
                let other = std::io::Error::other("a connection of the other engine");
                Err(Stopped {
                    sent_to: None,
                    fault: Fault::Postgres(other.into()),
                })
            }
        }
    }

    /// Whether the token is good for another name, where logins have names.
    pub(super) async fn is_welcome_as(&self, user: &str, token: &Token) -> bool {
        match self {
            Self::Postgres(trial) => trial.is_welcome_as(user, token).await,
            Self::Tds(_) => false,
        }
    }
}

impl Line<'_> {
    /// Version and cipher suite of TLS, if there is TLS.
    pub(super) fn cipher(&self) -> Option<String> {
        match self {
            Self::Postgres(wire, _) => wire.cipher(),
            Self::Tds(secured, _) => secured.wire().cipher(),
        }
    }
}

impl Session {
    /// The server's product and version.
    pub(super) fn server(&self) -> String {
        match self {
            Self::Postgres(session) => session.server(),
            Self::Tds(session) => session.server().to_owned(),
        }
    }

    /// Where a gateway has sent us, as an address, if it is not `peer`.
    pub(super) fn elsewhere(&self, peer: SocketAddr) -> Option<SocketAddr> {
        match self {
            Self::Postgres(_) => None,
            Self::Tds(session) => Some(session.peer()).filter(|there| *there != peer),
        }
    }

    /// Runs a query that gives a row; returns when the answer is there.
    pub(super) async fn query(&mut self) -> Result<(), Unanswered> {
        match self {
            Self::Postgres(session) => session.query().await.map_err(|unfit| Unanswered {
                is_refused: matches!(unfit, postgres::Unfit::Refused(_)),
                words: unfit.to_string(),
            }),
            Self::Tds(session) => session.query().await.map_err(|unfit| Unanswered {
                is_refused: matches!(unfit, tds::Unfit::Refused(_)),
                words: unfit.to_string(),
            }),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Postgres(failed) => failed.fmt(f),
            Self::Tds(failed) => failed.fmt(f),
        }
    }
}
