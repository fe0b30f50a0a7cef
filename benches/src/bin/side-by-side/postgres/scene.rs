//! What all poolers stand in front of: the local Azure with a real PostgreSQL and pgbench's
//! tables.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use entrapool_emulator::postgres::{Postgres, RoleLogin};
use entrapool_emulator::{LocalAzure, ServerChoice};
use tokio::process::Command;

/// The role of poolers that have no tokens.
pub(super) const PASSWORD_ROLE: &str = "bench";
/// Its password.
pub(super) const PASSWORD: &str = "bench-password";
/// The role that needs neither: clients of a relay log in themselves.
pub(super) const OPEN_ROLE: &str = "open";
/// The user that clients connect as.
pub(super) const CLIENT: &str = "legacy-app";

/// A million rows: more than the caches of a processor, less than PostgreSQL's.
const SCALE: &str = "10";

/// The stage.
pub(super) struct Scene {
    azure: LocalAzure,
}

impl Scene {
    pub(super) async fn set() -> anyhow::Result<Self> {
        let azure = LocalAzure::builder()
            .server(ServerChoice::Real)
            .postgres(|postgres| {
                postgres
                    .role(PASSWORD_ROLE, RoleLogin::Scram(PASSWORD.to_owned()))
                    .role(OPEN_ROLE, RoleLogin::Trust)
                    .setting("shared_buffers", "512MB")
                    .setting("max_connections", "700")
            })
            .start()
            .await
            .context("cannot start the local Azure")?;
        let scene = Self { azure };
        let postgres = scene.postgres()?;
        let output = Command::new(scene.program("pgbench")?)
            .args(["--initialize", "--quiet", "--scale", SCALE])
            .arg(postgres.admin_conninfo(scene.database()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run pgbench")?;
        ensure!(
            output.status.success(),
            "pgbench --initialize: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let grant = "grant select on all tables in schema public to public";
        postgres.execute(scene.database(), grant).await?;
        let table = "create table bench_in (line text); grant insert on bench_in to public";
        postgres.execute(scene.database(), table).await?;
        Ok(scene)
    }

    /// Says what is measured, and on what.
    pub(super) fn describe(&self) -> anyhow::Result<()> {
        let version = self
            .postgres()?
            .psql(self.database(), "show server_version")?;
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!(
            "PostgreSQL {}, {cores} cores, {} backends",
            version.trim(),
            crate::pooler::BACKENDS
        );
        println!("clients in plain on loopback, TLS to the server, name verified");
        Ok(())
    }

    pub(super) fn azure(&self) -> &LocalAzure {
        &self.azure
    }

    pub(super) fn database(&self) -> &str {
        self.azure.database()
    }

    pub(super) fn postgres(&self) -> anyhow::Result<&Postgres> {
        self.azure.real_postgres().context("a real PostgreSQL")
    }

    /// One of PostgreSQL's programs.
    pub(super) fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.postgres()?.bin_directory().join(name))
    }
}
