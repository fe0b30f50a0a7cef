//! A token endpoint that answers as told, with or without TLS, on a free port of this host.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) form: String,
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: String,
    pub(super) after: Duration,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    /// A managed identity's token as documented: every value a string.
    pub(super) fn managed(token: &str, expires_on: u64) -> Self {
        Self::new(
            200,
            format!(
                r#"{{"access_token":"{token}","refresh_token":"","expires_in":"86399","expires_on":"{expires_on}","not_before":"0","resource":"r","token_type":"Bearer"}}"#
            ),
        )
    }

    /// Entra's token: numbers.
    pub(super) fn entra(token: &str, expires_in: u64) -> Self {
        Self::new(
            200,
            format!(
                r#"{{"token_type":"Bearer","expires_in":{expires_in},"ext_expires_in":{expires_in},"access_token":"{token}"}}"#
            ),
        )
    }

    /// Entra's refusal.
    pub(super) fn refusal(code: u32, description: &str) -> Self {
        Self::new(
            401,
            format!(
                r#"{{"error":"invalid_client","error_description":"{description}","error_codes":[{code}]}}"#
            ),
        )
    }
}

/// The endpoint; gone when dropped.
pub(super) struct StandIn {
    pub(super) address: SocketAddr,
    /// The root to trust, if it speaks TLS.
    pub(super) root: Option<CertificateDer<'static>>,
    stage: Arc<Stage>,
    _task: AbortOnDropHandle<()>,
}

struct Stage {
    reply: Mutex<Reply>,
    seen: Mutex<Vec<Seen>>,
}

impl StandIn {
    /// Speaks HTTP.
    pub(super) async fn plain(reply: Reply) -> Self {
        Self::start(reply, None, None).await
    }

    /// Speaks HTTPS as `localhost`, with a certificate that nobody else trusts.
    pub(super) async fn secure(reply: Reply) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(reply, Some(acceptor), Some(cert.der().clone())).await
    }

    async fn start(
        reply: Reply,
        tls: Option<TlsAcceptor>,
        root: Option<CertificateDer<'static>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stage = Arc::new(Stage {
            reply: Mutex::new(reply),
            seen: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&stage)));
        Self {
            address,
            root,
            stage,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(super) fn url(&self) -> String {
        match self.root {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// From now on.
    pub(super) fn answers(&self, reply: Reply) {
        *self.stage.reply.lock().unwrap() = reply;
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.stage.seen.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, stage: Arc<Stage>) {
    while let Ok((stream, _)) = listener.accept().await {
        let stage = Arc::clone(&stage);
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => serve(stream, stage).await,
                // A client that does not trust us hangs up here.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, stage).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, stage: Arc<Stage>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&stage)));
    // A client may break off; that is its business.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    stage: Arc<Stage>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let line = format!("{} {}", request.method(), request.uri());
    let headers = request.headers().clone();
    let form = request.into_body().collect().await.unwrap().to_bytes();
    let form = String::from_utf8(form.to_vec()).unwrap();
    stage.seen.lock().unwrap().push(Seen {
        line,
        headers,
        form,
    });
    let reply = stage.reply.lock().unwrap().clone();
    tokio::time::sleep(reply.after).await;
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(reply.body))).unwrap())
}
