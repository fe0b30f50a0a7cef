//! The checks of TDS.

pub mod login;
pub mod opening;
pub mod scan;
pub mod tokens;
pub mod tracker;
