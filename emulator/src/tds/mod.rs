//! A stand-in for Azure SQL Database: TDS 7.1 to 7.4 and 8.0, token logins, sessions that behave.
//!
//! The wire protocol, the logins and what a session remembers follow MS-TDS; the store is SQLite
//! behind an interpreter of a small T-SQL. What it does not know it refuses with an error, never
//! with an empty success. `docs/tds-emulator.md` lists both.
//!
//! It shares nothing with the proxy's TDS: two readings of the specification test each other.

mod builder;
mod connection;
mod counters;
mod error;
mod faults;
mod login;
mod seen;
mod server;
mod session;
mod sql;
mod store;
mod wire;

pub use builder::{IsolationOnReset, Profile, TdsServerBuilder};
pub use counters::Counters;
pub use seen::{LoginSeen, SessionSeen};
pub use server::TdsServer;
pub use wire::prelogin::Encryption;
pub use wire::version::Version;
