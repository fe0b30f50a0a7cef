//! What the machine must have: looked for, installed by apt for root, else asked for.
//!
//! Debian's own cluster and services that a package starts are stopped again: tests start
//! servers of their own. What was there before is left alone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// Something that chores need and that cargo does not bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Component {
    /// What it is, for a person.
    name: &'static str,
    /// Debian's packages that bring it.
    packages: &'static [&'static str],
    present: fn() -> bool,
}

/// The C compiler is not here: Rust links with it, so it was there before us.
pub(crate) const FOR_TESTS: &[Component] = &[
    Component {
        name: "PostgreSQL 15 or newer (server, psql, pgbench)",
        packages: &["postgresql"],
        present: || postgresql().is_some(),
    },
    Component {
        name: "Python 3 with venv",
        packages: &["python3", "python3-venv"],
        present: || succeeds("python3", &["-c", "import venv, ensurepip"]),
    },
    Component {
        name: "Node.js",
        packages: &["nodejs"],
        present: || succeeds("node", &["--version"]),
    },
    Component {
        name: "Chromium (or CHROMIUM=/path/to/one)",
        packages: &["chromium"],
        present: || std::env::var_os("CHROMIUM").is_some() || succeeds("chromium", &["--version"]),
    },
    Component {
        name: "npm",
        packages: &["npm"],
        present: || succeeds("npm", &["--version"]),
    },
    Component {
        name: "a JDK 11 or newer (it runs single-file programs)",
        packages: &["default-jdk-headless"],
        present: || succeeds("java", &["--describe-module", "jdk.compiler"]),
    },
    Component {
        name: "PostgreSQL's JDBC driver",
        packages: &["libpostgresql-jdbc-java"],
        present: || Path::new(JDBC_JAR).is_file(),
    },
    Component {
        name: "jTDS (JDBC for old SQL Servers)",
        packages: &["libjtds-java"],
        present: || Path::new(JTDS_JAR).is_file(),
    },
    Component {
        name: "FreeTDS's programs",
        packages: &["freetds-bin"],
        present: || succeeds("tsql", &["-C"]),
    },
    Component {
        name: "unshare and mount (util-linux)",
        packages: &["util-linux", "mount"],
        present: || succeeds("unshare", &["--version"]) && succeeds("mount", &["--version"]),
    },
    Component {
        name: "ip (iproute2)",
        packages: &["iproute2"],
        present: || succeeds("ip", &["-Version"]),
    },
    Component {
        name: "nft (nftables)",
        packages: &["nftables"],
        present: || succeeds("nft", &["--version"]),
    },
    Component {
        name: "Go",
        packages: &["golang-go"],
        present: || succeeds("go", &["version"]),
    },
    Component {
        name: "pgx 4 (Go)",
        packages: &["golang-github-jackc-pgx-v4-dev"],
        present: || {
            Path::new(GO_PACKAGES)
                .join("src/github.com/jackc/pgx/v4")
                .is_dir()
        },
    },
    Component {
        name: "lib/pq (Go)",
        packages: &["golang-github-lib-pq-dev"],
        present: || {
            Path::new(GO_PACKAGES)
                .join("src/github.com/lib/pq")
                .is_dir()
        },
    },
    Component {
        name: "go-mssqldb (Go)",
        packages: &["golang-github-denisenkom-go-mssqldb-dev"],
        present: || {
            Path::new(GO_PACKAGES)
                .join("src/github.com/denisenkom/go-mssqldb")
                .is_dir()
        },
    },
    Component {
        name: "FreeTDS's tsql",
        packages: &["freetds-bin"],
        present: || succeeds("tsql", &["-C"]),
    },
    Component {
        name: "FreeTDS's ODBC driver",
        packages: &["tdsodbc"],
        present: || has_library("odbc/libtdsodbc.so"),
    },
    Component {
        name: "unixODBC's driver manager",
        packages: &["libodbc2"],
        present: || has_library("libodbc.so.2"),
    },
    Component {
        name: "MIT Kerberos' GSSAPI (Microsoft's ODBC driver is linked with it)",
        packages: &["libgssapi-krb5-2"],
        present: || has_library("libgssapi_krb5.so.2"),
    },
];

/// For what is in `deploy/`.
pub(crate) const FOR_DEPLOYMENT: &[Component] = &[
    Component {
        name: "Prometheus and promtool",
        packages: &["prometheus"],
        present: || succeeds("prometheus", &["--version"]) && succeeds("promtool", &["--version"]),
    },
    Component {
        name: "systemd-analyze",
        packages: &["systemd"],
        present: || succeeds("systemd-analyze", &["--version"]),
    },
    Component {
        name: "systemd's containers",
        packages: &["systemd-container"],
        present: || succeeds("systemd-nspawn", &["--version"]),
    },
];

/// For libFuzzer's runtime, which is C++.
pub(crate) const FOR_FUZZING: &[Component] = &[Component {
    name: "a C++ compiler",
    packages: &["g++"],
    present: || succeeds("c++", &["--version"]),
}];

/// For trying SECURITY.md's firewall rules.
pub(crate) const FOR_FIREWALLS: &[Component] = &[
    Component {
        name: "nft",
        packages: &["nftables"],
        present: || succeeds("nft", &["--version"]),
    },
    Component {
        name: "iptables",
        packages: &["iptables"],
        present: || succeeds("iptables", &["--version"]),
    },
    Component {
        name: "ip",
        packages: &["iproute2"],
        present: || succeeds("ip", &["-V"]),
    },
];

/// For the drivers of a full test.
pub(crate) const FOR_ALL_DRIVERS: &[Component] = &[Component {
    name: "Ruby with ActiveRecord and pg",
    packages: &["ruby", "ruby-activerecord", "ruby-pg"],
    present: || succeeds("ruby", &["-e", "require 'active_record'; require 'pg'"]),
}];

/// For counting instructions.
pub(crate) const FOR_COUNTING: &[Component] = &[Component {
    name: "valgrind",
    packages: &["valgrind"],
    present: || succeeds("valgrind", &["--version"]),
}];

/// For comparing; `PGBOUNCER` names another binary.
pub(crate) const FOR_BENCHES: &[Component] = &[
    FOR_TESTS[0],
    Component {
        name: "PgBouncer (or PGBOUNCER=/path/to/one)",
        packages: &["pgbouncer"],
        present: || {
            std::env::var_os("PGBOUNCER").is_some() || succeeds("pgbouncer", &["--version"])
        },
    },
];

/// Where Debian puts the driver. `proxy/tests/drivers.rs` looks there.
const JDBC_JAR: &str = "/usr/share/java/postgresql.jar";
/// Where Debian puts jTDS. `proxy/tests/tds/legacy.rs` looks there.
const JTDS_JAR: &str = "/usr/share/java/jtds.jar";
/// Where Debian puts Go's packages. `proxy/tests/drivers.rs` and `proxy/tests/tds_drivers` look
/// there.
pub(crate) const GO_PACKAGES: &str = "/usr/share/gocode";
const OLDEST_POSTGRESQL: u32 = 15;

/// Makes sure that all of them are there.
///
/// # Errors
/// Says what to install, if we are not root or apt does not bring it.
pub(crate) fn ensure(components: &[Component]) -> anyhow::Result<()> {
    let missing = absent(components);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing
        .iter()
        .flat_map(|missing| missing.packages)
        .collect();
    let packages: Vec<_> = packages.into_iter().copied().collect();
    let command = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    if !is_root()? {
        bail!("missing: {}\nas root: {command}", names(&missing));
    }
    println!("installing {} ({command})", names(&missing));
    let clusters = clusters();
    let services = service_processes();
    apt_get(&["update"])?;
    let options = ["install", "--yes", "--no-install-recommends"];
    apt_get(&[&options, packages.as_slice()].concat())?;
    drop_new_clusters(&clusters)?;
    stop_new_services(&services)?;
    let still = absent(components);
    ensure!(
        still.is_empty(),
        "still missing after {command}: {}",
        names(&still)
    );
    Ok(())
}

fn absent(components: &[Component]) -> Vec<Component> {
    let absent = components.iter().filter(|component| !(component.present)());
    absent.copied().collect()
}

fn names(components: &[Component]) -> String {
    let names: Vec<_> = components.iter().map(|component| component.name).collect();
    names.join(", ")
}

fn is_root() -> anyhow::Result<bool> {
    let us = fs::metadata("/proc/self").context("cannot read our user id from /proc/self")?;
    Ok(us.uid() == 0)
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-get; this is not Debian: install the components by hand")?;
    ensure!(
        output.status.success(),
        "apt-get {}: {}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Debian's clusters, as version and name.
fn clusters() -> Vec<(String, String)> {
    let output = Command::new("pg_lsclusters").arg("--no-header").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let cluster = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(cluster).collect()
}

/// The package makes and starts a cluster that nobody asked for.
fn drop_new_clusters(before: &[(String, String)]) -> anyhow::Result<()> {
    for (version, name) in clusters() {
        if before.contains(&(version.clone(), name.clone())) {
            continue;
        }
        let output = Command::new("pg_dropcluster")
            .args(["--stop", &version, &name])
            .output()
            .context("cannot run pg_dropcluster")?;
        ensure!(
            output.status.success(),
            "pg_dropcluster --stop {version} {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The ids of processes of programs that their packages start.
fn service_processes() -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_service = |id: &u32| {
        let name = fs::read_to_string(format!("/proc/{id}/comm"));
        name.is_ok_and(|name| ["pgbouncer", "prometheus"].contains(&name.trim_end()))
    };
    ids.filter(is_service).collect()
}

fn stop_new_services(before: &[u32]) -> anyhow::Result<()> {
    for id in service_processes() {
        if !before.contains(&id) {
            let id = id.to_string();
            let status = Command::new("sh").args(["-c", "kill \"$0\"", &id]).status();
            status.context("cannot run sh")?;
        }
    }
    Ok(())
}

/// The directory of a complete installation that is new enough.
pub(crate) fn postgresql() -> Option<PathBuf> {
    let said = Command::new("pg_config").arg("--bindir").output();
    let said = said.map(|output| output.stdout).unwrap_or_default();
    let said = PathBuf::from(String::from_utf8_lossy(&said).trim_end());
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.flatten().map(|entry| entry.path().join("bin"));
    let complete = |bin: &PathBuf| {
        let programs = ["postgres", "initdb", "psql", "pgbench"];
        programs.iter().all(|program| bin.join(program).is_file())
    };
    [said]
        .into_iter()
        .chain(debian)
        .filter(complete)
        .find(|bin| major_version(bin) >= Some(OLDEST_POSTGRESQL))
}

/// Of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(bin: &Path) -> Option<u32> {
    let output = Command::new(bin.join("postgres")).arg("--version").output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let version = text.split_whitespace().nth(2)?;
    version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// In a directory of this machine's architecture, `/usr/lib/x86_64-linux-gnu` for one.
fn has_library(name: &str) -> bool {
    let directories = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut paths = directories.map(|directory| directory.path().join(name));
    paths.any(|path| path.is_file())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| output.status.success())
}
