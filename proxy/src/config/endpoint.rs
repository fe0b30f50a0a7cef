//! The shapes of things that can be reached: listeners, hosts, the metadata endpoint.
//!
//! Same contract as `shape`. Nothing in here resolves a name or opens a socket.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use url::{Host, Url};

use super::model::Listen;
use super::settings::Raw;
use super::shape::{Problem, Shape, check_text, wrong_type};

/// What comes before the port in the name of a PostgreSQL socket file.
const SOCKET_PREFIX: &str = ".s.PGSQL.";
/// `sun_path` has 108 bytes, the last one a NUL (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// Where clients connect: an address, a socket directory, or the socket file itself.
pub(super) struct Listener;

impl Shape for Listener {
    type Out = Listen;

    fn read(&self, raw: &Raw) -> Result<Listen, Problem> {
        let Raw::Text(text) = raw else {
            return Err(wrong_type(raw, "a text such as \"127.0.0.1:5432\""));
        };
        if text.starts_with('/') {
            return socket_file(text).map(Listen::Unix);
        }
        text.parse::<SocketAddr>().map(Listen::Tcp).map_err(|_| {
            Problem::new(format!(
                "\"{text}\" is neither an IP address with a port, such as \"127.0.0.1:5432\", \
                 nor a directory for a Unix socket, such as \"/run/entrapool\""
            ))
        })
    }

    fn range(&self) -> String {
        "IP:PORT (loopback), /DIRECTORY or /DIRECTORY/.s.PGSQL.PORT".to_owned()
    }
}

/// A directory stands for the file in it that clients look for when they use port 5432.
fn socket_file(text: &str) -> Result<PathBuf, Problem> {
    check_text(text, SOCKET_PATH_MAX)?;
    let path = Path::new(text);
    let name = path.file_name().and_then(|name| name.to_str());
    let file = match name.and_then(|name| name.strip_prefix(SOCKET_PREFIX)) {
        None => path.join(format!("{SOCKET_PREFIX}5432")),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => path.to_owned(),
        Some(port) => {
            return Err(Problem::new(format!(
                "\"{port}\" in the socket's name is not a port; write e.g. \
                 \"/run/entrapool/{SOCKET_PREFIX}5432\""
            )));
        }
    };
    let length = file.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        return Err(Problem::new(format!(
            "the socket's path would have {length} bytes, but at most {SOCKET_PATH_MAX} are \
             allowed; use a shorter directory"
        )));
    }
    Ok(file)
}

/// Where the program is operated: a socket file, or an address that only this machine reaches.
pub(super) struct ControlListener;

impl Shape for ControlListener {
    type Out = Listen;

    fn read(&self, raw: &Raw) -> Result<Listen, Problem> {
        let Raw::Text(text) = raw else {
            return Err(wrong_type(raw, "a path in quotes"));
        };
        if text.starts_with('/') {
            check_text(text, SOCKET_PATH_MAX)?;
            if text.ends_with('/') {
                return Err(Problem::new(format!(
                    "\"{text}\" is a directory; name the socket in it, such as \
                     \"{text}control.sock\""
                )));
            }
            return Ok(Listen::Unix(PathBuf::from(text)));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().to_canonical().is_loopback() => Ok(Listen::Tcp(address)),
            Ok(address) => Err(Problem::new(format!(
                "{address} is not loopback: whoever reaches it could stop the program; use \
                 127.0.0.1, [::1] or the path of a Unix socket"
            ))),
            Err(_) => Err(Problem::new(format!(
                "\"{text}\" is neither the path of a Unix socket, such as \
                 \"/run/entrapool/control.sock\", nor an IP address with a port"
            ))),
        }
    }

    fn range(&self) -> String {
        "/PATH or IP:PORT (loopback)".to_owned()
    }
}

/// A host name or an IP address.
pub(super) struct HostName;

impl Shape for HostName {
    type Out = String;

    fn read(&self, raw: &Raw) -> Result<String, Problem> {
        let Raw::Text(text) = raw else {
            return Err(wrong_type(raw, "a host name in quotes"));
        };
        check_host(text)?;
        Ok(text.clone())
    }

    fn range(&self) -> String {
        "host name or IP address".to_owned()
    }
}

/// Something to dial, perhaps with its own port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT`.
pub(super) struct DialTarget;

impl Shape for DialTarget {
    type Out = Dial;

    fn read(&self, raw: &Raw) -> Result<Dial, Problem> {
        let Raw::Text(text) = raw else {
            return Err(wrong_type(raw, "a text such as \"10.0.0.4:5432\""));
        };
        let (host, port) = split_port(text)?;
        check_host(host)?;
        Ok(Dial {
            host: host.to_owned(),
            port,
        })
    }

    fn range(&self) -> String {
        "HOST, HOST:PORT or [IPV6]:PORT".to_owned()
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), Problem> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match port.map(str::parse::<u16>) {
        None => Ok((host, None)),
        Some(Ok(port)) if port > 0 => Ok((host, Some(port))),
        Some(_) => Err(Problem::new(format!(
            "\"{text}\" has no valid port; allowed: HOST, HOST:PORT or [IPV6]:PORT, with a port \
             from 1 to 65535"
        ))),
    }
}

/// RFC 1123 names, with the underscore that internal zones like.
fn check_host(text: &str) -> Result<(), Problem> {
    check_text(text, 253)?;
    let good_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() || name.split('.').all(good_label) {
        return Ok(());
    }
    Err(Problem::new(format!(
        "\"{text}\" is not a host name or an IP address"
    )))
}

/// Whether a host is this machine, as far as its spelling tells.
pub(super) fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Where the metadata service is, when it is not at its fixed address: for tests and emulators.
///
/// Tokens come from there in the clear, so it may not leave the machine.
pub(super) struct ImdsEndpoint;

impl Shape for ImdsEndpoint {
    type Out = String;

    fn read(&self, raw: &Raw) -> Result<String, Problem> {
        let Raw::Text(text) = raw else {
            return Err(wrong_type(raw, "a URL in quotes"));
        };
        let url = Url::parse(text).map_err(|error| {
            Problem::new(format!(
                "this is not a URL ({error}); write it like \"http://127.0.0.1:8080\""
            ))
        })?;
        let bare = url.username().is_empty() && url.password().is_none();
        let rootless = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || !bare || !rootless {
            return Err(Problem::new(
                "only http:// with an address and a port is allowed, such as \
                 \"http://127.0.0.1:8080\"",
            ));
        }
        if !url.host().is_some_and(|host| is_local(&host)) {
            return Err(Problem::new(
                "the address must be loopback (127.0.0.0/8, [::1], localhost) or link-local \
                 (169.254.0.0/16, [fe80::]/10): tokens travel in the clear",
            ));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    fn range(&self) -> String {
        "http:// with a loopback or link-local address".to_owned()
    }
}

fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_loopback_host(name),
        Host::Ipv4(ip) => ip.is_loopback() || ip.is_link_local(),
        Host::Ipv6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.is_loopback() || ip.is_link_local(),
            None => ip.is_loopback() || ip.is_unicast_link_local(),
        },
    }
}
