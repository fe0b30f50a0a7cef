//! PostgreSQL: clients are accepted, backends are logged in, and sessions bring them together.
//!
//! `accept` greets a client, `connect` makes backends for the pool, `session` relays. What the
//! bytes mean is in `entrapool_protocol::postgres`.

mod accept;
mod adapt;
mod backend;
mod cancel;
mod connect;
mod fanout;
mod greeting;
mod precedent;
mod recover;
mod report;
mod route;
mod session;
mod trial;

pub use accept::serve;
pub(crate) use recover::Unfit;
#[cfg(test)]
pub(crate) use report::tests as told;
pub(crate) use report::{Failed, hint};
pub use route::{Route, RouteError};
pub(crate) use trial::{Session, Trial};
