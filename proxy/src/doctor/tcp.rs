//! The fifth step: a TCP connection to one of the addresses.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use entrapool_metrics::ConnectPhases;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cause::{self, Cause, Names};
use super::report::{Finding, Step, StepReport};
use crate::upstream;

/// More addresses are not tried.
const MOST: usize = 8;

/// Connects to the first address that lets us, in the resolver's order as a login does.
pub(super) async fn examine(
    addresses: &[SocketAddr],
    phases: &ConnectPhases,
    limit: Duration,
    names: &Names<'_>,
) -> (StepReport, Option<(TcpStream, SocketAddr)>) {
    let began = Instant::now();
    let mut report = StepReport::new(Step::Tcp);
    let mut findings = Vec::new();
    for &peer in addresses.iter().take(MOST) {
        let (cause, words) = match timeout(limit, upstream::open(peer, false, phases)).await {
            Ok(Ok(stream)) => {
                report.fact("connected", peer.to_string());
                if let Ok(own) = stream.local_addr() {
                    report.fact("from", own.ip().to_string());
                }
                for finding in findings {
                    report.warn(finding);
                }
                return (report.since(began), Some((stream, peer)));
            }
            Ok(Err(error)) => (cause_of(&error), error.to_string()),
            Err(_) => (
                &cause::TCP_FILTERED,
                format!("nothing came back within {limit:?}"),
            ),
        };
        findings.push(Finding::new(cause, format!("{peer}: {words}"), names));
    }
    for finding in findings {
        report.fail(finding);
    }
    (report.since(began), None)
}

fn cause_of(error: &io::Error) -> &'static Cause {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => &cause::TCP_REFUSED,
        io::ErrorKind::TimedOut => &cause::TCP_FILTERED,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            &cause::TCP_UNREACHABLE
        }
        // An nftables or iptables rule on this machine.
        io::ErrorKind::PermissionDenied => &cause::TCP_FORBIDDEN,
        _ => &cause::TCP_UNREACHABLE,
    }
}
