//! The listener over real sockets: a hyper client for what is well-formed, raw TCP for the rest.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use entrapool_metrics::{Metrics, Protocol};
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;

/// Generous for a loaded machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Knobs {
    routes: Mutex<Vec<RouteHealth>>,
    draining: AtomicBool,
}

impl Health for Knobs {
    fn routes(&self) -> Vec<RouteHealth> {
        self.routes.lock().expect("not poisoned").clone()
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

fn healthy() -> RouteHealth {
    RouteHealth {
        name: "main".to_owned(),
        listening_on: Some("127.0.0.1:5432".to_owned()),
        token: TokenHealth::Usable {
            expires_in: Some(Duration::from_secs(600)),
        },
        backends: 0,
        clients: 0,
        max_clients: 10,
    }
}

impl status::Source for Knobs {
    fn status(&self) -> status::Status {
        let server = status::Server {
            retired: false,
            number: 1,
            route: "main".to_owned(),
            database: "appdb".to_owned(),
            variant: String::new(),
            state: "idle".to_owned(),
            state_for: 0.0,
            age: 0.0,
            expires_in: 0.0,
            client: None,
            address: Some("10.9.8.7:5432".to_owned()),
            server_pid: Some(4711),
            token_generation: 1,
        };
        status::Status {
            process: status::Process {
                version: "1.2.3".to_owned(),
                pid: 1,
                started: 0.0,
                draining: self.draining(),
            },
            routes: Vec::new(),
            pools: Vec::new(),
            servers: vec![server],
            tokens: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn clients(&self) -> Vec<status::Client> {
        panic!("the listener does not ask for clients");
    }
}

struct Fixture {
    addr: SocketAddr,
    metrics: Arc<Metrics>,
    knobs: Arc<Knobs>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Fixture {
    async fn start() -> Self {
        Self::with(Limits::DEFAULT).await
    }

    async fn with(limits: Limits) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = AdminServer::bind(any).await.expect("a free port");
        server.limits = limits;
        let addr = server.local_addr().expect("an address");
        let knobs = Arc::new(Knobs::default());
        knobs.routes.lock().expect("not poisoned").push(healthy());
        let metrics = Arc::new(Metrics::new());
        metrics.route(Protocol::Postgres, "main");
        let state = Arc::new(AdminState::new(
            Arc::clone(&metrics),
            Arc::clone(&knobs) as Arc<dyn Health>,
            Arc::clone(&knobs) as Arc<dyn status::Source>,
        ));
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(server.serve(state, shutdown.clone()));
        Self {
            addr,
            metrics,
            knobs,
            shutdown,
            server,
        }
    }

    /// One request on a connection of its own.
    async fn send(&self, request: Request<Empty<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.addr).await.expect("connects");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("a client");
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.expect("an answer");
        let answer = Answer::read(response).await;
        drop(sender);
        let ended = timeout(PATIENCE, connection).await.expect("ends");
        ended.expect("no panic").expect("ends well");
        answer
    }

    async fn ask(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.send(request.body(Empty::new()).expect("a request"))
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).await
    }

    /// Raw bytes; the answer up to the end of the connection.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("written");
        read_to_end(&mut stream).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.expect("connects")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        let stopped = timeout(PATIENCE, self.server).await;
        stopped.expect("stops in time").expect("no panic");
    }
}

/// Up to the end; a reset counts as one.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
    let _reset_or_eof = end.expect("the server closes the connection");
    String::from_utf8_lossy(&all).into_owned()
}

struct Answer {
    status: StatusCode,
    headers: hyper::HeaderMap,
    body: String,
}

impl Answer {
    async fn read(response: Response<hyper::body::Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Self {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).expect("UTF-8"),
        }
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("ASCII"))
    }

    fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.body).expect("JSON")
    }
}

#[tokio::test]
async fn every_page_answers_get_and_head() {
    let fixture = Fixture::start().await;
    for (path, content_type, content) in [
        ("/", "text/html; charset=utf-8", "href=\"readiness\""),
        ("/status.json", "application/json", "\"version\":\"1.2.3\""),
        (
            "/metrics",
            "text/plain; version=0.0.4; charset=utf-8",
            "entrapool_clients{",
        ),
        ("/startup", "application/json", "\"started\":true"),
        ("/liveness", "application/json", "\"alive\":true"),
        ("/healthz", "application/json", "\"alive\":true"),
        ("/readiness", "application/json", "\"ready\":true"),
        ("/readyz?verbose=1", "application/json", "\"ready\":true"),
    ] {
        let get = fixture.get(path).await;
        assert_eq!(get.status, StatusCode::OK, "{path}");
        assert_eq!(get.header("content-type"), content_type, "{path}");
        assert_eq!(get.header("cache-control"), "no-store", "{path}");
        assert!(get.body.contains(content), "{path}: {}", get.body);

        let head = fixture.ask(Method::HEAD, path).await;
        assert_eq!(head.status, StatusCode::OK, "{path}");
        assert_eq!(head.header("content-type"), content_type, "{path}");
        assert_eq!(head.body, "", "{path}");
        if path != "/metrics" {
            // A scrape differs in length from the next.
            assert_eq!(
                head.header("content-length"),
                get.body.len().to_string(),
                "{path}"
            );
        }
    }
    fixture.stop().await;
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let fixture = Fixture::start().await;
    for path in [
        "/metrics/",
        "/Metrics",
        "//metrics",
        "/metrics/../startup",
        "/quit",
        "/favicon.ico",
    ] {
        assert_eq!(
            fixture.get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for path in [
        "/",
        "/status.json",
        "/metrics",
        "/startup",
        "/liveness",
        "/healthz",
        "/readiness",
        "/readyz",
    ] {
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            let answer = fixture.ask(method.clone(), path).await;
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(answer.header("allow"), "GET, HEAD", "{method} {path}");
        }
    }
    fixture.stop().await;
}

#[tokio::test]
async fn probes_follow_the_state() {
    let fixture = Fixture::start().await;
    let set = |change: fn(&mut RouteHealth)| {
        let mut routes = fixture.knobs.routes.lock().expect("not poisoned");
        change(&mut routes[0]);
    };
    set(|route| {
        route.listening_on = None;
        route.token = TokenHealth::Missing {
            reason: "IMDS does not answer".to_owned(),
        };
    });
    let startup = fixture.get("/startup").await;
    assert_eq!(startup.status, StatusCode::SERVICE_UNAVAILABLE);
    let checks = &startup.json()["routes"][0]["checks"];
    assert_eq!(checks[1]["detail"], "none yet: IMDS does not answer");
    assert_eq!(
        fixture.get("/readyz").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(fixture.get("/liveness").await.status, StatusCode::OK);

    set(|route| *route = healthy());
    assert_eq!(fixture.get("/startup").await.status, StatusCode::OK);
    assert_eq!(fixture.get("/readiness").await.status, StatusCode::OK);

    fixture.knobs.draining.store(true, Ordering::Relaxed);
    let readiness = fixture.get("/readiness").await;
    assert_eq!(readiness.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(readiness.json()["ready"], false);
    assert_eq!(fixture.get("/startup").await.status, StatusCode::OK);
    assert_eq!(fixture.get("/healthz").await.status, StatusCode::OK);
    fixture.stop().await;
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let fixture = Fixture::start().await;
    for (name, value, status) in [
        ("Origin", "https://evil.example", StatusCode::FORBIDDEN),
        ("Origin", "null", StatusCode::FORBIDDEN),
        ("Sec-Fetch-Site", "cross-site", StatusCode::FORBIDDEN),
        ("Sec-Fetch-Site", "same-site", StatusCode::FORBIDDEN),
        ("Sec-Fetch-Site", "same-origin", StatusCode::OK),
        ("Sec-Fetch-Site", "none", StatusCode::OK),
        ("Host", "10.1.2.3:9464", StatusCode::OK),
        ("Host", "anything.example", StatusCode::OK),
    ] {
        for path in ["/metrics", "/readiness"] {
            let request = Request::builder().uri(path).header(name, value);
            let request = request.body(Empty::new()).expect("a request");
            let answer = fixture.send(request).await;
            assert_eq!(answer.status, status, "{name}: {value} {path}");
        }
    }
    fixture.stop().await;
}

#[tokio::test]
async fn old_and_terse_clients_are_served() {
    let fixture = Fixture::start().await;
    let old = fixture.raw(b"GET /liveness HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
    let hostless = fixture
        .raw(b"GET /liveness HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await;
    assert!(hostless.starts_with("HTTP/1.1 200"), "{hostless}");
    fixture.stop().await;
}

#[tokio::test]
async fn garbage_and_oversize_heads_end_the_connection_only() {
    let fixture = Fixture::start().await;
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    let garbage = fixture.raw(tls_hello).await;
    assert!(
        garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"),
        "{garbage}"
    );
    let bad = fixture.raw(b"GET / HTTP/1.1\r\nbad header\r\n\r\n").await;
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
    let bad = fixture
        .raw(b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n")
        .await;
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");

    let big = format!(
        "GET / HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(MAX_HEAD_TESTED)
    );
    let big = fixture.raw(big.as_bytes()).await;
    assert!(big.is_empty() || big.starts_with("HTTP/1.1 431"), "{big}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500));
    let many = fixture.raw(many.as_bytes()).await;
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    assert_eq!(fixture.get("/liveness").await.status, StatusCode::OK);
    fixture.stop().await;
}

/// Above the limit of a head. The answer may be lost to the reset that unread bytes cause.
const MAX_HEAD_TESTED: usize = 64 * 1024;

#[tokio::test]
async fn a_body_is_never_waited_for() {
    let fixture = Fixture::start().await;
    let promise = b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\nx";
    let answer = fixture.raw(promise).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    fixture.stop().await;
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let fixture = Fixture::start().await;
    let mut stream = fixture.connect().await;
    for _ in 0..3 {
        stream
            .write_all(b"GET /liveness HTTP/1.1\r\n\r\n")
            .await
            .expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"}\n") {
            let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await;
            assert_ne!(read.expect("in time").expect("a read"), 0, "closed early");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    fixture.stop().await;
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn slow_heads_and_silent_peers_are_cut_off() {
    let limits = Limits {
        header: Duration::from_millis(300),
        ..Limits::DEFAULT
    };
    let fixture = Fixture::with(limits).await;
    let start = Instant::now();
    let mut silent = fixture.connect().await;
    let mut slow = fixture.connect().await;
    slow.write_all(b"GET /metrics HT").await.expect("written");
    assert_eq!(read_to_end(&mut silent).await, "");
    // Each further byte buys no time: the writes fail while the head is still incomplete.
    let dripping = timeout(PATIENCE, async {
        while slow.write_all(b"T").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    dripping.await.expect("the server ends the connection");
    let took = start.elapsed();
    assert!(took >= limits.header, "{took:?}");
    assert_eq!(fixture.get("/liveness").await.status, StatusCode::OK);
    fixture.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let limits = Limits {
        life: Duration::from_millis(1_500),
        grace: Duration::from_millis(300),
        ..Limits::DEFAULT
    };
    let fixture = Fixture::with(limits).await;
    for route in 0..50 {
        // Large pages, so that the buffers of the two sockets are soon full.
        fixture.metrics.route(Protocol::Tds, &format!("r{route}"));
    }
    let start = Instant::now();
    let mut stream = fixture.connect().await;
    let requests = "GET /metrics HTTP/1.1\r\n\r\n".repeat(1_000);
    let unread = timeout(PATIENCE, async {
        while stream.write_all(requests.as_bytes()).await.is_ok() {}
    });
    unread.await.expect("the server ends the connection");
    // A connection that flows ends with its life; only one that is stuck needs the grace too.
    let took = start.elapsed();
    assert!(took >= limits.life + limits.grace, "{took:?}");
    assert_eq!(fixture.get("/liveness").await.status, StatusCode::OK);
    fixture.stop().await;
}

#[tokio::test]
async fn a_crowd_displaces_its_oldest_and_never_a_probe() {
    let limits = Limits {
        connections: 8,
        header: PATIENCE,
        ..Limits::DEFAULT
    };
    let fixture = Fixture::with(limits).await;
    let mut crowd = Vec::new();
    for _ in 0..limits.connections {
        let mut stream = fixture.connect().await;
        // An answer proves that it was accepted, in this order.
        stream
            .write_all(b"HEAD /liveness HTTP/1.1\r\n\r\n")
            .await
            .expect("written");
        let read = timeout(PATIENCE, stream.read(&mut [0; 1024])).await;
        assert_ne!(read.expect("in time").expect("a read"), 0);
        crowd.push(stream);
    }
    assert_eq!(fixture.get("/liveness").await.status, StatusCode::OK);
    assert_eq!(read_to_end(&mut crowd[0]).await, "", "the oldest is closed");
    let newest = crowd.last_mut().expect("a crowd");
    newest
        .write_all(b"GET /liveness HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .expect("written");
    assert!(
        read_to_end(newest).await.contains("\"alive\":true"),
        "the others stay"
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_scrapes_at_once() {
    let fixture = Arc::new(Fixture::start().await);
    let scrapes: Vec<_> = (0..50)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move { fixture.get("/metrics").await })
        })
        .collect();
    for scrape in scrapes {
        let answer = scrape.await.expect("no panic");
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body.ends_with('\n'));
        assert!(answer.body.contains("entrapool_build_info{"));
    }
    let fixture = Arc::into_inner(fixture).expect("the last one");
    fixture.stop().await;
}

#[tokio::test]
async fn shutdown_frees_the_port() {
    let fixture = Fixture::start().await;
    let addr = fixture.addr;
    let mut idle = fixture.connect().await;
    assert_eq!(fixture.get("/liveness").await.status, StatusCode::OK);
    fixture.stop().await;
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_named_in_the_error() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let first = AdminServer::bind(any).await.expect("a free port");
    let addr = first.local_addr().expect("an address");
    let error = AdminServer::bind(addr).await.expect_err("taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(
        text.contains(&addr.to_string()) && text.contains("--http"),
        "{text}"
    );
}

#[tokio::test]
async fn the_page_may_do_nothing_but_what_it_is_for() {
    let fixture = Fixture::start().await;
    let page = fixture.get("/").await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    // What is about single backends and clients stays inside.
    let data = fixture.get("/status.json").await;
    for inside in ["10.9.8.7", "4711", "servers", "clients"] {
        assert!(!data.body.contains(inside), "{}", data.body);
    }
    // A name that somebody else has made point here is not served; a probe by any name is.
    let get = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: rebound.example.com\r\nConnection: close\r\n\r\n")
    };
    for path in ["/", "/status.json"] {
        let answer = fixture.raw(get(path).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let probe = fixture.raw(get("/liveness").as_bytes()).await;
    assert!(probe.starts_with("HTTP/1.1 200 "), "{probe}");
    fixture.stop().await;
}
