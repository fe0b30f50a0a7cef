//! What the image holds: one static binary, run as its own user in an empty root.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::net::UdpSocket;

use super::chart::root;
use super::prometheus::free_port;
use crate::sidecar::Log;

/// The image's user, group and entry point; `deploy/Dockerfile` says the same.
pub(crate) const USER: u32 = 65532;
pub(crate) const ENTRYPOINT: &str = "/entrapool";

/// The binary that `cargo xtask deploy` builds as the Dockerfile does.
pub(crate) fn binary() -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_entrapool"));
    // From TARGET/debug/entrapool.
    let target = ours.ancestors().nth(2).expect("a target directory");
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let path = target.join(triple).join("release/entrapool");
    assert!(
        path.is_file(),
        "{} is not there; `cargo xtask deploy` builds it",
        path.display()
    );
    path
}

/// A root directory with nothing in it but the binary and the mount points.
pub(crate) fn empty_root(mount_points: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open.clone()).expect("its mode");
    let inside = |path: &str| folder.path().join(path.trim_start_matches('/'));
    std::fs::copy(binary(), inside(ENTRYPOINT)).expect("a copy of the binary");
    std::fs::set_permissions(inside(ENTRYPOINT), open).expect("its mode");
    for path in mount_points {
        std::fs::create_dir_all(inside(path)).expect("a mount point");
    }
    folder
}

#[test]
#[ignore = "needs what `cargo xtask deploy` prepares"]
fn the_binary_is_static_and_needs_no_file_to_run() {
    let said = Command::new("ldd").arg(binary()).output().expect("ldd");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("statically linked"), "{said}");
    let root = empty_root(&[]);
    let output = Command::new("chroot")
        .arg(format!("--userspec={USER}:{USER}"))
        .arg(root.path())
        .args([ENTRYPOINT, "check"])
        .arg("sqlserver://myserver.database.windows.net/mydb")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("chroot");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("[[route]]"),
        "as root only: {complaint}{said}"
    );
}

/// Answers every question for an address with 127.0.0.1 (RFC 1035 section 4).
async fn name_server(socket: UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let request = &buffer[..length];
        // Header of 12 bytes, the name's labels up to the empty one, type and class.
        let name = request[12..].iter().position(|byte| *byte == 0);
        let question = &request[12..12 + name.expect("a name") + 5];
        let is_for_address = question[question.len() - 4..] == [0, 1, 0, 1];
        let mut answer = [
            &request[..2],
            &[0x81, 0x80, 0, 1, 0, u8::from(is_for_address)],
        ]
        .concat();
        answer.extend([0; 4]);
        answer.extend(question);
        if is_for_address {
            // The name by reference, type A, class IN, 5 s, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
        }
        let _gone = socket.send_to(&answer, client).await;
    }
}

#[tokio::test]
#[ignore = "as root, and needs what `cargo xtask deploy` prepares"]
async fn names_are_looked_up_without_any_library() {
    // Not where a resolver of this machine may listen.
    let socket = UdpSocket::bind("127.0.0.153:53").await;
    tokio::spawn(name_server(socket.expect("as root only")));
    let root = empty_root(&["/etc"]);
    let write = |path: &str, text: &str| {
        std::fs::write(root.path().join(path), text).expect("a file");
    };
    write("etc/resolv.conf", "nameserver 127.0.0.153\n");
    write("etc/hosts", "127.0.0.1 in-hosts.example\n");
    write("password", "none");
    let port = free_port();
    for host in ["in-hosts.example", "in-dns.example"] {
        let route = format!(
            "postgres://u@{host}:{port}/db?identity=password-file&password_file=/password\
             &min_idle=1&listen=127.0.0.1:0"
        );
        let mut child = tokio::process::Command::new("chroot")
            .arg(format!("--userspec={USER}:{USER}"))
            .arg(root.path())
            .args([ENTRYPOINT, "--http=127.0.0.1:0", "--log-format=json"])
            .arg(route)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("chroot");
        let log = Log::read(child.stderr.take().expect("it is piped"));
        // Nobody listens there, which only they know who have the address.
        let found = format!("connecting to 127.0.0.1:{port} ({host}) failed");
        let line = log.find(|line| line.text.contains(&found)).await;
        assert!(line.is_some(), "{}", log.tail());
    }
}

#[test]
fn the_dockerfile_says_the_same() {
    let text = std::fs::read_to_string(root().join("deploy/Dockerfile")).expect("a Dockerfile");
    assert!(text.contains(&format!("\nUSER {USER}:{USER}\n")), "{text}");
    let entrypoint = format!("\nENTRYPOINT [\"{ENTRYPOINT}\"]\n");
    assert!(text.contains(&entrypoint), "{text}");
    assert!(text.contains("-C target-feature=+crt-static"), "{text}");
}
