//! What must hold for any bytes at all: one module per fuzz target, each with a `check`.
//!
//! Called by the targets, and by the replay of the kept corpus in `protocol/tests/corpus.rs`,
//! which includes this file and needs no fuzzer.

pub mod back;
pub mod console;
pub mod front;
pub mod input;
pub mod legacy;
pub mod login;
pub mod scan;
pub mod server;
pub mod startup;
pub mod tds;
