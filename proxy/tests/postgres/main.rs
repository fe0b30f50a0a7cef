//! End to end: the real binary, a real PostgreSQL, real tokens, real clients. One test binary,
//! so that the tests share one cluster.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../sidecar/mod.rs"]
mod sidecar;

mod auto;
mod cancel;
mod copy;
mod drain;
mod eighteen;
mod endings;
mod failover;
mod listen;
mod observability;
mod pooling;
mod prepared;
mod refusals;
mod rest;
mod session_mode;
mod start;
mod startup;
mod streams;
mod tap;
mod tokens;
mod transactions;
