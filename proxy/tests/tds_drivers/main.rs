//! Drivers of SQL Server through the sidecar: any user, no matter which password, a small pool
//! for two programs at a time. Each program in `../drivers/tds/` prints `OK`, or fails with what
//! differed; it also runs on the server itself, so that a difference shows at once.
//!
//! `cargo xtask drivers` installs what they need; a missing driver is a failure. `auto` mode runs
//! always, the others in a full test.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../sidecar/mod.rs"]
mod sidecar;

#[allow(dead_code, reason = "these tests have clients of their own")]
#[path = "../tds/scene.rs"]
mod scene;

mod programs;
mod runs;

use programs::{go, node, python, tsql};
use runs::{Setting, direct, through};

/// One program on the server itself and in each mode.
macro_rules! driver {
    ($name:ident: $command:expr) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn direct_to_the_server() {
                direct(|| $command).await;
            }

            #[tokio::test]
            async fn auto() {
                through(Setting::AUTO, || $command).await;
            }

            #[tokio::test]
            async fn auto_on_a_server_that_tells_little() {
                through(Setting::AUTO.bare(), || $command).await;
            }

            #[tokio::test]
            #[ignore = "every pool mode: only in a full test"]
            async fn transaction() {
                through(Setting::TRANSACTION, || $command).await;
            }

            #[tokio::test]
            #[ignore = "every pool mode: only in a full test"]
            async fn session() {
                through(Setting::SESSION, || $command).await;
            }

            #[tokio::test]
            #[ignore = "a large result: only in a full test"]
            async fn large() {
                through(Setting::AUTO.large(), || $command).await;
            }
        }
    };
}

driver!(pymssql: python("pymssql_client.py"));
driver!(pytds: python("pytds_client.py"));
driver!(msodbc: python("msodbc_client.py"));
driver!(freetds_odbc: python("freetds_odbc_client.py"));
driver!(mssql_python: python("mssql_python_client.py"));
driver!(tedious: node("tedious_client.js"));
driver!(go_mssqldb: go("go_mssqldb_client.go"));
driver!(tsql: tsql("tsql_client.sql"));
