//! A TDS server that costs next to nothing: no SQL, the same small result for every batch and
//! call, one large result. A tool of this bench, for an emulator with an engine behind it would
//! hide what a pooler costs. It lets everybody in, plain or with TLS inside PRELOGIN packets, as
//! the client wishes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context as _, bail, ensure};
use entrapool_benches::tds::{HEADER, kind, large_batch, packets};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::NoServerSessionStorage;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::answers::{Handles, Request, answer};
use super::envelope::Envelope;
use super::greeting::{Encryption, prelogin, wanted_encryption, welcome};

/// More than any request of the bench.
const LONGEST: usize = 1024 * 1024;
/// Handles of different connections are different, so that a mix-up is seen.
const HANDLES: i32 = 1_000;

/// A running server; its connections end with the runtime.
pub(crate) struct Server {
    address: SocketAddr,
    ca_file: PathBuf,
    _directory: TempDir,
}

/// What all connections share.
struct Shared {
    acceptor: TlsAcceptor,
    /// The packets of the large result.
    large: Vec<u8>,
    first_handle: AtomicI32,
}

impl Server {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let ca_file = directory.path().join("ca.pem");
        let shared = Arc::new(Shared {
            acceptor: acceptor(&ca_file)?,
            large: large_batch().answer,
            first_handle: AtomicI32::new(HANDLES),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("no free port")?;
        let address = listener.local_addr().context("no address")?;
        tokio::spawn(accept(listener, shared));
        Ok(Self {
            address,
            ca_file,
            _directory: directory,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate, which is for `localhost`.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.ca_file
    }
}

/// TLS 1.2 alone: what TLS 1.3 sends behind its handshake has no place in PRELOGIN packets.
fn acceptor(ca_file: &Path) -> anyhow::Result<TlsAcceptor> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).context("no certificate")?;
    std::fs::write(ca_file, cert.pem()).context("cannot write the certificate")?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let mut config =
        rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .context("the certificate")?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let served = serve(socket, &shared).await;
                    served.unwrap_or_else(|error| eprintln!("the bench's server: {error:#}"));
                });
            }
            Err(error) => eprintln!("the bench's server: accept: {error}"),
        }
    }
}

async fn serve(mut socket: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    socket.set_nodelay(true).context("TCP_NODELAY")?;
    let mut first = Vec::new();
    let Some(header) = read_packet(&mut socket, &mut first).await? else {
        return Ok(());
    };
    ensure!(header[0] == kind::PRELOGIN, "PRELOGIN was due");
    let encryption = wanted_encryption(&first).context("PRELOGIN has no encryption")?;
    let answer = packets(kind::ANSWER, &prelogin(encryption));
    socket.write_all(&answer).await.context("PRELOGIN")?;
    match encryption {
        Encryption::NotSupported => Connection::new(socket, shared).serve().await,
        Encryption::On => {
            let accepted = shared.acceptor.accept(Envelope::new(socket)).await;
            let mut stream = accepted.context("the TLS handshake")?;
            stream.flush().await.context("the TLS handshake")?;
            stream.get_mut().0.open();
            Connection::new(stream, shared).serve().await
        }
    }
}

/// A client that may log in now.
struct Connection<'s, S> {
    stream: S,
    shared: &'s Shared,
    input: Vec<u8>,
    body: Vec<u8>,
    handles: Handles,
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin> Connection<'s, S> {
    fn new(stream: S, shared: &'s Shared) -> Self {
        let first = shared.first_handle.fetch_add(HANDLES, Ordering::Relaxed);
        Self {
            stream,
            shared,
            input: Vec::with_capacity(16 * 1024),
            body: Vec::new(),
            handles: Handles::from(first),
        }
    }

    async fn serve(mut self) -> anyhow::Result<()> {
        while let Some((kind, status)) = self.message().await? {
            let tokens = match kind {
                kind::LOGIN => welcome(&self.body).context("LOGIN7 is malformed")?,
                _ => match answer(kind, &self.body, &mut self.handles)? {
                    Request::Large => {
                        self.send(&self.shared.large).await?;
                        continue;
                    }
                    Request::Small(tokens) => tokens,
                },
            };
            let tokens = acknowledge_reset(status, tokens);
            self.send(&packets(kind::ANSWER, &tokens)).await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("cannot send")?;
        self.stream.flush().await.context("cannot send")
    }

    /// The next message: its type and the status of its first packet; its payload is in `body`.
    async fn message(&mut self) -> anyhow::Result<Option<(u8, u8)>> {
        self.body.clear();
        let mut first = None;
        loop {
            let Some(header) = self.packet().await? else {
                return match first {
                    None => Ok(None),
                    Some(_) => bail!("a client left in the middle of a request"),
                };
            };
            let [kind, status, ..] = header;
            let &mut begun = first.get_or_insert((kind, status));
            ensure!(begun.0 == kind, "another packet in the middle of a message");
            ensure!(self.body.len() < LONGEST, "a request without an end");
            if status & 1 != 0 {
                return Ok(Some(begun));
            }
        }
    }

    /// Appends the next packet's payload to `body`.
    async fn packet(&mut self) -> anyhow::Result<Option<[u8; HEADER]>> {
        loop {
            if let Some(&header) = self.input.first_chunk::<HEADER>() {
                let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
                ensure!(length >= HEADER, "a packet of {length} bytes");
                if let Some(payload) = self.input.get(HEADER..length) {
                    self.body.extend_from_slice(payload);
                    self.input.drain(..length);
                    return Ok(Some(header));
                }
            }
            // Poolers close without a goodbye, as clients do.
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) if self.input.is_empty() => return Ok(None),
                Ok(0) => bail!("a client left in the middle of a packet"),
                Ok(_) => {}
                Err(error) => return Err(error).context("cannot read"),
            }
        }
    }
}

/// ENVCHANGE of type 18 in front, for who asked for a reset (2.2.3.1.2).
fn acknowledge_reset(status: u8, tokens: Vec<u8>) -> Vec<u8> {
    match status & 0x18 {
        0 => tokens,
        _ => [&[0xe3, 3, 0, 18, 0, 0], tokens.as_slice()].concat(),
    }
}

/// Exactly one packet, nothing behind it: that may be the beginning of TLS.
async fn read_packet(
    socket: &mut TcpStream,
    payload: &mut Vec<u8>,
) -> anyhow::Result<Option<[u8; HEADER]>> {
    let mut header = [0; HEADER];
    if socket.read_exact(&mut header).await.is_err() {
        // Somebody who only wanted to know whether we listen.
        return Ok(None);
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    payload.resize(length.saturating_sub(HEADER), 0);
    socket.read_exact(payload).await.context("PRELOGIN")?;
    Ok(Some(header))
}
