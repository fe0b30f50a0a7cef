//! Users of this machine. As root, a client can be run as another one; otherwise the test itself
//! is the stranger, which only takes another list.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::sidecar::PATIENCE;

/// A user who is nobody, and who exists everywhere.
pub(crate) const NOBODY: u32 = 65_534;

/// The user who runs the tests, and entrapool in them.
pub(crate) fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user whom [`as_stranger`] runs programs as.
pub(crate) fn stranger() -> u32 {
    if own() == 0 { NOBODY } else { own() }
}

/// Runs a program as a user who is not root.
pub(crate) async fn as_stranger(program: &str, arguments: &[&str]) -> Output {
    let mut command = match own() {
        0 => {
            let mut command = Command::new("setpriv");
            let user = [
                format!("--reuid={NOBODY}"),
                format!("--regid={NOBODY}"),
                "--clear-groups".to_owned(),
            ];
            command.args(user).arg(program);
            // Root's own programs may be closed to others.
            command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
            command
        }
        _ => Command::new(program),
    };
    let output = command
        .args(arguments)
        // Our own directory may be closed to others.
        .current_dir("/")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    output.expect("it ends in time").expect("it is installed")
}

/// What a program wrote, on both channels.
pub(crate) fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}
