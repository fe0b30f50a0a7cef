//! Requests and answers, without a socket; and the socket's file.

use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode};
use serde_json::Value;

use super::*;
use crate::admin::RouteHealth;
use crate::config::{Log, LogFormat};
use crate::status::{Client, Process, Status};

struct Nothing;

impl Source for Nothing {
    fn status(&self) -> Status {
        Status {
            process: Process {
                version: "1".to_owned(),
                pid: 7,
                started: 0.0,
                draining: false,
            },
            routes: Vec::new(),
            pools: Vec::new(),
            servers: Vec::new(),
            tokens: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn clients(&self) -> Vec<Client> {
        Vec::new()
    }
}

impl Health for Nothing {
    fn routes(&self) -> Vec<RouteHealth> {
        Vec::new()
    }

    fn draining(&self) -> bool {
        false
    }
}

/// There is one log in a process, so there is one test that has it.
fn operated() -> (Operated, mpsc::Receiver<Order>) {
    let (orders, wishes) = mpsc::channel(4);
    let level = "off".to_owned();
    let log = crate::log::start(&Log {
        format: LogFormat::Text,
        level,
    });
    let operated = Operated {
        status: Arc::new(Nothing),
        health: Arc::new(Nothing),
        log: Arc::new(log),
        orders,
    };
    (operated, wishes)
}

struct Asked<'a> {
    operated: &'a Operated,
    caller: Caller,
}

impl Asked<'_> {
    async fn with(&self, method: &str, path: &str, header: Option<&str>) -> (StatusCode, Value) {
        self.ask(method, path, header, "").await
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        header: Option<&str>,
        body: &str,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some((name, value)) = header.and_then(|header| header.split_once(": ")) {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let request = request.body(body).unwrap();
        let answer = answer::answer(self.operated, self.caller, request).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn who_may_ask_what_and_how() {
    let (operated, mut wishes) = operated();
    let asked = |caller| Asked {
        operated: &operated,
        caller,
    };
    let operator = asked(Caller::Operator);
    let machine = asked(Caller::OverLoopback);
    let stranger = asked(Caller::Stranger { user: Some(65534) });

    for method in ["GET", "POST"] {
        let (status, said) = operator.with(method, "/status", None).await;
        assert_eq!(
            (status, &said["process"]["pid"]),
            (StatusCode::OK, &7.into())
        );
    }
    assert_eq!(
        machine.with("POST", "/status", None).await.0,
        StatusCode::OK
    );
    let (status, said) = operator.with("GET", "/ready", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(said["ready"], false);

    // Nothing that a browser can do without asking first.
    for path in ["/drain", "/quit", "/reload", "/quitquitquit"] {
        for asked in [&operator, &machine] {
            let (status, _) = asked.with("GET", path, None).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            for header in ["origin: http://localhost", "sec-fetch-site: same-origin"] {
                let (status, _) = asked.with("POST", path, Some(header)).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{path} {header}");
            }
        }
        assert_eq!(
            stranger.with("POST", path, None).await.0,
            StatusCode::FORBIDDEN
        );
    }
    let (status, _) = machine.with("GET", "/status", None).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, said) = stranger.with("GET", "/status", None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let words = said["error"].as_str().unwrap();
    assert!(words.starts_with("user 65534 may not operate"), "{words}");
    assert_eq!(
        operator.with("GET", "/x", None).await.0,
        StatusCode::NOT_FOUND
    );
    assert!(wishes.try_recv().is_err(), "something was ordered");

    for (path, expected) in [
        ("/drain", "drain"),
        ("/quitquitquit", "drain"),
        ("/quit", "quit"),
    ] {
        let (status, said) = operator.with("POST", path, None).await;
        assert_eq!(
            (status, &said["accepted"]),
            (StatusCode::ACCEPTED, &expected.into())
        );
        let order = wishes.try_recv().unwrap();
        assert_eq!(
            matches!(order, Order::Drain),
            expected == "drain",
            "{order:?}"
        );
        assert_eq!(
            matches!(order, Order::Quit),
            expected == "quit",
            "{order:?}"
        );
    }
    assert_eq!(
        level(&operator, "").await,
        (StatusCode::OK, "off".to_owned())
    );
    let changed = level(&operator, "off,entrapool=error\n").await;
    assert_eq!(changed.1, "off,entrapool=error");
    assert_eq!(level(&operator, "").await.1, "off,entrapool=error");
    assert_eq!(
        level(&operator, "loud").await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let long = "a".repeat(5000);
    assert_eq!(
        level(&operator, &long).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(level(&operator, "").await.1, "off,entrapool=error");
}

async fn level(asked: &Asked<'_>, body: &str) -> (StatusCode, String) {
    let (status, said) = asked.ask("POST", "/log-level", None, body).await;
    (
        status,
        said["level"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_the_group() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("control.sock");
    let listen = Listen::Unix(path.clone());
    let own = rustix::process::getegid().as_raw();
    for (group, mode) in [(None, 0o600), (Some(own.to_string()), 0o660)] {
        let control = Control {
            listen: Some(listen.clone()),
            group,
        };
        let server = ControlServer::bind(&listen, &control).await.unwrap();
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode);
        drop(server);
        assert!(!path.exists());
    }
    let control = Control {
        listen: Some(listen.clone()),
        group: Some("no such group".to_owned()),
    };
    let error = ControlServer::bind(&listen, &control).await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("there is no group \"no such group\"") && error.contains("/etc/group"),
        "{error}"
    );
}
