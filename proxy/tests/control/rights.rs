//! Who may operate it, and by which ways.

use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::scene::{PROGRAM, Place, as_nobody, run};
use crate::sidecar::{Sidecar, shared};

#[tokio::test]
async fn nobody_else_may() {
    must_be_root();
    let azure = shared().await;
    let place = Place::new();
    let proxy = place.operated(Sidecar::on(&azure)).start().await;
    let socket = place.socket();
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&socket, permissions).unwrap();
    };
    let said = as_nobody(&["ctl", "quit"], &socket).await;
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("run ctl as the user"), "{}", said.err);
    // Though somebody has opened the file for all.
    mode(0o666);
    for command in ["quit", "status", "wait"] {
        let said = as_nobody(&["ctl", command], &socket).await;
        assert_eq!((said.code, &*said.out), (1, ""), "{}", said.err);
        assert!(said.err.starts_with("user 65534 may not"), "{}", said.err);
    }
    place.done(&["status"]).await;
    let warned = "somebody who may not has called on the control socket";
    let line = proxy.log().event(warned).await;
    assert_eq!(line.json.unwrap()["user"], 65534);
}

#[tokio::test]
async fn members_of_the_group_may() {
    must_be_root();
    let azure = shared().await;
    let place = Place::new();
    let launch = place.operated(Sidecar::on(&azure));
    let proxy = launch.set("control.group", "65534").start().await;
    let said = as_nobody(&["ctl", "status"], &place.socket()).await;
    assert_eq!(said.code, 0, "{}", said.err);
    drop(proxy);
}

#[tokio::test]
async fn an_address_takes_posts_from_no_browser() {
    must_be_root();
    let azure = shared().await;
    let launch = Sidecar::on(&azure).set("control.listen", "127.0.0.1:0");
    let proxy = launch.start().await;
    let line = proxy.log().event("control socket").await;
    let address = line.field("address").unwrap().to_owned();
    let ask = async |head: &str| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("{head}Host: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = ask("GET /quit HTTP/1.1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("\r\nallow: POST\r\n"), "{answer}");
    let answer = ask("GET /status HTTP/1.1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let answer = ask("POST /quit HTTP/1.1\r\nOrigin: http://127.0.0.1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let said = ctl_at(&address, "status").await;
    assert_eq!(said.code, 0, "{}", said.err);
    let said = as_nobody(&["ctl", "quit"], std::path::Path::new(&address)).await;
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.starts_with("user 65534 may not"), "{}", said.err);
    let answer = ask("POST /quitquitquit HTTP/1.1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(proxy.exit().await, 0);
}

async fn ctl_at(address: &str, command: &str) -> crate::scene::Said {
    let mut program = tokio::process::Command::new(PROGRAM);
    run(program.args(["ctl", command, "--socket", address])).await
}

/// Only root can play another user.
fn must_be_root() {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is /proc");
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let is_root = user.is_some_and(|users| users.split_whitespace().nth(1) == Some("0"));
    assert!(is_root, "these tests play another user: run them as root");
}
