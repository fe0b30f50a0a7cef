//! Who is calling, and whether they may. Of a socket's file the kernel has looked at the mode
//! already; its word on the user is asked as well, in case somebody has changed that mode.

use tokio::net::unix::UCred;

use crate::session::peer;
use crate::session::wire::Socket;

/// Who may call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    /// Of this process.
    user: u32,
    group: Option<u32>,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody who may.
    Operator,
    /// Somebody who may not.
    Stranger {
        /// The user, if the kernel says it.
        user: Option<u32>,
    },
    /// Somebody who may, and comes to an address, which web pages can reach, too.
    OverLoopback,
}

impl Rights {
    pub(super) fn new(group: Option<u32>) -> Self {
        let user = rustix::process::geteuid().as_raw();
        Self { user, group }
    }

    pub(super) async fn judge(self, socket: &Socket) -> Caller {
        if let Socket::Unix(stream) = socket {
            return match peer::credentials(stream.get_ref()) {
                Ok(peer) if self.allows(&peer) => Caller::Operator,
                Ok(peer) => Caller::Stranger {
                    user: Some(peer.uid()),
                },
                Err(_) => Caller::Stranger { user: None },
            };
        }
        match peer::uid(socket).await {
            Ok(user) if self.is_user(user) => Caller::OverLoopback,
            Ok(user) => Caller::Stranger { user: Some(user) },
            Err(_) => Caller::Stranger { user: None },
        }
    }

    fn is_user(self, user: u32) -> bool {
        user == self.user || user == 0
    }

    fn allows(self, peer: &UCred) -> bool {
        let is_member = |group| peer.gid() == group || is_member(peer, group);
        self.is_user(peer.uid()) || self.group.is_some_and(is_member)
    }
}

/// Whether the peer has the group besides its first one. A process of another container can't be
/// looked up: there the kernel's check of the socket's mode is all there is.
fn is_member(peer: &UCred, group: u32) -> bool {
    let process = peer.pid().filter(|&pid| pid > 0);
    let status = process.map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")));
    match status {
        Some(Ok(status)) => has_group(&status, group),
        _ => true,
    }
}

/// proc_pid_status(5).
fn has_group(status: &str, group: u32) -> bool {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .unwrap_or_default();
    line.split_whitespace()
        .any(|word| word.parse() == Ok(group))
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    #[test]
    fn groups_of_a_process() {
        let status = "Name:\tx\nGid:\t7\t7\t7\t7\nGroups:\t4 24 1000 \nNStgid:\t1\n";
        assert!(has_group(status, 24) && has_group(status, 1000));
        assert!(!has_group(status, 2) && !has_group(status, 7));
        assert!(!has_group("Name:\tx\n", 0));
    }

    #[tokio::test]
    async fn the_same_user_may_and_so_may_the_group() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = one.peer_cred().unwrap();
        let one = Socket::from(one);
        assert_eq!(Rights::new(None).judge(&one).await, Caller::Operator);
        let elsewhere = |group| Rights {
            user: peer.uid() + 1,
            group,
        };
        // Root may always, and tests may run as root.
        if peer.uid() != 0 {
            let user = Some(peer.uid());
            let judged = elsewhere(None).judge(&one).await;
            assert_eq!(judged, Caller::Stranger { user });
        }
        assert!(elsewhere(Some(peer.gid())).allows(&peer));
    }
}
