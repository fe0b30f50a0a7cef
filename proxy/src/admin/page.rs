//! The page at `/`: one HTML file with everything in it, and the data that it shows.
//!
//! Nobody is asked who they are, as nobody is for `/metrics`. So the data leaves out what is about
//! single clients and backends: addresses, process ids, names of applications.

use std::net::IpAddr;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hyper::header::{HOST, HeaderMap, HeaderValue, InvalidHeaderValue};
use serde::Serialize;

use crate::status::{Error, Pool, Process, Route, Status, Token};

/// The page.
pub(super) const HTML: &str = include_str!("page/index.html");

/// What is shown of the status.
#[derive(Serialize)]
pub(super) struct Shown {
    process: Process,
    routes: Vec<Route>,
    pools: Vec<Pool>,
    tokens: Vec<Token>,
    errors: Vec<Error>,
}

impl From<Status> for Shown {
    fn from(status: Status) -> Self {
        let Status {
            process,
            routes,
            pools,
            servers: _,
            tokens,
            errors,
        } = status;
        Self {
            process,
            routes,
            pools,
            tokens,
            errors,
        }
    }
}

/// What the browser may do with the page: run its own script, which is known by its hash, and ask
/// where it came from.
pub(super) fn policy() -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::try_from(format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(between("<script>", "</script>")),
        hash(between("<style>", "</style>")),
    ))
}

fn between(start: &str, end: &str) -> &'static str {
    let rest = HTML.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(inside, _)| inside)
}

/// As Content Security Policy writes it.
fn hash(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(hash))
}

/// Whether the request names us by an address, or by a name that nobody outside can make. A page
/// that has got a name of its own to point here (DNS rebinding) counts as ours to its browser, but
/// that name is in the request.
pub(super) fn is_named_locally(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        // HTTP/1.0; a browser always says.
        return true;
    };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    const ENDS: [&str; 5] = [".localhost", ".local", ".internal", ".svc", ".home.arpa"];
    !name.contains('.')
        || name.parse::<IpAddr>().is_ok()
        || ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_brings_everything_along() {
        assert!(between("<script>", "</script>").contains("look();"));
        assert!(between("<style>", "</style>").contains("body {"));
        for elsewhere in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!HTML.contains(elsewhere), "{elsewhere}");
        }
        for dangerous in ["innerHTML", "eval(", "document.write", "onclick"] {
            assert!(!HTML.contains(dangerous), "{dangerous}");
        }
        let policy = policy().unwrap();
        assert!(
            policy
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'; script-src 'sha256-")
        );
    }

    #[test]
    fn names_that_anybody_can_make_are_not_ours() {
        let ours = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::try_from(host).unwrap());
            is_named_locally(&headers)
        };
        for host in [
            "127.0.0.1:9464",
            "[::1]:9464",
            "10.1.2.3",
            "localhost:9464",
            "sidecar",
            "pool.prod.svc:9464",
            "vm.internal.",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "rebound.example.com",
            "127.0.0.1.example.com:9464",
            "a.localhost.org",
        ] {
            assert!(!ours(host), "{host}");
        }
        assert!(is_named_locally(&HeaderMap::new()));
    }
}
