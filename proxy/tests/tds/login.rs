//! The local door: TLS for those who insist, refusals in the protocol's own words.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::scene::Scene;

/// The answer to bytes, up to the end.
async fn answer(scene: &Scene, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(scene.proxy.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(crate::sidecar::PATIENCE, reading).await;
    read.expect("it closes").unwrap();
    answer
}

/// Whether a text is in there, as UTF-16.
fn says(answer: &[u8], text: &str) -> bool {
    let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    answer.windows(text.len()).any(|window| window == text)
}

#[tokio::test]
async fn what_is_no_client_of_ours_is_told_so() {
    let scene = Scene::bare(|launch| launch).await;
    let postgres = answer(&scene, &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]).await;
    assert!(says(&postgres, "PostgreSQL"), "{postgres:?}");
    let old = answer(&scene, &[2, 1, 0, 9, 0, 0, 0, 0, 1]).await;
    assert!(says(&old, "before 7.0"), "{old:?}");
    let bad = answer(&scene, &[0x12, 1, 0, 14, 0, 0, 1, 0, 1, 0, 200, 0, 1, 0xff]).await;
    assert!(says(&bad, "malformed"), "{bad:?}");
}

/// OpenSSL's client, whose first byte is TLS's: TDS 8.
#[tokio::test]
async fn strict_tls_has_its_own_alpn() {
    let scene = Scene::bare(|launch| launch).await;
    let address = scene.proxy.address().to_string();
    let client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-alpn", "tds/8.0"])
        .stdin(Stdio::null())
        .output();
    let output = client.await.expect("openssl is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ALPN protocol: tds/8.0"), "{said}");
}

#[tokio::test]
async fn a_client_without_tls_is_turned_away_where_it_is_required() {
    let scene = Scene::bare(|launch| launch.key("client_tls", "require")).await;
    let Err(error) = scene.try_client("appdb").await else {
        panic!("it has no TLS");
    };
    assert!(
        error.to_string().contains("client_tls=require"),
        "{error:?}"
    );
}
