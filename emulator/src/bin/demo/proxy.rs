//! The proxy under demonstration: built by cargo, run as a child process.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use entrapool_emulator::LocalAzure;
use entrapool_emulator::probe::Probe;
use entrapool_emulator::tds::TdsServer;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use url::form_urlencoded::Serializer;

/// Where PostgreSQL clients look first.
pub(crate) const POSTGRES_PORT: u16 = 5432;
/// Where clients of SQL Server look first.
pub(crate) const SQL_SERVER_PORT: u16 = 1433;
/// Where the documentation's examples scrape.
pub(crate) const METRICS_PORT: u16 = 9464;

const START_LIMIT: Duration = Duration::from_secs(45);
const STOP_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
/// How much of the log an error shows.
const TAIL: usize = 4_000;

/// Builds the proxy and says where the binary is.
pub(crate) async fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    // A minute's build should be seen to move, by somebody who looks.
    let progress = match std::io::stderr().is_terminal() {
        true => Stdio::inherit(),
        false => Stdio::piped(),
    };
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", "entrapool"])
        .args(["--bin", "entrapool"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(progress)
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo could not build entrapool:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // One JSON object per line; the one of our binary names the file.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "entrapool")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo did not say where the entrapool binary is")
}

/// The running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    postgres: SocketAddr,
    sql_server: SocketAddr,
    http: SocketAddr,
    log: PathBuf,
    _directory: TempDir,
}

impl Proxy {
    /// Starts it on the servers of the local Azure; it may not be ready yet.
    pub(crate) fn start(
        binary: &Path,
        azure: &LocalAzure,
        server: &TdsServer,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("entrapool-demo-")
            .tempdir()
            .context("cannot make a directory for the log")?;
        let log = directory.path().join("entrapool.log");
        let file = std::fs::File::create(&log).context("cannot create the log")?;
        let postgres = address(POSTGRES_PORT)?;
        let sql_server = address(SQL_SERVER_PORT)?;
        let http = address(METRICS_PORT)?;
        let mut command = Command::new(binary);
        // Settings and identities of the person at the keyboard have no part in this.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["ENTRAPOOL_", "AZURE_", "IDENTITY_", "MSI_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        let child = command
            .arg("--http")
            .arg(http.to_string())
            .arg(postgres_route(azure, postgres))
            .arg(sql_server_route(azure, server, sql_server))
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("cannot open the log twice")?)
            .stderr(file)
            // Ctrl-C in a terminal is for us; we stop the proxy in our own order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self {
            child,
            postgres,
            sql_server,
            http,
            log,
            _directory: directory,
        })
    }

    /// Where legacy applications of PostgreSQL connect.
    pub(crate) fn postgres(&self) -> SocketAddr {
        self.postgres
    }

    /// Where those of SQL Server do.
    pub(crate) fn sql_server(&self) -> SocketAddr {
        self.sql_server
    }

    /// Where metrics and probes are.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// What it writes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until `/startup` says 200.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            self.alive()?;
            let probe = Probe::get(self.http, "/startup").limit(Duration::from_secs(2));
            let last = match probe.send().await {
                Ok(reply) if reply.status == 200 => return Ok(()),
                Ok(reply) => format!("{}: {}", reply.status, reply.body),
                Err(error) => error.to_string(),
            };
            if started.elapsed() > START_LIMIT {
                bail!(
                    "entrapool is not ready after {START_LIMIT:?}; /startup said {last}\n{}",
                    self.tail()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// An error when the process has ended.
    pub(crate) fn alive(&mut self) -> anyhow::Result<()> {
        match self
            .child
            .try_wait()
            .context("cannot ask after entrapool")?
        {
            None => Ok(()),
            Some(status) => bail!("entrapool ended with {status}\n{}", self.tail()),
        }
    }

    /// Ends it: SIGTERM, a second one since nobody is to be drained, then by force.
    pub(crate) async fn stop(mut self) {
        for _ in 0..2 {
            self.terminate().await;
            let patience = STOP_LIMIT / 2;
            if tokio::time::timeout(patience, self.child.wait())
                .await
                .is_ok()
            {
                return;
            }
        }
        // Fails only when it has ended meanwhile.
        let _already_gone = self.child.kill().await;
    }

    async fn terminate(&self) {
        let Some(pid) = self.child.id() else {
            return;
        };
        // A shell has `kill` built in; the program may be missing in a small image.
        let _already_gone = Command::new("sh")
            .args(["-c", &format!("kill -TERM {pid}")])
            .stderr(Stdio::null())
            .status()
            .await;
    }

    /// The end of its log, for errors.
    pub(crate) fn tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let start = log.len().saturating_sub(TAIL);
        format!("its log ends:\n{}", String::from_utf8_lossy(&log[start..]))
    }
}

/// The ROUTE argument for PostgreSQL.
fn postgres_route(azure: &LocalAzure, listen: SocketAddr) -> String {
    format!(
        "postgres://{}@{}/{}?{}",
        azure.role(),
        azure.postgres_addr(),
        azure.database(),
        keys(azure, listen)
    )
}

/// The one for the TDS server: whose token it is says who logs in.
fn sql_server_route(azure: &LocalAzure, server: &TdsServer, listen: SocketAddr) -> String {
    format!(
        "sqlserver://{}/{}?{}",
        server.addr(),
        azure.database(),
        keys(azure, listen)
    )
}

fn keys(azure: &LocalAzure, listen: SocketAddr) -> String {
    Serializer::new(String::new())
        .append_pair("identity", "imds")
        .append_pair("server_name", "localhost")
        .append_pair("ca_file", &azure.ca_file().to_string_lossy())
        .append_pair("imds_endpoint", &azure.imds_endpoint())
        .append_pair("listen", &listen.to_string())
        .finish()
}

/// The usual port if nobody has it, else any free one.
fn address(usual: u16) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, usual))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("cannot find a free port on 127.0.0.1")?;
    listener
        .local_addr()
        .context("cannot read a listener's port")
}
