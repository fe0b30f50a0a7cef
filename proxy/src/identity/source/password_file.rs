//! A static password in a file, for servers without Entra; re-read when the file changes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tracing::warn;
use zeroize::Zeroizing;

use crate::identity::failure::{Failure, FailureClass};

use super::Fetched;

/// A password goes into one message of the login; PostgreSQL takes 65,535 bytes.
const LONGEST: u64 = 65_535;
/// A file this young may still change without a new time stamp: its stamp is not relied upon.
const SETTLED: Duration = Duration::from_secs(2);
/// Bits of a mode wider than 0640.
const TOO_WIDE: u32 = 0o137;

/// A watched password file. The refresh task looks at it every second.
pub(in crate::identity) struct PasswordFile {
    path: PathBuf,
    seen: Option<Stamp>,
    warned: Option<u32>,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl PasswordFile {
    pub(in crate::identity) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            warned: None,
        }
    }

    pub(super) async fn fetch(&mut self) -> Result<Fetched, Failure> {
        let outcome = self.look().await;
        if outcome.is_err() {
            self.seen = None;
        }
        outcome
    }

    async fn look(&mut self) -> Result<Fetched, Failure> {
        let metadata = self.stat().await?;
        let stamp = Stamp::of(&metadata);
        if self.seen == Some(stamp) {
            return Ok(Fetched::Unchanged);
        }
        self.judge_mode(metadata.mode() & 0o777);
        let secret = self.read().await?;
        let settled = metadata.modified().is_ok_and(|at| {
            SystemTime::now()
                .duration_since(at)
                .is_ok_and(|age| age > SETTLED)
        });
        // Written to while we read: look again, and believe it then.
        let still = self
            .stat()
            .await
            .is_ok_and(|metadata| Stamp::of(&metadata) == stamp);
        self.seen = (settled && still).then_some(stamp);
        Ok(Fetched::Token {
            secret,
            expires_at: None,
        })
    }

    async fn stat(&self) -> Result<Metadata, Failure> {
        let metadata = tokio::fs::metadata(&self.path)
            .await
            .map_err(|error| self.failure(&format!("cannot be read: {error}")))?;
        if !metadata.is_file() {
            return Err(self.failure("is not a regular file"));
        }
        if metadata.len() > LONGEST {
            return Err(self.failure(&format!("is larger than {LONGEST} bytes")));
        }
        Ok(metadata)
    }

    async fn read(&self) -> Result<Zeroizing<String>, Failure> {
        let bytes = tokio::fs::read(&self.path)
            .await
            .map(Zeroizing::new)
            .map_err(|error| self.failure(&format!("cannot be read: {error}")))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| self.failure("is not UTF-8"))?;
        // The newline that editors and `echo` add; any other space may belong to the password.
        let password = text.strip_suffix('\n').unwrap_or(text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return Err(self.failure("is empty"));
        }
        if password.contains('\0') {
            return Err(self.failure("contains a zero byte"));
        }
        Ok(Zeroizing::new(password.to_owned()))
    }

    fn judge_mode(&mut self, mode: u32) {
        if mode & TOO_WIDE == 0 {
            self.warned = None;
        } else if self.warned != Some(mode) {
            self.warned = Some(mode);
            warn!(
                path = %self.path.display(),
                mode = format_args!("{mode:04o}"),
                "the password file is open to others; make it 0640 or narrower"
            );
        }
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::new(
            FailureClass::File,
            format!("the password file {} {what}", self.path.display()),
            "write the password as its only line, readable for the user of this process",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn password(file: &mut PasswordFile) -> Result<String, Failure> {
        match file.fetch().await? {
            Fetched::Token { secret, expires_at } => {
                assert_eq!(expires_at, None);
                Ok(secret.as_str().to_owned())
            }
            Fetched::Unchanged => Ok("unchanged".to_owned()),
        }
    }

    fn set_age(path: &std::path::Path, seconds: u64) {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    #[tokio::test]
    async fn one_newline_is_trimmed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (content, expected) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            (" se cret \n", " se cret "),
            ("secret\n\n", "secret\n"),
        ] {
            fs::write(&path, content).unwrap();
            let read = password(&mut PasswordFile::new(path.clone()))
                .await
                .unwrap();
            assert_eq!(read, expected, "{content:?}");
        }
    }

    #[tokio::test]
    async fn a_settled_file_is_read_once_and_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "first").unwrap();
        let mut file = PasswordFile::new(path.clone());
        assert_eq!(password(&mut file).await.unwrap(), "first");
        assert_eq!(
            password(&mut file).await.unwrap(),
            "first",
            "too young to be relied upon"
        );
        set_age(&path, 60);
        assert_eq!(password(&mut file).await.unwrap(), "first");
        assert_eq!(password(&mut file).await.unwrap(), "unchanged");
        fs::write(&path, "other").unwrap();
        assert_eq!(
            password(&mut file).await.unwrap(),
            "other",
            "same length, rewritten"
        );
        set_age(&path, 60);
        assert_eq!(password(&mut file).await.unwrap(), "other");
        let next = folder.path().join("next");
        fs::write(&next, "third").unwrap();
        set_age(&next, 60);
        fs::rename(&next, &path).unwrap();
        assert_eq!(
            password(&mut file).await.unwrap(),
            "third",
            "replaced in one step"
        );
    }

    #[tokio::test]
    async fn unfit_files_are_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let mut file = PasswordFile::new(path.clone());
        let reason = password(&mut file).await.unwrap_err().to_string();
        assert!(
            reason.contains("No such file") && reason.contains("password"),
            "{reason}"
        );
        for (content, why) in [
            (b"".to_vec(), "is empty"),
            (b"\n".to_vec(), "is empty"),
            (b"a\0b".to_vec(), "zero byte"),
            (b"\xff\xfe".to_vec(), "UTF-8"),
            (vec![b'x'; 65_536], "larger than 65535"),
        ] {
            fs::write(&path, content).unwrap();
            let failure = password(&mut file).await.unwrap_err();
            assert_eq!(failure.class, FailureClass::File);
            assert!(failure.to_string().contains(why), "{failure}");
        }
        fs::write(&path, "good again").unwrap();
        assert_eq!(password(&mut file).await.unwrap(), "good again");
        let failure = password(&mut PasswordFile::new(folder.path().into()))
            .await
            .unwrap_err();
        assert!(
            failure.to_string().contains("not a regular file"),
            "{failure}"
        );
    }
}
