//! One request to the control socket.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::Listen;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same for a reload, which may wait for a first token (`start.timeout`, at most 1 h).
const LONG_PATIENCE: Duration = Duration::from_secs(3700);

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    /// JSON, with a line's end.
    pub(super) body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// We may not connect.
    #[error("{0}")]
    Denied(io::Error),
    /// Nobody is there.
    #[error("{0}")]
    Connect(io::Error),
    /// Somebody is there, and does not speak as it should.
    #[error("{0}")]
    Talk(#[from] hyper::Error),
    /// Somebody is there, and says nothing.
    #[error("no answer in time")]
    Timeout,
}

impl Reply {
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    pub(super) fn is_forbidden(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    /// What is wrong, in words.
    pub(super) fn error(&self) -> String {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        match value.get("error").and_then(serde_json::Value::as_str) {
            Some(error) => error.to_owned(),
            None => format!("{}: {}", self.status, self.body.trim_end()),
        }
    }
}

/// Posts `body` to `path`: all that a loopback address takes, and a socket as well.
pub(super) async fn call(place: &Listen, path: &str, body: &str) -> Result<Reply, CallError> {
    let limit = match path {
        "/reload" => LONG_PATIENCE,
        _ => PATIENCE,
    };
    let work = async {
        match place {
            Listen::Unix(file) => {
                let stream = UnixStream::connect(file).await.map_err(no_connection)?;
                converse(stream, path, body).await
            }
            Listen::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(no_connection)?;
                converse(stream, path, body).await
            }
        }
    };
    let replied = tokio::time::timeout(limit, work).await;
    replied.unwrap_or(Err(CallError::Timeout))
}

fn no_connection(error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => CallError::Denied(error),
        _ => CallError::Connect(error),
    }
}

async fn converse<S>(stream: S, path: &str, body: &str) -> Result<Reply, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, "entrapool")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    let request = request.map_err(|error| CallError::Connect(io::Error::other(error)))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Reply {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        reply = &mut exchange => reply,
        ended = &mut connection => {
            // It has ended, and the answer is there or never will be.
            ended?;
            exchange.await
        }
    }
}
