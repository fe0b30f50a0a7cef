//! The differential oracle: the same script, byte for byte, to PostgreSQL directly and through
//! entrapool in auto mode, with another client that makes every boundary a hand-over. The
//! answers have to be the same, but for the closed list in `answers`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../sidecar/mod.rs"]
mod sidecar;

mod answers;
mod batches;
mod dice;
mod direct;
mod intruder;
mod isolation;
mod programs;
mod script;
mod situations;
mod stage;
mod statements;
