//! The TDS server, asked byte by byte and by tiberius.
//!
//! `docs/tds-emulator.md` names these tests beside the behaviour that each holds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answer;
mod client;
mod data;
mod errors;
mod examples;
mod login;
mod packets;
mod prepared;
mod server;
mod sessions;
mod state;
mod tiberius_client;
mod tls;
mod transactions;
