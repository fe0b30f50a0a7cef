//! Browsers, and servers that are made to ask for a URL, at the ports of databases.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::Scene;
use crate::sidecar::{PATIENCE, Sidecar, shared};

/// How requests begin; the last is what HTTP/2 begins with.
const BEGINNINGS: &[&str] = &[
    "GET / HTTP/1.1",
    "POST /appdb HTTP/1.1",
    "PUT /x HTTP/1.1",
    "HEAD / HTTP/1.0",
    "OPTIONS * HTTP/1.1",
    "DELETE /x HTTP/1.1",
    "CONNECT db:5432 HTTP/1.1",
    "PATCH /x HTTP/1.1",
    "TRACE / HTTP/1.1",
    "PROPFIND / HTTP/1.1",
    "PRI * HTTP/2.0",
];

/// What a request is answered with, whatever it says.
async fn answers(address: SocketAddr, sql: &[u8]) -> String {
    let mut same = String::new();
    for beginning in BEGINNINGS {
        // A body that would be a message, if any of it were ever read.
        let head = format!("{beginning}\r\nHost: rebound.example.com\r\n\r\n");
        let request = [head.as_bytes(), sql].concat();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.expect("it closes").unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{beginning}: {answer}"
        );
        assert!(!answer.contains("rebound"), "{answer}");
        assert!(same.is_empty() || same == answer, "{beginning}: {answer}");
        same = answer;
    }
    same
}

fn is_logged_once(proxy: &Sidecar) {
    let lines = proxy.log().lines();
    let is_it = |line: &&crate::sidecar::Line| {
        line.field("level") == Some("WARN") && line.text.contains("turned away")
    };
    let warnings: Vec<_> = lines.iter().filter(is_it).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].field("cause"), Some("http"));
}

#[tokio::test]
async fn a_port_of_postgresql_says_that_it_is_none_of_http() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    let query = crate::sidecar::raw::query("select 1");
    let said = answers(proxy.address(), &query).await;
    assert!(said.contains("not HTTP"), "{said}");
    // Behind the wish for TLS it is no other.
    let mut raw = proxy.dial().await;
    raw.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await;
    assert_eq!(raw.stream.read_u8().await.unwrap(), b'N');
    raw.send(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut answer = String::new();
    raw.stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, said);
    let all = BEGINNINGS.len() as f64 + 1.0;
    proxy.until(|metrics| metrics.ended("http") == all).await;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.ended("malformed"), 0.0);
    assert_eq!(metrics.logins(), 0.0);
    is_logged_once(&proxy);
}

#[tokio::test]
async fn nor_does_a_port_of_tds() {
    let scene = Scene::bare(|launch| launch).await;
    let said = answers(scene.proxy.address(), b"\x12\x01\x00\x08\0\0\0\0").await;
    assert!(said.contains("not HTTP"), "{said}");
    let all = BEGINNINGS.len() as f64;
    scene
        .proxy
        .until(|metrics| metrics.ended("http") == all)
        .await;
    is_logged_once(&scene.proxy);
}

/// A real browser's kind of client: it takes the answer for HTTP, and an error.
#[tokio::test]
async fn a_client_of_http_takes_the_answer_for_what_it_is() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    let script = "import sys, urllib.request, urllib.error\n\
        try: urllib.request.urlopen(sys.argv[1])\n\
        except urllib.error.HTTPError as error: print(error.code, error.read().decode())";
    let url = format!("http://{}/", proxy.address());
    let output = tokio::process::Command::new("python3")
        .args(["-c", script, &url])
        .env_remove("http_proxy")
        .output();
    let output = output.await.expect("Python is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("400 This port speaks a database protocol"),
        "{output:?}"
    );
}
