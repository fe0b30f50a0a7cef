//! The local door: who is let in, how many of each, and what happens to everybody else. The real
//! binary, clients of other users.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "shared with the tests of TDS")]
#[path = "../tds/scene.rs"]
mod scene;
#[path = "../sidecar/mod.rs"]
mod sidecar;

mod caps;
mod databases;
mod dumps;
mod http;
mod imds;
mod page;
mod strangers;
mod tokens;
mod users;
