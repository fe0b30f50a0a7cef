//! End to end on TDS: the real binary, a server that checks tokens, real clients.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../sidecar/mod.rs"]
mod sidecar;

mod basics;
mod lazily;
mod legacy;
mod login;
mod scene;
mod state;
mod upstream;
