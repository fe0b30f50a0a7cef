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
}

/// Lets `client` in, or says why not.
pub(super) async fn admit(client: &Socket, group: Option<&str>) -> Result<(), Stranger> {
    let own = rustix::process::geteuid().as_raw();
    let uid = peer::uid(client).await?;
    if uid == own || uid == 0 {
        return Ok(());
    }
    if let Some(group) = group {
        let group = group.to_owned();
        let looked_up = tokio::task::spawn_blocking(move || is_member(uid, &group)).await;
        if looked_up.unwrap_or(false) {
            return Ok(());
        }
    }
    Err(Stranger::Other { own, uid })
}

/// By the machine's own files: users and groups of a directory service are not known.
fn is_member(uid: u32, group: &str) -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    holds(&read("/etc/passwd"), &read("/etc/group"), uid, group)
}

/// Whether the user is in the group, as passwd(5) and group(5) say; a group may be a number.
fn holds(passwd: &str, groups: &str, uid: u32, group: &str) -> bool {
    let users = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let user: u32 = fields.nth(1)?.parse().ok()?;
        let own_group: u32 = fields.next()?.parse().ok()?;
        (user == uid).then_some((name, own_group))
    });
    let users: Vec<(&str, u32)> = users.collect();
    if users.iter().any(|(_, own)| group.parse() == Ok(*own)) {
        return true;
    }
    groups.lines().any(|line| {
        let mut fields = line.split(':');
        let (name, gid) = (fields.next(), fields.nth(1));
        let gid: Option<u32> = gid.and_then(|gid| gid.parse().ok());
        let wanted = name == Some(group) || (gid.is_some() && gid == group.parse().ok());
        let members = fields.next().unwrap_or_default();
        let is_in = |(user, own): &(&str, u32)| {
            Some(*own) == gid || members.split(',').any(|member| member.trim() == *user)
        };
        wanted && users.iter().any(is_in)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        app:x:1000:1000::/home/app:/bin/sh\nops:x:1001:50::/:/bin/sh\nbroken\nmon:x:1002:1002::/:\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:\napp:x:1000:\nconsole:x:77:mon, app\nbroken\n:::\n";

    #[test]
    fn members_by_own_group_and_by_list() {
        for (uid, group, expected) in [
            (1000, "console", true),
            (1002, "console", true),
            (1001, "console", false),
            (1001, "staff", true),
            (1000, "staff", false),
            (1002, "77", true),
            (1001, "50", true),
            (1001, "77", false),
            (4711, "console", false),
            (1000, "nowhere", false),
            (1000, "", false),
        ] {
            assert_eq!(holds(PASSWD, GROUP, uid, group), expected, "{uid} {group}");
        }
    }
}
