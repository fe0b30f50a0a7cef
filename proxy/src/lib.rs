//! (skeleton)

pub mod admin;
