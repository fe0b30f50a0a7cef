//! Name look-up and TCP. The name is looked up on every connect: after a failover it stays the
//! same and its address changes.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use entrapool_metrics::{ConnectPhases, Phase};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};

use crate::config::HostPort;

/// Azure's load balancers drop flows that are idle for 4 minutes; dead peers should be noticed
/// well before that.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15));
/// Unacknowledged data for this long means that the peer is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// With several addresses, one that does not answer must leave time for the others.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(3);

/// An open connection and where it leads.
#[derive(Debug)]
pub struct Dialed {
    /// Nodelay and keepalive are set.
    pub stream: TcpStream,
    /// The address that answered.
    pub peer: SocketAddr,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("the name {host:?} can't be resolved: {cause}")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// The resolver's answer.
        cause: io::Error,
    },
    /// No address answered.
    #[error("connecting to {peer} ({host}) failed: {cause}")]
    Connect {
        /// The name that was looked up.
        host: String,
        /// The last address tried.
        peer: SocketAddr,
        /// What became of it.
        cause: io::Error,
    },
}

/// Opens a connection to `target`, trying its addresses in the resolver's order.
///
/// # Errors
/// [`DialError`], of the last address if there were several.
pub async fn dial(target: &HostPort, phases: &ConnectPhases) -> Result<Dialed, DialError> {
    let asked = Instant::now();
    let host = &target.host;
    let addresses = resolve(target).await?;
    phases
        .phase(Phase::Dns)
        .observe(asked.elapsed().as_secs_f64());
    let mut last = DialError::Resolve {
        host: host.clone(),
        cause: io::ErrorKind::NotFound.into(),
    };
    for &peer in &addresses {
        match open(peer, addresses.len() > 1, phases).await {
            Ok(stream) => return Ok(Dialed { stream, peer }),
            Err(cause) => {
                last = DialError::Connect {
                    host: host.clone(),
                    peer,
                    cause,
                }
            }
        }
    }
    Err(last)
}

/// The addresses of `target`, in the resolver's order.
///
/// # Errors
/// [`DialError::Resolve`].
pub async fn resolve(target: &HostPort) -> Result<Vec<SocketAddr>, DialError> {
    match lookup_host((target.host.as_str(), target.port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(cause) => Err(DialError::Resolve {
            host: target.host.clone(),
            cause,
        }),
    }
}

/// Opens a connection to one address.
///
/// # Errors
/// What the system says.
pub(crate) async fn open(
    peer: SocketAddr,
    one_of_several: bool,
    phases: &ConnectPhases,
) -> io::Result<TcpStream> {
    let began = Instant::now();
    let stream = if one_of_several {
        tokio::time::timeout(ONE_OF_SEVERAL, TcpStream::connect(peer)).await??
    } else {
        TcpStream::connect(peer).await?
    };
    phases
        .phase(Phase::Tcp)
        .observe(began.elapsed().as_secs_f64());
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}
