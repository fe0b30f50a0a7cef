//! Memory holds tokens; no core file ever does.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use tokio::process::Command;

use crate::sidecar::{PATIENCE, Sidecar, shared};

#[tokio::test]
async fn no_core_file_is_written() {
    let azure = shared().await;
    let route = Sidecar::on(&azure).route();
    // With as large a core file as there may be, and where it would be written.
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -c \"$(ulimit -H -c)\"; exec \"$0\" --http 127.0.0.1:0 \"$1\"",
        ])
        .args([env!("CARGO_BIN_EXE_entrapool"), &route])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let log = crate::sidecar::Log::read(child.stderr.take().unwrap());
    let listens = |line: &crate::sidecar::Line| line.text.contains("listening");
    assert!(log.find(listens).await.is_some(), "{}", log.tail());
    let pid = child.id().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let values: Vec<_> = core.unwrap().split_whitespace().skip(4).collect();
    assert_eq!(values[..2], ["0", "0"], "{core:?}");
    // What such a crash leaves, and whether a handler of cores would have got it.
    let kill = format!("kill -ABRT {pid}");
    let status = Command::new("sh").args(["-c", &kill]).status().await;
    assert!(status.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    let status = ended.expect("it ends").unwrap();
    assert_eq!(status.signal(), Some(6));
    assert!(!status.core_dumped());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
