//! The login: PRELOGIN, TLS, LOGIN7, the token or the password, the first answer.

mod answer;
mod identity;
mod opening;

pub(super) use answer::{COLLATION, Entered};
pub(super) use identity::Identity;

use std::sync::Arc;

use tokio::net::TcpStream;

use super::error::ServerError;
use super::server::Server;
use super::wire::link::Link;
use super::wire::packet::{Envelope, LOGIN_PACKET};
use super::wire::tokens::{Done, DoneKind, put_error};
use super::wire::version::Version;

/// Why a client is not let in.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It has gone, or it speaks something else: nothing is said.
    Silent,
    Told(Box<ServerError>, Version),
    /// Sent to another server; it has been told.
    Redirected,
}

impl Refusal {
    pub(super) fn told(error: ServerError, version: Version) -> Self {
        Self::Told(Box::new(error), version)
    }
}

/// The whole login. `None`: the client has been told why not, or has gone.
pub(super) async fn accept(server: &Arc<Server>, stream: TcpStream, port: u16) -> Option<Entered> {
    let mut opened = opening::open(server, stream).await?;
    match answer::enter(server, &mut opened, port).await {
        Ok(entrance) => Some(entrance.with(opened.link)),
        Err(Refusal::Silent) => None,
        Err(Refusal::Redirected) => {
            server.counters.redirects.add();
            opened.link.end().await;
            None
        }
        Err(Refusal::Told(error, version)) => {
            server.counters.refused_logins.add();
            say_last(&mut opened.link, &error, version).await;
            None
        }
    }
}

/// Tells the last word of a login and closes; the client may be gone already.
async fn say_last(link: &mut Link, error: &ServerError, version: Version) {
    let mut body = Vec::new();
    put_error(&mut body, error, version);
    Done::failed(DoneKind::Done).put(&mut body, version);
    let envelope = Envelope {
        size: LOGIN_PACKET,
        spid: 0,
    };
    if link.send(&envelope.message(&body)).await.is_ok() {
        link.end().await;
    }
}
