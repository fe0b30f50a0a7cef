//! The package and its unit on a real systemd, which runs in a container of its own over this
//! machine's files: what it writes is gone at the end. The network is this machine's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::chart::root;
use super::prometheus::free_port;
use crate::sidecar::{PASSWORD, PASSWORD_ROLE, shared};

const SCENARIO: &str = include_str!("unit.sh");
/// It takes a third of this.
const LONGEST: Duration = Duration::from_secs(120);

/// Boots systemd on a layer over `/`, with one service to run.
const BOOT: &str = r#"
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
: > "$1/root/etc/machine-id"
rm -f "$1/root/usr/sbin/policy-rc.d"
cp "$2/scenario.service" "$2/scenario.target" "$1/root/etc/systemd/system/"
exec systemd-nspawn --directory="$1/root" --register=no --keep-unit --boot --console=pipe --quiet \
    --bind-ro="$2:/in" --bind="$3:/out" -- systemd.unit=scenario.target
"#;

const TARGET: &str = "[Unit]\nRequires=basic.target scenario.service\nAfter=basic.target\n";
const SERVICE: &str =
    "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nExecStart=/bin/bash /in/scenario.sh\n";
/// A test has less patience.
const DROP_IN: &str = "[Service]\nWatchdogSec=2s\n";

fn package() -> PathBuf {
    let path = root().join("target/xtask/deb/entrapool.deb");
    assert!(
        path.is_file(),
        "{} is not there; `cargo xtask deploy` builds it",
        path.display()
    );
    path
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}

#[tokio::test]
#[ignore = "as root, and needs what `cargo xtask deploy` prepares"]
async fn the_package_lives_under_systemd() {
    let azure = shared().await;
    let http = free_port();
    let (input, output, layers) = (folder(), folder(), folder());
    std::fs::copy(package(), input.path().join("entrapool.deb")).expect("a copy");
    let authority = std::fs::read_to_string(azure.ca_file()).expect("a certificate");
    write(input.path(), "authority.pem", &authority);
    write(input.path(), "port", &http.to_string());
    write(input.path(), "database-password", PASSWORD);
    write(input.path(), "drop-in.conf", DROP_IN);
    write(input.path(), "scenario.sh", SCENARIO);
    write(input.path(), "scenario.target", TARGET);
    write(input.path(), "scenario.service", SERVICE);
    let toml = format!(
        "http = \"127.0.0.1:{http}\"\n[control]\nlisten = \"/run/entrapool/control.sock\"\n[[route]]\nname = \"main\"\nlisten = \"/run/entrapool\"\n\
         host = \"localhost\"\nport = {}\nuser = \"{PASSWORD_ROLE}\"\ndatabase = \"appdb\"\n\
         identity = \"password-file\"\nca_file = \"/in/authority.pem\"\n\
         password_file = \"/run/credentials/entrapool.service/database-password\"\n",
        azure.postgres_addr().port()
    );
    write(input.path(), "entrapool.toml", &toml);
    let run = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            BOOT,
            "sh",
        ])
        .args([layers.path(), input.path(), output.path()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(LONGEST, run).await;
    let read = |name: &str| {
        let text = std::fs::read(output.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    };
    let told = format!(
        "{run:?}\n{}\n{}\n{}",
        read("facts"),
        read("log"),
        read("journal")
    );
    let facts = read("facts");
    let facts: BTreeMap<_, _> = facts
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let expected = [
        ("installed", "0"),
        ("enabled", "enabled"),
        ("running_before_it_is_configured", "inactive"),
        ("started", "0"),
        ("state", "active/running"),
        ("status", "listening for main"),
        ("user", "entrapool"),
        ("capabilities", "0000000000000000"),
        ("filtered", "2"),
        ("socket", "660 entrapool"),
        ("answer", PASSWORD_ROLE),
        ("descriptors", "known"),
        ("reloaded", "0"),
        ("level", "debug"),
        ("wrong_reload", "1"),
        ("after_a_wrong_reload", "active debug"),
        ("came_back", "0"),
        ("answer_again", "42"),
        ("transaction", "whole"),
        ("result", "success/0"),
        ("refused", "1"),
        ("after_a_bad_configuration", "failed/2"),
        ("purged", "0"),
        ("configuration_left", ""),
        ("end", "here"),
    ];
    for (name, value) in expected {
        assert_eq!(facts.get(name), Some(&value), "{name}\n{told}");
    }
    let journal = read("journal");
    assert!(journal.contains("watchdog"), "{told}");
    assert!(!journal.contains("core file"), "{told}");
    assert!(!journal.contains("open to others"), "{told}");
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}
