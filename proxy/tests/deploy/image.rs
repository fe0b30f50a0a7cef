//! What the image holds: one static binary, run as its own user in an empty root.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::chart::root;

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

#[test]
fn the_dockerfile_says_the_same() {
    let text = std::fs::read_to_string(root().join("deploy/Dockerfile")).expect("a Dockerfile");
    assert!(text.contains(&format!("\nUSER {USER}:{USER}\n")), "{text}");
    let entrypoint = format!("\nENTRYPOINT [\"{ENTRYPOINT}\"]\n");
    assert!(text.contains(&entrypoint), "{text}");
    assert!(text.contains("-C target-feature=+crt-static"), "{text}");
}
