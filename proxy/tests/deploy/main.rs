//! What `deploy/` promises, on real processes: dashboard and alerts on a real Prometheus that scrapes
//! real runs; a pod's life with the static binary in an empty root. `cargo xtask deploy` prepares
//! what they need and runs them; what is missing is a failure.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../sidecar/mod.rs"]
mod sidecar;

mod alerts;
mod chart;
mod dashboard;
mod image;
mod life;
mod load;
mod pod;
mod prometheus;
mod unit;
