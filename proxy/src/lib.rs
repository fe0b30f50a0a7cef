//! entrapool: a connection-pooling sidecar for databases with Microsoft Entra identities.
//!
//! `main` turns arguments into a [`config::Config`], builds an [`app::App`] and runs it. Which
//! module may know which is written down in `docs/architecture.md` and kept by a test.

pub mod admin;
pub mod app;
pub mod config;
pub mod console;
pub mod control;
pub mod ctl;
pub mod doctor;
pub mod identity;
pub mod log;
pub mod pool;
pub mod postgres;
pub mod server;
pub mod session;
pub mod status;
pub mod tds;
pub mod upstream;

#[cfg(test)]
mod tests;
