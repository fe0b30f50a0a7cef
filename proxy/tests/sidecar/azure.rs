//! One local Azure for many tests, on a runtime of its own: each test has another one, which
//! ends with it.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use entrapool_emulator::postgres::RoleLogin;
use entrapool_emulator::{LocalAzure, ServerChoice};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// The one that runs, as long as any test has it.
static RUNNING: Mutex<Weak<Shared>> = Mutex::const_new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(1);

/// A role that is not the machine's.
pub const SOMEONE_ELSE: &str = "someone-else";
/// A role with a password instead of tokens, by SCRAM.
pub const PASSWORD_ROLE: &str = "with-password";
/// The same, in the old way.
pub const MD5_ROLE: &str = "with-md5";
/// The same, sent as it is.
pub const CLEARTEXT_ROLE: &str = "with-cleartext";
/// Their password.
pub const PASSWORD: &str = "open-sesame-4711";

/// A local Azure with a real PostgreSQL, used by several tests at a time.
pub struct Shared {
    // Before its runtime.
    azure: LocalAzure,
    runtime: Option<Runtime>,
}

impl Deref for Shared {
    type Target = LocalAzure;

    fn deref(&self) -> &LocalAzure {
        &self.azure
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would wait, which a test's runtime does not allow.
            runtime.shutdown_background();
        }
    }
}

/// The shared Azure; started if no test has it now.
pub async fn shared() -> Arc<Shared> {
    let mut running = RUNNING.lock().await;
    if let Some(shared) = running.upgrade() {
        return shared;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let azure = runtime.spawn(
        LocalAzure::builder()
            .server(ServerChoice::Real)
            .postgres(|postgres| {
                postgres
                    .max_connections(200)
                    .token_role(SOMEONE_ELSE)
                    .role(PASSWORD_ROLE, RoleLogin::Scram(PASSWORD.to_owned()))
                    .role(MD5_ROLE, RoleLogin::Md5(PASSWORD.to_owned()))
                    .role(CLEARTEXT_ROLE, RoleLogin::Cleartext(PASSWORD.to_owned()))
            })
            .start(),
    );
    let azure = azure
        .await
        .expect("no panic")
        .expect("the local Azure starts");
    let shared = Arc::new(Shared {
        azure,
        runtime: Some(runtime),
    });
    *running = Arc::downgrade(&shared);
    shared
}

impl Shared {
    /// A new database that belongs to the machine's role.
    pub async fn new_database(&self) -> String {
        let name = format!("app{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let admin = self.admin("postgres").await;
        let create = format!("create database {name} owner \"{}\"", self.role());
        admin.batch_execute(&create).await.expect("a new database");
        name
    }

    /// The superuser's session, not through any proxy.
    pub async fn admin(&self, database: &str) -> Client {
        let postgres = self.real_postgres().expect("a real PostgreSQL");
        postgres
            .admin(database)
            .await
            .expect("the superuser's session")
    }
}

/// The number that a query gives.
pub async fn count(client: &Client, sql: &str) -> i64 {
    let row = client.query_one(sql, &[]).await;
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// The backends of a database, as the server sees them.
pub async fn backends(admin: &Client, database: &str) -> i64 {
    let sql = "select count(*) from pg_stat_activity where datname = $1";
    admin
        .query_one(sql, &[&database])
        .await
        .expect("the server's view")
        .get(0)
}
