//! What sessions of every protocol share: the wire, the verdict on a backend, the books of who
//! is there, and why a session ended.

pub mod batch;
pub mod ending;
pub mod envelope;
pub mod gate;
pub mod inbox;
pub mod peer;
pub mod pin;
pub mod recent;
pub mod registry;
pub mod rest;
mod secured;
pub mod wire;
