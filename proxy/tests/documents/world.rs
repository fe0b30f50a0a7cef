//! A local Azure on which the documents' commands are run, and what stands for what:
//!
//! | in the documents | here |
//! |---|---|
//! | `*.postgres.database.azure.com` | a real PostgreSQL that checks tokens |
//! | `*.database.windows.net` | the TDS server |
//! | any user in a ROUTE | `my-vm` |
//! | any database in a ROUTE | `mydb` |
//! | 127.0.0.1, ports 5432, 1433 and 9464, or none | free ports of 127.0.0.1 |
//! | `/run/entrapool` | a directory of the test |
//! | any `--config FILE` | a file with a route to each of the servers, `reports` and `orders` |

use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use entrapool_emulator::probe::Probe;
use entrapool_emulator::tds::TdsServer;
use entrapool_emulator::{LocalAzure, ServerChoice};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The database of the documents.
const DATABASE: &str = "mydb";

/// The servers, and free ports.
pub(crate) struct World {
    azure: LocalAzure,
    server: TdsServer,
    folder: TempDir,
    postgres: u16,
    sql_server: u16,
    http: u16,
}

/// An entrapool that a command has started.
pub(crate) struct Serving {
    child: Child,
    at: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let azure = LocalAzure::builder()
            .database(DATABASE)
            .server(ServerChoice::Real);
        let azure = azure.start().await.expect("the local Azure starts");
        let server = azure.sql_server().expect("a certificate").start().await;
        let world = Self {
            azure,
            server: server.expect("the TDS server starts"),
            folder: tempfile::tempdir().expect("a directory"),
            postgres: free_port(),
            sql_server: free_port(),
            http: free_port(),
        };
        world.write_config();
        world
    }

    /// Starts an entrapool, and waits until it serves.
    pub(crate) async fn serve(&self, command: &str, at: &str) -> Serving {
        let child = self
            .shell(&format!("exec {}", self.here(command)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut serving = Serving {
            child,
            at: at.to_owned(),
        };
        let began = Instant::now();
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, self.http));
        loop {
            let probe = Probe::get(http, "/startup").limit(Duration::from_secs(2));
            if probe.send().await.is_ok_and(|reply| reply.status == 200) {
                return serving;
            }
            if serving.child.try_wait().expect("a child").is_some() || began.elapsed() > PATIENCE {
                let _ = serving.child.start_kill();
                let output = serving.child.wait_with_output().await.expect("its output");
                panic!(
                    "{at}\ndoes not serve: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs a command that ends, and has something to say. Who reads from a terminal gets a query.
    pub(crate) async fn run(&self, command: &str, at: &str) {
        let here = self.here(command);
        if command.contains(" doctor ") {
            // Readers are slower than this test, and the metadata service counts requests.
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
        let mut shell = self.shell(&here);
        let typed = self.folder.path().join("typed");
        std::fs::write(&typed, typed_into(command)).expect("a file");
        shell.stdin(File::open(&typed).expect("a file"));
        let output = shell.output();
        let output = tokio::time::timeout(PATIENCE, output).await;
        let output = output.unwrap_or_else(|_| panic!("{at}\ndoes not end"));
        let output = output.expect("a shell");
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{at}\nas {here}\n{}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A shell in which `entrapool` is the one that was just built, and clients find it.
    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let ours = ["ENTRAPOOL_", "AZURE_", "IDENTITY_", "MSI_", "PG"];
            if ours.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        let script = format!("export PATH=\"{}:$PATH\"; {script}", self.programs());
        command
            .args(["-e", "-o", "pipefail", "-c", &script])
            .current_dir(self.folder.path())
            .env("PGPORT", self.postgres.to_string())
            .env("ENTRAPOOL_HTTP", format!("127.0.0.1:{}", self.http))
            .env(
                "ENTRAPOOL_CONTROL_LISTEN",
                self.folder.path().join("control.sock"),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Where they are.
    fn programs(&self) -> String {
        let entrapool = PathBuf::from(env!("CARGO_BIN_EXE_entrapool"));
        let postgres = self.azure.real_postgres().expect("a real PostgreSQL");
        format!(
            "{}:{}",
            entrapool.parent().expect("a directory").display(),
            postgres.bin_directory().display()
        )
    }

    /// A command of the documents, as it is run here.
    fn here(&self, command: &str) -> String {
        let mut here = String::new();
        let mut rest = command;
        // To psql such a URL is libpq's.
        let is_ours = command.contains("entrapool ");
        while let Some(begin) = route_at(rest).filter(|_| is_ours) {
            let (before, route) = rest.split_at(begin);
            let quote = before
                .chars()
                .next_back()
                .filter(|c| matches!(c, '\'' | '"'));
            let end = match quote {
                Some(quote) => route.find(quote),
                None => route.find(char::is_whitespace),
            };
            let (route, behind) = route.split_at(end.unwrap_or(route.len()));
            here += before.strip_suffix(['\'', '"']).unwrap_or(before);
            let _ = write!(here, "'{}'", self.route(route));
            rest = behind.strip_prefix(['\'', '"']).unwrap_or(behind);
        }
        here += rest;
        self.words(&here)
    }

    /// Ports, directories and files.
    fn words(&self, command: &str) -> String {
        let sockets = self.folder.path().display().to_string();
        let command = command
            .replace(":9464", &format!(":{}", self.http))
            .replace("http://localhost:", "http://127.0.0.1:")
            .replace("0.0.0.0:", "127.0.0.1:")
            .replace("-p 5432", &format!("-p {}", self.postgres))
            .replace("-p 1433", &format!("-p {}", self.sql_server))
            .replace("/run/entrapool", &sockets);
        let mut words = Vec::new();
        let mut is_file = false;
        for word in command.split(' ') {
            words.push(if is_file { "entrapool.toml" } else { word });
            is_file = word == "--config";
        }
        words.join(" ")
    }

    /// A ROUTE of the documents, to the server that stands for its own.
    fn route(&self, route: &str) -> String {
        let (target, query) = route.split_once('?').unwrap_or((route, ""));
        let is_postgres = target.starts_with("postgres");
        let mut keys: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        let ours = self.keys(is_postgres);
        keys.retain(|pair| !ours.iter().any(|own| same_key(own, pair)));
        keys.extend(ours.iter().map(String::as_str));
        let listen = self.listen(is_postgres);
        if !keys.iter().any(|pair| pair.starts_with("listen=")) {
            keys.push(&listen);
        }
        let keys = keys.join("&");
        let base = if is_postgres {
            format!("postgres://my-vm@myserver.postgres.database.azure.com/{DATABASE}")
        } else {
            format!("sqlserver://myserver.database.windows.net/{DATABASE}")
        };
        format!("{base}?{keys}")
    }

    /// What brings a connection to the local server instead.
    fn keys(&self, is_postgres: bool) -> Vec<String> {
        let address = if is_postgres {
            self.azure.postgres_addr()
        } else {
            self.server.addr()
        };
        vec![
            format!("connect_to={address}"),
            "server_name=localhost".to_owned(),
            format!("ca_file={}", self.azure.ca_file().display()),
            format!("imds_endpoint={}", self.azure.imds_endpoint()),
            "identity=imds".to_owned(),
        ]
    }

    fn listen(&self, is_postgres: bool) -> String {
        let port = if is_postgres {
            self.postgres
        } else {
            self.sql_server
        };
        format!("listen=127.0.0.1:{port}")
    }

    fn write_config(&self) {
        let mut text = String::new();
        for (route, name) in [("postgres://", "reports"), ("sqlserver://", "orders")] {
            let url = self.route(route);
            let _ = write!(text, "[[route]]\nname = {name:?}\nurl = {url:?}\n\n");
        }
        let file = self.folder.path().join("entrapool.toml");
        std::fs::write(file, text).expect("a file");
    }
}

impl Serving {
    /// SIGTERM, and the end that follows.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        let told = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &pid])
            .status()
            .await;
        assert!(told.expect("a shell").success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends").expect("a status");
        assert!(status.success(), "{}\nended with {status}", self.at);
    }
}

/// What a person types next. The console's databases know no tables.
fn typed_into(command: &str) -> &'static str {
    let last = command.split(' ').next_back();
    if matches!(last, Some("pgbouncer" | "entrapool")) {
        return "SHOW VERSION;\n";
    }
    match command.split(' ').next() {
        Some("psql") => "select current_user;\n",
        Some("tsql") => "select suser_sname()\ngo\n",
        _ => "",
    }
}

/// Where a ROUTE begins.
fn route_at(command: &str) -> Option<usize> {
    let begins = ["postgres://", "postgresql://", "sqlserver://"];
    begins
        .iter()
        .filter_map(|scheme| command.find(scheme))
        .min()
}

fn same_key(one: &str, other: &str) -> bool {
    one.split('=').next() == other.split('=').next()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
