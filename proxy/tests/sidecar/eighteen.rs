//! A real PostgreSQL 18, for what is new in it. It has no LDAP: its roles log in with a password,
//! so entrapool has `identity=password-file` there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use entrapool_emulator::pki::Pki;
use entrapool_emulator::postgres::{Postgres, PostgresBuilder, RoleLogin};
use tokio::sync::Mutex;

use super::azure::PASSWORD;

/// The one that runs, as long as any test has it.
static RUNNING: Mutex<Weak<Eighteen>> = Mutex::const_new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(1);

/// The role that entrapool logs in as, by SCRAM over TLS.
pub const ROLE: &str = "my-vm";
/// One that may come without TLS.
pub const TRUSTED_ROLE: &str = "trusted";

/// A running server of this version.
pub struct Eighteen {
    /// The server.
    pub postgres: Postgres,
    /// Holds the password of [`ROLE`].
    pub password_file: PathBuf,
    // Has the files of both.
    _pki: Pki,
}

/// Where `cargo xtask test` unpacks it.
pub fn programs() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-env/postgresql-18");
    let bin = home.join("bin");
    assert!(
        bin.join("postgres").is_file(),
        "{} has no PostgreSQL 18; `cargo xtask test` brings it",
        bin.display()
    );
    bin
}

/// The shared server; started if no test has it now.
pub async fn eighteen() -> Arc<Eighteen> {
    let mut running = RUNNING.lock().await;
    if let Some(eighteen) = running.upgrade() {
        return eighteen;
    }
    let eighteen = Arc::new(Eighteen::start(Postgres::builder().programs(&programs())).await);
    *running = Arc::downgrade(&eighteen);
    eighteen
}

impl Eighteen {
    /// One more, of the same kind or another: whatever `builder` says.
    pub async fn start(builder: PostgresBuilder) -> Self {
        let pki = Pki::new().expect("a certificate authority");
        let postgres = builder
            .max_connections(200)
            .role(ROLE, RoleLogin::Scram(PASSWORD.to_owned()))
            .role(TRUSTED_ROLE, RoleLogin::Trust)
            .database("appdb")
            .start(&pki, None)
            .await
            .expect("PostgreSQL starts");
        let password_file = pki.directory().join("password");
        std::fs::write(&password_file, PASSWORD).expect("a file");
        Self {
            postgres,
            password_file,
            _pki: pki,
        }
    }

    /// A new database that belongs to [`ROLE`].
    pub async fn new_database(&self) -> String {
        let name = format!("app{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let create = format!("create database {name} owner \"{ROLE}\"");
        let made = self.postgres.execute("postgres", &create).await;
        made.expect("a new database");
        name
    }
}
