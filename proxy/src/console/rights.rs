//! Who may use the console: our own user, root, and a group.

use std::fs;

use crate::session::peer;
use crate::session::wire::Socket;

/// Why a client may not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stranger {
    /// Nobody knows whose it is.
    #[error("whose connection this is can't be told: {0}")]
    Unknown(#[from] peer::Unknown),
    /// It is somebody else's.
    #[error("it is for user {own}, and this client is user {uid}'s")]
    Other {
        /// Our user id.
        own: u32,
        /// The client's.
        uid: u32,
    },
    /// The same, and nobody can be in the group.
    #[error("it is for user {own}, this client is user {uid}'s, and /etc/group has no {group}")]
    NoGroup {
        /// Our user id.
        own: u32,
        /// The client's.
        uid: u32,
        /// As configured.
        group: String,
    },
}

/// Whether a user is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Member,
    Outsider,
    /// There is no such group.
    NoGroup,
}

/// Lets `client` in, or says why not.
pub(super) async fn admit(client: &Socket, group: Option<&str>) -> Result<(), Stranger> {
    let own = rustix::process::geteuid().as_raw();
    let uid = peer::uid(client).await?;
    if uid == own || uid == 0 {
        return Ok(());
    }
    let Some(group) = group.map(str::to_owned) else {
        return Err(Stranger::Other { own, uid });
    };
    let wanted = group.clone();
    let membership = tokio::task::spawn_blocking(move || look_up(uid, &wanted)).await;
    match membership.unwrap_or(Membership::Outsider) {
        Membership::Member => Ok(()),
        Membership::Outsider => Err(Stranger::Other { own, uid }),
        Membership::NoGroup => Err(Stranger::NoGroup { own, uid, group }),
    }
}

/// By the machine's own files: users and groups of a directory service are not known.
fn look_up(uid: u32, group: &str) -> Membership {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    membership(&read("/etc/passwd"), &read("/etc/group"), uid, group)
}

/// As passwd(5) and group(5) say; a group may be a number, which need not be listed.
fn membership(passwd: &str, groups: &str, uid: u32, group: &str) -> Membership {
    let users = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let user: u32 = fields.nth(1)?.parse().ok()?;
        let own_group: u32 = fields.next()?.parse().ok()?;
        (user == uid).then_some((name, own_group))
    });
    let users: Vec<(&str, u32)> = users.collect();
    let number: Option<u32> = group.parse().ok();
    let mut is_there = number.is_some();
    let mut is_in = users.iter().any(|(_, own)| Some(*own) == number);
    for line in groups.lines() {
        let mut fields = line.split(':');
        let (name, gid) = (fields.next(), fields.nth(1));
        let gid: Option<u32> = gid.and_then(|gid| gid.parse().ok());
        if gid.is_none() || (name != Some(group) && gid != number) {
            continue;
        }
        is_there = true;
        let members = fields.next().unwrap_or_default();
        let listed = |user: &str| members.split(',').any(|member| member.trim() == user);
        is_in |= users
            .iter()
            .any(|(user, own)| Some(*own) == gid || listed(user));
    }
    match (is_in, is_there) {
        (true, _) => Membership::Member,
        (false, true) => Membership::Outsider,
        (false, false) => Membership::NoGroup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        app:x:1000:1000::/home/app:/bin/sh\nops:x:1001:50::/:/bin/sh\nbroken\nmon:x:1002:1002::/:\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:\napp:x:1000:\nconsole:x:77:mon, app\nbroken\n:::\n";

    #[test]
    fn members_by_own_group_and_by_list() {
        use Membership::{Member, NoGroup, Outsider};
        for (uid, group, expected) in [
            (1000, "console", Member),
            (1002, "console", Member),
            (1001, "console", Outsider),
            (1001, "staff", Member),
            (1000, "staff", Outsider),
            (1002, "77", Member),
            (1001, "50", Member),
            (1001, "77", Outsider),
            (1001, "4711", Outsider),
            (4711, "console", Outsider),
            (1000, "nowhere", NoGroup),
            (1000, "broken", NoGroup),
            (1000, "", NoGroup),
        ] {
            assert_eq!(
                membership(PASSWD, GROUP, uid, group),
                expected,
                "{uid} {group}"
            );
        }
    }
}
