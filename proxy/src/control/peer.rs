//! Who is calling. The kernel has looked at the socket's mode already; its word on the peer
//! (SO_PEERCRED, unix(7)) is asked as well, in case somebody has changed that mode.

use tokio::net::UnixStream;
use tokio::net::unix::UCred;

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
    /// Somebody of whom only the machine is known.
    OfThisMachine,
}

impl Rights {
    pub(super) fn new(group: Option<u32>) -> Self {
        let user = rustix::process::geteuid().as_raw();
        Self { user, group }
    }

    pub(super) fn judge(self, stream: &UnixStream) -> Caller {
        let Ok(peer) = stream.peer_cred() else {
            return Caller::Stranger { user: None };
        };
        let user = peer.uid();
        if self.allows(&peer) {
            Caller::Operator
        } else {
            Caller::Stranger { user: Some(user) }
        }
    }

    fn allows(self, peer: &UCred) -> bool {
        let is_user = peer.uid() == self.user || peer.uid() == 0;
        is_user
            || self
                .group
                .is_some_and(|group| peer.gid() == group || is_member(peer, group))
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
        let own = Rights::new(None);
        assert_eq!(own.judge(&one), Caller::Operator);
        let peer = one.peer_cred().unwrap();
        let elsewhere = |group| Rights {
            user: peer.uid() + 1,
            group,
        };
        // Root may always, and tests may run as root.
        if peer.uid() != 0 {
            let user = Some(peer.uid());
            assert_eq!(elsewhere(None).judge(&one), Caller::Stranger { user });
        }
        assert!(elsewhere(Some(peer.gid())).allows(&peer));
    }
}
