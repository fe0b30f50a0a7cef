//! Examples of what people are told when something fails, as the code says it. Each module that
//! makes up errors lists its own in its tests; `errors` prints them into `docs/errors.md`.

use std::io;
use std::path::PathBuf;

use entrapool_metrics::Phase;

use crate::upstream::{DialError, TlsError};

/// One thing that people may be told.
pub(crate) struct Told {
    /// SQLSTATE, error number or class; empty where there is none.
    pub(crate) code: String,
    /// The message.
    pub(crate) text: String,
    /// When it comes.
    pub(crate) when: &'static str,
    /// What to try.
    pub(crate) remedy: String,
}

/// All examples of an enum, given variant by variant; the compiler says when one is missing.
///
/// Each example is a pair of a value and the words that say when it comes.
macro_rules! every {
    ($($pattern:pat => $examples:expr),+ $(,)?) => {{
        let mut all = Vec::new();
        $(
            let examples = Vec::from($examples);
            assert!(!examples.is_empty(), "no example of {}", stringify!($pattern));
            for (example, when) in examples {
                assert!(matches!(&example, $pattern), "{} is another", stringify!($pattern));
                all.push((example, when));
            }
        )+
        for (example, _) in &all {
            match example {
                $($pattern => {})+
            }
        }
        all
    }};
}
pub(crate) use every;

/// The functions of a module that give a report, by name; `source` is its text.
pub(crate) fn functions_that_report(source: &str) -> Vec<&str> {
    let visible = source.split("\npub(super) fn ").skip(1);
    let report = |function: &&str| {
        let head = function.split('{').next().unwrap_or_default();
        head.contains("Report")
    };
    visible
        .filter(report)
        .filter_map(|function| function.split(['(', '<']).next())
        .collect()
}

/// Nobody listens.
pub(crate) fn refused() -> io::Error {
    io::Error::from_raw_os_error(111)
}

pub(crate) fn dialling(host: &str, port: u16) -> Vec<(DialError, &'static str)> {
    let host = || host.to_owned();
    every![
        DialError::Resolve { .. } => [(
            DialError::Resolve {
                host: host(),
                cause: io::Error::other("failed to lookup address information: Name or service not known"),
            },
            "DNS does not know the server.",
        )],
        DialError::Connect { .. } => [(
            DialError::Connect {
                host: host(),
                peer: ([10, 0, 0, 4], port).into(),
                cause: refused(),
            },
            "Nothing listens there, or a firewall is in the way.",
        )],
    ]
}

pub(crate) fn encrypting(host: &str) -> Vec<(TlsError, &'static str)> {
    every![
        TlsError::CaFile { .. } => [(
            TlsError::CaFile {
                path: PathBuf::from("/etc/entrapool/roots.pem"),
                cause: "it holds no certificate".to_owned(),
            },
            "The file of extra roots is not there or not PEM. Told at the start (exit code 2).",
        )],
        TlsError::Name(_) => [(
            TlsError::Name("my server".to_owned()),
            "`host` or `server_name` can't stand in a certificate. Told at the start (exit code 2).",
        )],
        TlsError::Handshake { .. } => [(
            TlsError::Handshake {
                name: host.to_owned(),
                cause: io::Error::other("invalid peer certificate: UnknownIssuer"),
            },
            "The certificate is another's or its root is not known; or TLS broke off.",
        )],
    ]
}

/// Each phase that `connect_timeout` may end.
pub(crate) fn phases() -> Vec<(Phase, &'static str)> {
    every![
        Phase::Dns => [(Phase::Dns, "DNS or the network does not answer.")],
        Phase::Tcp => [(Phase::Tcp, "The server does not answer: mostly a firewall that drops packets.")],
        Phase::Tls => [(Phase::Tls, "Something took the connection and does not speak.")],
        Phase::Login => [(Phase::Login, "The server is too busy to let anybody in.")],
    ]
}
