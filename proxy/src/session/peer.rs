//! Who is at the other end of a client's connection: its user, as the kernel knows it.
//!
//! Asked once per connection and only where a rule needs it, never per query; nobody else asks
//! the kernel for the users of sockets. What it can't tell is an error, never a guess.
//!
//! A Unix socket carries its peer's credentials (`SO_PEERCRED`). On loopback TCP the client's own
//! socket is looked up: with sock_diag(7), which finds it by its addresses in constant time, or,
//! where that is not to be had (an old kernel, a sandbox without netlink), in `/proc/self/net`.
//! Both know only sockets of our network namespace.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recvfrom, send, socket_with};
use tokio::net::unix::UCred;
use tokio::net::{TcpStream, UnixStream};

use super::wire::Socket;

/// Why a client's user is not known.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// No process has the client's socket: it has closed, or is in another network namespace.
    #[error("the client has closed already, or is in another network namespace")]
    NoOwner,
    /// The socket is of a kind that tells nothing.
    #[error("the system does not tell: {0}")]
    Socket(io::Error),
    /// Neither way is open.
    #[error("neither sock_diag ({diag}) nor /proc/self/net/tcp ({table}) tells")]
    NotTold {
        /// What came of the first.
        diag: io::Error,
        /// What came of the second.
        table: io::Error,
    },
}

/// The user id of a client.
///
/// # Errors
/// [`Unknown`].
pub async fn uid(client: &Socket) -> Result<u32, Unknown> {
    match client {
        Socket::Unix(stream) => of_unix(stream.get_ref()),
        Socket::Tcp(stream) => of_tcp(stream.get_ref()).await,
        Socket::Tls(stream) => of_tcp(stream.tcp()).await,
        Socket::Resting(_) => Err(Unknown::NoOwner),
    }
}

/// The user who connected a Unix socket.
///
/// # Errors
/// [`Unknown::Socket`].
pub fn of_unix(stream: &UnixStream) -> Result<u32, Unknown> {
    credentials(stream).map(|credentials| credentials.uid())
}

/// Everything that a Unix socket knows of who connected it.
///
/// # Errors
/// [`Unknown::Socket`].
pub fn credentials(stream: &UnixStream) -> Result<UCred, Unknown> {
    stream.peer_cred().map_err(Unknown::Socket)
}

/// The user who owns the other end of a TCP connection on this machine.
///
/// # Errors
/// [`Unknown`].
pub async fn of_tcp(stream: &TcpStream) -> Result<u32, Unknown> {
    let ends = Ends {
        near: canonical(stream.peer_addr().map_err(Unknown::Socket)?),
        far: canonical(stream.local_addr().map_err(Unknown::Socket)?),
    };
    match by_diag(ends) {
        Ok(owner) => owner.ok_or(Unknown::NoOwner),
        Err(diag) => {
            // The table has a line for every socket, so it is not read on a worker.
            let read = tokio::task::spawn_blocking(move || by_table(ends)).await;
            match read.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                Ok(owner) => owner.ok_or(Unknown::NoOwner),
                Err(table) => Err(Unknown::NotTold {
                    diag: diag.into(),
                    table,
                }),
            }
        }
    }
}

/// The addresses of a socket: its own, and that of its peer. Mapped IPv4 is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    near: SocketAddr,
    far: SocketAddr,
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A socket as the kernel describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Described {
    listens: bool,
    uid: u32,
    inode: u32,
}

impl Described {
    /// A socket that its process has closed belongs to nobody, though it may still deliver what
    /// was written: the kernel then says inode 0, and older ones user 0, which must not pass for
    /// root.
    fn owner(self) -> Option<u32> {
        (!self.listens && self.inode != 0).then_some(self.uid)
    }
}

/// Asks sock_diag(7); `None` if nobody has such a socket.
fn by_diag(client: Ends) -> Result<Option<u32>, Errno> {
    if let Some(found) = look_up(client)? {
        return Ok(found.owner());
    }
    // "Not there" is also the answer of a kernel that has no module for TCP. Our own listener is
    // there for certain.
    let unspecified = match client.far.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let listener = Ends {
        near: client.far,
        far: SocketAddr::new(unspecified, 0),
    };
    match look_up(listener)? {
        Some(_) => Ok(None),
        None => Err(Errno::PROTONOSUPPORT),
    }
}

/// `SOCK_DIAG_BY_FAMILY`, the type of request and answer.
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct inet_diag_req_v2`.
const QUESTION: usize = 56;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

/// The one socket with these addresses. The kernel answers while the request is sent, so that
/// nothing here waits.
fn look_up(ends: Ends) -> Result<Option<Described>, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        flags,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&kernel, &question(ends), SendFlags::empty())?;
    let mut buffer = [0; 512];
    let (length, _, sender) = recvfrom(&kernel, &mut buffer, RecvFlags::empty())?;
    let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
    if sender.is_none_or(|sender| sender.pid() != 0) {
        return Err(Errno::BADMSG);
    }
    read_answer(buffer.get(..length).unwrap_or_default())
}

/// sock_diag(7), "IPv4 and IPv6 sockets".
fn question(Ends { near, far }: Ends) -> Vec<u8> {
    let family = match near {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let mut out = Vec::with_capacity(HEADER + QUESTION);
    out.extend(((HEADER + QUESTION) as u32).to_ne_bytes());
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(REQUEST.to_ne_bytes());
    out.extend([0; 8]); // sequence number and sender: one question per socket needs neither
    out.extend([family.as_raw() as u8, TCP, 0, 0]);
    out.extend(u32::MAX.to_ne_bytes()); // any state
    out.extend(near.port().to_be_bytes());
    out.extend(far.port().to_be_bytes());
    for address in [near.ip(), far.ip()] {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes = ip.octets(),
        }
        out.extend(bytes);
    }
    out.extend([0; 4]); // any interface
    out.extend([0xff; 8]); // no cookie
    out
}

fn read_answer(answer: &[u8]) -> Result<Option<Described>, Errno> {
    let word = |at: usize| {
        let bytes = answer.get(at..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let kind = answer.get(4..).and_then(<[u8]>::first_chunk);
    match kind.copied().map(u16::from_ne_bytes) {
        Some(ERROR) => match word(HEADER).map(u32::cast_signed) {
            Some(error) if error == -Errno::NOENT.raw_os_error() => Ok(None),
            Some(error) if error < 0 => Err(Errno::from_raw_os_error(-error)),
            _ => Err(Errno::BADMSG),
        },
        // `struct inet_diag_msg`.
        Some(BY_FAMILY) => match (answer.get(HEADER + 1), word(80), word(84)) {
            (Some(&state), Some(uid), Some(inode)) => Ok(Some(Described {
                listens: state == LISTEN,
                uid,
                inode,
            })),
            _ => Err(Errno::BADMSG),
        },
        _ => Err(Errno::BADMSG),
    }
}

/// Reads the tables of sockets; `None` if nobody has such a socket.
fn by_table(client: Ends) -> io::Result<Option<u32>> {
    // A client may use an IPv6 socket for an IPv4 address; there may be no IPv6 at all.
    for (name, needed) in [("tcp", client.near.is_ipv4()), ("tcp6", false)] {
        let table = match File::open(format!("/proc/self/net/{name}")) {
            Ok(table) => table,
            Err(error) if !needed && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(table).lines() {
            if let Some((ends, described)) = read_line(&line?)
                && ends == client
            {
                return Ok(described.owner());
            }
        }
    }
    Ok(None)
}

/// A line of proc_pid_net(5)'s `tcp` or `tcp6`; `None` for its heading.
fn read_line(line: &str) -> Option<(Ends, Described)> {
    let mut words = line.split_ascii_whitespace();
    let near = read_address(words.nth(1)?)?;
    let far = read_address(words.next()?)?;
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    // tx_queue:rx_queue, tr:tm->when, retrnsmt
    let uid = words.nth(3)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    let described = Described {
        listens: state == LISTEN,
        uid,
        inode,
    };
    Some((Ends { near, far }, described))
}

/// `0100007F:1538`: words of an address in the machine's order, and a port.
fn read_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match (bytes.first_chunk::<4>(), bytes.first_chunk::<16>()) {
        (_, Some(bytes)) => IpAddr::from(*bytes).to_canonical(),
        (Some(bytes), None) => IpAddr::from(*bytes),
        (None, None) => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::Resource;
    use std::time::Instant;
    use tokio::net::{TcpListener, TcpSocket, UnixListener};

    fn own() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// A client and our end of it.
    async fn connected(
        listener: &TcpListener,
        client: TcpSocket,
        to: &str,
    ) -> (TcpStream, TcpStream) {
        let port = listener.local_addr().unwrap().port();
        let to = SocketAddr::new(to.parse().unwrap(), port);
        let (client, accepted) = tokio::join!(client.connect(to), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    fn ends(accepted: &TcpStream) -> Ends {
        Ends {
            near: canonical(accepted.peer_addr().unwrap()),
            far: canonical(accepted.local_addr().unwrap()),
        }
    }

    #[tokio::test]
    async fn both_ways_know_the_owner_of_a_tcp_client() {
        let cases = [
            ("127.0.0.1:0", TcpSocket::new_v4(), "127.0.0.1"),
            ("[::1]:0", TcpSocket::new_v6(), "::1"),
            // IPv4 through sockets of the other family, on either side.
            ("127.0.0.1:0", TcpSocket::new_v6(), "::ffff:127.0.0.1"),
            ("[::ffff:127.0.0.1]:0", TcpSocket::new_v4(), "127.0.0.1"),
        ];
        for (listen, socket, to) in cases {
            let listener = TcpListener::bind(listen).await.unwrap();
            let (_client, accepted) = connected(&listener, socket.unwrap(), to).await;
            assert_eq!(by_diag(ends(&accepted)).unwrap(), Some(own()), "{listen}");
            assert_eq!(by_table(ends(&accepted)).unwrap(), Some(own()), "{listen}");
            assert_eq!(of_tcp(&accepted).await.unwrap(), own());
        }
    }

    /// Older kernels say user 0 of a socket that its process has closed, while bytes that were
    /// written before still arrive.
    #[tokio::test]
    async fn who_has_closed_is_not_taken_for_root() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        let (client, accepted) = connected(&listener, socket, "127.0.0.1").await;
        client.try_write(b"the last words of a stranger").unwrap();
        drop(client);
        assert_eq!(by_diag(ends(&accepted)).unwrap(), None);
        assert_eq!(by_table(ends(&accepted)).unwrap(), None);
        let unknown = of_tcp(&accepted).await.unwrap_err();
        assert!(matches!(unknown, Unknown::NoOwner), "{unknown}");
    }

    /// A lookup of what is gone must not end at somebody who listens on the same port.
    #[tokio::test]
    async fn a_listener_is_nobody_s_client() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = Ends {
            near: listener.local_addr().unwrap(),
            far: "127.0.0.1:1".parse().unwrap(),
        };
        let found = look_up(nobody).unwrap().unwrap();
        assert!(found.listens && found.owner().is_none());
        assert_eq!(by_table(nobody).unwrap(), None);
    }

    #[tokio::test]
    async fn a_unix_socket_carries_its_client() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        let _client = client.unwrap();
        let accepted = Socket::from(accepted.unwrap().0);
        assert_eq!(uid(&accepted).await.unwrap(), own());
    }

    #[test]
    fn lines_of_the_table() {
        let v4 = "   1: 0100007F:1538 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 26034 1 0 20 4 30 10 -1";
        let (ends, described) = read_line(v4).unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(ends.near, "127.0.0.1:5432".parse().unwrap());
        }
        assert_eq!(ends.far.port(), 54_321);
        assert_eq!(described.owner(), Some(1000));
        let mapped = "   0: 0000000000000000FFFF00000100007F:1538 0000000000000000FFFF00000100007F:D431 01 00000000:00000000 00:00000000 00000000    33        0 7 1 0 20 4 30 10 -1";
        assert_eq!(read_line(mapped).unwrap().0, ends);
        let waiting = v4.replace(" 1000 ", " 0 ").replace("26034", "0");
        assert_eq!(read_line(&waiting).unwrap().1.owner(), None);
        for not in [
            "",
            "  sl  local_address rem_address   st",
            "1: zz:1 00:2 01",
        ] {
            assert_eq!(read_line(not), None, "{not}");
        }
    }

    #[test]
    fn answers_that_are_cut_or_strange_are_errors() {
        assert_eq!(read_answer(b""), Err(Errno::BADMSG));
        let mut answer = vec![0; 88];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        assert!(read_answer(&answer).unwrap().is_some());
        for length in 0..answer.len() {
            assert_eq!(read_answer(&answer[..length]), Err(Errno::BADMSG));
        }
        answer[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        assert_eq!(read_answer(&answer), Err(Errno::BADMSG));
        answer[16..20].copy_from_slice(&(-2_i32).to_ne_bytes());
        assert_eq!(read_answer(&answer), Ok(None));
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(read_answer(&answer), Err(Errno::PERM));
    }

    /// What a rule costs a new connection. The numbers in SECURITY.md come from here.
    #[tokio::test]
    #[ignore = "measures; prints its numbers"]
    async fn the_price_among_a_thousand_connections() {
        let mut files = rustix::process::getrlimit(Resource::Nofile);
        files.current = files.maximum;
        rustix::process::setrlimit(Resource::Nofile, files).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut crowd = Vec::new();
        for _ in 0..1000 {
            let socket = TcpSocket::new_v4().unwrap();
            crowd.push(connected(&listener, socket, "127.0.0.1").await);
        }
        for (way, ask) in [
            (
                "sock_diag",
                (|ends| by_diag(ends).unwrap()) as fn(Ends) -> _,
            ),
            ("/proc/self/net/tcp", |ends| by_table(ends).unwrap()),
        ] {
            let began = Instant::now();
            for (_, accepted) in &crowd {
                assert_eq!(ask(ends(accepted)), Some(own()));
            }
            println!("{way}: {:?} per connection", began.elapsed() / 1000);
        }
    }
}
