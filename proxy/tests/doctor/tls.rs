//! Faults of TLS, and of what is spoken before.

use std::sync::Arc;

use entrapool_emulator::LocalAzure;
use entrapool_emulator::LoginRecord;
use entrapool_emulator::embedded::EmbeddedPostgres;
use entrapool_emulator::issuer::OSSRDBMS_AUDIENCE;
use entrapool_emulator::pki::ServerCertificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::examination::{azure, both, expect, expect_silence, sql_server};
use crate::sidecar::{Launch, Sidecar};

/// Servers of both engines with this certificate, and routes to them.
struct Servers {
    _postgres: EmbeddedPostgres,
    _tds: entrapool_emulator::tds::TdsServer,
    routes: [Launch; 2],
}

impl Servers {
    async fn with(azure: &LocalAzure, certificate: &ServerCertificate) -> Self {
        let verifier = azure.issuer().verifier(OSSRDBMS_AUDIENCE);
        let record = Arc::<LoginRecord>::default();
        let postgres = EmbeddedPostgres::start(verifier, record, certificate, &["appdb"]);
        let postgres = postgres.await.unwrap();
        let tds = sql_server(azure, |server| server.tls(certificate)).await;
        let [one, other] = both(azure, &tds);
        let routes = [one.server(&postgres.address().to_string()), other];
        Self {
            _postgres: postgres,
            _tds: tds,
            routes,
        }
    }
}

#[tokio::test]
async fn certificates() {
    let azure = azure().await;
    let pki = azure.pki();
    let names = ["localhost", "127.0.0.1"];
    let table = [
        (
            "the server's certificate expired in 2021",
            pki.issue_expired(&names),
            ("tls", "tls-expired", "clock"),
            "to 2021-01-01T00:00:00Z",
        ),
        (
            "the server's certificate is valid from 2090 on",
            pki.issue_not_yet_valid(&names),
            ("tls", "tls-not-yet-valid", "clock"),
            "from 2090-01-01T00:00:00Z",
        ),
        (
            "the server's certificate is for another host",
            pki.issue(&["other.example.com"]),
            ("tls", "tls-wrong-name", "server_name"),
            "Z",
        ),
    ];
    for (fault, certificate, wanted, validity) in table {
        let servers = Servers::with(&azure, &certificate.unwrap()).await;
        for launch in &servers.routes {
            let diagnosis = expect(fault, launch, wanted).await;
            let valid = diagnosis.fact("tls", "valid");
            assert!(valid.contains(validity), "{valid}");
            assert_eq!(diagnosis.outcome("login"), "skipped");
        }
    }
    let good = pki.issue(&names).unwrap();
    for launch in Servers::with(&azure, &good).await.routes {
        let launch = launch.without("ca_file");
        let wanted = ("tls", "tls-unknown-root", "ca_file");
        let diagnosis = expect("a root that nobody knows", &launch, wanted).await;
        let issuer = diagnosis.fact("tls", "certificate");
        assert!(
            issuer.contains("entrapool local Azure authority"),
            "{issuer}"
        );
        assert_eq!(diagnosis.fact("tls", "root"), "none that is known");
    }
    assert_eq!(azure.logins().accepted(), 0, "no token went to any of them");
}

/// A server that answers whatever it reads with these, one after the other, and then closes or says
/// nothing any more.
async fn speaker(answers: &'static [&'static [u8]], closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        for answer in answers {
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer).await;
        }
        if !closes {
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        }
    });
    address
}

#[tokio::test]
async fn what_is_spoken_before() {
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    // PRELOGIN's answer with VERSION and ENCRYPTION = NOT_SUP (MS-TDS 2.2.6.5).
    const NO_TLS: &[u8] = b"\x04\x01\x00\x1a\x00\x00\x01\x00\
        \x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\
        \x10\x00\x00\x00\x00\x00\x02";
    // The same with ENCRYPT_ON, and a message of a handshake that is none.
    const TLS: &[u8] = b"\x04\x01\x00\x1a\x00\x00\x01\x00\
        \x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\
        \x10\x00\x00\x00\x00\x00\x01";
    const ODD: &[u8] = b"\x12\x01\x00\x0d\x00\x00\x01\x00hello";
    const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let no_tls: [&[&[u8]]; 2] = [&[b"N"], &[NO_TLS]];
    let odd: [&[&[u8]]; 2] = [&[b"S", HTTP], &[TLS, ODD]];
    let answers = no_tls.into_iter().zip(odd);
    for (launch, (no_tls, odd)) in both(&azure, &server).into_iter().zip(answers) {
        let address = speaker(no_tls, false).await;
        let launch = launch.server(&address);
        let wanted = ("tls", "tls-not-offered", "never sent without TLS");
        expect("the server has no TLS", &launch, wanted).await;

        let launch = launch.server(&speaker(&[HTTP], false).await);
        let wanted = ("tls", "not-the-protocol", "Check that host and port");
        expect("a web server instead of a database", &launch, wanted).await;

        let launch = launch.server(&speaker(odd, false).await);
        let wanted = ("tls", "tls-failed", "certificate");
        expect("the answer to the handshake is none", &launch, wanted).await;

        let launch = launch.server(&speaker(&[b""], true).await);
        let wanted = ("tls", "tls-closed", "Something on the way");
        expect("the connection is closed at once", &launch, wanted).await;

        let launch = launch.server(&speaker(&[], false).await);
        let wanted = ("tls", "tls-silent", "MTU");
        expect_silence("the connection is taken and nobody speaks", &launch, wanted).await;
    }
    // An older PostgreSQL takes the first bytes of TLS for the length of a message.
    let launch = Sidecar::on(&azure).key("tls", "direct");
    let launch = launch.server(&speaker(&[b""], true).await);
    let wanted = ("tls", "tls-not-direct", "tls=negotiate");
    expect("tls=direct on a server that can't", &launch, wanted).await;
}
