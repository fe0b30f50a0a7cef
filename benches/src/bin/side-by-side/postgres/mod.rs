//! What is measured: one file per case.

pub(crate) mod client;
pub(crate) mod idle;
pub(crate) mod select;
