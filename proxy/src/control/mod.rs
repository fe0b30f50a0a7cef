//! The control socket: how a person or a script operates the running program.
//!
//! HTTP/1.1 with JSON answers, on a Unix socket or a loopback address; `entrapool ctl` is its
//! client. `app` binds a [`ControlServer`] before the routes and stops it after them. What has to
//! be done it hands to the program as an [`Order`]; it never touches a session itself.

mod answer;
mod group;
mod peer;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Health;
use crate::config::{Change, Control, Listen};
use crate::log::LogLevel;
use crate::server::Listener;
use crate::session::wire::Socket;
use crate::status::Source;
use peer::{Caller, Rights};

/// Connections at a time; one more is closed at once.
const MOST_CALLERS: usize = 16;
/// For the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// For a connection as a whole: a reload may wait for a token.
const LIFE: Duration = Duration::from_mins(10);
/// For an answer in flight when the program ends.
const GRACE: Duration = Duration::from_secs(2);

/// What the program is told to do.
#[derive(Debug)]
pub enum Order {
    /// Stop as SIGTERM does.
    Drain,
    /// Stop at once.
    Quit,
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<Reloaded, Refusal>>),
}

/// What a reload has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Everything that is different; empty if nothing is.
    pub changes: Vec<Change>,
    /// What is worth telling of the new configuration.
    pub notes: Vec<String>,
}

/// Why a reload has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The configuration is wrong, or a route of it can't work.
    #[error("{0}")]
    Configuration(String),
    /// It is not the time.
    #[error("entrapool is {0}; nothing was changed")]
    Busy(&'static str),
}

/// The program, as it is operated.
pub struct Operated {
    /// How things stand.
    pub status: Arc<dyn Source>,
    /// Whether a new client would be served.
    pub health: Arc<dyn Health>,
    /// How much is logged.
    pub log: Arc<LogLevel>,
    /// Who does what is ordered.
    pub orders: mpsc::Sender<Order>,
}

/// Why the control socket can't be had.
#[derive(Debug, thiserror::Error)]
#[error("control.listen {listen}: {cause}; {advice}")]
pub struct BindError {
    listen: String,
    cause: io::Error,
    advice: &'static str,
}

/// The bound control socket.
#[derive(Debug)]
pub struct ControlServer {
    listener: Listener,
    rights: Rights,
}

impl ControlServer {
    /// Binds `listen` for the same user, for root, and for those of `control.group`.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(listen: &Listen, control: &Control) -> Result<Self, BindError> {
        let failed = |advice| {
            move |cause| BindError {
                listen: listen.to_string(),
                cause,
                advice,
            }
        };
        let group = control.group.as_deref().map(group::id).transpose();
        let group = group.map_err(failed(
            "control.group must be in /etc/group, or be a number",
        ))?;
        let listener = Listener::bind(listen).await.map_err(failed(
            "the directory must exist and be writable, and no other entrapool may listen there",
        ))?;
        if let Listen::Unix(path) = listen {
            restrict(path, group).map_err(failed(
                "entrapool's user must be a member of control.group, or root",
            ))?;
        }
        Ok(Self {
            listener,
            rights: Rights::new(group),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Answers until `shutdown`, then lets the answers in flight end.
    pub async fn serve(self, operated: Arc<Operated>, shutdown: CancellationToken) {
        let Self { listener, rights } = self;
        let callers = TaskTracker::new();
        let room = Arc::new(Semaphore::new(MOST_CALLERS));
        let accept = |socket| {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                tracing::warn!(
                    most = MOST_CALLERS,
                    "too many connections to the control socket"
                );
                return;
            };
            let (operated, end) = (Arc::clone(&operated), shutdown.clone());
            callers.spawn(async move {
                let caller = rights.judge(&socket).await;
                match socket {
                    Socket::Unix(stream) => {
                        converse(stream.into_inner(), caller, operated, end).await;
                    }
                    Socket::Tcp(stream) => {
                        converse(stream.into_inner(), caller, operated, end).await;
                    }
                    // Nobody has begun TLS here.
                    Socket::Tls(_) | Socket::Resting(_) => {}
                }
                drop(place);
            });
        };
        listener.accept_until(shutdown.clone(), accept).await;
        callers.close();
        let _ = timeout(GRACE, callers.wait()).await;
    }
}

/// The file of the socket is for its owner, and for the group if there is one.
fn restrict(path: &Path, group: Option<u32>) -> io::Result<()> {
    let mode = match group {
        None => 0o600,
        Some(group) => {
            std::os::unix::fs::chown(path, None, Some(group))?;
            0o660
        }
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

async fn converse<S>(stream: S, caller: Caller, operated: Arc<Operated>, end: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(|request| {
        let operated = Arc::clone(&operated);
        async move { Ok::<_, Infallible>(answer::answer(&operated, caller, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = end.cancelled() => None,
        () = sleep(LIFE) => None,
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(GRACE, connection).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "a connection to the control socket ended early");
    }
}
