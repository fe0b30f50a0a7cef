//! The differential oracle for TDS: the same script, byte for byte, to a SQL server directly and
//! through entrapool, with another client that makes every boundary a hand-over. The answers
//! have to be the same, but for the closed list in `answers`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../oracle/dice.rs"]
mod dice;
#[path = "../sidecar/mod.rs"]
mod sidecar;

mod answers;
mod client;
mod intruder;
mod isolation;
mod login;
mod prepared;
mod programs;
mod requests;
mod script;
mod situations;
mod stage;
mod state;
mod streams;
mod tokens;
mod transactions;
