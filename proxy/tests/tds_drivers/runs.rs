//! A program on a server, itself or through the sidecar, and what that cost.

use std::process::{Output, Stdio};
use std::time::Duration;

use entrapool_emulator::pki::Pki;
use entrapool_emulator::tds::{Encryption, TdsServer};
use tokio::process::Command;

use crate::scene::Scene;
use crate::sidecar::{Launch, Metrics, Sidecar};

/// The slowest program takes a tenth of this.
const LONGEST: Duration = Duration::from_secs(300);
/// What certificates are for.
const NAMES: &[&str] = &["localhost", "127.0.0.1"];
/// Backends for two programs, which have more clients than that.
const POOL: usize = 6;

/// How a program runs through the sidecar.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    /// As in the configuration.
    mode: &'static str,
    /// The server tells little and checks passwords; else tokens over TLS.
    is_bare: bool,
    /// Of the large result.
    megabytes: u32,
}

impl Setting {
    pub(crate) const AUTO: Self = Self {
        mode: "auto",
        is_bare: false,
        megabytes: 10,
    };
    pub(crate) const TRANSACTION: Self = Self {
        mode: "transaction",
        ..Self::AUTO
    };
    pub(crate) const SESSION: Self = Self {
        mode: "session",
        ..Self::AUTO
    };

    /// On a server that tells little.
    pub(crate) const fn bare(self) -> Self {
        Self {
            is_bare: true,
            ..self
        }
    }

    /// With a hundred megabytes at a time.
    pub(crate) const fn large(self) -> Self {
        Self {
            megabytes: 100,
            ..self
        }
    }
}

/// Runs a program on the server itself, which has TLS for those who ask for it.
pub(crate) async fn direct(command: impl Fn() -> Command) {
    let pki = Pki::new().expect("an authority");
    let certificate = pki.issue(NAMES).expect("a certificate");
    let server = TdsServer::builder()
        .database("appdb")
        .password("sa", "open-sesame")
        .tls(&certificate)
        .encryption(Encryption::LoginOnly);
    let server = server.start().await.expect("the server starts");
    let mut command = command();
    command
        .env("SQL_HOST", "127.0.0.1")
        .env("SQL_PORT", server.addr().port().to_string())
        .env("SQL_USER", "sa")
        .env("SQL_PASSWORD", "open-sesame")
        .env("SQL_CERTIFICATE", pki.ca_file());
    let setting = Setting {
        mode: "direct",
        ..Setting::AUTO
    };
    let output = run(&mut command, setting, "1").await;
    succeeded(&output, "");
    no_violations(&server);
}

/// Runs a program twice at a time through the sidecar. Unless each client has a backend of its
/// own, many may not have led to more logins than the pool has backends.
pub(crate) async fn through(setting: Setting, command: impl Fn() -> Command) {
    let shares = setting.mode != "session";
    let pki = Pki::new().expect("an authority");
    let launch = |launch: Launch| {
        let size = if shares { POOL } else { 16 };
        let launch = launch.key("pool_mode", setting.mode).pool(size);
        // Else it makes a certificate of its own, which nobody can check.
        match setting.is_bare {
            true => launch,
            false => with_certificate(launch, &pki),
        }
    };
    let scene = match setting.is_bare {
        true => Scene::bare(launch).await,
        false => Scene::azure(launch).await,
    };
    let mut commands = [command(), command()];
    for command in &mut commands {
        command
            .env("SQL_HOST", "127.0.0.1")
            .env("SQL_PORT", scene.proxy.port().to_string())
            .env("SQL_USER", "legacy-app")
            .env("SQL_PASSWORD", "no matter");
        if !setting.is_bare {
            command.env("SQL_CERTIFICATE", pki.ca_file());
        }
    }
    let [one, other] = &mut commands;
    // It has many clients at work, which only read.
    other.env("COMPANY", "1");
    let outputs = tokio::join!(run(one, setting, "1"), run(other, setting, "2"));
    let log = scene.proxy.log().text();
    succeeded(&outputs.0, &log);
    succeeded(&outputs.1, &log);
    no_violations(&scene.server);
    let metrics = scene.proxy.metrics().await;
    println!("{}", cost(&metrics));
    if shares {
        assert!(metrics.logins() <= POOL as f64, "more logins than backends");
        let handovers = metrics.value("entrapool_handovers_total", &[]);
        assert!(handovers > 0.0, "no backend changed hands");
    }
    let Scene { proxy, .. } = scene;
    stopped(proxy).await;
}

/// The local door shows a certificate that clients can check.
fn with_certificate(launch: Launch, pki: &Pki) -> Launch {
    let certificate = pki.issue(NAMES).expect("a certificate");
    launch
        .key(
            "client_cert_file",
            &certificate.certificate_file.display().to_string(),
        )
        .key(
            "client_key_file",
            &certificate.key_file.display().to_string(),
        )
}

async fn stopped(proxy: Sidecar) {
    assert_eq!(proxy.stop().await, 0);
}

async fn run(command: &mut Command, setting: Setting, which: &str) -> Output {
    command
        .env("SQL_DATABASE", "appdb")
        .env("POOL_MODE", setting.mode)
        .env("LARGE_MB", setting.megabytes.to_string())
        .env("RUN", which)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LONGEST, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} takes more than {LONGEST:?}"));
    output.unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; `cargo xtask drivers` installs what it needs")
    })
}

fn succeeded(output: &Output, log: &str) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.lines().last() == Some("OK"),
        "{}\n{said}{}\nthe sidecar said:\n{log}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{said}");
}

fn no_violations(server: &TdsServer) {
    let counters = server.counters();
    assert_eq!(counters.size_violations(), 0, "packets of a wrong size");
    assert_eq!(
        counters.protocol_violations(),
        0,
        "breaches of the protocol"
    );
}

/// How often backends changed hands, the server was asked what a session has left, and why
/// backends stayed.
fn cost(metrics: &Metrics) -> String {
    let count = |name: &str| metrics.value(name, &[]);
    let mut reasons: Vec<String> = Vec::new();
    for sample in metrics.samples() {
        if sample.name != "entrapool_pins_total" || sample.value == 0.0 {
            continue;
        }
        let mut labels = sample.labels.iter();
        let reason = labels.find(|(name, _)| name == "reason");
        let reason = reason.map_or("", |(_, reason)| reason.as_str());
        reasons.push(format!("{reason} {}", sample.value));
    }
    format!(
        "{} transactions, {} probes, {} handovers, {} logins, pins: {}",
        count("entrapool_transaction_duration_seconds_count"),
        count("entrapool_probes_total"),
        count("entrapool_handovers_total"),
        metrics.logins(),
        if reasons.is_empty() {
            "none".to_owned()
        } else {
            reasons.join(", ")
        }
    )
}
