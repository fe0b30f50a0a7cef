//! The LDAP responder on its own, asked in bytes.

use std::sync::Arc;

use entrapool_emulator::LoginRecord;
use entrapool_emulator::directory::{Directory, Principal};
use entrapool_emulator::issuer::{Issuer, OSSRDBMS_AUDIENCE};
use entrapool_emulator::ldap::LdapResponder;
use entrapool_emulator::verifier::Verifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Outcome = anyhow::Result<()>;

/// A definite-length element; lengths in four bytes, which BER allows for any size.
fn element(tag: u8, content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u32::try_from(content.len())?.to_be_bytes();
    Ok([&[tag, 0x84], length.as_slice(), content].concat())
}

fn bind(name: &str, method: u8, password: &str) -> anyhow::Result<Vec<u8>> {
    let body = [
        element(0x02, &[3])?,
        element(0x04, name.as_bytes())?,
        element(method, password.as_bytes())?,
    ]
    .concat();
    let message = [element(0x02, &[9])?, element(0x60, &body)?].concat();
    element(0x30, &message)
}

/// The result code and the text of the answer.
async fn answer(stream: &mut TcpStream) -> anyhow::Result<(u8, String)> {
    let mut header = [0; 2];
    stream.read_exact(&mut header).await?;
    anyhow::ensure!(header[0] == 0x30 && header[1] < 0x80, "{header:?}");
    let mut body = vec![0; usize::from(header[1])];
    stream.read_exact(&mut body).await?;
    // Message id, application tag and length, ENUMERATED, empty DN, diagnostic.
    anyhow::ensure!(body[..4] == [0x02, 1, 9, 0x61], "{body:?}");
    anyhow::ensure!(body[5..7] == [0x0a, 1] && body[8..11] == [0x04, 0, 0x04]);
    Ok((body[7], String::from_utf8(body[12..].to_vec())?))
}

#[tokio::test]
async fn binds_are_judged_one_after_another() -> Outcome {
    let directory = Arc::new(Directory::new("test"));
    let vm = Principal::named("my-vm");
    directory.register(vm.clone());
    let issuer = Issuer::new(Arc::clone(&directory))?;
    let verifier = Verifier::new(issuer.public_key(), directory, OSSRDBMS_AUDIENCE);
    let record = Arc::new(LoginRecord::default());
    let responder = LdapResponder::start(verifier, Arc::clone(&record)).await?;
    let token = issuer.mint(&vm, OSSRDBMS_AUDIENCE)?.secret;
    let mut stream = TcpStream::connect(responder.address()).await?;
    for (name, method, password, code) in [
        ("cn=my-vm,dc=entra", 0x80, token.as_str(), 0),
        ("cn=other,dc=entra", 0x80, token.as_str(), 49),
        ("uid=my-vm,dc=entra", 0x80, token.as_str(), 49),
        ("cn=my-vm", 0x80, token.as_str(), 49),
        ("cn=my-vm,dc=entra", 0x80, "", 53),
        ("cn=my-vm,dc=entra", 0xa3, token.as_str(), 7),
        ("cn=my-vm,dc=entra", 0x80, "guess", 49),
    ] {
        stream.write_all(&bind(name, method, password)?).await?;
        let (found, text) = answer(&mut stream).await?;
        assert_eq!(found, code, "{name} {text}");
        assert_eq!(text.is_empty(), code == 0, "{name}");
        assert!(!text.contains(&token));
    }
    assert_eq!((record.accepted(), record.refused_in_all()), (1, 2));
    stream.write_all(&[0x30, 5, 2, 1, 10, 0x42, 0]).await?;
    assert_eq!(stream.read(&mut [0; 8]).await?, 0);
    Ok(())
}

#[tokio::test]
async fn messages_that_are_too_long_end_the_connection() -> Outcome {
    let directory = Arc::new(Directory::new("test"));
    let issuer = Issuer::new(Arc::clone(&directory))?;
    let verifier = Verifier::new(issuer.public_key(), directory, OSSRDBMS_AUDIENCE);
    let responder = LdapResponder::start(verifier, Arc::default()).await?;
    for header in [
        [0x30, 0x83, 0x02, 0x00, 0x01],
        [0x30, 0x84, 0x7f, 0xff, 0xff],
    ] {
        let mut stream = TcpStream::connect(responder.address()).await?;
        stream.write_all(&header).await?;
        stream.write_all(&[0xff]).await?;
        let ended = stream.read(&mut [0; 8]).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    Ok(())
}
