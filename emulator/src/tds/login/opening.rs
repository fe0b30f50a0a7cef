//! Up to LOGIN7: the first byte decides between TDS 8.0 and 7.x, PRELOGIN about TLS.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::tds::server::{STRICT_ALPN, Server};
use crate::tds::wire::link::{Link, Stream};
use crate::tds::wire::login7::LARGEST;
use crate::tds::wire::packet::{Envelope, LOGIN_PACKET, Packet, kind};
use crate::tds::wire::prelogin::{self, Agreed, Asked, Prelogin};
use crate::tds::wire::tls::{After, Wrapped};

/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// The first byte of a TLS record of data.
const TLS_DATA: u8 = 0x17;

/// A client that has sent LOGIN7.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) login7: BytesMut,
    /// What the echo bit of FEDAUTH must be; `None` when the client did not ask for it.
    pub(super) fedauth: Option<bool>,
    pub(super) over_tls: bool,
}

/// `None`: gone, or speaking something else.
pub(super) async fn open(server: &Arc<Server>, stream: TcpStream) -> Option<Opened> {
    let mut first = [0];
    stream.peek(&mut first).await.ok()?;
    if first == [TLS_HANDSHAKE] {
        return open_strict(server, stream).await;
    }
    let mut link = Link::new(Stream::Plain(stream));
    let packet = link.packet().await.ok()?;
    let breach = || server.counters.protocol_violations.add();
    match packet.kind {
        kind::PRELOGIN => {
            let asked = whole(&mut link, packet).await;
            let Some(asked) = asked.and_then(|body| Prelogin::read(&body).ok()) else {
                breach();
                return None;
            };
            negotiate(server, link, &asked).await
        }
        // 7.0 and 7.1 clients may begin with LOGIN7; only a server without TLS can have that.
        kind::LOGIN7 if server.encryption != prelogin::Encryption::Required => {
            let login7 = whole(&mut link, packet).await?;
            Some(Opened {
                link,
                login7,
                fedauth: None,
                over_tls: false,
            })
        }
        _ => {
            breach();
            None
        }
    }
}

async fn open_strict(server: &Arc<Server>, stream: TcpStream) -> Option<Opened> {
    let acceptor = &server.tls.as_ref()?.strict;
    let stream = acceptor.accept(stream).await.ok()?;
    if stream.get_ref().1.alpn_protocol() != Some(STRICT_ALPN) {
        server.counters.protocol_violations.add();
        return None;
    }
    let mut link = Link::new(Stream::Strict(Box::new(stream)));
    let packet = link.packet().await.ok()?;
    if packet.kind != kind::PRELOGIN {
        server.counters.protocol_violations.add();
        return None;
    }
    let body = whole(&mut link, packet).await?;
    let asked = Prelogin::read(&body).ok()?;
    // Everything is encrypted already: the option is ignored (MS-TDS 2.2.6.5).
    let fedauth = answer(server, &mut link, 2, &asked).await?;
    let login7 = login7(&mut link).await?;
    Some(Opened {
        link,
        login7,
        fedauth,
        over_tls: true,
    })
}

/// After PRELOGIN of TDS 7.x.
async fn negotiate(server: &Arc<Server>, mut link: Link, asked: &Prelogin) -> Option<Opened> {
    let (byte, agreed) = prelogin::agree(server.encryption, asked.encryption);
    let fedauth = answer(server, &mut link, byte, asked).await?;
    // A client without TLS cannot go on with a server that requires it.
    if agreed == Agreed::All && asked.encryption == Asked::NotSupported {
        link.end().await;
        return None;
    }
    if agreed == Agreed::Plain {
        let login7 = login7(&mut link).await?;
        return Some(Opened {
            link,
            login7,
            fedauth,
            over_tls: false,
        });
    }
    let Stream::Plain(socket) = link.into_stream() else {
        return None;
    };
    let acceptor = &server.tls.as_ref()?.wrapped;
    let after = match agreed {
        Agreed::LoginOnly => After::ByRecord,
        Agreed::All | Agreed::Plain => After::Raw,
    };
    let mut stream = acceptor.accept(Wrapped::new(socket, after)).await.ok()?;
    stream.get_mut().0.handshake_is_over();
    if after == After::ByRecord {
        let (link, login7) = login_only(stream).await?;
        return Some(Opened {
            link,
            login7,
            fedauth,
            over_tls: false,
        });
    }
    let mut link = Link::new(Stream::Wrapped(Box::new(stream)));
    let login7 = login7(&mut link).await?;
    Some(Opened {
        link,
        login7,
        fedauth,
        over_tls: true,
    })
}

/// LOGIN7 whose first packet is encrypted, and nothing else (MS-TDS 3.2.5.3). Clients differ on
/// the other packets of LOGIN7: the first byte on the wire says which way it is.
async fn login_only(stream: TlsStream<Wrapped>) -> Option<(Link, BytesMut)> {
    let mut link = Link::new(Stream::Wrapped(Box::new(stream)));
    let mut body = BytesMut::new();
    loop {
        let packet = link.packet().await.ok()?;
        if packet.kind != kind::LOGIN7 || body.len() + packet.body.len() > LARGEST {
            return None;
        }
        body.extend_from_slice(&packet.body);
        let is_last = packet.is_last();
        let goes_on_in_tls = !is_last && (link.has_input() || next_is_tls(&link).await);
        if !goes_on_in_tls {
            link = link.into_plain()?;
        }
        if is_last {
            return Some((link, body));
        }
    }
}

async fn next_is_tls(link: &Link) -> bool {
    let mut first = [0];
    match link.socket() {
        Some(socket) => socket.peek(&mut first).await.is_ok() && first == [TLS_DATA],
        None => false,
    }
}

/// Answers PRELOGIN; gives what FEDAUTH must echo. `None`: gone.
async fn answer(
    server: &Arc<Server>,
    link: &mut Link,
    encryption: u8,
    asked: &Prelogin,
) -> Option<Option<bool>> {
    let fedauth = asked
        .fedauth
        .map(|_| u8::from(server.setup.access.entra.is_some()));
    let body = prelogin::answer(encryption, fedauth);
    let envelope = Envelope {
        size: LOGIN_PACKET,
        spid: 0,
    };
    link.send(&envelope.message(&body)).await.ok()?;
    Some(fedauth.map(|byte| byte != 0))
}

async fn login7(link: &mut Link) -> Option<BytesMut> {
    let packet = link.packet().await.ok()?;
    if packet.kind != kind::LOGIN7 {
        return None;
    }
    whole(link, packet).await
}

/// The message that begins with this packet; `None` when it is too long or does not go on.
async fn whole(link: &mut Link, first: Packet) -> Option<BytesMut> {
    let kind = first.kind;
    let mut packet = first;
    let mut body = BytesMut::new();
    loop {
        let fits = packet.length() <= LOGIN_PACKET && body.len() + packet.body.len() <= LARGEST;
        if packet.kind != kind || !fits {
            return None;
        }
        body.extend_from_slice(&packet.body);
        if packet.is_last() {
            return Some(body);
        }
        packet = link.packet().await.ok()?;
    }
}
