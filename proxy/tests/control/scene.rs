//! A running entrapool with a control socket, and `entrapool ctl`.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::sidecar::{Launch, PATIENCE, Sidecar};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_entrapool");

/// Where a test's socket and configuration are.
pub(crate) struct Place {
    directory: TempDir,
}

/// What `ctl` came to.
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) out: String,
    /// What went wrong.
    pub(crate) err: String,
}

impl Place {
    /// A new one.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        // Also for tests that are somebody else.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).expect("it is ours");
        Self { directory }
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("entrapool.toml")
    }

    /// Writes the configuration file.
    pub(crate) fn write(&self, routes: &[String]) {
        std::fs::write(self.file(), routes.concat()).expect("a file");
    }

    /// The same as `launch`, to be operated.
    pub(crate) fn operated(&self, launch: Launch) -> Launch {
        launch.set("control.listen", &self.socket().display().to_string())
    }

    /// The same, from the configuration file.
    pub(crate) async fn start(&self, launch: Launch) -> Sidecar {
        self.operated(launch.config(&self.file())).start().await
    }

    /// Runs `entrapool ctl` here.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(PROGRAM);
        command.arg("ctl").args(arguments);
        run(command.arg("--socket").arg(self.socket())).await
    }

    /// The same; it must succeed.
    pub(crate) async fn done(&self, arguments: &[&str]) -> String {
        let said = self.ctl(arguments).await;
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        assert_eq!(said.err, "", "{arguments:?}");
        said.out
    }

    /// The same, as JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let said = self.done(&[arguments, &["-o", "json"]].concat()).await;
        serde_json::from_str(&said).expect("JSON")
    }

    /// Reloads; what has changed, a line each.
    pub(crate) async fn reload(&self) -> Vec<String> {
        let said = self.done(&["reload"]).await;
        said.lines().map(str::to_owned).collect()
    }
}

/// Runs a program to its end.
pub(crate) async fn run(command: &mut Command) -> Said {
    let ended = command
        .env_remove("ENTRAPOOL_CONTROL_LISTEN")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(2 * PATIENCE, ended).await;
    let Output {
        status,
        stdout,
        stderr,
    } = ended.expect("it ends").expect("it starts");
    Said {
        code: status.code().expect("no signal ended it"),
        out: String::from_utf8(stdout).expect("text"),
        err: String::from_utf8(stderr).expect("text"),
    }
}

/// Runs a program as `nobody`; only root can.
pub(crate) async fn as_nobody(arguments: &[&str], socket: &Path) -> Said {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM])
        .args(arguments);
    run(command.arg("--socket").arg(socket)).await
}
