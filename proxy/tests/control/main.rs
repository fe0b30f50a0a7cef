//! Operating the running program: the real binary, its control socket, `entrapool ctl`, a real
//! PostgreSQL with clients on it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../sidecar/mod.rs"]
mod sidecar;

mod operating;
mod reloading;
mod rights;
mod scene;
mod telling;
