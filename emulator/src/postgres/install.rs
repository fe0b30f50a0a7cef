//! Where PostgreSQL's programs are, and which user may run the server.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::output;
use crate::error::Error;

/// PostgreSQL's programs, and the account that they run under.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The directory with `postgres`, `initdb` and `pg_ctl`.
    pub bin: PathBuf,
    /// `None`: our own account. The server refuses to run as root, so root has to name another.
    pub account: Option<Account>,
}

/// A user of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Installation {
    /// The one whose programs are in `bin`.
    pub(super) fn at(bin: &Path) -> Result<Self, Error> {
        if !bin.join("postgres").is_file() {
            return Err(Error::Postgres {
                program: "postgres",
                reason: format!("it is not in {}", bin.display()),
                output: String::new(),
            });
        }
        Ok(Self {
            bin: bin.to_owned(),
            account: unprivileged()?,
        })
    }

    /// The same, or a copy below `directory` if the account may not enter where the programs
    /// are: somebody's home, say.
    pub(super) fn within_reach(self, directory: &Path) -> Result<Self, Error> {
        let denied = match self.command("postgres").arg("--version").output() {
            Err(error) => error.kind() == ErrorKind::PermissionDenied,
            Ok(_) => false,
        };
        let (true, Some(prefix)) = (denied, self.bin.parent()) else {
            return Ok(self);
        };
        let copy = directory.join("programs");
        let mut command = Command::new("cp");
        output("cp", command.arg("--recursive").arg(prefix).arg(&copy))?;
        Ok(Self {
            bin: copy.join("bin"),
            account: self.account,
        })
    }

    /// One of the programs, to be run under the right account.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // Messages are compared and shown: no translations. Our locale may not exist there.
        command.env_remove("LC_ALL").env("LC_MESSAGES", "C");
        // Our own directory may be closed to that account.
        command.current_dir("/");
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Hands a file or directory over to the account.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        let Some(account) = self.account else {
            return Ok(());
        };
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .map_err(Error::io(format!("hand over {}", path.display())))
    }
}

/// Looks for PostgreSQL on this machine: `pg_config --bindir`, then the newest version below
/// `/usr/lib/postgresql`.
///
/// # Errors
/// [`Error::PostgresMissing`] when neither has a server.
pub fn find() -> Result<Installation, Error> {
    let bin = from_pg_config()
        .into_iter()
        .chain(from_debian())
        .find(|bin| bin.join("postgres").is_file() && bin.join("initdb").is_file())
        .ok_or(Error::PostgresMissing)?;
    Ok(Installation {
        bin,
        account: unprivileged()?,
    })
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(text.trim_end()))
}

fn from_debian() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, bin)| bin).collect()
}

/// The account for a server started by root: `postgres`, else `nobody`.
fn unprivileged() -> Result<Option<Account>, Error> {
    let us = fs::metadata("/proc/self")
        .map_err(Error::io("read our own user id from /proc/self"))?
        .uid();
    if us != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(Error::io("read /etc/passwd"))?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| account(&users, name))
        .map(Some)
        .ok_or_else(|| Error::Postgres {
            program: "postgres",
            reason: "it refuses to run as root, and there is no user postgres or nobody".to_owned(),
            output: String::new(),
        })
}

/// Fields of passwd(5): name, password, uid, gid, …
fn account(users: &str, name: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_passwd() {
        let users = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533::/:/usr/sbin/nologin\n";
        let nobody = Account {
            uid: 65534,
            gid: 65533,
        };
        assert_eq!(account(users, "nobody"), Some(nobody));
        assert_eq!(account(users, "postgres"), None);
        assert_eq!(account("postgres:x:oops", "postgres"), None);
    }
}
