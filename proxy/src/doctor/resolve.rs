//! The fourth step: the addresses of the server's name, and whether they are those of a private
//! endpoint.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::cause::{self, Cause, Names};
use super::dns::{self, Answer};
use super::report::{Finding, Step, StepReport};
use crate::config::{HostPort, is_azure_server};
use crate::upstream;

/// The label of the zones of private endpoints.
const LINK: &str = "privatelink";

/// Looks the name up as a login does, and asks the name servers for its aliases. The server's
/// certificate and gateway know it as `known_as`.
pub(super) async fn examine(
    target: &HostPort,
    known_as: &str,
    limit: Duration,
    names: &Names<'_>,
) -> (StepReport, Vec<SocketAddr>) {
    let began = Instant::now();
    let mut report = StepReport::new(Step::Resolve);
    let found = timeout(limit, upstream::resolve(target)).await;
    let elapsed = began.elapsed();
    report.fact("host", target.host.as_str());
    let is_literal = target.host.parse::<IpAddr>().is_ok();
    let answer = match is_literal {
        true => None,
        false => timeout(limit, dns::ask(&target.host, &dns::servers()))
            .await
            .ok(),
    };
    let answer = answer.and_then(Result::ok);
    if let Some(answer) = &answer
        && !answer.chain.is_empty()
    {
        report.fact("alias of", answer.chain.join(", then "));
    }
    let addresses = match found {
        Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
        Ok(outcome) => {
            let cause = missing(&target.host, answer.as_ref());
            let words = match outcome {
                Err(error) => error.to_string(),
                Ok(_) => format!("the name {:?} has no address", target.host),
            };
            report.fail(Finding::new(cause, words, names));
            Vec::new()
        }
        Err(_) => {
            let words = format!("no answer for {:?} within {limit:?}", target.host);
            report.fail(Finding::new(&cause::DNS_SILENT, words, names));
            Vec::new()
        }
    };
    if is_linked(known_as) {
        let words = format!("{known_as} is the private endpoint's own name");
        report.warn(Finding::new(&cause::PRIVATELINK_NAMED, words, names));
    }
    if !addresses.is_empty() {
        let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        report.fact("addresses", shown(&ips));
        if let Some((cause, words)) = doubt(&target.host, answer.as_ref(), &ips) {
            report.warn(Finding::new(cause, words, names));
        }
    }
    report.elapsed = elapsed;
    (report, addresses)
}

/// Why a name has no address.
fn missing(host: &str, answer: Option<&Answer>) -> &'static Cause {
    match answer {
        None => &cause::DNS_SILENT,
        Some(answer) if is_linked(host) || answer.chain.iter().any(|name| is_linked(name)) => {
            &cause::PRIVATE_RECORD_MISSING
        }
        Some(answer) if answer.code == 0 || answer.code == dns::NO_SUCH_NAME => {
            &cause::NAME_UNKNOWN
        }
        Some(_) => &cause::DNS_SILENT,
    }
}

/// What does not fit together, though there is an address.
fn doubt(
    host: &str,
    answer: Option<&Answer>,
    addresses: &[IpAddr],
) -> Option<(&'static Cause, String)> {
    let chain = answer.map_or(&[][..], |answer| answer.chain.as_slice());
    let kinds: Vec<Kind> = addresses.iter().map(|ip| kind(*ip)).collect();
    if let Some(link) = chain.iter().find(|name| is_linked(name))
        && kinds.iter().all(|kind| *kind == Kind::Public)
    {
        let words = format!("{host} is an alias of {link}, whose address is public");
        return Some((&cause::ZONE_NOT_LINKED, words));
    }
    let hides = |name: &String| is_linked(name) || name.contains(".private.");
    let is_private = kinds.contains(&Kind::Private);
    if is_private && answer.is_some() && is_azure_server(host) && !chain.iter().any(hides) {
        let words =
            format!("{host} has a private address, and DNS knows no private endpoint of it");
        return Some((&cause::PRIVATE_ELSEWHERE, words));
    }
    None
}

fn is_linked(name: &str) -> bool {
    name.split('.')
        .any(|label| label.eq_ignore_ascii_case(LINK))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Loopback,
    Private,
    Public,
}

fn kind(ip: IpAddr) -> Kind {
    let is_private = match ip.to_canonical() {
        ip if ip.is_loopback() => return Kind::Loopback,
        IpAddr::V4(ip) => {
            // RFC 6598: shared with a carrier, or with a cloud's network.
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 0x40;
            ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match is_private {
        true => Kind::Private,
        false => Kind::Public,
    }
}

fn shown(addresses: &[IpAddr]) -> String {
    const MOST: usize = 8;
    let one = |ip: &IpAddr| match kind(*ip) {
        Kind::Loopback => format!("{ip} (this machine)"),
        Kind::Private => format!("{ip} (private)"),
        Kind::Public => format!("{ip} (public)"),
    };
    let mut shown: Vec<String> = addresses.iter().take(MOST).map(one).collect();
    if addresses.len() > MOST {
        shown.push(format!("and {} more", addresses.len() - MOST));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "my.postgres.database.azure.com";

    fn chain(names: &[&str]) -> Answer {
        Answer {
            chain: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Answer::default()
        }
    }

    fn doubted(host: &str, names: &[&str], address: &str) -> Option<&'static str> {
        let addresses = [address.parse().unwrap()];
        doubt(host, Some(&chain(names)), &addresses).map(|(cause, _)| cause.code)
    }

    #[test]
    fn only_what_does_not_fit_together_is_doubted() {
        const LINKED: &str = "my.PrivateLink.postgres.database.azure.com";
        let table = [
            (HOST, &[LINKED][..], "10.0.0.4", None),
            (HOST, &[LINKED], "20.1.2.3", Some("private-zone-not-linked")),
            (HOST, &["x.privatelinks.com"], "20.1.2.3", None),
            (HOST, &[], "20.1.2.3", None),
            (HOST, &[], "10.0.0.4", Some("private-address-unexplained")),
            // A server in a virtual network.
            (
                HOST,
                &["my.private.postgres.database.azure.com"],
                "10.0.0.4",
                None,
            ),
            ("db.example.com", &[], "10.0.0.4", None),
            // A managed instance.
            ("mi.0a1b.database.windows.net", &[], "10.0.0.4", None),
            (
                "sql.database.windows.net",
                &[],
                "10.0.0.4",
                Some("private-address-unexplained"),
            ),
            (HOST, &[], "127.0.0.1", None),
        ];
        for (host, names, address, wanted) in table {
            assert_eq!(
                doubted(host, names, address),
                wanted,
                "{host} {names:?} {address}"
            );
        }
        let unknown = doubt(HOST, None, &["10.0.0.4".parse().unwrap()]);
        assert!(unknown.is_none(), "no name server was heard");
    }

    #[test]
    fn a_missing_address_has_a_reason() {
        let code = |answer: Option<Answer>| missing(HOST, answer.as_ref()).code;
        let nothing = |code| Answer {
            code,
            ..Answer::default()
        };
        assert_eq!(code(None), "dns-silent");
        assert_eq!(code(Some(nothing(3))), "name-unknown");
        assert_eq!(code(Some(nothing(2))), "dns-silent");
        let linked = chain(&["my.privatelink.postgres.database.azure.com"]);
        assert_eq!(code(Some(linked)), "private-record-missing");
    }

    #[test]
    fn kinds_of_addresses() {
        let table = [
            ("10.1.2.3", Kind::Private),
            ("172.31.0.1", Kind::Private),
            ("172.32.0.1", Kind::Public),
            ("100.64.0.1", Kind::Private),
            ("100.128.0.1", Kind::Public),
            ("169.254.1.1", Kind::Private),
            ("127.0.0.53", Kind::Loopback),
            ("::1", Kind::Loopback),
            ("::ffff:10.0.0.1", Kind::Private),
            ("fd00::1", Kind::Private),
            ("2603:1030::1", Kind::Public),
        ];
        for (ip, wanted) in table {
            assert_eq!(kind(ip.parse().unwrap()), wanted, "{ip}");
        }
    }
}
