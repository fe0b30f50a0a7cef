//! What the benches measure: messages as drivers send them and servers answer them.

pub mod conversation;
pub mod pair;
pub mod postgres;
pub mod tds;
